"""Where lines for a person go: to Rich's console, or as they are where Rich is not installed."""

import shlex
import sys
from typing import Any, Protocol

from benchmark import escaping, libraries


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
