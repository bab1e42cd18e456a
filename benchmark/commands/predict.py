"""``bench predict``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataRoot, ManyResults, Plugins, Prefer, as_path, places
from benchmark.words import tell
from methods.errors import InputError

TOP = 5


def predict(
    model: Annotated[
        str,
        typer.Argument(
            help="A file that bench export wrote, its .json beside it (a .pt2 is code: use your own); or, with --out, "
            "a stored run.",
            metavar="FILE|RUN",
        ),
    ],
    images: Annotated[
        list[Path] | None, typer.Argument(parser=as_path, help="With FILE: image files, of any size.", metavar="IMAGE")
    ] = None,
    top: Annotated[int | None, typer.Option(help=f"With FILE: classes to print ({TOP}).", min=1)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=as_path,
            help="With RUN: logits, labels and predicted classes of the scored images go there; ends in .npz.",
            metavar="FILE",
        ),
    ] = None,
    results: ManyResults = None,
    prefer: Prefer = None,
    data_root: DataRoot = None,
    plugin: Plugins = None,
) -> None:
    """Print the likeliest classes of images, by an exported student; or write what a stored run's predictors said."""
    plugins = tuple(plugin or ())
    if out is not None:
        if images or top is not None:
            raise InputError("--out goes with a stored run and its own images: bench predict RUN --out FILE.npz")
        _write(model, out, results, prefer, data_root, plugins)
        return
    if not images:
        raise InputError("bench predict takes FILE IMAGE..., an exported student and images; or RUN --out FILE.npz")
    _print(as_path(model), images, top or TOP, plugins)


def _print(model: Path, images: list[Path], top: int, plugins: tuple[str, ...]) -> None:
    from benchmark.deployment import deployed

    deployed.check_suffix(model)
    card = deployed.read_card(model)
    pixels = deployed.read_images(images, card)
    probabilities = deployed.probabilities(deployed.load(model, plugins)(pixels))
    for path, row in zip(images, probabilities, strict=True):
        best = row.argsort(kind="stable")[::-1][:top]
        tell(f"{path}  " + "  ".join(f"{card.classes[index]} {100 * row[index]:.2f} %" for index in best))


def _write(
    run: str,
    out: Path,
    results: list[Path] | None,
    prefer: Path | None,
    data_root: Path | None,
    plugins: tuple[str, ...],
) -> None:
    from benchmark.datasets import default_root
    from benchmark.deployment import stored
    from benchmark.store import find

    stored.check_target(out)
    found = find(places(results), run, prefer)
    for line in stored.write(stored.predictions(found, data_root or default_root(), plugins), out):
        tell(line)
