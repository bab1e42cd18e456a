"""What the author of a paper wants a table to be, as a YAML file that the paper's repository keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from benchmark.configuration import read_yaml
from benchmark.tables.choosing import Choice
from benchmark.tables.showing import Environment, Gains, Showing, Size
from methods.errors import InputError
from methods.hyperparameters import validated

Words = list[str]


class PaperTable(BaseModel):
    """A table's layout; what the command line says wins."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    description: str = Field("", description="for who reads the file")
    value: Words = Field([], description="scores, as --value has them")
    rows: list[str | dict[str, Words]] = Field(
        [], description="rows or methods in their order, a group of them as 'heading: [row, row]'; none: all"
    )
    columns: Words = Field([], description="columns, data sets or networks in their order; none: all")
    labels: dict[str, str] = Field({}, description="what methods, data sets, networks, settings and scores are called")
    where: str | None = Field(None, description="a condition on the runs")
    split: str | None = Field(None, description="test, validation or all")
    hide: Words = Field([], description="rows or methods that are left out")
    baseline: str | None = Field(None, description="the row that the others are compared with")
    digits: int | None = Field(None, ge=0, le=10, description="decimal places of accuracies; null: 2")
    n: bool = Field(True, description="whether cells and gains say their number of seeds")
    p: bool = Field(True, description="whether gains have their p value")
    interval: bool = Field(True, description="whether gains have their interval")
    gains: Gains = Field("columns", description="where gains stand: columns, cell or rows")
    rank: bool = Field(True, description="whether the average rank is a column")
    aggregates: bool = Field(True, description="whether what several columns say together of a gain is")
    siunitx: bool = Field(False, description="whether LaTeX aligns numbers by siunitx")
    environment: Environment = Field("none", description="what the LaTeX table stands in: none, table or table*")
    caption: str = Field("", description="of that environment")
    anchor: str = Field("", description="its name for \\ref")
    size: Size = Field("footnotesize", description="of its letters")

    def choice(self) -> Choice:
        """Return what is shown, in which order."""
        # a row without a group stands under none
        pairs = [
            (word, name)
            for item in self.rows
            for name, words in (item.items() if isinstance(item, dict) else [("", [item])])
            for word in words
        ]
        groups = {word: name for word, name in pairs if name}
        rows = tuple(word for word, _ in pairs)
        return Choice(self.where, self.split, tuple(self.hide), rows, tuple(self.columns), groups)

    def showing(self, assignments: Sequence[str] = ()) -> Showing:
        """Return how it is shown.

        Args:
            assignments: Further labels as ``OLD=NEW`` words; they win.
        """
        shared = {field.name for field in fields(Showing)} & set(type(self).model_fields)
        return Showing(**{name: getattr(self, name) for name in shared}, assignments=tuple(assignments))


def read(path: Path | None, given: Mapping[str, Any]) -> PaperTable:
    """Return the layout in a file, or that of no file, with what the command line says in its place.

    Args:
        path: The file; None for none.
        given: Values by key; None stands for nothing said.

    Raises:
        InputError: If the file cannot be read, or holds anything unknown.
    """
    content = {} if path is None else read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path} must hold keys and values, as in 'rows: [independent, dml]'")
    said = {key: value for key, value in given.items() if value is not None}
    return validated(PaperTable, content | said, str(path) if path is not None else "")
