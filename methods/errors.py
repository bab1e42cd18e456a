"""The error that says what a person wrote wrong, and what would have been right."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType


class InputError(ValueError):
    """Bad input by the user; its message is one line that names the valid choices."""


def message_of(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")


def nearest(word: str, choices: Sequence[str], also: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """Return the choice that a word most likely means: what it is also called, its initials or the like, or a typo.

    Args:
        word: What was written, as ``learning_rate`` for ``lr`` or ``wd`` for ``weight_decay``.
        choices: The words that would have been accepted.
        also: Other words for some of them.
    """
    if also.get(word) in choices:
        return also[word]
    plain = word.replace("-", "_")
    short = [choice for choice in choices if choice in (plain, _initials(plain)) or _initials(choice) == plain]
    return next(iter(short or get_close_matches(word, choices, n=1, cutoff=0.6)), None)


def _initials(word: str) -> str:
    parts = word.split("_")
    return "".join(part[:1] for part in parts) if len(parts) > 1 else word


def unknown(
    kind: str, word: str, valid: Iterable[str], quoted: bool = False, also: Mapping[str, str] = MappingProxyType({})
) -> InputError:
    """Return the error for a word that is none of the valid ones.

    Args:
        kind: Of thing that the word names, for example ``"method"``.
        word: What was written.
        valid: The words that would have been accepted.
        quoted: Whether they are shown in quotes, as words with commas in them have to be.
        also: Other words for some of them, of which a person may think first.
    """
    choices = sorted(valid)
    near = nearest(word, choices, also)
    hint = f", did you mean {near!r}?" if near else ""
    listed = (
        f" (valid: {', '.join(map(repr, choices) if quoted else choices)})"
        if choices
        else " (there are none to choose from)"
    )
    return InputError(f"unknown {kind} {word!r}{hint}{listed}")
