"""Standard output and the console: where the lines for a person go."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import OutputError
from benchmark.escaping import lines, visible

if TYPE_CHECKING:
    from rich.console import Console


class _Output(TextIOWrapper):
    """Standard output that remembers what the system had against it, whoever catches that."""

    fault: OSError | None = None

    def write(self, text: str) -> int:
        """Write some text."""
        return int(self._remembering(super().write, text))

    def flush(self) -> None:
        """Hand over what has been written."""
        self._remembering(super().flush)

    def _remembering(self, action: Callable[..., Any], *given: str) -> Any:
        try:
            return action(*given)
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
    buffering = usual.line_buffering, usual.write_through
    sys.stdout = stream = _Output(usual.buffer, usual.encoding, errors, None, *buffering)
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


def same_command() -> str:
    """Return the command line that was given, to be given again."""
    return shlex.join(["bench", *sys.argv[1:]])


def new_console(stderr: bool = False, quiet: bool = False) -> "Console":
    """Return a console of Rich that shows control characters, such as those of a name, and does not obey them."""
    from rich.console import Console

    class VisibleConsole(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*(lines(item) if isinstance(item, str) else item for item in objects), **how)

    return VisibleConsole(stderr=stderr, quiet=quiet)


def say(console: "Console", *text: str) -> None:
    """Print lines as they are, with their control characters made visible."""
    for line in text:
        console.print(visible(line), highlight=False, markup=False, soft_wrap=True)


@cache
def note_once(line: str) -> None:
    """Print a note on the error stream; the same one once a process."""
    say(new_console(stderr=True), f"note: {line}")


def tell(*text: object, error: bool = False, flush: bool = False) -> None:
    """Print lines, what a command answers, with their control characters made visible; with ``flush`` at once."""
    for line in text:
        print(visible(str(line)), file=sys.stderr if error else sys.stdout, flush=flush)
