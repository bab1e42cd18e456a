"""Docstrings on a method's page: paragraphs, lists and code, and nothing of a text is lost or markup."""

import inspect
import re
from html import unescape

import pytest

from benchmark.site.pages import described
from methods import registry


@pytest.mark.parametrize("name", list(registry.catalogue()))
def test_nothing_of_a_docstring_is_lost(name: str) -> None:
    doc = inspect.getdoc(registry.load(name)) or ""
    text = unescape(re.sub(r"<[^>]+>", "", described(doc)))
    # the first paragraph is the description; roles show the last part of a name
    wanted = re.sub(r":\w+:`[\w.]*?(\w+)`", r"\1", doc.partition("\n\n")[2])
    assert re.sub(r"[\s`-]", "", text) == re.sub(r"[\s`-]", "", wanted)


def test_code_and_lists_are_recognised_and_all_else_is_text() -> None:
    shown = described(
        "First.\n\nThe ``weight`` of :func:`methods.peers.mean`: <b> *no* [link](javascript:x) ![i](http://x)\n"
        "- one ``<i>``\n- two"
    )
    assert re.findall(r"<code>(.*?)</code>", shown) == ["weight", "mean", "&lt;i&gt;"]
    assert re.findall(r"<(\w+)", shown) == ["p", "code", "code", "ul", "li", "code", "li"]
    assert "&lt;b&gt; *no* [link](javascript:x) ![i](http://x)" in shown
