"""The time that is left."""

import time


class Clock:
    """Counts down to the end of a part and of the whole.

    Attributes:
        limit: Seconds of the whole.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._begun = time.perf_counter()
        self._until = limit

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._begun

    @property
    def left(self) -> float:
        """Seconds left of the part; none or less once it is over."""
        return self._until - self.elapsed

    def part(self, until: float) -> None:
        """Begin a part that ends at a share of the whole, in 0..1: what an earlier one left over is its own."""
        self._until = until * self.limit

    def allows(self, seconds: float) -> bool:
        """Whether something that takes so long still ends within the part."""
        return seconds <= self.left
