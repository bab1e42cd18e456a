from .atomic import write_text as write_text
from .lookup import StoredRun as StoredRun, names as names, stored_runs as stored_runs
from .runs import (
    BUDGETS_JOINED_BY as BUDGETS_JOINED_BY,
    CHECKPOINT as CHECKPOINT,
    CONFIG as CONFIG,
    ERROR as ERROR,
    METRICS as METRICS,
    RESULT as RESULT,
    Result as Result,
    Status as Status,
    Store as Store,
    load as load,
    read_result as read_result,
)
from .selection import fits as fits, select as select
from .sizes import Kind as Kind, kinds as kinds
from .trash import Moved as Moved, described as described, move as move
