"""``bench export`` and ``bench predict``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataRoot, ManyResults, Plugins, Prefer, Results, Run, Text, as_path, places
from benchmark.console import tell
from methods.errors import InputError


def export(
    run: Run,
    to: Annotated[
        Path, typer.Option("--to", parser=as_path, help="A file ending in .safetensors, .onnx or .pt2.", metavar="FILE")
    ],
    student: Annotated[Text, typer.Option(help="Which of the run's students (default: the first).")] = None,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    plugin: Plugins = None,
) -> None:
    """Export a student of a run as a file that works without this project, and check the file."""
    from benchmark.datasets import default_root
    from benchmark.deployment import deployed
    from benchmark.store import find

    deployed.check_suffix(to)
    found = find(results, run)
    # torch is imported once the arguments are known to be right
    from benchmark.deployment.export import export as write

    for line in write(found, to, student, data_root or default_root(), tuple(plugin or ())):
        tell(line)


TOP = 5


def predict(
    model: Annotated[
        str,
        typer.Argument(
            help="A file written by bench export, with its .json next to it (a .pt2 is code: use your own only); or, "
            "with --out, a stored run.",
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
            help="With RUN: the .npz file for logits, labels and predicted classes of the scored images.",
            metavar="FILE",
        ),
    ] = None,
    results: ManyResults = None,
    prefer: Prefer = None,
    data_root: DataRoot = None,
    plugin: Plugins = None,
) -> None:
    """Print the likeliest classes of images by an exported student; or write the predictions of a stored run."""
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
    from benchmark.deployment import deployed, predictions
    from benchmark.store import find

    deployed.check_suffix(out, [predictions.ENDING])
    found = find(places(results), run, prefer)
    for line in predictions.write(predictions.of_run(found, data_root or default_root(), plugins), out):
        tell(line)
