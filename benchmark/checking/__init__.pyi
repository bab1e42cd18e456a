from .check import reports as reports
