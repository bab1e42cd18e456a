"""The ``bench`` command: parses, calls, prints."""

import errno
import os
import signal
import sys
import time
from functools import cache
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from benchmark import optional_imports
from benchmark.commands import reports, runs, training
from benchmark.commands.options import NamesMetrics
from benchmark.console import new_console, printing, same_command
from benchmark.errors import MachineError, OutputError, TryAgainError
from methods.errors import InputError, nearest

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="A benchmark for online knowledge distillation: train, compare, trust the table.",
    epilog="To begin: bench run --methods pcl,dkel --dataset digits. What can be named: bench list.",
)

INTERRUPTED = 130
_STOPPED = "stopped; what is finished is kept, resume with"
TRY_AGAIN = 75
"""What programs end with where the same command later, or once more, does it: EX_TEMPFAIL of sysexits.h."""


def main() -> None:
    """Run the command; bad input ends in one line and exit code 2, a machine that fails in 1, time that is up in 75."""
    begun = time.time()
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        # remembered as well as raised: a library that is being imported may swallow the exception
        received.append(number)
        if len(received) > 1:
            # the first is being answered, and what that interrupts would say so at length
            os.write(2, f"bench: {_STOPPED}: {same_command()}\n".encode())
            os._exit(INTERRUPTED)
        raise KeyboardInterrupt

    # a batch system announces the end of its patience by SIGTERM: the same as Ctrl-C
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        with printing():
            # without Typer's standalone mode an exit code comes back as the value
            code = program()(standalone_mode=False, obj=begun)
    except BaseException as error:
        # a library that is interrupted may make an error of its own of it, and what ends then ends for that
        code = INTERRUPTED if received else _answered(error)
    if received or code == INTERRUPTED:
        _fail(f"{_STOPPED}: {same_command()}", INTERRUPTED)
    if code:
        sys.exit(code)


def _answered(error: BaseException) -> int:
    """Return the exit code of what ended a command, or end here with a line that says it."""
    match error:
        case InputError():
            _fail(str(error))
        case OutputError(closed=True):
            # as programs end that are sent SIGPIPE: quietly
            return 128 + signal.SIGPIPE
        case MachineError():
            _fail(str(error), 1)
        case ModuleNotFoundError(name=str(missing)) if missing in optional_imports.DISTRIBUTIONS:
            _fail(optional_imports.missing_line(" ".join(["bench", *sys.argv[1:2]]), missing), 1)
        case OSError(errno=errno.ENAMETOOLONG):
            # a name that no file here can have was written by a person, whichever command first looks for it
            _fail(f"{error.strerror}: {error.filename}")
        case TryAgainError():
            _fail(f"{error}; resume with: {same_command()}", TRY_AGAIN)
        case KeyboardInterrupt() | typer.Abort():
            return INTERRUPTED
        case _ if describe := getattr(error, "format_message", None):
            # of Typer's own usage errors the one without a message is no command at all: the help has been printed
            if not (message := describe()):
                sys.exit(2)
            _fail(message + _setting_meant(str(getattr(error, "option_name", "") or "")))
    # anything else is a fault of ours and keeps its traceback
    raise error


@cache
def program() -> Any:
    """Return the command with its parts as Click has them; to put them together takes longer than many an answer."""
    return typer.main.get_command(app)


def _setting_meant(option: str) -> str:
    """Return what else an option that there is not may have meant: a setting of training or data."""
    from benchmark.configuration import SECTIONS

    fields = {field: section for section, model in SECTIONS.items() for field in model.model_fields}
    meant = nearest(option.removeprefix("--").replace("-", "_"), list(fields))
    words = [part for word in sys.argv[1:] for part in word.split("=", 1)]
    value = next(iter(words[words.index(option) + 1 :] if option in words else ()), "-")
    given = "VALUE" if value.startswith("-") else value
    return "" if meant is None else f"; the setting is given as --set {fields[meant]}.{meant}={given}"


def _fail(message: str, code: int = 2) -> NoReturn:
    new_console(stderr=True).print(
        f"bench: {' '.join(message.split())}", style="red", highlight=False, markup=False, soft_wrap=True
    )
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        # some 40 ms, which no other command needs at its start
        from importlib.metadata import version

        print(version("okdbench"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Train, compare, trust the table."""


_COMMANDS = (
    *(training.run, reports.table, reports.plot, training.sweep, reports.schedules, training.check, training.speed),
    *(runs.list_, runs.show, reports.report, reports.site, runs.pack, runs.merge, runs.verify),
    *(runs.submit, runs.rm, runs.export, runs.predict, training.doctor),
)
"""In the order of the help page."""

for command in _COMMANDS:
    app.command(command.__name__.rstrip("_"), cls=NamesMetrics)(command)
app.add_typer(training.study, name="study")

if __name__ == "__main__":
    main()
