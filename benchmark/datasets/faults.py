"""What can be wrong with a data set that has to be said with its name."""

from collections.abc import Iterator
from contextlib import contextmanager

from methods.errors import InputError


class TooFewImagesError(InputError):
    """A class has fewer images than are wanted; who knows the data set's name says it."""


@contextmanager
def of(name: str) -> Iterator[None]:
    """Name the data set in what its images raise."""
    try:
        yield
    except TooFewImagesError as error:
        raise InputError(f"{name}: {error}") from None
