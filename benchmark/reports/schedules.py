"""The schedules of a method's loss terms over the epochs: as a table, and as a figure of all ramps and decays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmark.configuration import Layer, check_keys, section
from benchmark.escaping import figure as figure_text
from benchmark.store import put
from benchmark.tables import frame_csv
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import REFERENCE_EPOCHS, validated
from methods.schedules import INACTIVE_SHARE, Schedule, schedule_remarks

if TYPE_CHECKING:
    from methods.interface import Method


@dataclass(frozen=True)
class MethodSchedules:
    """The schedules of one method's configuration, by loss term, over so many epochs."""

    method: str
    epochs: int
    schedules: Mapping[str, Schedule]

    @property
    def remarks(self) -> list[str]:
        """A line for each inactive loss term."""
        return schedule_remarks(self.schedules)

    def summary(self) -> pd.DataFrame:
        """Return one row per term: its weight, the largest share of it that is used, and in how many epochs."""
        rows = [
            {
                "term": term,
                "weight": f"{schedule.weight:g}",
                "factors": " x ".join(schedule.factors),
                "at most": f"{100 * max(schedule.product):.2f} %",
                f"epochs above {100 * INACTIVE_SHARE:g} %": f"{len(schedule.active)} of {self.epochs}",
            }
            for term, schedule in self.schedules.items()
        ]
        return pd.DataFrame(rows)


def resolve(method: str, layers: Sequence[Layer], plugins: Sequence[str] = ()) -> MethodSchedules:
    """Return the schedules of a configuration's layers, the weakest first, or raise an InputError if there are none."""
    from benchmark.configuration import TrainConfig

    cls = registry.load(method, plugins)
    for layer in layers:
        check_keys(layer, plugins)
    # a file may hold sections for other methods; on the command line that is a mistake
    if others := [key for key in layers[-1] if key in registry.catalogue(plugins) and key != method]:
        raise InputError(f"--set {others[0]}: the schedules of {method!r} are plotted")
    epochs = validated(TrainConfig, {"epochs": REFERENCE_EPOCHS} | section(layers, "train"), "train").epochs
    schedules = cls.Hyperparameters.resolve(section(layers, method), epochs, owner=method).schedules(epochs)
    if not schedules:
        raise InputError(f"{method!r} has no schedules: the weights of its loss terms are constant")
    return MethodSchedules(method, epochs, schedules)


def default_schedules(cls: "type[Method]") -> MethodSchedules | None:
    """Return a method's schedules with its defaults at the published length; None if it has none or needs settings."""
    if any(info.is_required() for info in cls.Hyperparameters.model_fields.values()):
        return None
    schedules = cls.Hyperparameters.resolve({}, owner=cls.name).schedules(REFERENCE_EPOCHS)
    return MethodSchedules(cls.name, REFERENCE_EPOCHS, schedules) if schedules else None


def write(found: MethodSchedules, folder: Path) -> list[Path]:
    """Write ``METHOD.svg``, ``METHOD.png`` and ``METHOD.csv`` into a folder, which is made; return the files.

    The table has one row per term and epoch, from 0: every factor, their product, and the weight.
    """
    from benchmark.reports.palette import LINES
    from benchmark.reports.style import new_figure, styled, write_figures

    terms = found.schedules
    # every ramp and decay once; where terms differ, its name says whose it is
    factors: dict[str, Sequence[float]] = {}
    for term, schedule in terms.items():
        for name, values in schedule.factors.items():
            shared = all(other.factors.get(name, values) == values for other in terms.values())
            factors[name if shared else f"{name} of {term}"] = values
    # people count epochs from 1; the table counts as the code does
    epochs = range(1, found.epochs + 1)
    with styled():
        figure = new_figure(9.0, 1.4 + 1.15 * max(2, len(terms)))
        grid = figure.add_gridspec(len(terms), 2, width_ratios=[1, 1.2])
        left = figure.add_subplot(grid[:, 0])
        for (name, values), line in zip(factors.items(), LINES * 2, strict=False):
            left.plot(epochs, values, color=line.color, linestyle=line.dash, linewidth=1.8, label=figure_text(name))
        left.set(title="Ramps and decays", ylim=(-0.03, 1.05), xlabel="epoch")
        figure.legend(handles=left.lines, loc="outside lower left", ncols=2)
        for row, (term, schedule) in enumerate(terms.items()):
            axes = figure.add_subplot(grid[row, 1], sharex=left)
            axes.fill_between(epochs, schedule.values, color=LINES[2].color, alpha=0.35, linewidth=0)
            axes.plot(epochs, schedule.values, color="black", linewidth=1.4)
            axes.set_ylim(-0.03 * (schedule.weight or 1), 1.08 * (schedule.weight or 1))
            axes.set_yticks([0, schedule.weight] if schedule.weight else [0])
            most = f"at most {100 * max(schedule.product):.3g} % of its weight {schedule.weight:g}"
            state = "switched off" if schedule.switched_off else most if schedule.active else f"INACTIVE, {most}"
            axes.set_title(f"{figure_text(term)}: {state}", loc="left", fontsize=8.5)
            axes.tick_params(axis="x", labelbottom=row == len(terms) - 1)
        axes.set_xlabel("epoch; the height is the weight times all ramps and decays")
        figure.suptitle(f"{figure_text(found.method)}, {found.epochs} epochs", fontsize=10)
    parts = [
        {"term": term, "epoch": range(found.epochs), **one.factors, "product": one.product, "weight": one.values}
        for term, one in terms.items()
    ]
    curves = pd.concat(map(pd.DataFrame, parts))
    table = put(folder / f"{found.method}.csv", frame_csv(curves, "%.10g"))
    return [*write_figures(folder, {found.method: figure}), table]
