from .code import sources as sources
from .request import (
    DATA_ROOT as DATA_ROOT,
    LISTS as LISTS,
    OPTIONS as OPTIONS,
    Checksums as Checksums,
    Datasets as Datasets,
    Layer as Layer,
    Request as Request,
    check_keys as check_keys,
    complete_methods as complete_methods,
    distinct as distinct,
    expanded as expanded,
    layer_from_assignments as layer_from_assignments,
    layer_from_file as layer_from_file,
    plan as plan,
    section as section,
)
from .run_config import (
    EQUAL_EPOCHS as EQUAL_EPOCHS,
    SECTIONS as SECTIONS,
    DataConfig as DataConfig,
    RunConfig as RunConfig,
    TrainConfig as TrainConfig,
    Use as Use,
)
