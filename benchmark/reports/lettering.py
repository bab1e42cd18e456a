"""Letters in figures: names from data as text, a person's own formulas, and fonts for other scripts than Latin."""

import logging
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font, get_font_names
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

from benchmark import escaping
from benchmark.consoles import new_console
from benchmark.escaping import Form
from benchmark.words import say
from methods.errors import InputError

_FALLBACKS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "MS Gothic",
    "Malgun Gothic", "Arial Unicode MS", "Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
    "Noto Sans Thai", "Noto Sans Symbols", "Noto Emoji", "Symbola",
)  # fmt: skip
"""Fonts that have what matplotlib's own has not, where they are installed."""


def families() -> list[str]:
    """Return the fonts of figures: a letter comes from the first that has it."""
    installed = set(get_font_names())
    return ["sans-serif", *(name for name in _FALLBACKS if name in installed)]


def _chosen(words: str) -> str:
    """Return a person's words: a formula where there is one, see matplotlib's mathtext, else text."""
    words = escaping.visible(words)
    if not is_math_text(words):
        return re.sub(r"(?<!\\)\$", r"\\$", words)
    try:
        with no_warnings_of_glyphs():
            MathTextParser("path").parse(words)
    except ValueError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"the label {words!r} is no formula that matplotlib draws: {reason}") from None
    return words


FIGURE = Form(escaping.figure, _chosen)


def shortened(name: str, longest: int) -> str:
    """Return a name of a figure with an ellipsis in place of what is too long; a formula stays whole.

    Args:
        name: In the form of figures.
        longest: Letters.
    """
    words = name.replace(r"\$", "$")
    if is_math_text(name) or len(words) <= longest:
        return name
    return escaping.figure(f"{words[: longest - 1]}…")


@contextmanager
def no_warnings_of_glyphs() -> Iterator[None]:
    """While a figure is drawn, leave what :func:`say_undrawn` says in a line to it."""

    def other(record: logging.LogRecord) -> bool:
        return "does not have a glyph" not in record.getMessage()

    formulas = logging.getLogger("matplotlib.mathtext")
    formulas.addFilter(other)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph \d|Matplotlib currently does not support")
            yield
    finally:
        formulas.removeFilter(other)


def say_undrawn(figures: Iterable[Figure], as_text: bool = False) -> None:
    """Say in one line on stderr which characters of drawn figures had no font; nothing if there is none.

    Args:
        figures: After they have been drawn.
        as_text: Whether text stays text in the file, for which a reader's fonts count; formulas do not.
    """
    fonts = [set(get_font(findfont(FontProperties(family=[name]))).get_charmap()) for name in families()]
    missing: set[str] = set()
    for words in {text.get_text() for figure in figures for text in figure.findobj(Text)}:
        # formulas, and what stands on their line, have the first font alone
        formula = is_math_text(words)
        if formula or not as_text:
            known = fonts[0] if formula else set().union(*fonts)
            missing |= {char for char in words if ord(char) not in known and unicodedata.category(char)[0] != "C"}
    if missing:
        line = f"note: no font for {' '.join(sorted(missing))}: other signs stand there in the figure"
        say(new_console(stderr=True), line)
