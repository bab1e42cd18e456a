"""``bench export``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataRoot, Plugins, Results, Run, Text, as_path
from benchmark.words import tell


def export(
    run: Run,
    to: Annotated[
        Path, typer.Option("--to", parser=as_path, help="A file ending in .safetensors, .onnx or .pt2.", metavar="FILE")
    ],
    student: Annotated[Text, typer.Option(help="Which of the run's students; the first if not given.")] = None,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    plugin: Plugins = None,
) -> None:
    """Write a run's student to a file that works elsewhere, and check the file."""
    from benchmark.datasets import default_root
    from benchmark.deployment import deployed
    from benchmark.store import lookup

    deployed.check_suffix(to)
    found = lookup.find(results, run)
    # torch is loaded once the words are known to be right
    from benchmark.deployment.export import export as write

    for line in write(found, to, student, data_root or default_root(), tuple(plugin or ())):
        tell(line)
