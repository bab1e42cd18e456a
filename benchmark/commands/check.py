"""``bench check``."""

from typing import Annotated

import typer

from benchmark.commands.options import Plugins, Text, backbone_names, several_of
from benchmark.words import tell
from methods.errors import InputError


def check(
    name: Annotated[Text, typer.Argument(help="A method; all of them if not given.")] = None,
    backbone: Annotated[
        Text,
        typer.Option(
            help="Networks instead: names separated by commas, or all.", autocompletion=several_of(backbone_names)
        ),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Check that methods, or networks, keep the contract that each of them has to keep."""
    from benchmark.checking import network_reports, reports

    if name is not None and backbone is not None:
        raise InputError(f"bench check takes a method ({name}) or --backbone, not both")
    plugins = tuple(plugin or ())
    results = []
    for kept, lines in network_reports(backbone, plugins) if backbone is not None else reports(name, plugins):
        tell(*lines.split("\n"), flush=True)
        results.append(kept)
    if not all(results):
        raise typer.Exit(1)
