"""Accuracies that others have published, each with its source, beside our own, and what the protocols differ in."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from benchmark.configuration import parse_yaml
from benchmark.formatting import short_name
from benchmark.tables.layout import arranged, shown_setting, summaries
from benchmark.tables.replicates import Replicates
from benchmark.tables.table import build
from benchmark.tables.view import TypedTable, of_texts

Epoch = Literal["best", "last", "unknown"]
Dataset = Literal["cifar10", "cifar100", "tinyimagenet", "imagenet"]
Percent = Annotated[float, Field(gt=0, lt=100)]
Text = Annotated[str, Field(min_length=1)]

HEADER = ("method", "dataset", "backbone", "ours", "published", "difference", "source", "protocol of the source",
          "ours differs")  # fmt: skip

REFERENCE = {"train.epochs": 300, "train.batch_size": 128, "train.lr": 0.1, "data.train_per_class": None,
             "data.test_per_class": None, "train.optimizer": "sgd", "train.label_smoothing": 0.0,
             "data.augment": "standard", "data.crop": "padded", "data.erase": 0.0, "data.mix": "none"}  # fmt: skip
"""Our protocol as ``published.yaml`` counts the differences from it; a run that departs from it says so."""


@dataclass(frozen=True, kw_only=True)
class PublishedNumber:
    """One accuracy in percent that somebody else has published."""

    method: str  # our method's name, or a name of its own where ours is another method
    dataset: Dataset  # the dataset whose test set was scored
    backbone: str  # our backbone's name, or a name of its own; several different networks are joined by `+`
    network: str  # which network of the backbone was scored; the backbone itself where it is one network
    accuracy: float  # top-1
    std: float | None = None  # its standard deviation, if given
    runs: int | None  # the number of runs, if known
    ensemble: float | None = None  # the ensemble's accuracy, if given
    best_epoch: float | None = None  # the best epoch's accuracy on the test set, if given beside `accuracy`
    epoch: Epoch  # which epoch `accuracy` belongs to; `best` is chosen on the test set
    source: str  # the key of its source in sources
    protocol: str  # what differs from our protocol in all of the source's numbers
    note: str  # what is to be known about this number in particular; may be empty


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Note(_Strict):
    """A remark on the numbers of these methods, backbones and datasets; an empty list stands for all."""

    methods: list[Text] = []
    backbones: list[Text] = []
    datasets: list[Dataset] = []
    note: Text

    def applies(self, method: str, backbone: str, dataset: Dataset) -> bool:
        """Return whether the remark is on a number."""
        pairs = ((self.methods, method), (self.backbones, backbone), (self.datasets, dataset))
        return all(not names or name in names for names, name in pairs)


class Source(_Strict):
    """Where numbers come from."""

    title: Text
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name on GitHub")]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,8}$")]
    place: Annotated[str, Field(min_length=1, description="where in the repository")]
    reports: Annotated[str, Field(min_length=1, description="what is reported, and by whom")]
    predictor: Annotated[str, Field(min_length=1, description="what was scored")]
    epoch: Epoch
    runs: Annotated[int, Field(ge=1)] | None
    networks: Text
    differences: Annotated[list[Text], Field(min_length=1, description="from our protocol")]
    notes: list[Note] = []

    @property
    def url(self) -> str:
        """The repository at the commit."""
        return f"https://github.com/{self.repository}/tree/{self.commit}"


class _Table(_Strict):
    source: Text
    dataset: Dataset
    cells: list[Literal["accuracy", "std", "ensemble", "best_epoch"]] = ["accuracy"]
    methods: list[Text]
    networks: list[Annotated[int, Field(ge=1)]] | None = None
    rows: dict[Text, list[Percent | list[Percent]]]


class Content(_Strict):
    """What is in ``published.yaml``; the tests hold that its names fit together."""

    methods: dict[Literal["ours", "others"], list[Text] | dict[Text, Text]]
    networks: dict[Literal["ours", "others"], list[Text] | dict[Text, Text]]
    sources: dict[Text, Source]
    tables: list[_Table]


@cache
def content() -> Content:
    """Return the file, or raise a ValueError for what is none of its keys and values."""
    text = files("benchmark.tables").joinpath("published.yaml").read_text(encoding="utf-8")
    return Content.model_validate(parse_yaml(text, "published.yaml"))


@cache
def load() -> tuple[PublishedNumber, ...]:
    """Return every published number, in the file's order."""
    found = []
    for table in content().tables:
        source, places = content().sources[table.source], table.networks or [0] * len(table.methods)
        for backbone, row in table.rows.items():
            for method, place, cell in zip(table.methods, places, row, strict=True):
                network = backbone.split("+")[place - 1] if place else backbone
                notes = [one.note for one in source.notes if one.applies(method, backbone, table.dataset)]
                found.append(PublishedNumber(
                    method=method, dataset=table.dataset, backbone=backbone, network=network, runs=source.runs,
                    epoch=source.epoch, source=table.source, protocol="; ".join(source.differences),
                    note="; ".join(notes),
                    **dict(zip(table.cells, cell if isinstance(cell, list) else [cell], strict=False)),
                ))  # fmt: skip
    return tuple(found)


