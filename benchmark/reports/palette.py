"""The colours, dashes and markers of every figure and page; without matplotlib, which pages do not need."""

from typing import Literal, NamedTuple

Dash = Literal["-", "--", "-.", ":"] | tuple[float, tuple[float, ...]]


class Line(NamedTuple):
    """A colour, a dash pattern and a marker: each of them alone tells two lines apart."""

    color: str
    dash: Dash
    marker: str


LINES = (
    Line("#000000", "-", "o"),
    Line("#D55E00", "--", "s"),
    Line("#0072B2", "-.", "^"),
    Line("#009E73", ":", "D"),
    Line("#CC79A7", (0, (5, 1, 1, 1, 1, 1)), "v"),
    Line("#E69F00", (0, (3, 1)), "P"),
    Line("#56B4E9", (0, (1, 1)), "X"),
    Line("#7F7F7F", (0, (7, 2, 2, 2)), "<"),
)
"""The palette of Okabe and Ito, safe for colour-blind readers, with grey in place of its yellow."""

ON_DARK = {"#000000": "#F2F2F2", "#0072B2": "#5CA8E0", "#7F7F7F": "#A6A6A6"}
"""Replacements for colours that are invisible on a dark background."""
