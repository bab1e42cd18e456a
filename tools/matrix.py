"""``make matrix``: all tests on several Python versions, and with the lowest versions that ``pyproject.toml`` allows.

``python -m tools.matrix [--only 3.12,lowest] [PYTEST ARGUMENTS]`` prints one line per combination and ends with exit
code 1 if one failed. Environments, exact versions and pytest's output are kept in ``.matrix/``, under the names of the
combinations.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".matrix"
PYTEST = ("-m", "pytest", "-q", "-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
SHOWN = ("torch", "ray", "numpy", "pandas")

_PROBE = "import platform, sys; print(platform.python_version(), getattr(sys, '_base_executable', sys.executable))"
_VERSIONS = (
    "import json, platform; from importlib.metadata import version; "
    f"print(json.dumps({{'python': platform.python_version(), **{{name: version(name) for name in {SHOWN!r}}}}}))"
)


@dataclass(frozen=True)
class Combination:
    """What the tests are run with.

    Attributes:
        name: On the command line, and of its environment's folder.
        python: The interpreter's version, ``MAJOR.MINOR``.
        resolution: Further arguments for uv that choose the packages' versions.
    """

    name: str
    python: str
    resolution: tuple[str, ...] = ("--constraint", "constraints.txt")


# the packages that others ask for are the newest that fit: there is no promise about theirs
LOWEST = ("--resolution", "lowest-direct")
COMBINATIONS = (
    *(Combination(version, version) for version in ("3.11", "3.12", "3.13")),
    Combination("lowest", "3.11", LOWEST),
)


class BrokenError(Exception):
    """A combination could not be installed, or its tests could not be counted."""


def find_python(version: str, environment: Mapping[str, str]) -> str | None:
    """Return an interpreter that really is of a version, or None.

    Args:
        version: ``MAJOR.MINOR``.
        environment: Of which PATH and PYENV_ROOT say where to look.
    """
    answers = (_probe(candidate, version, environment) for candidate in _candidates(version, environment))
    return next((path for path in answers if path), None)


def _probe(candidate: Path, version: str, environment: Mapping[str, str]) -> str:
    """Run an interpreter; return its path outside any virtual environment, or nothing if it is not of the version."""
    # a name proves nothing: pyenv's shims stand for versions that are not switched on
    try:
        answer = subprocess.run(
            [candidate, "-I", "-c", _PROBE], capture_output=True, text=True, env=environment, check=False
        )
    except OSError:
        return ""
    found, _, path = answer.stdout.strip().partition(" ")
    return path if answer.returncode == 0 and found.startswith(f"{version}.") else ""


def _candidates(version: str, environment: Mapping[str, str]) -> Iterator[Path]:
    folders = [Path(folder) for folder in environment.get("PATH", "").split(os.pathsep) if folder]
    for name in (f"python{version}", "python3", "python"):
        yield from (folder / name for folder in folders if os.access(folder / name, os.X_OK))
    pyenv = Path(environment.get("PYENV_ROOT") or Path.home() / ".pyenv")
    # the newest patch release first
    installed = sorted(pyenv.glob(f"versions/{version}.*/bin/python"), key=lambda path: _numbers(path.parts[-3]))
    yield from reversed(installed)


def _numbers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", text)]


def install(uv: str, combination: Combination, python: str, environment: Mapping[str, str]) -> Path:
    """Bring a combination's environment up to date, and return its interpreter.

    Raises:
        BrokenError: If there is no set of versions that fits, or it cannot be installed.
    """
    venv = FOLDER / combination.name
    inside = venv / "bin" / "python"
    pins = FOLDER / f"{combination.name}.txt"
    log = FOLDER / f"{combination.name}.install.log"
    log.unlink(missing_ok=True)
    if not _probe(inside, combination.python, environment):
        _logged([uv, "venv", "--clear", "--python", python, str(venv)], log, environment)
    # upgraded: otherwise the versions of the last time are kept where they fit
    compiled = ("pip", "compile", "pyproject.toml", "--extra", "dev", "--upgrade", "--no-header", "-o", str(pins))
    _logged([uv, *compiled, "--python", str(inside), *combination.resolution], log, environment)
    _logged([uv, "pip", "sync", "--python", str(inside), str(pins)], log, environment)
    _logged([uv, "pip", "install", "--python", str(inside), "--no-deps", "--editable", "."], log, environment)
    return inside


def _logged(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    with log.open("a") as stream:
        ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream, check=False)
    if ended.returncode:
        raise BrokenError(f"{' '.join(command[1:3])} ended with {ended.returncode}: see {log}")


def run_tests(
    combination: Combination, python: Path, arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[bool, str]:
    """Run the tests; return whether they passed, and the line that says so.

    Raises:
        BrokenError: If pytest ended before it had counted them.
    """
    log, counted = FOLDER / f"{combination.name}.log", FOLDER / f"{combination.name}.xml"
    counted.unlink(missing_ok=True)
    begin = time.monotonic()
    with log.open("w") as stream:
        command = [str(python), *PYTEST, f"--junitxml={counted}", *arguments]
        ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream, check=False)
    seconds = time.monotonic() - begin
    if not counted.is_file():
        raise BrokenError(f"pytest ended with {ended.returncode}: see {log}")
    passed = ended.returncode == 0
    line = f"{'passed' if passed else 'FAILED'}  {_counts(counted)}, {seconds:.0f} s  {_versions(python, environment)}"
    return passed, line if passed else f"{line}  see {log}"


def _counts(path: Path) -> str:
    suites = list(ET.parse(path).getroot().iter("testsuite"))
    kinds = ("tests", "failures", "errors", "skipped")
    counts = {kind: sum(int(suite.get(kind, 0)) for suite in suites) for kind in kinds}
    return ", ".join([f"{counts.pop('tests')} tests", *(f"{count} {kind}" for kind, count in counts.items() if count)])


def _versions(python: Path, environment: Mapping[str, str]) -> str:
    answer = subprocess.run(
        [str(python), "-I", "-c", _VERSIONS], capture_output=True, text=True, env=environment, check=True
    )
    return ", ".join(f"{name} {version}" for name, version in json.loads(answer.stdout).items())


def find_uv() -> str | None:
    """Return the path of uv: of this environment, or of the machine; None if there is none."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def own_environment() -> dict[str, str]:
    """Return this process's environment as interpreters, uv and pytest are to see it."""
    away = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "UV_CONSTRAINT", "UV_PYTHON", "UV_RESOLUTION")
    environment = {name: value for name, value in os.environ.items() if name not in away}
    # uv reads none of pip's variables, and gives up on a slow index much sooner
    if "PIP_INDEX_URL" in environment and "UV_INDEX_URL" not in environment:
        environment.setdefault("UV_DEFAULT_INDEX", environment["PIP_INDEX_URL"])
    environment.setdefault("UV_HTTP_TIMEOUT", "300")
    # as make test sets it
    environment["PYTHONHASHSEED"] = "0"
    # pip compiles what it installs; without that every worker of every test would compile torch for itself
    environment.setdefault("UV_COMPILE_BYTECODE", "1")
    return environment


