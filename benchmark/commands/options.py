"""Options that several subcommands have, and the words that a shell completes for them."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperOption

from benchmark.configuration import DATA_ROOT, OPTIONS, Option
from benchmark.console import tell
from methods.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.store import Epochs
    from benchmark.tables import TableLayout

Complete = Callable[[str], list[str]]


def one_of(words: Callable[[], Iterable[str]], several: bool = False) -> Complete:
    """Return the completion of one word, or of the last of ``several`` between commas."""

    def complete(incomplete: str) -> list[str]:
        done, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        taken = done.split(",")
        return [f"{done}{comma}{word}" for word in words() if word.startswith(last) and word not in taken]

    return complete


class NamesMetrics(TyperCommand):
    """A command whose options' help names the metrics, as ``{metrics}`` or ``{curves}``, once the help is asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with the names."""
        for option in self.params:
            if isinstance(option, TyperOption) and option.help and "{" in option.help:
                names = {kind: ", ".join(names_of(kind)) for kind in ("metrics", "curves")}
                option.help = option.help.format(**names)
        super().format_help(ctx, formatter)


def names_of(kind: str) -> Iterable[str]:
    """Return the words that there are of a kind, importing none of what they name; of a form the beginning."""
    from benchmark import datasets, metrics
    from benchmark.configuration import PLACE, recipes, suites
    from methods import available, backbones

    words: dict[str, Callable[[], Iterable[str]]] = {
        "methods": available,
        "datasets": lambda: ["".join(name.partition(PLACE)[:2]) for name in datasets.available()],
        "backbones": lambda: [*backbones.available(), *(form.removesuffix("NAME") for form in backbones.sources())],
        "recipes": recipes.names,
        "suites": suites.names,
        "metrics": metrics.known,  # those of methods included
        "costs": lambda: metrics.COSTS,
        "curves": lambda: metrics.figure_labels("curves"),
        "values": lambda: [*metrics.figure_labels("curves"), *metrics.known()],
    }
    return words[kind]()


def of_kind(kind: str, several: bool = False) -> Complete:
    """Return the completion of a word of :func:`names_of`, or of the last of several between commas."""
    return one_of(partial(names_of, kind), several)


def run_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the runs of the results folder that the line names so far, by folder name and identity."""
    from benchmark.store import scan

    given = ctx.params.get("results") or RESULTS
    found = [name for root in ([given] if isinstance(given, str | Path) else given) for name in scan(Path(root))]
    return [name for name in found if name.startswith(incomplete)] or [
        identity for name in found if (identity := name.rpartition("-")[2]).startswith(incomplete)
    ]


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of its groups, in the places of the parameters that the groups are.

    A group is a class of named fields that are options; or a dictionary, annotated with its options by their keys, of
    those that were given.
    """
    own = inspect.signature(command).parameters
    groups = {name: group for name, each in own.items() if (group := _group(each.annotation)) is not None}

    def call(**values: Any) -> None:
        for name, (options, make) in groups.items():
            values[name] = make(**{option.name: values.pop(option.name) for option in options})
        command(**values)

    options = [option for name, each in own.items() for option in (groups[name][0] if name in groups else [each])]
    keywords = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    call.__name__, call.__doc__ = command.__name__, command.__doc__
    call.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    call.__annotations__ = {option.name: option.annotation for option in options}
    return call


def _group(annotation: Any) -> tuple[list[inspect.Parameter], Callable[..., Any]] | None:
    """Return the options of a group, and what makes it of their values; None for another parameter."""
    if hasattr(annotation, "_fields"):
        return list(inspect.signature(annotation).parameters.values()), annotation
    for options in getattr(annotation, "__metadata__", ()):
        if isinstance(options, Mapping):
            made = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY, default=None)
            return [made(name, annotation=one) for name, one in options.items()], _given
    return None


def _given(**values: Any) -> dict[str, Any]:
    given = {key: value for key, value in values.items() if value not in (None, [])}
    return {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}


def declared(options: Mapping[str, Option]) -> dict[str, Any]:
    """Return declared options as Typer takes them."""
    found = {}
    for key, option in options.items():
        complete = of_kind(option.names, option.several) if option.names else None
        complete = one_of(partial(iter, option.choices)) if option.choices else complete
        how: dict[str, Any] = {"help": option.help, "metavar": option.metavar, "autocompletion": complete}
        how |= {"parser": as_path} if option.type is Path else {}
        kind = list[str] if option.type is list else option.type
        found[key] = Annotated[kind | None, typer.Option(*([option.flag] if option.flag else []), **how)]
    return found


