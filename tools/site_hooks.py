"""What mkdocs does not do by itself: links to the code, and diagrams that no script from elsewhere draws."""

import re
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tools.diagrams import flowchart  # noqa: E402 - mkdocs gives hooks no package

# the reader of annotations also tries to read the content of Annotated, and "3.25in" of a help text is no Python
warnings.filterwarnings("ignore", "invalid decimal literal", SyntaxWarning)

_MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FETCHED = re.compile(
    r"""<(?!a\b|link\b)[^>]*\bsrc(?:set)?=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|icon|preload|preconnect|modulepreload))[^>]*\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|url\(["']?((?:https?:)?//[^"')]+)"""
)
_LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return a page's text with its diagrams drawn and without links that lead out of the documentation."""
    return inside_only(drawn(markdown), Path(page.file.abs_src_path))


def drawn(markdown: str) -> str:
    """Return a text whose flowcharts of Mermaid are pictures."""
    return _MERMAID.sub(lambda found: flowchart(found[1]), markdown)


def inside_only(markdown: str, page: Path) -> str:
    """Return a text in which links to files of the repository that are no pages are the files' names.

    Args:
        markdown: The text.
        page: Its file.
    """

    def resolved(found: re.Match[str]) -> str:
        words, target = found[1], (page.parent / found[2]).resolve()
        if target.is_relative_to(ROOT / "docs") or not target.is_relative_to(ROOT):
            return found[0]
        name = f"`{target.relative_to(ROOT)}`"
        return name if words.strip("`") in name else f"{words} ({name})"

    return _LINK.sub(resolved, markdown)


def on_post_build(*, config: Any, **_: Any) -> None:
    """End the build if a page would have a browser fetch something from elsewhere.

    Raises:
        RuntimeError: With the pages and the addresses.
    """
    site = Path(config["site_dir"])
    files = [path for ending in ("html", "css") for path in sorted(site.rglob(f"*.{ending}"))]
    found = {path: fetched_from_elsewhere(path.read_text(encoding="utf-8")) for path in files}
    told = [f"{path.relative_to(site)}: {', '.join(addresses)}" for path, addresses in found.items() if addresses]
    if told:
        raise RuntimeError(f"what the site would fetch from elsewhere: {'; '.join(told)}")


def fetched_from_elsewhere(text: str) -> list[str]:
    """Return the addresses that a browser loads for a page or a style sheet, without those that wait for a click."""
    return [address for found in _FETCHED.findall(text) for address in found if address]