def main(words: Sequence[str]) -> int:
    """Run the combinations one after the other; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.matrix", description=__doc__)
    known = {combination.name: combination for combination in COMBINATIONS}
    parser.add_argument("--only", default="", metavar="NAMES", help=f"some of {','.join(known)}; all if left out")
    chosen, arguments = parser.parse_known_args(words)
    asked = [name for name in chosen.only.split(",") if name]
    if strange := [name for name in asked if name not in known]:
        parser.error(f"no combination {', '.join(strange)}: there are {', '.join(known)}")
    uv = find_uv()
    if uv is None:
        parser.error("uv is not there: make install brings it")
    FOLDER.mkdir(exist_ok=True)
    environment = own_environment()
    verdicts: list[bool] = []
    tested = 0
    for combination in (known[name] for name in asked or known):
        python = find_python(combination.python, environment)
        if python is None:
            # whoever asks for it by its name wants to know
            passed, line = not asked, f"missing: there is no Python {combination.python} here"
        else:
            tested += 1
            print(f"{combination.name}: installing and testing, see {FOLDER}", file=sys.stderr)
            try:
                inside = install(uv, combination, python, environment)
                passed, line = run_tests(combination, inside, arguments, environment)
            except BrokenError as error:
                passed, line = False, f"FAILED  {error}"
        verdicts.append(passed)
        print(f"{combination.name:6}  {line}", flush=True)
    return 0 if tested and all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