def layers(
    config: str | None, assignments: Sequence[str], flags: Mapping[str, Any], plugins: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the layers of a request, weakest first: the file that ``--config`` names, if any; the command line."""
    from benchmark.configuration import layer_from_assignments, layer_from_file

    file = [] if config is None else [layer_from_file(config, plugins)]
    return [*file, layer_from_assignments(assignments) | dict(flags)]


def say_notes(lines: Iterable[str]) -> None:
    """Name what is left out, such as damaged runs or broken plug-ins, a line each on the error stream."""
    for line in lines:
        tell(f"note: {line}", error=True)


def no_runs(results: Iterable[Path]) -> InputError:
    """Return the error for results folders without a run."""
    return InputError(f"no runs in {', '.join(map(str, results))} yet: bench run makes some")


def as_path(text: str | Path) -> Path:
    """Return what a word of the command line means that is a path; every such option is parsed by this."""
    from benchmark import paths

    try:
        return paths.written(text, "path")
    except InputError as error:
        # of a ValueError Typer would say the value alone
        raise typer.BadParameter(str(error)) from None


def path(metavar: str, meaning: str, *flags: str, envvar: str | None = None) -> Any:
    """Return an option that is a path; its flag is the parameter's name if none is given.

    Where a variable of the environment has the default, the meaning says so.
    """
    default: Any = {"envvar": envvar, "show_envvar": False, "show_default": envvar is None}
    return typer.Option(*flags, parser=as_path, help=meaning, metavar=metavar, **default)


def option(
    meaning: str, metavar: str | None = None, complete: Callable[..., list[str]] | None = None, *flags: str
) -> Any:
    """Return an option that is text; its flag is the parameter's name if none is given."""
    return typer.Option(*flags, help=meaning, metavar=metavar, autocompletion=complete)


def argument(meaning: str, metavar: str | None, complete: Callable[..., list[str]] | None = None) -> Any:
    """Return an argument that is text."""
    return typer.Argument(help=meaning, metavar=metavar, autocompletion=complete)


def switch(flag: str, meaning: str) -> Any:
    """Return an option that is on or off, without a flag that switches it off."""
    return typer.Option(flag, help=meaning)


RESULTS = [Path("results")]
"""Where runs are stored, if nothing else is given."""

DATA = Path(DATA_ROOT)
"""Where datasets are, if nothing else is given."""

NONE: list[str] = []
"""Of an option that may be repeated, if it is not given."""

Text = str | None
Words = list[str]
Config = Annotated[Text, option("A YAML file or a recipe's name; the command line wins.", "FILE", of_kind("recipes"))]
Results = Annotated[Path, path("DIR", "Where runs are stored.")]
ManyResults = Annotated[list[Path], path("DIR", "Where runs are stored; may be repeated, or a pattern in quotes.")]
Prefer = Annotated[Path | None, path("DIR", "With several --results: the folder to use where folders disagree.")]
DataRoot = Annotated[Path, path("DIR", OPTIONS["data_root"].help, envvar="OKDBENCH_DATA")]
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
Where = Annotated[Words, option("Only matching runs, as 'seed=3 and decay=exp'; of several all hold.", "CONDITION")]
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
Run = Annotated[str, argument("A run's folder name, the beginning of it, or its identity.", "RUN", run_names)]


class Selection(NamedTuple):
    """Which stored runs a table, a figure or a page shows, and what it calls them."""

    results: ManyResults = RESULTS
    prefer: Prefer = None
    suite: SuiteName = None
    where: Where = NONE
    split: Split = None
    hide: Hide = NONE
    label: Annotated[
        Words,
        option("Another name for a method, dataset, network or setting: dkel='DKEL (ours)'; repeatable.", "OLD=NEW"),
    ] = NONE
    layout_file: Annotated[
        Path | None, path("FILE", "A YAML file with a table layout: rows in order, groups, labels, digits.", "--layout")
    ] = None

    def layout(self, **more: Any) -> "TableLayout":
        """Return the layout of the file or of none, with these options and ``more`` in its place where given."""
        from benchmark.tables import read_layout

        where = " and ".join(self.where) if self.where else None
        said = {"suite": self.suite, "where": where, "split": self.split, "hide": self.hide or None}
        return read_layout(self.layout_file, said | {"assignments": self.label} | more)

    def load(
        self, epochs: "Epochs" = "last", where: Mapping[str, Any] | None = None, needed: bool = True
    ) -> "pd.DataFrame":
        """Return the stored runs of every split, with a note on what is left out; an InputError if one is needed."""
        from benchmark import store

        frame = store.load(self.results, epochs, where, self.prefer, "all")
        say_notes(frame.attrs[store.DAMAGED].values())
        if needed and frame.empty:
            raise no_runs(self.results)
        return frame
