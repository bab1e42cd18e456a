"""Optional imports: libraries that only a part of this program needs, and the message where one is missing."""

import shlex
from importlib.util import find_spec

from benchmark.errors import MachineError

DISTRIBUTIONS = {
    **{"PIL": "pillow", "yaml": "PyYAML", "sklearn": "scikit-learn", "ray": "ray[tune]"},
    **{name: name for name in ("matplotlib", "numpy", "pandas", "pydantic", "scipy", "torch", "torchvision")},
    **{name: name for name in ("filelock", "jinja2", "joblib", "markupsafe", "safetensors", "tabulate")},
}
"""What pip calls a module that is imported."""


def missing_line(use: str, module: str) -> str:
    """Return the line that says what is missing for what."""
    name = DISTRIBUTIONS[module]
    return f"{use} needs {name.partition('[')[0]}, which is not installed: pip install {shlex.quote(name)}"


def need(use: str, *modules: str, instead: str = "") -> None:
    """Raise a MachineError if one of these modules of :data:`DISTRIBUTIONS` is missing, without importing them.

    Its message says what needs the module (``use``) and what does without it (``instead``).
    """
    for module in modules:
        if find_spec(module) is None:
            raise MachineError(missing_line(use, module) + (f", or {instead}" if instead else ""))