def find(method: str, dataset: str, backbone: str) -> list[PublishedNumber]:
    """Return what is published for a method on a dataset and a backbone; an empty list if nothing is."""
    wanted = method, dataset, backbone
    return [one for one in load() if (one.method, one.dataset, one.backbone) == wanted]


# beside our runs


@dataclass(frozen=True)
class Comparison:
    """A published number and, where there are finished runs of the same, ours."""

    number: PublishedNumber  # the published one
    ours: Replicates | None = None  # on the test set, after the last epoch; None if there is none
    settings: str = ""  # what our runs differ in from our protocol

    @property
    def difference(self) -> float | None:
        """Ours minus the published number, in points."""
        return None if self.ours is None or self.ours.mean is None else self.ours.mean - self.number.accuracy


def compare(frame: pd.DataFrame | None) -> list[Comparison]:
    """Return every published number, those first that there are runs of ours for."""
    ours: dict[tuple[str, ...], list[tuple[Replicates, str]]] = {}
    tested = pd.DataFrame() if frame is None or frame.empty else frame[frame["split"] == "test"]
    for key, runs in () if tested.empty else tested.groupby(["method", "dataset", "backbone"], sort=False):
        method, dataset, backbone = map(str, key)
        name = short_name(dataset).removeprefix("folder:")
        if not find(method, name, backbone):
            continue
        labels = arranged(summaries(runs)).runs
        for (row, heading), cell in build(runs, ["student"]).replicates.items():
            if cell.values or cell.unfinished:
                same = labels[(labels["row"] == row) & (labels["column"] == heading.column)].iloc[0]
                place = [] if dataset.partition(":")[0] == dataset else [f"dataset={short_name(dataset)}"]
                differing = [word for label in (row, heading.column) for word in label.split(", ")[1:]]
                settings = dict.fromkeys([*place, *_departures(same), *differing])
                ours.setdefault((method, name, backbone), []).append((cell, ", ".join(settings)))
    found = []
    for number in load():
        mine = ours.get((number.method, number.dataset, number.backbone), [(None, "")])
        found += [Comparison(number, cell, settings) for cell, settings in mine]
    return sorted(found, key=lambda one: one.ours is None)


def _departures(run: "pd.Series[Any]") -> Iterator[str]:
    for name, usual in REFERENCE.items():
        value = run.get(name, usual)
        value = None if pd.isna(value) else value
        if value != usual:
            yield f"{name.rpartition('.')[2]}={shown_setting(value, 'None')}"


def typed_comparison(comparisons: Sequence[Comparison]) -> TypedTable:
    """Return the comparison as a typed table; every row names its source and what its protocol differs in."""
    rows: list[list[str]] = []
    data: list[dict[str, object]] = []
    for item in comparisons:
        number, cell = item.number, item.ours
        source, ours = content().sources[number.source], None
        if cell is not None:
            seeds = {str(seed): value for seed, value in cell.values.items()}
            ours = {"text": cell.text(), "mean": cell.mean, "seeds": seeds, "settings": item.settings}
        of_source = {"source_title": source.title, "source_url": source.url}
        data.append({**asdict(number), **of_source, "ours": ours, "difference": item.difference})
        spread = f" ± {number.std:.2f}" if number.std is not None else ""
        rows.append([
            number.method,
            number.dataset,
            number.backbone + (f": {number.network}" if number.network != number.backbone else ""),
            cell.text() if cell else "",
            f"{number.accuracy:.2f}{spread}" + (f" ({number.runs})" if number.runs else ""),
            "" if item.difference is None else f"{item.difference:+.2f}",
            number.source,
            "; ".join(filter(None, (f"{number.epoch} epoch", number.protocol, number.note))),
            item.settings,
        ])  # fmt: skip
    sources = {item.number.source for item in comparisons}
    notes = [
        "published numbers were measured by others and are no results of ours; ours: test accuracy of the students in "
        "%, last epoch, mean ± standard deviation (number of seeds); difference: ours minus published, in points",
        *(f"{key}: {one.title}, {one.url}, {one.place}; it reports {one.reports}; scored: {one.predictor}"
          for key, one in content().sources.items() if key in sources),
    ]  # fmt: skip
    return of_texts(HEADER, rows, notes, data)
