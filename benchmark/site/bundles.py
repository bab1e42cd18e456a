"""The bundle of each run set, as far as they fit on a site."""

from collections.abc import Sequence
from pathlib import Path

from benchmark import exchange
from benchmark.reports import Content
from benchmark.site.run_sets import RunSet
from benchmark.store import CONFIG, METRICS, RESULT

ENDING = ".tar.gz"
"""Which every machine opens, without a package."""

_SHARE = 0.3
"""What is left of a run's files when they are compressed: assumed before it is tried, generously."""


def write(content: Content, sets: Sequence[RunSet], folder: Path, limit: int) -> dict[str, Path]:
    """Write the bundles of run sets, the small ones first, and return them by the sets' slugs.

    Args:
        content: The runs.
        sets: Of them.
        folder: Where the bundles go; it is made.
        limit: Bytes that all of them may have together; a set that does not fit has none.
    """
    folders = {one.slug: [content.runs[name].folder for name in one.group.runs] for one in sets}
    sizes = {slug: sum(map(_size, own)) for slug, own in folders.items()}
    found: dict[str, Path] = {}
    left = limit
    for slug in sorted(folders, key=lambda slug: (sizes[slug], slug)):
        if _SHARE * sizes[slug] > left:
            break
        path = folder / f"{slug}{ENDING}"
        packed = exchange.pack_runs(folders[slug], path)
        if packed.size > left:
            path.unlink()
            break
        left -= packed.size
        if packed.runs:
            found[slug] = path
    return found


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for name in (CONFIG, METRICS, RESULT) if (path := folder / name).is_file())
