"""Docstrings as HTML: paragraphs, lists, code, and plain-text formulas as MathML that wraps."""

import inspect
import re
import unicodedata
from collections.abc import Collection, Iterator

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
    r"(?P<space>\s+)|(?P<script>[_^])(?:\{(?P<group>[^{}]*)\}|(?P<word>-?[A-Za-z0-9]+))"
    r"|(?P<name>[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z]{3,}(?:_[A-Za-z]+)*)?)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<sign><-|!=|>=|<=|\|\||\.\.\.|.)"
)
_LONG = 3  # the length from which a name is a word and not a symbol
_SPAN = re.compile(r"``(?P<span>.+?)``|:\w+:`~?(?P<role>[^`]+)`", re.DOTALL)
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
            entries = Markup("").join(Markup("<li>{}</li>").format(inline(item, names)) for item in items)
            found.append(Markup("<ul>{}</ul>").format(entries))
    return found


def inline(text: str, names: Collection[str] = ()) -> Markup:
    """Return a paragraph as HTML; ``...`` is code where ``names`` has it or it looks like code, else a formula."""
    parts: list[Markup] = []
    end = 0
    text = re.sub(r"\s+", " ", text)
    for found in _SPAN.finditer(text):
        parts.append(escape(text[end : found.start()]))
        end = found.end()
        span = found["span"]
        symbol = span and (span in GREEK or _SYMBOL.fullmatch(span) or not _CODE.search(span))
        if symbol and span not in names:
            parts.append(mathml(span, names))
        else:
            parts.append(Markup("<code>{}</code>").format(span or found["role"].rpartition(".")[2]))
    return Markup("").join([*parts, escape(text[end:])])


def mathml(formula: str, names: Collection[str] = ()) -> Markup:
    """Return a plain-text formula, such as ``L = sum_i CE_i + w KL_T(z_i <- sg z_t)``, as MathML.

    ``_x`` and ``_{...}`` are subscripts, ``^x`` superscripts, ``sum`` is a sum; Greek letters and signs such as ``<-``
    become symbols. Everything else stays as it is. A line may break before each ``+`` and after ``=``.

    Args:
        names: Words that are not symbols, such as a method's hyperparameters.
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
    """Yield the parts of a formula between which a line may break, each with its sign if it is one."""
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
        sign = found["sign"]
        if waiting:
            yield waiting, ""
            # adjacent symbols are multiplied; adjacent words need a space
            if apart and not sign:
                yield '<mspace width="0.22em"></mspace>', ""
        waiting, apart = "", False
        if sign:
            # a sign at the start of a line looks as in the middle of one, and brackets do not stretch
            form = ' form="infix"' if sign in ("+", "-", "=") else ""
            yield f'<mo{form} stretchy="false">{escape(SIGNS.get(sign, sign))}</mo>', sign
        else:
            waiting = f"<mn>{found['number']}</mn>" if found["number"] else _name(found["name"], names)
    if waiting:
        yield waiting, ""


def _name(word: str, names: Collection[str]) -> str:
    base, _, below = word.partition("_")
    if word in SUMS or word in GREEK:
        return f"<mo>{SUMS[word]}</mo>" if word in SUMS else f"<mi>{GREEK[word]}</mi>"
    if not below:
        return f"<mi>{word}</mi>"
    if word in names or len(base) >= _LONG:
        return f"<mtext>{word}</mtext>"
    return f"<msub>{_name(base, names)}<mi>{below}</mi></msub>"
