"""Everything that runs methods: data, training, scheduling, the store of results and what is made of them.

In a notebook ``benchmark.run(...)`` is what ``bench run`` is on the command line, and ``benchmark.load(...)`` gives
the stored runs as one table, ``benchmark.predictions(...)`` a run's saved predictions. Importing this
package is cheap: torch and pandas are loaded by the first call.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.store import Epochs, Predictions, Results, Split, Where

__all__ = ["load", "predictions", "run"]

_methods = find_spec("methods")
_own = Path(__file__).resolve().parents[1]
if _methods is None or not _methods.origin or Path(_methods.origin).resolve().parent != _own / "methods":
    raise ImportError(
        f"the package benchmark of {_own} needs the package methods beside it, and Python finds another one "
        f"({_methods.origin if _methods else 'none'}): rename that, or start Python with -P"
    )


def run(
    methods: str | Sequence[str] | None = None,
    dataset: str | Sequence[str] | None = None,
    backbone: str | Sequence[str] | None = None,
    seeds: int | str | Sequence[int] | None = None,
    epochs: int | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    plugins: str | Path | Sequence[str | Path] = (),
    force: bool = False,
    quiet: bool = False,
    **options: Any,
) -> "pd.DataFrame":
    """Carry out what is missing of the runs that this means, as ``bench run`` does, and return all of them.

    Args:
        methods: Names; None for all.
        dataset: Names; digits for None.
        backbone: Names; the recipe's for None.
        seeds: How many, or which.
        epochs: Short for the setting ``train.epochs``.
        config: A YAML file or a recipe's name; the other arguments win.
        settings: Any further ones, such as ``{"train.lr": 0.05, "dml.temperature": 2.0}``.
        plugins: A Python file that defines further methods, backbones and datasets, or several.
        force: Whether finished runs are repeated.
        quiet: Whether nothing is printed.
        **options: The command line's other flags with underscores: ``results``, ``data_root``, ``engine``, ``device``,
            ``save_students``, ``save_predictions``, ``log`` and so on. With ``stop_after="9m"`` an epoch that is
            predicted to exceed it is not started; the same call resumes.

    Returns:
        One row per run and epoch, as :func:`load` gives them, of these runs alone.

    Raises:
        methods.errors.InputError: For anything unknown or out of range.
    """
    from benchmark import running

    words = {"methods": methods, "dataset": dataset, "backbone": backbone, "seeds": seeds, "epochs": epochs}
    return running.run(words | options, config, settings or {}, plugins, force, quiet)


def load(
    results: "Results" = "results",
    epochs: "Epochs" = "all",
    where: "Where | None" = None,
    prefer: str | Path | None = None,
    split: "Split" = "test",
) -> "pd.DataFrame":
    """Return the runs below a results folder, or several, as one tidy table; see :func:`benchmark.store.load`.

    Args:
        results: The folder, or several, or patterns.
        epochs: ``"all"``, one row per run and epoch, or ``"last"``; epochs count from 0, in tables and figures from 1.
        where: Which runs: a condition as ``bench table --where`` takes it, or a mapping of columns to values.
        prefer: Of several folders the one that counts where the same run has other numbers.
        split: ``"test"``, the runs that ``bench table`` shows; ``"validation"``, such as a sweep's; or ``"all"``.

    Raises:
        methods.errors.InputError: If there is no such folder or column, or all runs are scored on another split.
    """
    from benchmark import store

    return store.load(results, epochs, where, prefer, split)


def predictions(run: str | Path, results: "Results" = "results", prefer: str | Path | None = None) -> "Predictions":
    """Return what a run's predictors said of every scored image; the run was made with ``save_predictions``.

    Args:
        run: Its folder's name or the beginning of it, or its identity, as ``bench show`` takes it.
        results: The results folder, or several.
        prefer: Of several the one that counts where the same run has other numbers.

    Returns:
        ``logits`` by predictor, ``labels``, ``classes`` and what the images are known by; see
        :class:`benchmark.store.Predictions`.

    Raises:
        methods.errors.InputError: If there is no such run, it kept no predictions, or their file is damaged.
    """
    from benchmark import store

    return store.read_predictions(store.find(results, str(run), prefer).folder)
