"""Options that several subcommands have, and the words that a shell completes for them."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from benchmark.configuration import OPTIONS, Option
from benchmark.console import tell
from methods.errors import InputError

Complete = Callable[[str], list[str]]


def one_of(words: Callable[[], Iterable[str]]) -> Complete:
    """Return the completion of one word."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words() if word.startswith(incomplete)]

    return complete


def several_of(words: Callable[[], Iterable[str]]) -> Complete:
    """Return the completion of the last of several words between commas."""

    def complete(incomplete: str) -> list[str]:
        done, comma, last = incomplete.rpartition(",")
        taken = done.split(",")
        return [f"{done}{comma}{word}" for word in words() if word.startswith(last) and word not in taken]

    return complete


class NamesMetrics(TyperCommand):
    """A command whose options' help names the metrics, as ``{metrics}`` or ``{curves}``, once the help is asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with the names."""
        for option in self.params:
            if isinstance(option, TyperOption) and option.help and "{" in option.help:
                from benchmark.metrics import figure_labels

                names = {"metrics": ", ".join(metric_names()), "curves": ", ".join(figure_labels("curves"))}
                option.help = option.help.format(**names)
        super().format_help(ctx, formatter)


def metric_names() -> Iterable[str]:
    """Return the metrics, those of methods included."""
    from benchmark.metrics import known

    return known()


def names_of(kind: str) -> Iterable[str]:
    """Return the methods, datasets, backbones, recipes or suites, importing none; of a form the beginning."""
    from benchmark import datasets
    from benchmark.configuration import PLACE, recipes, suites
    from methods import available, backbones

    if kind == "datasets":
        parts = [name.partition(PLACE) for name in datasets.available()]
        return [name + colon for name, colon, _ in parts]
    if kind == "backbones":
        return [*backbones.available(), *(form.removesuffix("NAME") for form in backbones.sources())]
    return available() if kind == "methods" else recipes.names() if kind == "recipes" else suites.names()


def of_kind(kind: str, several: bool = False) -> Complete:
    """Return the completion of a word of :func:`names_of`, or of the last of several between commas."""
    return (several_of if several else one_of)(partial(names_of, kind))


def run_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the runs of the results folder that the line names so far, by folder name and identity."""
    from benchmark.store import names

    given = ctx.params.get("results") or RESULTS
    found = [name for root in ([given] if isinstance(given, str | Path) else given) for name in names(Path(root))]
    return [name for name in found if name.startswith(incomplete)] or [
        identity for name in found if (identity := name.rpartition("-")[2]).startswith(incomplete)
    ]


def with_signature(function: Callable[..., None], parameters: Iterable[inspect.Parameter]) -> Callable[..., None]:
    """Give a function that takes any keywords the parameters that Typer is to make options of."""
    signature = inspect.Signature(list(parameters))
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return function


def option_parameter(name: str, annotation: Any) -> inspect.Parameter:
    """Return the parameter of an option that need not be given."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def with_options(**groups: Mapping[str, Option]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command the options of groups; each is a mapping of those that were given."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def call(**values: Any) -> None:
            chosen = {
                group: {
                    key: str(value) if isinstance(value, Path) else value
                    for key in declared
                    if (value := values.pop(key)) not in (None, [])
                }
                for group, declared in groups.items()
            }
            command(**values, **chosen)

        call.__name__, call.__doc__ = command.__name__, command.__doc__
        parameters: list[inspect.Parameter] = []
        for own in inspect.signature(command).parameters.values():
            declared = groups.get(own.name)
            made = [own] if declared is None else [option_parameter(*_typed(*item)) for item in declared.items()]
            parameters += [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in made]
        return with_signature(call, parameters)

    return decorate


def _typed(key: str, option: Option) -> tuple[str, Any]:
    """Return a declared option as Typer takes it."""
    complete = one_of(lambda: option.choices) if option.choices else None
    if option.names:
        complete = of_kind(option.names, option.several)
    how: dict[str, Any] = {"help": option.help, "metavar": option.metavar, "autocompletion": complete}
    if option.type is Path:
        how["parser"] = as_path
    kind = list[str] if option.type is list else option.type
    flags = [option.flag] if option.flag else []
    return key, Annotated[kind | None, typer.Option(*flags, **how)]


