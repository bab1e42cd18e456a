"""Docstrings as HTML: paragraphs, lists, code, and plain-text formulas with symbols, subscripts and superscripts."""

import inspect
import re
import unicodedata
from collections.abc import Collection

from markupsafe import Markup, escape

GREEK = {
    word: unicodedata.lookup(f"GREEK SMALL LETTER {word.upper()}")
    for word in ("alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "mu", "rho", "sigma", "tau")
} | {"lambda": "\N{GREEK SMALL LETTER LAMDA}"}
SIGNS = {
    "<-": "←", "!=": "≠", ">=": "≥", "<=": "≤", "||": "‖", "...": "…",
    "-": "\N{MINUS SIGN}", "*": "·", "'": "\N{PRIME}",
}  # fmt: skip
SUMS = {"sum": "∑", "prod": "∏"}

_TOKEN = re.compile(
    r"(?P<script>[_^])(?:\{(?P<group>[^{}]*)\}|(?P<word>-?[A-Za-z0-9]+))"
    r"|(?P<name>[A-Za-z][A-Za-z0-9]*)(?:_(?P<below>[A-Za-z]{3,}(?:_[A-Za-z]+)*))?|<-|!=|>=|<=|\|\||\.\.\.|."
)
_SPAN = re.compile(r"``(?P<span>.+?)``|:\w+:`~?(?P<role>[^`]+)`")
_SYMBOL = re.compile(r"[A-Za-z]{1,2}(_\w{1,6})?(\([a-z]\))?")
_CODE = re.compile(r"--|: |[a-z]\.[a-z]|\.\w+$|^[A-Za-z][A-Za-z_0-9]+$")


def paragraphs(text: str, names: Collection[str] = ()) -> list[Markup]:
    """Return a docstring's paragraphs without its first one as HTML; ``names`` are code, such as hyperparameters."""
    found = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text))[1:]:
        before, *items = re.split(r"(?:^|\n)- ", paragraph)
        if before.strip():
            found.append(Markup("<p>{}</p>").format(inline(before, names)))
        if items:
            entries = (Markup("<li>{}</li>").format(inline(item, names)) for item in items)
            found.append(Markup("<ul>{}</ul>").format(Markup("").join(entries)))
    return found


def inline(text: str, names: Collection[str] = ()) -> Markup:
    """Return a paragraph as HTML; ``...`` is code where ``names`` has it or it looks like code, else a formula."""
    drawn = Markup("")
    # between the texts are a span and a role, of which one is there
    first, *others = _SPAN.split(re.sub(r"\s+", " ", text))
    for span, role, after in zip(others[::3], others[1::3], others[2::3], strict=True):
        symbol = span and (span in GREEK or _SYMBOL.fullmatch(span) or not _CODE.search(span))
        if symbol and span not in names:
            drawn += formula(span, names)
        else:
            drawn += Markup("<code>{}</code>").format(span or role.rpartition(".")[2])
        drawn += escape(after)
    return escape(first) + drawn


def formula(text: str, names: Collection[str] = ()) -> Markup:
    """Return a plain-text formula, such as ``L = sum_i CE_i + w KL_T(z_i <- sg z_t)``, as HTML.

    ``_x`` and ``_{...}`` are subscripts, ``^x`` superscripts, ``sum`` is a sum; Greek letters and signs such as ``<-``
    become symbols. Everything else stays as it is, and a screen reader has the text as it was written.

    Args:
        names: Words that are not symbols, such as a method's hyperparameters.
    """
    start = Markup('<span class="formula" role="math" aria-label="{}">').format(text)
    return start + _drawn(text, names) + Markup("</span>")


def _drawn(text: str, names: Collection[str]) -> Markup:
    drawn = Markup("")
    for found in _TOKEN.finditer(text):
        whole, name, below = found[0], found["name"], found["below"]
        if found["script"]:
            script = Markup("<sub>{}</sub>") if found["script"] == "_" else Markup("<sup>{}</sup>")
            drawn += script.format(_drawn(found["group"] or found["word"] or "", names))
        elif name is None or whole in names or (below and len(name) > 2):
            drawn += escape(SIGNS.get(whole, whole))
        else:
            shown = SUMS.get(name) or GREEK.get(name) or name
            drawn += Markup("<i>{}</i>").format(shown) if len(shown) == 1 and name not in SUMS else escape(shown)
            drawn += Markup("<sub>{}</sub>").format(below) if below else ""
    return drawn
