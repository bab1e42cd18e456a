"""``bench study``: one subcommand per study, whose options are made from the study's settings."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from benchmark.commands.options import option_parameter, path, with_signature
from benchmark.console import tell

METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT"}
BOUNDS = {"gt": "above {}", "ge": "at least {}", "lt": "below {}", "le": "at most {}"}


class Studies(TyperGroup):
    """The subcommands of ``bench study``; help imports only the one that it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the studies' names."""
        from benchmark import studies

        return list(studies.STUDIES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a study's name and description, for the list of studies."""
        from benchmark import studies

        return TyperCommand(cmd_name, help=studies.STUDIES[cmd_name]) if cmd_name in studies.STUDIES else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command of the study that is carried out."""
        return args[0], study_command(args[0]), args[1:]


app = typer.Typer(cls=Studies, no_args_is_help=True)


@app.callback()
def study() -> None:
    """Study what decoupling, decay and short recipes do: figure, table and text."""


def study_command(name: str) -> Any:
    """Return the command of a study: ``--out`` and an option for every field of its settings."""
    from benchmark import studies

    found = studies.find(name)

    def command(out: Path | None, **given: str | None) -> None:
        from benchmark.configuration import parse_yaml
        from benchmark.store import check_folder
        from methods.hyperparameters import validated

        texts = {field: text for field, text in given.items() if text is not None}
        values = {field: parse_yaml(text, f"--{field.replace('_', '-')}") for field, text in texts.items()}
        settings, folder = validated(found.Settings, values, name), out or Path("results/studies") / name
        check_folder(folder)
        files = studies.write(name, settings, found.run(settings), folder)
        tell(*(folder / "README.md").read_text(encoding="utf-8").split("\n"), *files)

    parameters = [option_parameter("out", Annotated[Path | None, path("DIR", "Folder of figure, tables and text.")])]
    parameters += [option_parameter(field, _annotation(info)) for field, info in found.Settings.model_fields.items()]
    single = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    single.command(name, help=studies.STUDIES[name])(with_signature(command, parameters))
    return typer.main.get_command(single)


def _annotation(field: Any) -> Any:
    """Return an option's type: words as they are, since the settings' own model checks them."""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    metavar = "|".join(choices) or METAVARS[field.annotation]
    bounds = [
        text.format(getattr(constraint, bound))
        for constraint in field.metadata
        for bound, text in BOUNDS.items()
        if hasattr(constraint, bound)
    ]
    range_ = f"; {', '.join(bounds)}" if bounds else ""
    text = f"{field.description[0].upper()}{field.description[1:]}{range_} (default: {field.default})."
    return Annotated[str | None, typer.Option(help=text, metavar=metavar)]
