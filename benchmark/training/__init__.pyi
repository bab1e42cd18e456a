from .augmentation import Augmentation as Augmentation, Normalisation as Normalisation
from .devices import Arithmetic as Arithmetic, choose_device as choose_device
from .refusals import check_networks as check_networks
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
