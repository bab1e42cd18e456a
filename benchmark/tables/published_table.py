"""Our numbers beside those that others have published, with what the two protocols differ in."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from benchmark.formatting import short_name
from benchmark.tables import layout, published
from benchmark.tables.layout import summaries
from benchmark.tables.published import PublishedNumber
from benchmark.tables.replicates import Replicates
from benchmark.tables.table import build
from benchmark.tables.view import TypedTable, of_texts

HEADER = (
    "method", "dataset", "backbone", "ours", "published", "difference", "source", "protocol of the source",
    "ours differs",
)  # fmt: skip

REFERENCE = {"train.epochs": 300, "train.batch_size": 128, "train.lr": 0.1, "data.train_per_class": None,
             "data.test_per_class": None, "train.optimizer": "sgd", "train.label_smoothing": 0.0,
             "data.augment": "standard", "data.crop": "padded", "data.erase": 0.0, "data.mix": "none"}  # fmt: skip
"""Our protocol as ``published.yaml`` counts the differences from it; a run that departs from it says so."""


@dataclass(frozen=True)
class Comparison:
    """A published number and, where there are finished runs of the same, ours.

    Attributes:
        number: The published one.
        ours: On the test set, after the last epoch; None if there is none.
        settings: What our runs differ in from our protocol.
    """

    number: PublishedNumber
    ours: Replicates | None = None
    settings: str = ""

    @property
    def difference(self) -> float | None:
        """Ours minus the published number, in points."""
        return None if self.ours is None or self.ours.mean is None else self.ours.mean - self.number.accuracy


def compare(frame: pd.DataFrame | None) -> list[Comparison]:
    """Return every published number, those first that there are runs of ours for.

    Args:
        frame: From :func:`benchmark.store.load`; None or empty if there are no runs.
    """
    ours = _ours(frame) if frame is not None and not frame.empty else {}
    met: list[Comparison] = []
    alone: list[Comparison] = []
    for number in published.load():
        mine = ours.get((number.method, number.dataset, number.backbone), [])
        met += [replace(found, number=number) for found in mine]
        alone += [] if mine else [Comparison(number)]
    return [*met, *alone]


def _ours(frame: pd.DataFrame) -> dict[tuple[str, str, str], list[Comparison]]:
    """Return our cells by method, dataset and backbone, where others have published some.

    There is more than one where runs differ in their settings.
    """
    found: dict[tuple[str, str, str], list[Comparison]] = {}
    tested = frame[frame["split"] == "test"]
    for key, runs in tested.groupby(["method", "dataset", "backbone"], sort=False):
        method, dataset, backbone = map(str, key)
        name = short_name(dataset).removeprefix("folder:")
        if not published.find(method, name, backbone):
            continue
        table = build(runs, ["student"])
        labels = layout.labelled(summaries(runs))
        for (row, heading), cell in table.replicates.items():
            if not cell.values and not cell.unfinished:
                continue
            same = labels[(labels["row"] == row) & (labels["column"] == heading.column)].iloc[0]
            place = "" if dataset.partition(":")[0] == dataset else f"dataset={short_name(dataset)}"
            parts = [place, _departures(same), *(part.partition(", ")[2] for part in (row, heading.column))]
            settings = ", ".join(dict.fromkeys(word for part in parts for word in part.split(", ") if word))
            found.setdefault((method, name, backbone), []).append(Comparison(_NONE, cell, settings))
    return found


def _departures(run: "pd.Series[Any]") -> str:
    words = []
    for name, usual in REFERENCE.items():
        if name not in run:
            continue
        value = run.get(name)
        value = None if pd.isna(value) else value
        if value != usual:
            shown = f"{value:g}" if isinstance(value, float) else value
            words.append(f"{name.rpartition('.')[2]}={shown}")
    return ", ".join(words)


_NONE = PublishedNumber("", "cifar10", "", "", 0.0, None, None, None, None, "unknown", "", "", "")


def typed_comparison(comparisons: Sequence[Comparison], full: bool = True) -> TypedTable:
    """Return the comparison as a typed table; every row names its source and what its protocol differs in.

    Args:
        comparisons: From :func:`compare`.
        full: Whether the notes describe the sources.
    """
    sources = published.sources()
    used = [key for key in sources if any(item.number.source == key for item in comparisons)]
    notes = [
        "published numbers were measured by others and are no results of ours; ours: test accuracy of the students in "
        "%, last epoch, mean ± standard deviation (number of seeds); difference: ours minus published, in points",
        *(f"{key}: {sources[key].title}, {sources[key].url}, {sources[key].place}; it reports "
          f"{sources[key].reports}; scored: {sources[key].predictor}" for key in used if full),
    ]  # fmt: skip
    return of_texts(HEADER, [_row(item) for item in comparisons], notes, [_data(item) for item in comparisons])


def _row(item: Comparison) -> list[str]:
    number = item.number
    spread = f" ± {number.std:.2f}" if number.std is not None else ""
    runs = f" ({number.runs})" if number.runs else ""
    protocol = "; ".join(part for part in (f"{number.epoch} epoch", number.protocol, number.note) if part)
    network = number.backbone if number.network == number.backbone else f"{number.backbone}: {number.network}"
    return [
        number.method,
        number.dataset,
        network,
        item.ours.text() if item.ours else "",
        f"{number.accuracy:.2f}{spread}{runs}",
        "" if item.difference is None else f"{item.difference:+.2f}",
        number.source,
        protocol,
        item.settings,
    ]


def _data(item: Comparison) -> dict[str, object]:
    ours = None
    if item.ours is not None:
        seeds = {str(seed): value for seed, value in item.ours.values.items()}
        ours = {"text": item.ours.text(), "mean": item.ours.mean, "seeds": seeds, "settings": item.settings}
    source = published.sources()[item.number.source]
    return {
        **asdict(item.number),
        "source_title": source.title,
        "source_url": source.url,
        "ours": ours,
        "difference": item.difference,
    }
