from . import atomic as atomic, environment as environment
from .atomic import check_folder as check_folder, put as put, writing as writing
from .collection import (
    Results as Results,
    Runs as Runs,
    better as better,
    contradiction as contradiction,
    find as find,
    folders as folders,
    read as read,
    scan as scan,
)
from .files import (
    CHECKPOINT as CHECKPOINT,
    CONFIG as CONFIG,
    ERROR as ERROR,
    LIMITS as LIMITS,
    METRICS as METRICS,
    RESULT as RESULT,
    Contents as Contents,
    DamagedError as DamagedError,
    Dumper as Dumper,
    Result as Result,
    Row as Row,
    Status as Status,
    content_of as content_of,
    first_fault as first_fault,
    parse as parse,
    parse_stored_yaml as parse_stored_yaml,
    read_files as read_files,
    read_regular as read_regular,
    whole_files as whole_files,
)
from .index import StoredRun as StoredRun, brief as brief
from .loading import (
    BUDGETS_JOINED_BY as BUDGETS_JOINED_BY,
    DAMAGED as DAMAGED,
    Epochs as Epochs,
    Split as Split,
    Where as Where,
    fits as fits,
    last_epochs as last_epochs,
    load as load,
    select as select,
)
from .predictions import (
    PREDICTIONS as PREDICTIONS,
    Predictions as Predictions,
    read_predictions as read_predictions,
    students_files as students_files,
    write_predictions as write_predictions,
)
from .runs import (
    REPLICATE as REPLICATE,
    TRASH as TRASH,
    Store as Store,
    identity_in as identity_in,
    replicate_name as replicate_name,
    run_name as run_name,
    size_below as size_below,
)
