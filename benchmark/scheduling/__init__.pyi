from .cluster import (
    Cluster as Cluster,
    remove_scratch_folders as remove_scratch_folders,
    set_environment as set_environment,
    usable_cpus as usable_cpus,
)
from .execution import Execution as Execution, run_serially as run_serially
from .jobs import NOT_BEGUN as NOT_BEGUN, Job as Job, TimeLimit as TimeLimit
from .progress import Display as Display, check_log as check_log
from .ray_engine import (
    ListSearcher as ListSearcher,
    ProgressCallback as ProgressCallback,
    run_trials as run_trials,
    run_under_ray as run_under_ray,
)
from .trials import ACCURACY as ACCURACY, packed as packed
