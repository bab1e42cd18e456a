"""The formulas of docstrings, which are plain text, as MathML that wraps on a narrow page."""

import re
import unicodedata
from collections.abc import Collection, Iterator

from markupsafe import Markup, escape

GREEK = {
    word: unicodedata.lookup(f"GREEK SMALL LETTER {spelled.upper()}")
    for word in ("alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "lambda", "mu", "rho", "sigma", "tau")
    for spelled in (word.replace("lambda", "lamda"),)
}
SIGNS = {
    "<-": "←",
    "!=": "≠",
    ">=": "≥",
    "<=": "≤",
    "||": "‖",
    "...": "…",
    "-": "\N{MINUS SIGN}",
    "*": "·",
    "'": "\N{PRIME}",
}
SUMS = {"sum": "∑", "prod": "∏"}

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<script>[_^])(?:\{(?P<group>[^{}]*)\}|(?P<word>-?[A-Za-z0-9]+))"
    r"|(?P<name>[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z]{3,}(?:_[A-Za-z]+)*)?)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<sign><-|!=|>=|<=|\|\||\.\.\.|.)"
)
_LONG = 3
"""Letters from which on a name is a word and no symbol."""


def mathml(formula: str, names: Collection[str] = ()) -> Markup:
    """Return a formula in the plain form of docstrings, such as ``L = sum_i CE_i + w KL_T(z_i <- sg z_t)``, as MathML.

    ``_x`` and ``_{...}`` are subscripts, ``^x`` superscripts, ``sum`` is a sum; Greek letters and signs such as ``<-``
    are drawn. Everything else stays as it is, so that nothing of a text is lost. A line may break before each ``+`` and
    after ``=``.

    Args:
        formula: The text.
        names: Words that are no symbols, such as a method's hyperparameters.
    """
    lines: list[list[str]] = [[]]
    for markup, sign in _atoms(" ".join(formula.split()), names):
        if sign == "+" and lines[-1]:
            lines.append([])
        lines[-1].append(markup)
        if sign == "=":
            lines.append([])
    pieces = "<wbr>".join(f"<math><mrow>{''.join(line)}</mrow></math>" for line in lines if line)
    start = Markup('<span class="formula" role="math" aria-label="{}">').format(" ".join(formula.split()))
    return start + Markup(f"{pieces}</span>")  # noqa: S704 - every piece is escaped


def _atoms(text: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the pieces of a formula that no line break divides, each with its sign if it is one."""
    waiting = ""
    apart = False
    for found in _TOKEN.finditer(text):
        if found["space"]:
            apart = True
            continue
        if found["script"] is not None:
            inner = found["group"] if found["group"] is not None else found["word"]
            body = "".join(markup for markup, _ in _atoms(inner, names))
            tag = "msub" if found["script"] == "_" else "msup"
            waiting = f"<{tag}>{waiting or '<mrow></mrow>'}<mrow>{body}</mrow></{tag}>"
            continue
        if waiting:
            yield waiting, ""
            # symbols that stand side by side are multiplied, words would run together
            if apart and not found["sign"]:
                yield '<mspace width="0.22em"></mspace>', ""
        waiting, apart = "", False
        if found["sign"]:
            yield _operator(found["sign"]), found["sign"]
        else:
            waiting = f"<mn>{found['number']}</mn>" if found["number"] else _name(found["name"], names)
    if waiting:
        yield waiting, ""


def _operator(sign: str) -> str:
    shown = escape(SIGNS.get(sign, sign))
    # a sign at the beginning of a line is the same as in the middle of one, and brackets do not grow
    form = ' form="infix"' if sign in ("+", "-", "=") else ""
    return f'<mo{form} stretchy="false">{shown}</mo>'


def _name(word: str, names: Collection[str]) -> str:
    base, _, below = word.partition("_")
    if word in SUMS or word in GREEK:
        return f"<mo>{SUMS[word]}</mo>" if word in SUMS else f"<mi>{GREEK[word]}</mi>"
    if not below:
        return f"<mi>{word}</mi>"
    if word in names or len(base) >= _LONG:
        return f"<mtext>{word}</mtext>"
    return f"<msub>{_name(base, names)}<mi>{below}</mi></msub>"
