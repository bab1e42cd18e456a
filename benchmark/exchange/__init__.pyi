from .comparison import Outcome as Outcome
from .compression import ENDINGS as ENDINGS, is_bundle as is_bundle
from .merging import Merged as Merged, merge as merge
from .packing import pack as pack, pack_runs as pack_runs
from .records import RECORD as RECORD, Mark as Mark, Record as Record
from .submission import FORM as FORM, Submission as Submission
from .verification import cases as cases, verify as verify
