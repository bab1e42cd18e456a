from .aggregate import Estimate as Estimate, critical_difference as critical_difference
from .choosing import Choice as Choice
from .ordering import method_order as method_order, natural as natural, summaries as summaries
from .power import (
    MAX_SEEDS as MAX_SEEDS,
    POWER as POWER,
    detectable_difference as detectable_difference,
    half_width as half_width,
    paired_sd as paired_sd,
    seeds_for_half_width as seeds_for_half_width,
    seeds_needed as seeds_needed,
    seeds_that_decide as seeds_that_decide,
    tost as tost,
)
from .rendering import (
    frame_csv as frame_csv,
    frame_markdown as frame_markdown,
    plain as plain,
    rendered as rendered,
)
from .sequential import level as level
from .showing import Showing as Showing
from .significance import (
    ALPHA as ALPHA,
    MIN_PAIRS as MIN_PAIRS,
    Gain as Gain,
    differences as differences,
    gains as gains,
    paired_gain as paired_gain,
    two_way as two_way,
)
from .table import (
    Heading as Heading,
    Table as Table,
    accuracy_table as accuracy_table,
    build as build,
    compared as compared,
)
from .verdicts import (
    Judgement as Judgement,
    Verdict as Verdict,
    Word as Word,
    check_bound as check_bound,
    direction as direction,
    judged as judged,
    same_text as same_text,
    spread_note as spread_note,
)
