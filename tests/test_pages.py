"""The pages for people: no link leads to a file that is not there, and the site has all of them."""

import re
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import yaml

import methods
from tools import diagrams, site_hooks

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for where in ("*.md", "docs/**/*.md", "results/**/*.md") for path in ROOT.glob(where))


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [target for target in targets if target and "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_every_package_is_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = [path.parent.name for path in (ROOT / "benchmark").glob("*/__init__.py")]
    assert len(packages) > 10
    assert [package for package in packages if f"`{package}`" not in page] == []


def entries(nav: Any) -> list[str]:
    """The pages of a navigation, from top to bottom."""
    if isinstance(nav, str):
        return [nav]
    return [page for item in (nav.values() if isinstance(nav, dict) else nav) for page in entries(item)]


def test_the_navigation_has_every_page_once() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(entries(settings["nav"])) == sorted(pages)
    assert settings["strict"] is True


def test_the_architecture_s_diagram_points_down() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = site_hooks.drawn(page)
    assert "mermaid" not in drawn
    assert drawn == site_hooks.drawn(page)
    (source,) = re.findall(r"```mermaid\n(.*?)```", page, re.DOTALL)
    labels, arrows = diagrams.parse(source)
    assert labels["methods"] == "methods/"
    assert {("cli", "commands"), ("studies", "running"), ("training", "methods")} <= set(arrows)
    depth = {name: level for level, row in enumerate(diagrams.layers(arrows)) for name in row}
    assert all(depth[start] < depth[end] for start, end in arrows)
    # each node's name is in the picture as text
    assert [label for label in labels.values() if f">{label}</text>" not in drawn] == []
    # a blank line would end the picture for Markdown
    (picture,) = re.findall(r"<svg .*?</svg>", drawn, re.DOTALL)
    assert "\n\n" not in picture


def test_the_reference_names_what_is_there_and_every_method() -> None:
    named = [name for page in PAGES for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)]
    assert len(named) == len(set(named)) > 30
    assert [name for name in named if resolve_name(name) is None] == []
    modules = {methods.registry.load(name).__module__ for name in methods.available()}
    assert modules <= set(named)
