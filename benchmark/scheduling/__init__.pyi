from .cluster import (
    Cluster as Cluster,
    ray_cluster as ray_cluster,
    set_environment as set_environment,
    worker_folder as worker_folder,
)
from .execution import Execution as Execution, Job as Job
from .observer import Observer as Observer
from .ray_tune import (
    check_room as check_room,
    gpus_of_a_run as gpus_of_a_run,
    ray_run_config as ray_run_config,
    run_under_ray as run_under_ray,
)
from .serial import run_serially as run_serially
from .time_limit import NOT_BEGUN as NOT_BEGUN, Pace as Pace, TimeLimit as TimeLimit
