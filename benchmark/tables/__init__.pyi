from . import (
    layout as layout,
    published as published,
    rendering as rendering,
    selection as selection,
)
from .comparison import (
    MAX_PLAN as MAX_PLAN,
    PLANS as PLANS,
    Declaration as Declaration,
    Plan as Plan,
    check_bound as check_bound,
    declaration as declaration,
    keep_plan as keep_plan,
    parsed_plan as parsed_plan,
    plan_notes as plan_notes,
    plan_of as plan_of,
    statement as statement,
    stored_plans as stored_plans,
)
from .declared_runs import suite_runs as suite_runs
from .gains import (
    ALPHA as ALPHA,
    MAX_SEEDS as MAX_SEEDS,
    MIN_PAIRS as MIN_PAIRS,
    POWER as POWER,
    Estimate as Estimate,
    Gain as Gain,
    Word as Word,
    differences as differences,
    paired_gain as paired_gain,
    verdict as verdict,
)
from .layout import method_order as method_order, summaries as summaries
from .published import Comparison as Comparison
from .rendering import (
    frame_csv as frame_csv,
    frame_markdown as frame_markdown,
    plain as plain,
    rendered as rendered,
)
from .replicates import MIXED as MIXED, footnotes as footnotes, located as located
from .selection import (
    TableFilter as TableFilter,
    TableLayout as TableLayout,
    TableStyle as TableStyle,
    in_environment as in_environment,
    read_layout as read_layout,
)
from .statistics import (
    critical_difference as critical_difference,
    detectable_difference as detectable_difference,
    half_width as half_width,
    seeds_for_equivalence as seeds_for_equivalence,
    seeds_for_half_width as seeds_for_half_width,
    seeds_needed as seeds_needed,
    two_way as two_way,
)
from .table import (
    Heading as Heading,
    Table as Table,
    build as build,
    compared as compared,
)
from .view import Cell as Cell, Column as Column, TypedTable as TypedTable, typed as typed
