from . import submission as submission, submission_check as submission_check
from .bundles import ENDINGS as ENDINGS, is_bundle as is_bundle, pack as pack
from .comparison import (
    BOUND as BOUND,
    Comparison as Comparison,
    Mark as Mark,
    Outcome as Outcome,
    Statement as Statement,
    state as state,
)
from .merging import Merged as Merged, merge as merge
from .submission import FORM as FORM, Submission as Submission
from .verification import (
    RECORD as RECORD,
    Access as Access,
    Record as Record,
    cases as cases,
    record_of as record_of,
    repeat as repeat,
    statements as statements,
    write_record as write_record,
)
