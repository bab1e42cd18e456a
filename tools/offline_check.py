"""``make offline-check``: what ``make offline`` writes, on a Python with torch and numpy alone and with no other path.

``python -m tools.offline_check`` makes that Python in ``.offline/``, with the lowest torch of ``pyproject.toml``.
It ends with exit code 1 if a command there fails.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement

from tools.matrix import find_python, own_environment
from tools.offline import ROOT, TARGET, WITHOUT, RefusedError, Target, own_requirements, write_folder

FOLDER = ROOT / ".offline"
ALLOWED = ("torch", "numpy")
METHODS = ("independent", "dml", "dkel")
COMMANDS = (
    f"run --engine serial --device cpu --dataset folder:images --backbone resnet8 --methods {','.join(METHODS)} "
    "--seeds 2 --epochs 2 --set data.flip=false",
    "table",
    "doctor",
    "check dml",
)


def lowest(name: str) -> str:
    """The lowest version of a library that is promised to do."""
    found = next(requirement for requirement in map(Requirement, own_requirements()) if requirement.name == name)
    return next(bound.version for bound in found.specifier if bound.operator == ">=")


def bare_python(environment: Mapping[str, str]) -> Path:
    """An interpreter with torch and numpy, and what those bring."""
    version = f"3.{Target.of(TARGET).minor}"
    python = find_python(version, environment)
    if python is None:
        raise RefusedError(f"there is no Python {version} here")
    uv = str(Path(sys.executable).with_name("uv"))
    inside = FOLDER / "python" / "bin" / "python"
    subprocess.run(
        [uv, "venv", "--quiet", "--clear", "--python", python, inside.parents[1]], env=environment, check=True
    )
    packages = [f"torch=={lowest('torch')}.*", "numpy"]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", inside, *packages], env=environment, check=True)
    return inside


def write_images(folder: Path) -> None:
    """Classes that differ in colour, as files that no library is needed to write."""
    random = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 20)):
        for number, name in enumerate(("red", "green", "blue")):
            (place := folder / part / name).mkdir(parents=True)
            for image in range(count):
                pixels = random.integers(0, 120, (32, 32, 3)) + 100 * (np.arange(3) == number)
                (place / f"{image}.ppm").write_bytes(b"P6 32 32 255\n" + pixels.astype(np.uint8).tobytes())


def answer(words: Sequence[str], there: Path, python: Path) -> str:
    """Give a command there and return what it prints."""
    environment = {key: os.environ[key] for key in ("HOME", "LANG") if key in os.environ}
    # nothing but the system's own programs, and nobody to ask for more
    environment |= {"PATH": "/usr/bin:/bin", "PYTHON": str(python), "https_proxy": "http://127.0.0.1:9"}
    command = ["sh", "offline/bench", *words]
    done = subprocess.run(command, cwd=there, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(f"bench {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def check() -> None:
    """Raise a RefusedError if something does not work there."""
    FOLDER.mkdir(exist_ok=True)
    python = bare_python(own_environment())
    there = FOLDER / "there"
    shutil.rmtree(there, ignore_errors=True)
    there.mkdir()
    write_folder(Target.of(TARGET), WITHOUT.split(","), there / "offline")
    write_images(there / "images")
    for words in COMMANDS:
        said = answer(words.split(), there, python)
        print(f"$ bench {words}\n{said}", flush=True)
        missing = [name for name in METHODS if f"| {name} " not in said] if words.startswith(("run", "table")) else []
        if missing:
            raise RefusedError(f"the table lacks {', '.join(missing)}")


if __name__ == "__main__":
    try:
        check()
    except RefusedError as error:
        print(f"offline-check: {error}", file=sys.stderr)
        sys.exit(1)
