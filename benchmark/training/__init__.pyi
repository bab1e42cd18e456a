from . import checkpoints as checkpoints
from .augmentation import Augmentation as Augmentation, Normalisation as Normalisation
from .devices import Arithmetic as Arithmetic, choose_device as choose_device
from .stepping import (
    StepBatch as StepBatch,
    learning_rate as learning_rate,
    optimise as optimise,
    optimizer_groups as optimizer_groups,
    parameter_groups as parameter_groups,
)
from .students import (
    Normalised as Normalised,
    Student as Student,
    normalised as normalised,
    read_student as read_student,
)
from .trainer import (
    CollapsedError as CollapsedError,
    DivergedError as DivergedError,
    Row as Row,
    Trainer as Trainer,
    chance_limit as chance_limit,
    draw_method as draw_method,
)
