"""What a sweep is asked, and which of its configurations answer that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.sweeps.space import Assignment, Space, described, shown
from benchmark.tables import check_bound
from methods.errors import InputError, unknown

WITHIN = 0.5
"""Points of accuracy that are no difference, where a sweep does not say which."""

KEYS = ("key", "against", "within")


@dataclass(frozen=True)
class Question:
    """Whether the values of a key differ from those that are its references.

    Attributes:
        key: Of the space.
        against: The references, values of the key.
        within: Half-width of what counts as no difference, in points.
    """

    key: str
    against: tuple[Any, ...]
    within: float = WITHIN

    def urgency(self, assignment: Assignment, base: Assignment) -> int:
        """Return how early a configuration is tried among others: references first, then other values of the key."""
        if assignment.get(self.key) in self.against:
            return 0
        return 1 if assignment.get(self.key) != base[self.key] else 2

    def reference(self, space: Space, assignment: Assignment, base: Assignment, value: Any) -> Assignment | None:
        """Return what a configuration is compared with: itself with the key at a reference's value.

        Two references are compared once.

        Returns:
            None if the key does not count in the configuration, or the comparison is made from its other side.
        """
        own = assignment.get(self.key)
        if self.key not in assignment or own == value:
            return None
        if own in self.against and self.against.index(own) < self.against.index(value):
            return None
        found = space.completed({**assignment, self.key: value}, base)
        return found if found.get(self.key) == value else None

    def __str__(self) -> str:
        return f"whether {self.key} differs from {' or '.join(map(shown, self.against))} by {self.within:g} points"


def parse_question(content: Any, space: Space, known: Callable[[str], str]) -> Question | None:
    """Return a file's ``question``; None if there is none.

    Args:
        content: Such as ``{key: decay, against: [none], within: 0.5}``.
        space: That the file declares.
        known: Returns a key's canonical form, or raises the InputError for a key that there is not.

    Raises:
        InputError: For anything that is no such question.
    """
    if content is None:
        return None
    if not isinstance(content, Mapping) or not {"key", "against"} <= content.keys():
        raise InputError(
            f"question takes a key and what it is compared with: {{key: K, against: [V]}} (given: {content!r})"
        )
    for name in content:
        if name not in KEYS:
            raise unknown("key of question", str(name), KEYS)
    key, within = known(str(content["key"])), content.get("within", WITHIN)
    if type(within) not in (int, float):
        raise InputError(f"question.within must be a number of points (given: {within!r})")
    against = content["against"] if isinstance(content["against"], list) else [content["against"]]
    if not against:
        raise InputError("question.against names no value")
    for value in against:
        if not space.has(key, value):
            raise InputError(f"question.against: no configuration of the space has {described({key: value})}")
    return Question(key, tuple(against), check_bound("question.within", float(within)))


def parse_controls(content: Any, space: Space, known: Callable[[str], str]) -> list[Assignment]:
    """Return a file's ``controls``, as they are written there.

    Args:
        content: A list of keys and values, such as ``[{decay: constant}, {decay: none}]``; None for no controls.
        space: That the file declares.
        known: As in :func:`parse_question`.

    Raises:
        InputError: For anything that is no such list.
    """
    listed = [] if content is None else content
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) and each for each in listed):
        raise InputError(f"controls takes a list of keys and values, as in [{{decay: none}}] (given: {content!r})")
    controls = [{known(str(key)): value for key, value in each.items()} for each in listed]
    for control in controls:
        if not space.allows(control):
            raise InputError(
                f"controls: no configuration of the space is known by {described(control)}; a key that counts with "
                "some values of another stands beside that"
            )
    return controls


def narrowed(question: Question | None, space: Space) -> Question | None:
    """Return what is left of a question in a part of its space; None if nothing is."""
    if question is None:
        return None
    left = tuple(value for value in question.against if space.has(question.key, value))
    return Question(question.key, left, question.within) if left else None
