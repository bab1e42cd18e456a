"""A method's page beside its results: registry, published numbers, and the docstring with its formulas as MathML."""

import ast
import inspect
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from benchmark.reports import (
    FIDELITY,
    MethodSchedules,
    PageCell,
    PageTable,
    default_schedules,
    described,
    differences,
    networks,
)
from benchmark.tables import Comparison, published
from methods import registry
from methods.interface import Method

_LONG_COLUMNS = frozenset(("backbone", "protocol of the source", "ours differs"))
"""Columns of published numbers with long text."""
_CURVE = (320, 120)  # width and height of a schedule's curve, in SVG units
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 22


@dataclass(frozen=True)
class About:
    """The introduction of a method."""

    name: str  # as on the command line
    description: str = ""  # one line
    year: int = 0  # of publication; 0 if unknown
    text: Sequence[Markup] = ()  # the rest of the docstring as HTML, one item per paragraph
    facts: Mapping[str, str] = field(default_factory=dict)  # version, networks and the like, by name
    tables: Sequence[PageTable] = ()  # hyperparameters, schedules, differences to released code, published numbers
    curves: Sequence[Mapping[str, Any]] = ()  # one per loss term with a schedule, for the template
    missing: str = ""  # why there is no more; empty if there is


def about(name: str, plugins: Sequence[str], comparisons: Iterable[Comparison], source: str = "") -> About:
    """Return everything that is known about a method; of an unknown plug-in its ``source`` is read and not run."""
    listing = registry.catalogue(plugins).get(name)
    if listing is None or listing.broken:
        return _from_source(name, source)
    cls = registry.load(name, plugins)
    schedules = default_schedules(cls)
    tables = [
        _hyperparameters(cls),
        _schedules(schedules) if schedules else None,
        _differences(name),
        _published([one for one in comparisons if one.number.method == name]),
    ]
    return About(
        name=name,
        description=listing.description,
        year=listing.year,
        text=paragraphs(inspect.getdoc(cls) or "", cls.Hyperparameters.model_fields),
        facts={
            "version": str(cls.version),
            "networks": networks(cls),
            "defined in": listing.origin if listing.own else Path(listing.origin).name,
            "command": f"bench run --methods {name}",
        },
        tables=[table for table in tables if table],
        curves=_curves(schedules) if schedules else (),
    )


def _from_source(name: str, source: str) -> About:
    """Return the docstring of a plug-in's method; none of its code is run."""
    missing = "A plug-in, whose code is not run here: bench site --plugin FILE.py adds its hyperparameters."
    try:
        classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        classes = []
    for node in classes:
        values = [ast.unparse(line.value) for line in node.body if isinstance(line, ast.Assign)]
        text = ast.get_docstring(node) or ""
        if repr(name) in values and text:
            return About(name, text.splitlines()[0], text=paragraphs(text), missing=missing)
    return About(name, missing=missing)


def _hyperparameters(cls: type[Method]) -> PageTable | None:
    rows = [
        [PageCell(name), *(PageCell(text.removeprefix("default "), "wrap") for text in rest)]
        for name, *rest in (described(key, info) for key, info in cls.Hyperparameters.model_fields.items())
    ]
    notes = [f"set with --set {cls.name}.KEY=VALUE, in YAML or in methods.build(...)"]
    header = ("name", "values", "default", "description")
    return PageTable("Hyperparameters", header, rows, notes) if rows else None


def _schedules(found: MethodSchedules) -> PageTable:
    summary = found.summary()
    rows = [[PageCell(str(value)) for value in row] for row in summary.itertuples(index=False)]
    notes = [f"at the defaults, in a run of {found.epochs} epochs", *found.remarks]
    return PageTable("Schedules", [str(name) for name in summary.columns], rows, notes)


def _curves(found: MethodSchedules) -> list[dict[str, Any]]:
    """Return the weight of each loss term over the epochs as points of an SVG path, with what its labels say."""
    width, height = _CURVE
    base, high = height - _BOTTOM, height - _BOTTOM - _TOP
    box = {"width": width, "height": height, "left": _LEFT, "right": width - _RIGHT, "top": _TOP, "base": base}
    curves = []
    for term, schedule in found.schedules.items():
        values = [value / schedule.weight if schedule.weight else 0.0 for value in schedule.values]
        across = (width - _LEFT - _RIGHT) / max(1, len(values) - 1)
        heights = [f"{base - high * value:.1f}" for value in values]
        # the inner points of a level stretch are left out
        kept = [
            epoch
            for epoch in range(len(values))
            if epoch in (0, len(values) - 1) or not heights[epoch - 1] == heights[epoch] == heights[epoch + 1]
        ]
        curves.append(
            {
                "term": term,
                "state": "" if schedule.active else "switched off" if schedule.switched_off else "inactive",
                "epochs": len(values),
                "weight": f"{schedule.weight:g}",
                "most": f"{max(schedule.values):.3g}",
                "points": "L".join(f"{_LEFT + epoch * across:.1f} {heights[epoch]}" for epoch in kept),
                "box": box,
            }
        )
    return curves


def _differences(name: str) -> PageTable | None:
    rows = [
        [
            PageCell(text.replace("`", "").replace("see below", f"see {FIDELITY}"), mark="wrap")
            for text in (one.released, one.here, one.why, one.test)
        ]
        for one in differences(name)
    ]
    header = ("the released code", "here", "why", "test")
    return PageTable("Where released code and paper differ", header, rows) if rows else None


def _published(comparisons: Sequence[Comparison]) -> PageTable | None:
    if not comparisons:
        return None
    content = published.typed_comparison(comparisons)
    lines = content.lines
    # without the method's own name, and without columns that are empty in all rows
    kept = [place for place in range(1, len(content.columns)) if any(line[place].text for line in lines)]
    titles = [column.title for column in content.columns]
    marks = ["wrap" if title in _LONG_COLUMNS else "" for title in titles]
    rows = [[PageCell(line[place].text, marks[place]) for place in kept] for line in lines]
    return PageTable("Published numbers", [titles[place] for place in kept], rows, content.notes)


# docstrings as HTML: paragraphs, lists, code, and plain-text formulas as MathML that wraps

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
