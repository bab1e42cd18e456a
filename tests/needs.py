"""Why tests are skipped: what they need that is not here, and after the colon the command that changes it."""

import shutil
import sys
from importlib.util import find_spec

import pytest

# a container's root may not mount either
MOUNT = "no right to mount a file system: sudo make test (in a container: docker run --privileged)"


def programs(*names: str, packages: str) -> None:
    """Skip the test if one of the programs is not installed; Debian's packages have them."""
    if lacking := ", ".join(name for name in names if shutil.which(name) is None):
        pytest.skip(f"no {lacking}: apt-get install {packages}")


def extra(name: str, *modules: str) -> None:
    """Skip the test if one of the modules is not installed; an extra of the package brings them."""
    if lacking := ", ".join(module for module in modules or (name,) if find_spec(module) is None):
        pytest.skip(f"no {lacking}: {sys.executable} -m pip install 'okdbench[{name}]'")
