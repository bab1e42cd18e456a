from .comparison import Outcome as Outcome
from .compression import ENDINGS as ENDINGS
from .merging import Merged as Merged, merge as merge
from .packing import pack as pack
from .verification import cases as cases, verify as verify
