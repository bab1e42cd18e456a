"""Formulas of docstrings as HTML: what is drawn, and that nothing of a text is lost."""

import inspect
import re
from html import unescape

import pytest

from benchmark.site.formulas import GREEK, SIGNS, SUMS, formula, inline, paragraphs
from methods import registry


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("z_i", "<i>z</i><sub><i>i</i></sub>"),
        ("C^2", "<i>C</i><sup>2</sup>"),
        ("alpha", f"<i>{GREEK['alpha']}</i>"),
        ("z_leader", "<i>z</i><sub>leader</sub>"),
        ("a < b", "<i>a</i> &lt; <i>b</i>"),
        ("L = sum_k CE_k", "<i>L</i> = ∑<sub><i>k</i></sub> CE<sub><i>k</i></sub>"),
        ("k extra_blocks", "<i>k</i> extra_blocks"),
    ],
)
def test_what_is_drawn(text: str, expected: str) -> None:
    assert re.sub(r"</?span[^>]*>", "", str(formula(text, ["extra_blocks"]))) == expected


def test_a_formula_is_read_out_as_it_was_written_and_ends_no_attribute() -> None:
    assert 'aria-label="a &lt; &#34;b&#34; &amp; c"' in str(formula('a < "b" & c'))


@pytest.mark.parametrize("name", list(registry.catalogue()))
def test_nothing_of_a_docstring_is_lost(name: str) -> None:
    cls = registry.load(name)
    doc = inspect.getdoc(cls) or ""
    shown = " ".join(map(str, paragraphs(doc, cls.Hyperparameters.model_fields)))
    back = {value: key for key, value in {**SUMS, **GREEK, **SIGNS}.items()}
    text = unescape(re.sub(r"<[^>]+>", "", shown))
    for sign, word in back.items():
        text = text.replace(sign, word)
    # the first paragraph is the description; roles show the last part of a name; scripts lose their sign
    wanted = re.sub(r":\w+:`[\w.]*?(\w+)`", r"\1", doc.partition("\n\n")[2])
    assert bare(text) == bare(wanted)


def bare(text: str) -> str:
    """What is left of a text without the signs that say how it is set."""
    return re.sub(r"[\s`_^{}-]", "", text)


def test_code_and_formulas_are_told_apart() -> None:
    shown = str(
        inline("``weight`` times ``w_i`` by :func:`methods.peers.mean`, ``sharing: networks``, <b>", ["weight"])
    )
    assert re.findall(r"<code>(.*?)</code>", shown) == ["weight", "mean", "sharing: networks"]
    assert shown.count('role="math"') == 1
    assert "&lt;b&gt;" in shown
