from .batch import (
    TIME_IS_UP as TIME_IS_UP,
    all_finished as all_finished,
    carry_out as carry_out,
    check_writable as check_writable,
    job as job,
    load_sets as load_sets,
    remarks as remarks,
    run as run,
    train as train,
    train_missing as train_missing,
    why_later as why_later,
)
from .command import Command as Command, prepare as prepare, print_plan as print_plan
from .declared import SequentialTest as SequentialTest, SuiteRun as SuiteRun
