"""Work over many files at once, with a bar for a person who waits."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from os import cpu_count
from typing import TypeVar

from benchmark.consoles import new_console

SHOWN_AFTER_S = 1.0
BLOCK = 32

Result = TypeVar("Result")
Item = TypeVar("Item")


@contextmanager
def bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that is told of every further piece done; a bar on stderr appears after a second.

    Nothing is shown where stderr is no terminal.

    Args:
        description: What is being done.
        total: Pieces in all.
    """
    if not new_console(stderr=True).is_terminal:
        yield lambda pieces: None
        return
    from rich.console import Console
    from rich.progress import Progress

    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task(description, total=total)
    begin = time.monotonic()

    def advance(pieces: int) -> None:
        progress.advance(task, pieces)
        if not progress.live.is_started and time.monotonic() - begin > SHOWN_AFTER_S:
            progress.start()

    try:
        yield advance
    finally:
        # older versions of Rich end a bar that never appeared with an empty line
        if progress.live.is_started:
            progress.stop()


def in_blocks(
    function: Callable[[Sequence[Item]], Result], items: Sequence[Item], description: str
) -> Generator[Result, None, None]:
    """Yield ``function(block)`` for blocks of neighbouring items, in their order, worked on by threads.

    No more is held than a few blocks a thread, however slowly the results are taken.

    Args:
        function: Of a block of :data:`BLOCK` items or fewer; an exception of its own ends everything.
        items: All of them.
        description: For the bar.
    """
    workers = min(32, (cpu_count() or 1) + 1)
    pending: deque[tuple[Future[Result], int]] = deque()
    with ThreadPoolExecutor(workers) as pool, bar(description, len(items)) as advance:
        try:
            for start in range(0, len(items), BLOCK):
                block = items[start : start + BLOCK]
                pending.append((pool.submit(function, block), len(block)))
                if len(pending) > 2 * workers:
                    future, size = pending.popleft()
                    yield future.result()
                    advance(size)
            for future, size in pending:
                yield future.result()
                advance(size)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
