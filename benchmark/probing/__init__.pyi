from .machine import Finding as Finding, Grade as Grade, findings as findings
from .probe import deep as deep
from .records import Probe as Probe
