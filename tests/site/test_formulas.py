"""Formulas of docstrings as MathML: what is drawn, and that nothing of a text is lost."""

import inspect
import re
from html import unescape

import pytest

from benchmark.site.formulas import GREEK, SIGNS, SUMS, inline, mathml, paragraphs
from methods import registry


def drawn(formula: str, *names: str) -> str:
    """The MathML alone."""
    return re.sub(r"<span[^>]*>|</span>|</?math>", "", str(mathml(formula, names)))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("z_i", "<mrow><msub><mi>z</mi><mrow><mi>i</mi></mrow></msub></mrow>"),
        ("C^2", "<mrow><msup><mi>C</mi><mrow><mn>2</mn></mrow></msup></mrow>"),
        ("alpha", f"<mrow><mi>{GREEK['alpha']}</mi></mrow>"),
        ("z_leader", "<mrow><msub><mi>z</mi><mi>leader</mi></msub></mrow>"),
        ("a < b", '<mrow><mi>a</mi><mo stretchy="false">&lt;</mo><mi>b</mi></mrow>'),
        ("sg z", '<mrow><mi>sg</mi><mspace width="0.22em"></mspace><mi>z</mi></mrow>'),
    ],
)  # fmt: skip
def test_what_is_drawn(formula: str, expected: str) -> None:
    assert drawn(formula) == expected


def test_a_line_may_break_at_sums_and_after_equals() -> None:
    pieces = re.findall(r"<math>(.*?)</math>", str(mathml("L = a + b")))
    assert [re.sub(r"<[^>]+>", "", piece) for piece in pieces] == ["L=", "a", "+b"]


def test_a_hyperparameter_is_a_word() -> None:
    assert drawn("k extra_blocks", "extra_blocks").endswith("<mtext>extra_blocks</mtext></mrow>")


def test_a_formula_is_read_out_as_it_was_written_and_ends_no_attribute() -> None:
    assert 'aria-label="a &lt; &#34;b&#34; &amp; c"' in str(mathml('a < "b" & c'))


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
    assert shown.count("<math>") == 1
    assert "&lt;b&gt;" in shown
