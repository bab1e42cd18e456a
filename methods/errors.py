"""The error that says what a person wrote wrong, and what would have been right."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input by the user; its message is one line that names the valid choices."""


def unknown(kind: str, word: str, valid: Iterable[str], quoted: bool = False) -> InputError:
    """Return the error for a word that is none of the valid ones.

    Args:
        kind: What the word stands for, for example ``"method"``.
        word: What was written.
        valid: The words that would have been accepted.
        quoted: Whether they stand in quotes, as words with commas in them have to.
    """
    choices = sorted(valid)
    near = get_close_matches(word, choices, n=1, cutoff=0.6)
    hint = f", did you mean {near[0]!r}?" if near else ""
    listed = (
        f" (valid: {', '.join(map(repr, choices) if quoted else choices)})"
        if choices
        else " (there are none to choose from)"
    )
    return InputError(f"unknown {kind} {word!r}{hint}{listed}")
