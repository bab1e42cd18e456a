"""The check of language: words of the glossary where people read them, names, and the length of sentences."""

from pathlib import Path

import pytest

from tools import language


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.py", '"""Every method\\narrives here."""\n', [1]),
        ("a.py", "x = 1  # no luck\n", [1]),
        ("a.py", 'x = f"{1} mended"\n', [1]),
        ("a.py", "luck = arrives = 1\n", []),
        ("words.py", "class Showing:\n    pass\n", [0, 1]),
        ("a.md", "One\n\nA run goes on.\n", [3]),
        ("a.md", "`goes on`\n\n```python\narrives = 1\n```\n", []),
        ("a.md", "```\nbench run  # goes on\n```\n", [2]),
        ("a.html.j2", "{# arrives #}\n<p>{{ arrives }}</p>\n<p>arrives</p>\n", [3]),
    ],
)
def test_words_are_found_where_people_read_them(name: str, content: str, lines: list[int], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    found = [line.removeprefix(f"{path}:").partition(":")[0] for line in language.faults(path)]
    assert [int(number) if number.isdigit() else 0 for number in found] == lines


def test_sentences_are_those_of_paragraphs_and_lists() -> None:
    page = "# A long title\n\nOne two. Three `a b c`!\n\n- [four](x.md) five\n- six\n\n| a | b |\n\n```\ncode\n```\n"
    assert language.sentences(page) == ["One two.", "Three `code`!", "four five", "six"]


def test_long_sentences_and_a_high_median_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"{'word ' * 41}end.\n\nShort one.\n", encoding="utf-8")
    assert [line.removeprefix(f"{path}: ")[:24] for line in language.long_sentences(path)] == [
        "a sentence of 42 words, ",
        "sentences have 22 words ",
    ]
