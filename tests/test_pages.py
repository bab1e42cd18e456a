"""The pages for people: no link leads to a file that is not there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for where in ("*.md", "docs/*.md", "results/**/*.md") for path in ROOT.glob(where))


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [target for target in targets if target and "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_every_wing_stands_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    wings = [path.parent.name for path in (ROOT / "benchmark").glob("*/__init__.py")]
    assert len(wings) > 10
    assert [wing for wing in wings if f"`{wing}`" not in page] == []
