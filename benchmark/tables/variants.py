"""Runs that were asked for under a name, or with a training recipe, of their own: where they stand in a table."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

OWN = "own."
"""Begins the columns with the training settings that belong to one method alone."""


def expanded(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with a row for each use that was made of them.

    A use is ``{"name": ..., "train": {key: value}, "chosen": {...}}``: what it is called, the training settings that
    the other methods of its command had instead of its own, and the hyperparameters that it was asked for with. The
    columns ``train.*`` then hold the command's settings, ``own.train.*`` the method's; ``recipe`` says what differs.

    Args:
        runs: One row per run, with ``uses`` as JSON where there are any.
    """
    plain = runs.assign(variant=runs["method"], recipe=None)
    if "uses" not in runs.columns or runs["uses"].isna().all():
        return plain
    used = plain["uses"].notna()
    rows = [row | _changes(row, use) for row in plain[used].to_dict("records") for use in json.loads(str(row["uses"]))]
    # most runs have but one use: they are not taken apart
    return pd.concat([plain[~used], pd.DataFrame(rows).astype({"variant": object})], ignore_index=True)


def _changes(row: Mapping[Any, Any], use: Mapping[str, Any]) -> dict[str, Any]:
    instead: Mapping[str, Any] = use.get("train", {})
    settings = {f"train.{key}": _flat(value) for key, value in instead.items()}
    own = {f"{OWN}{name}": row.get(name) for name in settings}
    said = [f"{key}={_said(_flat(value))}" for key, value in use.get("chosen", {}).items()]
    said += [f"{name}={_said(row.get(name))} (the others: {_said(value)})" for name, value in settings.items()]
    name = use.get("name") or row["method"]
    recipe = f"{row['method']} with {', '.join(said)}" if said and (instead or use.get("name")) else None
    return {**settings, **own, "variant": name, "recipe": recipe}


def _flat(value: Any) -> Any:
    # as the store's columns have it
    return str(value) if isinstance(value, list) else value


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def notes(runs: pd.DataFrame, labels: str, word: Callable[[str], str]) -> Sequence[str]:
    """Return a line for each row or column whose runs have a recipe or a name of their own.

    Args:
        runs: Of :func:`expanded`.
        labels: The column with the runs' labels.
        word: What a label is called.
    """
    found = runs[runs["recipe"].notna()]
    lines = (f"{word(label)}: {recipe}" for label, recipe in zip(found[labels], found["recipe"], strict=True))
    return list(dict.fromkeys(lines))
