from .collection import Found as Found, Runs as Runs, scan as scan
from .ending import Result as Result, Status as Status
from .files import (
    CHECKPOINT as CHECKPOINT,
    CONFIG as CONFIG,
    ERROR as ERROR,
    LIMITS as LIMITS,
    METRICS as METRICS,
    RESULT as RESULT,
    Contents as Contents,
    DamagedError as DamagedError,
    Row as Row,
    parse as parse,
)
from .folder import read_files as read_files
from .frames import BUDGETS_JOINED_BY as BUDGETS_JOINED_BY
from .loading import (
    DAMAGED as DAMAGED,
    Epochs as Epochs,
    Split as Split,
    Where as Where,
    last_epochs as last_epochs,
    load as load,
)
from .lookup import StoredRun as StoredRun, names as names
from .output import check_folder as check_folder, put as put, writing as writing
from .places import Results as Results, folders as folders
from .predictions import (
    PREDICTIONS as PREDICTIONS,
    Predictions as Predictions,
    read_predictions as read_predictions,
    students_files as students_files,
    write_predictions as write_predictions,
)
from .records import Record as Record, Scores as Scores, brief as brief
from .runs import Store as Store, read_result as read_result
from .selection import fits as fits, select as select
from .several import better as better, dispute as dispute, find as find, read as read
from .sizes import kinds as kinds
from .trash import described as described, move as move
