from .ordering import method_order as method_order, natural as natural
from .rendering import plain as plain, rendered as rendered
from .scores import SCORES as SCORES, of_run as of_run, summaries as summaries
from .significance import Gain as Gain, paired_gain as paired_gain
from .table import (
    HEADLINE as HEADLINE,
    Heading as Heading,
    Table as Table,
    accuracy_table as accuracy_table,
    build as build,
)
