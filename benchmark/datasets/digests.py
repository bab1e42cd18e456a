"""What an image is known by in two runs: a digest of its pixels."""

from hashlib import blake2b

import numpy as np

from benchmark.datasets.images import Indices, LabelledImages


def image_digests(part: LabelledImages) -> Indices:
    """Return eight bytes of BLAKE2b over each image's pixels as a whole number, ``[N]``, in the images' order.

    Images are read one by one: a mapped file never lies in memory as a whole.
    """
    rows = range(len(part)) if part.rows is None else part.rows
    found = b"".join(blake2b(part.pixels[row].tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(found, dtype="<i8").astype(np.int64)
