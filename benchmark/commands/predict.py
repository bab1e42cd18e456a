"""``bench predict``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Plugins


def predict(
    model: Annotated[
        Path, typer.Argument(help="A file that bench export wrote, its .json beside it; a .pt2 is code: use your own.")
    ],
    images: Annotated[list[Path], typer.Argument(help="Image files, of any size.")],
    top: Annotated[int, typer.Option(help="Classes to print.", min=1)] = 5,
    plugin: Plugins = None,
) -> None:
    """Print the likeliest classes of images, by an exported student."""
    from benchmark.deployment import deployed

    deployed.check_suffix(model)
    card = deployed.read_card(model)
    pixels = deployed.read_images(images, card)
    probabilities = deployed.probabilities(deployed.load(model, tuple(plugin or ()))(pixels))
    for path, row in zip(images, probabilities, strict=True):
        best = row.argsort(kind="stable")[::-1][:top]
        print(f"{path}  " + "  ".join(f"{card.classes[index]} {100 * row[index]:.2f} %" for index in best))
