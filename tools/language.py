"""The language of pages, help and messages: no word of the glossary's left column, and sentences that stay short."""

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
GLOSSARY: dict[str, Any] = tomllib.loads(Path(__file__).with_name("glossary.toml").read_text(encoding="utf-8"))
PATTERNS = {re.compile(rf"\b(?:{words})\b", re.IGNORECASE): use for words, use in GLOSSARY["words"].items()}

CHECKED = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("docs", "results", "submissions", "benchmark", "methods", "tools", "configs", "tests", ".github"),
)
"""Files, and folders with all pages, templates, programs and YAML files below them."""

EXAMPLES = "test_language.py"
"""The test of this program, with examples of what it finds."""

GUIDES = ("README.md", "docs/*.md")
"""Pages whose sentences are counted."""

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`+[^`]+`+")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_END = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*]*[A-Z0-9`~-])")
_SUFFIXES = (".md", ".py", ".j2", ".js", ".yaml", ".yml")


class Text(NamedTuple):
    """A piece of text for people, and the line of the file on which it begins."""

    line: int
    text: str


def texts(path: Path) -> Iterator[Text]:
    """Yield the text for people in a file: prose of pages, strings and comments of programs, templates without tags."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _of_program(content)
    elif path.suffix == ".md":
        for number, line in enumerate(_prose(content, comments=True).splitlines(), 1):
            yield Text(number, _CODE.sub("``", line))
    else:
        without = re.sub(r"\{[%#{].*?[%#}]\}", lambda found: "\n" * found[0].count("\n"), content, flags=re.DOTALL)
        yield from (Text(number, line) for number, line in enumerate(without.splitlines(), 1))


def _of_program(content: str) -> Iterator[Text]:
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Text(node.lineno, _CODE.sub("``", node.value))
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            yield Text(token.start[0], token.string)


def _prose(page: str, comments: bool = False) -> str:
    """Return a page without its code, of which the comments stay if wanted; lines keep their numbers."""

    def without(found: re.Match[str]) -> str:
        lines = [line.partition("# ")[2] if comments and found[2] in ("", "bash", "yaml") else "" for line in
                 found[3].split("\n")]  # fmt: skip
        return "\n" + "\n".join(lines)

    return _BLOCK.sub(without, page)


def faults(path: Path) -> Iterator[str]:
    """Yield a line for each word of the glossary's left column in a file, and for a name of module or class."""
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
    for start, text in texts(path):
        for pattern, use in PATTERNS.items():
            for found in pattern.finditer(" ".join(text.split()) if path.suffix == ".py" else text):
                yield f"{name}:{start}: {found[0]!r} (write: {use})"
    if path.suffix == ".py":
        if path.stem in GLOSSARY["names"]["modules"]:
            yield f"{name}: the module's name is in the glossary"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name in GLOSSARY["names"]["classes"]:
                yield f"{name}:{node.lineno}: the class's name {node.name} is in the glossary"


def sentences(page: str) -> list[str]:
    """Return the sentences of a page's paragraphs and list items, without tables, headings and code."""
    text = re.sub(r"^(#|\||\[!).*$", "", _prose(page), flags=re.MULTILINE)
    text = re.sub(r"<[^>]+>", "", text)
    text = _LINK.sub(r"\1", _CODE.sub("`code`", text))
    blocks = re.split(r"\n\s*(?:[-*]|\d+\.)\s+|\n\s*\n", f"\n{text}")
    joined = [" ".join(block.split()) for block in blocks]
    found = [sentence for block in joined for sentence in _END.split(block)]
    return [sentence for sentence in found if re.search(r"\w", sentence)]


def long_sentences(path: Path) -> Iterator[str]:
    """Yield a line for each sentence of a page that is too long, and one if the page's median is too high."""
    rule = GLOSSARY["sentences"]
    found = sentences(path.read_text(encoding="utf-8"))
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
    for sentence in found:
        if (count := len(sentence.split())) > rule["longest"]:
            yield f"{name}: a sentence of {count} words, at most {rule['longest']}: {sentence[:90]} ..."
    if found and (middle := median(len(sentence.split()) for sentence in found)) > rule["median"]:
        yield f"{name}: sentences have {middle:g} words in the median, at most {rule['median']}"


def files(names: Iterable[str]) -> Iterator[Path]:
    """Yield the files of names, which are relative to the repository; of folders all that have text for people."""
    for path in (ROOT / name for name in names):
        below = sorted(found for found in path.rglob("*") if found.suffix in _SUFFIXES) if path.is_dir() else [path]
        yield from (found for found in below if "__pycache__" not in found.parts and found.name != EXAMPLES)


def main(names: list[str]) -> int:
    """Print what is wrong in the named files, or in all that are checked; return the exit code."""
    checked = list(files(names or CHECKED))
    guides = {path for pattern in GUIDES for path in ROOT.glob(pattern)}
    found = [line for path in checked for line in faults(path)]
    found += [line for path in checked if path in guides for line in long_sentences(path)]
    for line in found:
        print(line)
    print(f"{len(checked)} files, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
