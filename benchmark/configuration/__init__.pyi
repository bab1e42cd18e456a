from .code import (
    Source as Source,
    hash_of as hash_of,
    source_of as source_of,
    source_of_method as source_of_method,
    sources as sources,
)
from .options import (
    OPTIONS as OPTIONS,
    SWEEP_OPTIONS as SWEEP_OPTIONS,
    UNTIL_DECIDED_OPTIONS as UNTIL_DECIDED_OPTIONS,
    Engine as Engine,
    LogitsType as LogitsType,
    Option as Option,
)
from .planning import (
    Checksums as Checksums,
    Datasets as Datasets,
    complete_methods as complete_methods,
    distinct as distinct,
    expanded as expanded,
    plan as plan,
)
from .request import (
    DATA_ROOT as DATA_ROOT,
    Layer as Layer,
    Request as Request,
    check_keys as check_keys,
    layer_from_assignments as layer_from_assignments,
    layer_from_file as layer_from_file,
    section as section,
)
from .run_config import (
    EQUAL_EPOCHS as EQUAL_EPOCHS,
    PLACE as PLACE,
    SECTIONS as SECTIONS,
    DataConfig as DataConfig,
    FieldRole as FieldRole,
    RunConfig as RunConfig,
    TrainConfig as TrainConfig,
    Use as Use,
    settings_of_role as settings_of_role,
)
from .words import datasets_named as datasets_named, joined as joined
