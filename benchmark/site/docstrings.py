"""A method's docstring as HTML: paragraphs, lists, code, and its plain-text formulas as MathML that wraps."""

import inspect
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
"""The length from which a name is a word and not a symbol."""
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
        if waiting:
            yield waiting, ""
            # adjacent symbols are multiplied; adjacent words need a space
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
    # a sign at the start of a line looks as in the middle of one, and brackets do not stretch
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
