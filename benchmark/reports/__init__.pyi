from .describing import Difference as Difference, described as described, differences as differences
from .drawing import (
    LINES as LINES,
    Line as Line,
    new_figure as new_figure,
    styled as styled,
    write_figure as write_figure,
)
from .lettering import say_undrawn as say_undrawn
from .page import facts as facts, run_row as run_row
from .page_data import Content as Content, Group as Group, as_page_data as as_page_data
from .repeat import command as command, places as places
from .schedule_figures import Drawn as Drawn
from .show import lines as lines
from .templating import (
    PageCell as PageCell,
    PageTable as PageTable,
    markdown_templates as markdown_templates,
    page_table as page_table,
    script_json as script_json,
    templates as templates,
)
