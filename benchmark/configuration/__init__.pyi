from . import recipes as recipes, suites as suites
from .code import (
    Datasets as Datasets,
    SourceCode as SourceCode,
    hash_of as hash_of,
    source_of as source_of,
    source_of_method as source_of_method,
    sources as sources,
)
from .options import (
    DATA_ROOT as DATA_ROOT,
    MAX_SEEDS as MAX_SEEDS,
    OPTIONS as OPTIONS,
    RUN_ALONE as RUN_ALONE,
    SEED_STEP as SEED_STEP,
    SWEEP_OPTIONS as SWEEP_OPTIONS,
    TRIALS as TRIALS,
    UNTIL_DECIDED_OPTIONS as UNTIL_DECIDED_OPTIONS,
    Engine as Engine,
    LogitsType as LogitsType,
    Option as Option,
)
from .planning import (
    Checksums as Checksums,
    Layer as Layer,
    Request as Request,
    check_keys as check_keys,
    complete_methods as complete_methods,
    datasets_named as datasets_named,
    distinct as distinct,
    expanded as expanded,
    joined as joined,
    layer_from_assignments as layer_from_assignments,
    layer_from_file as layer_from_file,
    names as names,
    plan as plan,
    section as section,
)
from .recipes import (
    DistinctKeys as DistinctKeys,
    parse_yaml as parse_yaml,
    read_yaml as read_yaml,
    resolve_core_schema as resolve_core_schema,
)
from .run_config import (
    EQUAL_EPOCHS as EQUAL_EPOCHS,
    PLACE as PLACE,
    SECTIONS as SECTIONS,
    DataConfig as DataConfig,
    FieldRole as FieldRole,
    Origin as Origin,
    RunAlias as RunAlias,
    RunConfig as RunConfig,
    TrainConfig as TrainConfig,
    settings_of_role as settings_of_role,
)
from .suites import Suite as Suite, Task as Task
