from .carrying_out import (
    all_finished as all_finished,
    carry_out as carry_out,
    check_writable as check_writable,
    job as job,
    load_sets as load_sets,
    remarks as remarks,
    time_was_up as time_was_up,
    train as train,
    train_missing as train_missing,
)
from .command import Command as Command, prepare as prepare
from .notebook import run as run
from .planning import print_plan as print_plan
