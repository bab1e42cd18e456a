"""Accuracies that others have published, each with its source, beside our own, and what the protocols differ in."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmark.configuration import parse_yaml
from benchmark.formatting import short_name
from benchmark.tables import layout
from benchmark.tables.configurations import shown_setting
from benchmark.tables.replicates import Replicates
from benchmark.tables.table import build
from benchmark.tables.view import TypedTable, of_texts

Epoch = Literal["best", "last", "unknown"]
Dataset = Literal["cifar10", "cifar100", "tinyimagenet", "imagenet"]
Quantity = Literal["accuracy", "std", "ensemble", "best_epoch"]
Percent = Annotated[float, Field(gt=0, lt=100)]
Text = Annotated[str, Field(min_length=1)]

HEADER = (
    "method", "dataset", "backbone", "ours", "published", "difference", "source", "protocol of the source",
    "ours differs",
)  # fmt: skip

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


class _Names(_Strict):
    ours: list[Text]
    others: dict[Text, Text]

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if both := set(self.ours) & set(self.others):
            raise ValueError(f"both ours and others': {', '.join(sorted(both))}")
        return self

    def __contains__(self, name: str) -> bool:
        return name in self.ours or name in self.others


class _Table(_Strict):
    source: Text
    dataset: Dataset
    cells: list[Quantity] = ["accuracy"]
    methods: list[Text]
    networks: list[Annotated[int, Field(ge=1)]] | None = None
    rows: dict[Text, list[Percent | list[Percent]]]

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        if self.cells[:1] != ["accuracy"] or len(set(self.cells)) != len(self.cells):
            raise ValueError("cells must begin with accuracy and name each quantity once")
        for backbone, row in self.rows.items():
            if len(row) != len(self.methods):
                raise ValueError(f"{backbone} has {len(row)} cells for {len(self.methods)} methods")
            if any(isinstance(cell, list) and len(cell) != len(self.cells) for cell in row):
                raise ValueError(f"{backbone} has a cell that is not {self.cells}")
            several = set(range(1, backbone.count("+") + 2)) if "+" in backbone else set()
            if set(self.networks or ()) != several:
                raise ValueError(f"networks must name each network of {backbone}, and be left out for a single one")
        if self.networks is not None and len(self.networks) != len(self.methods):
            raise ValueError("networks must have one entry for each of the methods")
        return self

    def numbers(self, source: Source) -> Iterator[PublishedNumber]:
        for backbone, row in self.rows.items():
            networks = backbone.split("+")
            for column, (method, cell) in enumerate(zip(self.methods, row, strict=True)):
                notes = [one.note for one in source.notes if one.applies(method, backbone, self.dataset)]
                yield PublishedNumber(
                    method=method,
                    dataset=self.dataset,
                    backbone=backbone,
                    network=networks[self.networks[column] - 1] if self.networks else backbone,
                    runs=source.runs,
                    epoch=source.epoch,
                    source=self.source,
                    protocol="; ".join(source.differences),
                    note="; ".join(notes),
                    **dict(zip(self.cells, cell if isinstance(cell, list) else [cell], strict=False)),
                )


class _Content(_Strict):
    methods: _Names
    networks: _Names
    sources: dict[Text, Source]
    tables: list[_Table]

    @model_validator(mode="after")
    def _known(self) -> Self:
        for table in self.tables:
            if table.source not in self.sources:
                raise ValueError(f"no such source: {table.source}")
            for method in table.methods:
                if method not in self.methods:
                    raise ValueError(f"no such method: {method}")
            for backbone in table.rows:
                parts = backbone.split("+")
                if not all(part in self.networks for part in parts):
                    raise ValueError(f"no such network: {backbone}")
                if len(parts) > 1 and any(part in self.networks.ours for part in parts):
                    raise ValueError(f"one of our networks among others': {backbone}")
        for key, source in self.sources.items():
            tables = [table for table in self.tables if table.source == key]
            if not tables:
                raise ValueError(f"a source without numbers: {key}")
            cells = [(method, backbone, table.dataset) for table in tables for method in table.methods
                     for backbone in table.rows]  # fmt: skip
            for note in source.notes:
                if not any(note.applies(*cell) for cell in cells):
                    raise ValueError(f"a note on no number of {key}: {note.note}")
        return self


def parse(text: str) -> tuple[dict[str, Source], list[PublishedNumber]]:
    """Return the sources and numbers of such a file's text, or raise a ValueError for anything unknown in it."""
    content = _Content.model_validate(parse_yaml(text, "published.yaml"))
    numbers = [number for table in content.tables for number in table.numbers(content.sources[table.source])]
    return content.sources, numbers


