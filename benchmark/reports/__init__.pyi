from .drawing import (
    LINES as LINES,
    Line as Line,
    new_figure as new_figure,
    styled as styled,
    write_figure as write_figure,
)
from .repeat import places as places
from .show import lines as lines
