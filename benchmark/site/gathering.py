"""What a site is made of: results folders, bundles that lie in them, and submissions, each with what was checked."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark import store
from benchmark.exchange import Record, Submission, is_bundle, merge, records, submission
from benchmark.store import Found
from methods.errors import InputError

_SKIPPED = frozenset(("runs", "sources"))


@dataclass(frozen=True)
class Place:
    """A results folder.

    Attributes:
        root: Where the runs lie: the folder itself, or one that a bundle was unpacked into.
        record: Which of its runs were repeated.
        submission: Whose it is; None for results of one's own.
        disputed: Identities of runs of a submission that have other numbers elsewhere.
    """

    root: Path
    record: Record = field(default_factory=Record)
    submission: Submission | None = None
    disputed: frozenset[str] = frozenset()


def gather(
    results: Sequence[Path], submissions: Path | None, workplace: Path, prefer: Path | None = None
) -> tuple[list[Place], list[str]]:
    """Return the places, one's own first, and a line on each run of a submission that has other numbers elsewhere.

    Args:
        results: Results folders, folders that have some or bundles below them, bundles, or patterns.
        submissions: The folder with one folder per submission; None for none.
        workplace: An empty folder, in which bundles are unpacked.
        prefer: The results folder whose runs count where others disagree.

    Raises:
        InputError: If there is nothing, or anything is damaged.
    """
    places = [place for given in results for place in _below(given, workplace)]
    notes: list[str] = []
    handed = submission.below(submissions) if submissions is not None else []
    known = _by_identity([place.root for place in places], prefer) if handed else {}
    for handed_in in handed:
        root = _unpacked(handed_in.bundle, workplace)
        disputed = set()
        for found in store.read(root).found:
            other = known.get(found.record.identity)
            if other is None:
                known[found.record.identity] = found
            elif store.better(other, found) is None:
                disputed.add(found.record.identity)
                notes.append(f"{handed_in.name}: {found.record.name} has other numbers than the same run elsewhere")
                shutil.rmtree(found.folder)
        record = records.read(handed_in.folder)
        places.append(Place(root, record, handed_in, frozenset(disputed)))
    if not any(store.scan(place.root) for place in places):
        raise InputError(f"no runs and no bundles below {', '.join(map(str, results))} yet: bench run makes some")
    return places, notes


def _by_identity(roots: Sequence[Path], prefer: Path | None) -> dict[str, Found]:
    return {found.record.identity: found for found in store.read(roots, prefer).found} if roots else {}


def _below(given: Path, workplace: Path) -> Iterator[Place]:
    if given.is_file() and is_bundle(given.name):
        yield Place(_unpacked(given, workplace), records.read(given.parent))
        return
    for folder in store.folders(given):
        yield from _inside(folder, workplace)


def _inside(folder: Path, workplace: Path) -> Iterator[Place]:
    """Yield the folder's own runs, those of its bundles, and what lies below."""
    if (folder / "runs").is_dir():
        yield Place(folder, records.read(folder))
    for path in sorted(folder.iterdir()):
        if path.is_file() and is_bundle(path.name):
            yield Place(_unpacked(path, workplace), records.read(folder))
        elif path.is_dir() and path.name not in _SKIPPED and not path.name.startswith("."):
            yield from _inside(path, workplace)


def _unpacked(bundle: Path, workplace: Path) -> Path:
    root = workplace / f"{len(list(workplace.iterdir()))}"
    root.mkdir()
    merge([bundle], root)
    return root