@cache
def _packaged() -> tuple[dict[str, Source], list[PublishedNumber]]:
    return parse(files("benchmark.tables").joinpath("published.yaml").read_text(encoding="utf-8"))


def load() -> list[PublishedNumber]:
    """Return every published number, in the file's order."""
    return list(_packaged()[1])


def sources() -> dict[str, Source]:
    """Return the sources by key."""
    return dict(_packaged()[0])


def find(method: str, dataset: str, backbone: str) -> list[PublishedNumber]:
    """Return what is published for a method on a dataset and a backbone; an empty list if nothing is."""
    wanted = method, dataset, backbone
    return [one for one in _packaged()[1] if (one.method, one.dataset, one.backbone) == wanted]


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
    ours = _ours(frame) if frame is not None and not frame.empty else {}
    met: list[Comparison] = []
    alone: list[Comparison] = []
    for number in load():
        mine = ours.get((number.method, number.dataset, number.backbone), [])
        met += [Comparison(number, cell, settings) for cell, settings in mine]
        alone += [] if mine else [Comparison(number)]
    return [*met, *alone]


def _ours(frame: pd.DataFrame) -> dict[tuple[str, str, str], list[tuple[Replicates, str]]]:
    """Return our cells and their settings by method, dataset and backbone, where others have published some."""
    found: dict[tuple[str, str, str], list[tuple[Replicates, str]]] = {}
    tested = frame[frame["split"] == "test"]
    for key, runs in tested.groupby(["method", "dataset", "backbone"], sort=False):
        method, dataset, backbone = map(str, key)
        name = short_name(dataset).removeprefix("folder:")
        if not find(method, name, backbone):
            continue
        labels = layout.arranged(layout.summaries(runs)).runs
        for (row, heading), cell in build(runs, ["student"]).replicates.items():
            if not cell.values and not cell.unfinished:
                continue
            same = labels[(labels["row"] == row) & (labels["column"] == heading.column)].iloc[0]
            place = [] if dataset.partition(":")[0] == dataset else [f"dataset={short_name(dataset)}"]
            differing = [word for label in (row, heading.column) for word in label.split(", ")[1:]]
            settings = dict.fromkeys([*place, *_departures(same), *differing])
            found.setdefault((method, name, backbone), []).append((cell, ", ".join(settings)))
    return found


def _departures(run: "pd.Series[Any]") -> Iterator[str]:
    for name, usual in REFERENCE.items():
        value = run.get(name, usual)
        value = None if pd.isna(value) else value
        if value != usual:
            yield f"{name.rpartition('.')[2]}={shown_setting(value, 'None')}"


def typed_comparison(comparisons: Sequence[Comparison]) -> TypedTable:
    """Return the comparison as a typed table; every row names its source and what its protocol differs in."""
    notes = [
        "published numbers were measured by others and are no results of ours; ours: test accuracy of the students in "
        "%, last epoch, mean ± standard deviation (number of seeds); difference: ours minus published, in points",
        *(f"{key}: {one.title}, {one.url}, {one.place}; it reports {one.reports}; scored: {one.predictor}"
          for key, one in sources().items() if any(item.number.source == key for item in comparisons)),
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
    source = sources()[item.number.source]
    return {
        **asdict(item.number),
        "source_title": source.title,
        "source_url": source.url,
        "ours": ours,
        "difference": item.difference,
    }
