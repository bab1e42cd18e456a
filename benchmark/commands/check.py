"""``bench check``."""

from typing import Annotated

import typer

from benchmark.commands.options import Plugins, Text


def check(
    name: Annotated[Text, typer.Argument(help="A method; all of them if not given.")] = None,
    plugin: Plugins = None,
) -> None:
    """Check that methods keep the contract that every method has to keep."""
    from benchmark.checking import reports

    results = []
    for kept, lines in reports(name, tuple(plugin or ())):
        print(lines, flush=True)
        results.append(kept)
    if not all(results):
        raise typer.Exit(1)