def shown(results: Iterable[Path]) -> str:
    """Return the results folders as text."""
    return ", ".join(map(str, results))


def counted(number: int, what: str) -> str:
    """Return a number of things as text."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def file_layers(config: str | None, plugins: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the configuration that ``--config`` names, if it names one."""
    from benchmark.configuration import layer_from_file

    return [] if config is None else [layer_from_file(config, plugins)]


def say_notes(lines: Iterable[str]) -> None:
    """Name what is left out, such as damaged runs or broken plug-ins, a line each on the error stream."""
    for line in lines:
        tell(f"note: {line}", error=True)


def as_path(text: str | Path) -> Path:
    """Return what a word of the command line means that is a path; every such option is parsed by this."""
    from benchmark import paths

    try:
        return paths.written(text, "path")
    except InputError as error:
        # of a ValueError Typer would say the value alone
        raise typer.BadParameter(str(error)) from None


def path(metavar: str, meaning: str, *flags: str) -> Any:
    """Return an option that is a path; its flag is the parameter's name if none is given."""
    return typer.Option(*flags, parser=as_path, help=meaning, metavar=metavar)


def option(
    meaning: str, metavar: str | None = None, complete: Callable[..., list[str]] | None = None, *flags: str
) -> Any:
    """Return an option that is text; its flag is the parameter's name if none is given."""
    return typer.Option(*flags, help=meaning, metavar=metavar, autocompletion=complete)


def argument(meaning: str, metavar: str, complete: Callable[..., list[str]] | None = None) -> Any:
    """Return an argument that is text."""
    return typer.Argument(help=meaning, metavar=metavar, autocompletion=complete)


def switch(flag: str, meaning: str) -> Any:
    """Return an option that is on or off, without a flag that switches it off."""
    return typer.Option(flag, help=meaning)


RESULTS = [Path("results")]
"""Where runs are stored, if nothing else is given."""

Text = str | None
Words = list[str] | None
Config = Annotated[Text, option("A YAML file or a recipe's name; the command line wins.", "FILE", of_kind("recipes"))]
Results = Annotated[Path, path("DIR", "Where runs are stored.")]
ManyResults = Annotated[list[Path], path("DIR", "Where runs are stored; may be repeated, or a pattern in quotes.")]
Prefer = Annotated[Path | None, path("DIR", "With several --results: the folder to use where folders disagree.")]
DataRoot = Annotated[Path | None, path("DIR", OPTIONS["data_root"].help)]
Baseline = Annotated[
    Text,
    option(
        # the backslash keeps Rich from reading the brackets as markup
        r"The row that gains refer to: its label, a method, or 'method\[key=value]'. Gains are paired over seeds, each "
        "with its 95 % confidence interval; exploratory, verdicts come with --suite.",
        "ROW",
    ),
]
Set = Annotated[Words, option("Any setting, as train.lr=0.05, dml.temperature=2.", "SECTION.KEY=VALUE", None, "--set")]
DryRun = Annotated[bool, switch("--dry-run", "Print what would be run and stop.")]
Plugins = Annotated[Words, option("A Python file with methods, backbones or datasets; may be repeated.", "FILE")]
Where = Annotated[Text, option("Only matching runs, such as 'backbone=resnet8 and temperature=3'.", "CONDITION")]
Split = Annotated[
    Text,
    option(
        "test, validation or all (default: test, where there are such runs).",
        complete=one_of(lambda: ("test", "validation", "all")),
    ),
]
SuiteName = Annotated[
    Text,
    option("A comparison of bench list suites: its runs, its baseline and verdicts.", "NAME", of_kind("suites")),
]
Hide = Annotated[Words, option("A row or a method to leave out; may be repeated.", "ROW")]
Label = Annotated[
    Words,
    option("Another name for a method, dataset, network or setting: dkel='DKEL (ours)'; repeatable.", "OLD=NEW"),
]
Layout = Annotated[
    Path | None, path("FILE", "A YAML file with a table layout: rows in order, groups, labels, digits.", "--layout")
]
Run = Annotated[str, argument("A run's folder name, the beginning of it, or its identity.", "RUN", run_names)]
