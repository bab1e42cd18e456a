"""Everything that runs methods: data, training, scheduling, the store of results and what is made of them.

In a notebook ``benchmark.run(...)`` is what ``bench run`` is on the command line, and ``benchmark.load(...)`` gives
the stored runs as one table, ``benchmark.predictions(...)`` a run's saved predictions. Importing this
package is cheap: torch and pandas are loaded by the first call.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from benchmark.running import run as run
    from benchmark.store import Predictions, Results, load as load

__getattr__, _, _ = lazy_loader.attach(__name__, submod_attrs={"running": ["run"], "store": ["load"]})
__all__ = ["load", "predictions", "run"]


def __dir__() -> list[str]:
    return __all__


_methods = find_spec("methods")
_own = Path(__file__).resolve().parents[1]
if _methods is None or not _methods.origin or Path(_methods.origin).resolve().parent != _own / "methods":
    raise ImportError(
        f"the package benchmark of {_own} needs the package methods beside it, and Python finds another one "
        f"({_methods.origin if _methods else 'none'}): rename that, or start Python with -P"
    )


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
