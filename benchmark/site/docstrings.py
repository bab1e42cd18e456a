"""A method's docstring as a page shows it: paragraphs, lists, formulas and words of code."""

import inspect
import re
from collections.abc import Collection

from markupsafe import Markup, escape

from benchmark.site.formulas import GREEK, mathml

_SPAN = re.compile(r"``(?P<span>.+?)``|:\w+:`~?(?P<role>[^`]+)`", re.DOTALL)
_SYMBOL = re.compile(r"[A-Za-z]{1,2}(_\w{1,6})?(\([a-z]\))?")
_CODE = re.compile(r"--|: |[a-z]\.[a-z]|\.\w+$|^[A-Za-z][A-Za-z_0-9]+$")


def paragraphs(text: str, names: Collection[str] = ()) -> list[Markup]:
    """Return a docstring's paragraphs without its first one, as HTML.

    Args:
        text: The docstring.
        names: Words that are code and no symbols, such as a method's hyperparameters.
    """
    found = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text))[1:]:
        before, *items = re.split(r"(?:^|\n)- ", paragraph)
        if before.strip():
            found.append(Markup("<p>{}</p>").format(inline(before, names)))
        if items:
            entries = Markup("").join(Markup("<li>{}</li>").format(inline(item, names)) for item in items)
            found.append(Markup("<ul>{}</ul>").format(entries))
    return found


def inline(text: str, names: Collection[str] = ()) -> Markup:
    """Return a paragraph's words, its formulas and its code as HTML.

    Args:
        text: With ``...`` around formulas and code.
        names: Words that are code and no symbols.
    """
    parts: list[Markup] = []
    end = 0
    for found in _SPAN.finditer(text):
        parts.append(escape(_line(text[end : found.start()])))
        end = found.end()
        if found["role"]:
            parts.append(Markup("<code>{}</code>").format(found["role"].rpartition(".")[2]))
        else:
            span = _line(found["span"])
            parts.append(mathml(span, names) if _is_formula(span, names) else Markup("<code>{}</code>").format(span))
    return Markup("").join([*parts, escape(_line(text[end:]))])


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _is_formula(span: str, names: Collection[str]) -> bool:
    if span in names:
        return False
    return span in GREEK or _SYMBOL.fullmatch(span) is not None or _CODE.search(span) is None
