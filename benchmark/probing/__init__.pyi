from .probe import deep as deep
from .records import Probe as Probe
