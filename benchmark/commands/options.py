"""Options that several subcommands have."""

from pathlib import Path
from typing import Annotated

import typer

Text = str | None
Config = Annotated[Text, typer.Option(help="A YAML file or a recipe's name; the command line wins.", metavar="FILE")]
Results = Annotated[Path, typer.Option(help="Where runs are stored.", metavar="DIR")]
Plugins = Annotated[list[str] | None, typer.Option("--plugin", help="A Python file with a method.", metavar="FILE")]
