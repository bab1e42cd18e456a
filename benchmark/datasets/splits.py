"""Which splits of a dataset are trained on and scored."""

from collections.abc import Collection, Mapping, Sequence

from benchmark.configuration import DataConfig
from methods.errors import InputError, unknown


def asked_for(config: DataConfig) -> dict[str, str | None]:
    """Return the split that a configuration names for each part that it uses; None for the usual one."""
    parts = {"train": config.train_split, "test": config.test_split}
    return {"train": config.train_split} if config.holdout else parts


def chosen(
    config: DataConfig, usual: Mapping[str, Sequence[str]], found: Collection[str], where: str, word: str = "split"
) -> dict[str, str]:
    """Return the split that each part in use is read from.

    Args:
        config: Which splits are asked for; with ``config.holdout`` there is no test part.
        usual: The names that are taken of each part if none is asked for, the first that is there counting.
        found: The dataset's splits.
        where: How messages name the dataset.
        word: What messages call a split.

    Raises:
        InputError: If a split is not there, or both parts are one split.
    """
    splits = {}
    for part, asked in asked_for(config).items():
        if asked is not None and asked not in found:
            raise unknown(f"data.{part}_split of {where}", asked, found)
        splits[part] = asked or usual_split(part, usual[part], found, where, word)
    check_apart(splits, where)
    return splits


def usual_split(part: str, usual: Sequence[str], found: Collection[str], where: str, word: str = "split") -> str:
    """Return the first of a part's usual splits that is there, or raise an InputError."""
    taken = next((name for name in usual if name in found), None)
    if taken is None:
        raise InputError(f"{where} has no {word} {' or '.join(usual)}{other_split(part, found)}")
    return taken


def check_apart(splits: Mapping[str, object], where: str) -> None:
    """Raise an InputError if the training and the test images are those of one split."""
    if "test" in splits and splits["train"] == splits["test"]:
        raise InputError(
            f"{where}: {splits['test']!r} would be trained on and scored: data.train_split and data.test_split must "
            "differ, or data.holdout keeps a part of the training images out"
        )


def other_split(part: str, found: Collection[str]) -> str:
    """Return what a message adds where another split of a part may have what is wanted."""
    return f"; data.{part}_split=NAME takes another split (found: {', '.join(found) or 'none'})"
