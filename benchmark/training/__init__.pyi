from . import checkpoints as checkpoints
from .batches import Augmentation as Augmentation, Normalisation as Normalisation
from .devices import (
    DOCTOR_MINUTES as DOCTOR_MINUTES,
    Machine as Machine,
    MachineRecord as MachineRecord,
    Precision as Precision,
    PrecisionConfig as PrecisionConfig,
    check_settings as check_settings,
    choose_device as choose_device,
    is_out_of_memory as is_out_of_memory,
    machine_remarks as machine_remarks,
    peak_memory as peak_memory,
    read_machine_record as read_machine_record,
    recording_key as recording_key,
    records_steps as records_steps,
    reset_peak_memory as reset_peak_memory,
)
from .initialisation import (
    check_labels as check_labels,
    check_networks as check_networks,
    initialise_method as initialise_method,
    without_values as without_values,
)
from .recorded import RecordingError as RecordingError
from .steps import (
    StepBatch as StepBatch,
    learning_rate as learning_rate,
    optimise as optimise,
    outputs_and_losses as outputs_and_losses,
    parameter_groups as parameter_groups,
    without_effect as without_effect,
)
from .students import (
    Normalised as Normalised,
    Student as Student,
    check_files as check_files,
    read_student as read_student,
)
from .trainer import (
    CollapsedError as CollapsedError,
    DivergedError as DivergedError,
    Row as Row,
    Trainer as Trainer,
    chance_limit as chance_limit,
)
