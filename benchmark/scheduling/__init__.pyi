from . import logging_backends as logging_backends
from .cluster import (
    Cluster as Cluster,
    remove_scratch_folders as remove_scratch_folders,
    set_environment as set_environment,
    usable_cpus as usable_cpus,
)
from .engines import run_serially as run_serially, run_trials as run_trials, run_under_ray as run_under_ray
from .execution import Execution as Execution, Job as Job
from .logging_backends import LoggingDisplay as LoggingDisplay
from .progress import Display as Display, Observer as Observer
from .time_limit import NOT_BEGUN as NOT_BEGUN, TimeLimit as TimeLimit
from .trials import (
    ACCURACY as ACCURACY,
    ListSearcher as ListSearcher,
    ProgressCallback as ProgressCallback,
    packed as packed,
)
