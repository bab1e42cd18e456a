from . import checkpoints as checkpoints
from .augmentation import Augmentation as Augmentation, Normalisation as Normalisation
from .devices import (
    Arithmetic as Arithmetic,
    choose_device as choose_device,
    is_out_of_memory as is_out_of_memory,
    peak_memory as peak_memory,
    reset_peak_memory as reset_peak_memory,
)
from .drawing import draw_method as draw_method, without_numbers as without_numbers
from .keeping import predictions_of_students as predictions_of_students
from .meta import on_meta as on_meta
from .optimizer import learning_rate as learning_rate, parameter_groups as parameter_groups
from .refusals import check_files as check_files, check_labels as check_labels, check_networks as check_networks
from .stepping import StepBatch as StepBatch, optimise as optimise
from .students import (
    Normalised as Normalised,
    Student as Student,
    normalised as normalised,
    read_student as read_student,
)
from .suitability import check_settings as check_settings, setting_remarks as setting_remarks
from .trainer import (
    CollapsedError as CollapsedError,
    DivergedError as DivergedError,
    Row as Row,
    Trainer as Trainer,
    chance_limit as chance_limit,
)
