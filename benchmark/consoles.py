"""Where lines for a person go: to Rich's console, or as they are where Rich is not installed."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Protocol

from benchmark import escaping, libraries
from benchmark.errors import OutputError


class Console(Protocol):
    """What is asked of a console; Rich's has it."""

    @property
    def is_terminal(self) -> bool:
        """Whether a person watches, and something may move."""

    @property
    def quiet(self) -> bool:
        """Whether nothing is printed."""

    def print(
        self,
        *objects: Any,
        style: str | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        soft_wrap: bool | None = None,
    ) -> None:
        """Print a line."""


class _Output(TextIOWrapper):
    """Standard output that remembers what the system had against it, whoever catches that."""

    fault: OSError | None = None

    def write(self, text: str) -> int:
        """Write some text."""
        try:
            return super().write(text)
        except OSError as fault:
            self.fault = fault
            raise

    def flush(self) -> None:
        """Hand over what has been written."""
        try:
            super().flush()
        except OSError as fault:
            self.fault = fault
            raise


@contextmanager
def printing() -> Iterator[None]:
    """Let a command print to standard output, which may be full, closed, or of an encoding that lacks a character.

    Raises:
        OutputError: If something of it could not be written, in the place of whatever the command made of that.
    """
    usual = sys.stdout
    if not isinstance(usual, TextIOWrapper):
        if usual is None:
            # it was closed before the command began, and the next file that is opened would take its place
            sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the end
        yield
        return
    # a character that the stream's encoding lacks is no reason to end; Python's standard error does the same
    errors = "backslashreplace" if usual.errors == "strict" else usual.errors
    usual.flush()
    stream = _Output(
        usual.buffer,
        usual.encoding,
        errors,
        line_buffering=usual.line_buffering,
        write_through=usual.write_through,
    )
    sys.stdout = stream
    try:
        yield
    finally:
        with suppress(OSError):
            stream.flush()
        sys.stdout = usual
        if stream.fault is not None:
            # what is left would be tried once more at the end
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
        stream.detach()
        if stream.fault is not None:
            raise OutputError(stream.fault) from None


class PlainConsole:
    """Lines without colours, on any stream alike."""

    is_terminal = False

    def __init__(self, stderr: bool, quiet: bool) -> None:
        self.stderr = stderr
        self.quiet = quiet

    def print(self, *objects: Any, **how: Any) -> None:
        """Print a line; how it would look in colours does not matter."""
        if not self.quiet:
            print(*map(_visible, objects), file=sys.stderr if self.stderr else sys.stdout, flush=True)


def same_command() -> str:
    """Return the command line that was given, to be given again."""
    return shlex.join(["bench", *sys.argv[1:]])


def coloured() -> bool:
    """Return whether Rich is there."""
    return libraries.present("rich")


def new_console(stderr: bool = False, quiet: bool = False) -> Console:
    """Return a console.

    Args:
        stderr: Whether it is the error stream's.
        quiet: Whether nothing is printed.
    """
    if not coloured():
        return PlainConsole(stderr, quiet)
    from rich.console import Console as RichConsole

    class VisibleConsole(RichConsole):
        """Rich's, which would let a name move the cursor."""

        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*map(_visible, objects), **how)

    return VisibleConsole(stderr=stderr, quiet=quiet)


def _visible(printed: object) -> object:
    return escaping.lines(printed) if isinstance(printed, str) else printed
