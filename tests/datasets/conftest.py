"""What tests of datasets share."""

from pathlib import Path

import pytest

from tests.images import Place, tree


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A tree of ten coloured images of 8x8 pixels."""
    found = Place(tmp_path)
    tree(found.photos, 8, 8, 3)
    return found
