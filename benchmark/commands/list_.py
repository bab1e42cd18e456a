"""``bench list``."""

from collections.abc import Callable
from typing import Annotated

import typer

from benchmark.commands.options import Plugins, Text


def list_(
    what: Annotated[Text, typer.Argument(help="methods, datasets, backbones or recipes; all if not given.")] = None,
    plugin: Plugins = None,
) -> None:
    """List what can be named, with one line each."""
    from benchmark import datasets, recipes
    from methods import available, backbones
    from methods.errors import unknown

    kinds: dict[str, Callable[[], dict[str, str]]] = {
        "methods": lambda: available(plugin or ()),
        "datasets": datasets.available,
        "backbones": backbones.available,
        "recipes": recipes.available,
    }
    if what is not None and what not in kinds:
        raise unknown("kind", what, kinds)
    for kind in (what,) if what else kinds:
        entries = kinds[kind]()
        width = max(map(len, entries), default=0)
        if what is None:
            print(f"{kind}:")
        for name, description in entries.items():
            print(f"  {name:<{width}}  {description}")
