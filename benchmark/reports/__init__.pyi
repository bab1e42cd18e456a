from . import (
    figures as figures,
    page as page,
    prediction_figures as prediction_figures,
    reference as reference,
    run_text as run_text,
    schedules as schedules,
    style as style,
)
from .content import Content as Content, Group as Group, as_page_data as as_page_data
from .page import facts as facts, markdown_templates as markdown_templates, templates as templates
from .palette import LINES as LINES, Line as Line
from .reference import FIDELITY as FIDELITY, described as described, differences as differences, networks as networks
from .run_text import command as command, lines as lines, places as places
from .schedules import MethodSchedules as MethodSchedules, default_schedules as default_schedules
from .style import new_figure as new_figure, styled as styled, write_figures as write_figures
