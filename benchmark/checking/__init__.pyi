from .check import reports as reports
from .network_check import network_reports as network_reports
