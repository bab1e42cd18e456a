from .execution import Execution as Execution, Job as Job
from .observer import Observer as Observer
from .ray_tune import (
    Cluster as Cluster,
    check_room as check_room,
    gpus_of_a_run as gpus_of_a_run,
    ray_cluster as ray_cluster,
    ray_run_config as ray_run_config,
    run_under_ray as run_under_ray,
    set_environment as set_environment,
)
from .serial import run_serially as run_serially
from .time_limit import NOT_BEGUN as NOT_BEGUN, Pace as Pace, TimeLimit as TimeLimit
