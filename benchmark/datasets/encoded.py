"""Encoded images that are no files of their own, such as those in a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from benchmark.datasets.decoding import Encoded
from benchmark.datasets.images import Indices
from benchmark.datasets.progress import in_blocks


@dataclass(frozen=True)
class EncodedImages:
    """Images in their order; they are read when they are needed.

    Attributes:
        where: How messages name what they are in.
        read: Gives the bytes of an image file for its place in there.
        rows: Their places.
        labels: Class indices ``[N]``.
        classes: The classes' names in the order of their indices.
    """

    where: str
    read: Callable[[int], bytes]
    rows: Indices
    labels: Indices
    classes: tuple[str, ...]

    @property
    def pictures(self) -> list[Encoded]:
        """Each of them."""
        return [Encoded(f"{self.where}[{row}]", partial(self.read, int(row))) for row in self.rows]

    def take(self, indices: Indices) -> "EncodedImages":
        """Return the chosen images in the order given."""
        return replace(self, rows=self.rows[indices], labels=self.labels[indices])

    def contents(self, cache: Path) -> str:
        """Return the hash of the images' bytes; all of them are read."""
        digest = sha256()
        for hashes in in_blocks(self._hash_block, self.rows.tolist(), "reading images"):
            digest.update(hashes)
        return digest.hexdigest()

    def _hash_block(self, rows: Sequence[int]) -> bytes:
        return b"".join(sha256(self.read(row)).digest() for row in rows)
