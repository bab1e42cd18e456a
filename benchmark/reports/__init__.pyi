from .drawing import (
    LINES as LINES,
    Line as Line,
    new_figure as new_figure,
    styled as styled,
    write_figure as write_figure,
)
from .show import lines as lines
