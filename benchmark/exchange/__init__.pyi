from .comparison import Outcome as Outcome, Verdict as Verdict
from .compression import ENDINGS as ENDINGS, is_bundle as is_bundle
from .merging import Merged as Merged, merge as merge
from .packing import Packed as Packed, pack as pack
from .verification import Case as Case, cases as cases, verify as verify
