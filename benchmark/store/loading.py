"""The stored runs as one tidy table."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from benchmark.metrics import DECLARED
from benchmark.store import frames, selection, several
from benchmark.store.collection import Damaged, Found, Runs
from benchmark.store.files import DamagedError
from benchmark.store.folder import read
from benchmark.store.places import Results
from benchmark.store.records import Scores
from methods.errors import InputError, unknown

Epochs = Literal["all", "last"]
Split = Literal["test", "validation", "all"]
Where = str | Mapping[str, Any] | Callable[[pd.DataFrame], "pd.Series[bool]"]

DAMAGED = "damaged"
"""The key of ``frame.attrs`` under which a table says which runs were left out: a line for each, by its name."""


def load(
    results: Results,
    epochs: Epochs = "all",
    where: Where | None = None,
    prefer: str | Path | None = None,
    split: Split = "test",
) -> pd.DataFrame:
    """Return the runs below a results folder as one tidy table, one row per run and epoch; epochs count from 0.

    Tables and figures count epochs from 1, as people do: their epoch 1 is epoch 0 here.

    The columns are ``run, method, dataset, backbone, seed, epoch, status``, then ``reason``, ``students`` (names joined
    by commas), ``roles`` (``peer0=peer,...``), ``split``, ``budgets`` (joined by `` | ``) and ``environment`` (the
    group of runs that are equal bit for bit: hardware, torch, CUDA, CPU dispatch), then the metrics, then every key of
    the configuration as ``train.lr``, ``data.pad`` or ``hyperparameters.temperature``, ``uses`` (as JSON, where a run
    was asked for as something else than its method), ``method.version``, ``dataset.checksum``, the hash of each file
    that a hyperparameter names, as ``files.teacher``, and of each plug-in's code, as ``method.source``, then what the
    run took, as ``cost.seconds``, and what it was made with, as ``environment.torch``. A run that ended before its
    first epoch has one row without epoch and metrics.

    A run whose files are damaged is left out; ``frame.attrs["damaged"]`` has a line for each, and
    ``frame.attrs["metrics"]`` what the methods of the runs declared that they record.

    Args:
        results: The folder that ``--results`` names, or several, or patterns such as ``lab*/results``; of the same run
            in several folders one counts, see :func:`benchmark.store.several.read`.
        epochs: ``"all"``, or ``"last"`` for one row per run: the last epoch, and in the column ``best_epoch`` the
            highest accuracy of any. The last epochs come from an index beside the runs and not from their metrics, so
            that thousands of runs take a second.
        where: Which runs: a condition such as ``backbone=resnet8 and temperature=3``, see
            :mod:`benchmark.store.selection`; a mapping of columns to a value or a list of values; or a function that
            returns a truth value for each row of the table of last epochs. The curves of no other run are read.
        prefer: Of several results folders the one whose runs count where the same run has other numbers.
        split: ``"test"``, the runs that ``bench table`` shows; ``"validation"``, those scored on a held-out part of the
            training images (``data.holdout`` above 0), as a sweep's are; or ``"all"``, which are not to be averaged
            over: the column ``split`` tells them apart.

    Raises:
        InputError: If there is no such folder or column, all runs are scored on another split, or runs of the same
            identity disagree.
    """
    if epochs not in get_args(Epochs):
        raise unknown("epochs", str(epochs), get_args(Epochs))
    if split not in get_args(Split):
        raise unknown("split", str(split), get_args(Split))
    whole = epochs == "all" and where is None
    runs = several.read(results, prefer, every_epoch=whole)
    damaged = list(runs.damaged)
    frame, found = frames.last_epochs(runs.found), list(runs.found)
    if not frame.empty:
        chosen = pd.Series(True, index=frame.index) if where is None else _mask(frame, where)
        chosen &= _on_split(frame[chosen], split).reindex(frame.index, fill_value=False)
        frame = frame[chosen].reset_index(drop=True)
        found = [run for run, wanted in zip(found, chosen, strict=True) if wanted]
    if whole:
        frame = frames.all_epochs(found, [run.curve for run in found if run.curve is not None])
    elif epochs == "all":
        found, curves = _curves(found, damaged)
        frame = frames.all_epochs(found, curves)
    return _named(frame, found, damaged)


def last_epochs(runs: Runs) -> pd.DataFrame:
    """Return the table of last epochs of runs that are read already; see :func:`load`."""
    return _named(frames.last_epochs(runs.found), runs.found, runs.damaged)


def _named(frame: pd.DataFrame, found: Sequence[Found], damaged: Sequence[Damaged]) -> pd.DataFrame:
    # runs that differ in their seeds alone share these texts
    declared = {run.record.ending: run.record for run in found if '"metrics":[]' not in run.record.ending}
    frame.attrs[DECLARED] = tuple(dict.fromkeys(one for record in declared.values() for one in record.declared))
    frame.attrs[DAMAGED] = {one.folder.name: str(one) for one in damaged}
    return frame


def _on_split(frame: pd.DataFrame, split: Split) -> "pd.Series[bool]":
    mask = (frame["split"] == split) | (split == "all")
    if len(frame) and not mask.any():
        raise InputError(f"no run is scored on the {split} split (split='all' gives the {len(frame)} others)")
    return mask


def _mask(frame: pd.DataFrame, where: Where) -> "pd.Series[bool]":
    if isinstance(where, str):
        return selection.fits(frame, where)
    if not isinstance(where, Mapping):
        return where(frame).astype(bool)
    mask = pd.Series(True, index=frame.index)
    for column, value in where.items():
        if column not in frame.columns:
            raise unknown("column", column, map(str, frame.columns))
        values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        given = frame[column]
        try:
            mask &= given.isin(values) | (given.isna() if None in values else False)
        except TypeError as error:
            raise InputError(f"where {column}: {error}") from None
    return mask


def _curves(found: list[Found], damaged: list[Damaged]) -> tuple[list[Found], list[Scores]]:
    """Return runs that can be read with the metrics of all their epochs, and add the others to the damaged ones."""
    kept, curves = [], []
    for run in found:
        try:
            curves.append(Scores.over_epochs(read(run.folder).rows))
        except DamagedError as error:
            damaged.append(Damaged(run.folder, str(error)))
        else:
            kept.append(run)
    return kept, curves
