"""``make offline``: one folder of wheels for a machine without a network, where a path is all that is installed.

``python -m tools.offline --target cp312 --without ray,torch,numpy`` writes this wheel and, in the versions that are
installed here, those of the libraries that it needs and the target lacks, with a script that unpacks and runs them.
"""

import argparse
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MAX_MIB = 60
TARGET = "cp312"
WITHOUT = "ray,torch,torchvision,numpy,scipy,scikit-learn,matplotlib"
OLDEST_GLIBC = 17
"""Minor version of the oldest manylinux platform whose wheels are taken; newer systems run them all."""

SCRIPT = """#!/bin/sh
# Runs bench from the wheels beside this file, which are unpacked once; PYTHON names another interpreter.
python=${{PYTHON:-python3}}
here=$(cd "$(dirname "$0")" && pwd) || exit 1
if ! "$python" -c 'import sys; sys.exit(sys.implementation.cache_tag != "{tag}")'; then
    echo "bench: these wheels are for {tag}: PYTHON=/path/to/python names such an interpreter" >&2
    exit 1
fi
if [ ! -d "$here/site" ]; then
    unpacked="$here/site.$$"
    for wheel in "$here"/*.whl; do
        "$python" -m zipfile -e "$wheel" "$unpacked" || exit 1
    done
    mv "$unpacked" "$here/site" || exit 1
fi
PYTHONPATH="$here/site${{PYTHONPATH:+:$PYTHONPATH}}" exec "$python" -m benchmark.cli "$@"
"""


class RefusedError(Exception):
    """There is no such folder to make."""


@dataclass(frozen=True)
class Target:
    """Where it goes.

    Attributes:
        minor: Of Python 3.
        platform: As wheels name it, such as ``manylinux_2_28_x86_64``.
    """

    minor: int
    platform: str

    @classmethod
    def of(cls, words: str) -> "Target":
        """Return what words such as ``cp312`` or ``cp312-manylinux_2_28_aarch64`` mean."""
        found = re.fullmatch(r"cp3([0-9]{1,2})(?:-([a-z0-9_]+))?", words)
        if not found:
            raise RefusedError(
                f"a target is a Python with a platform if it is another one, such as cp312 or "
                f"cp312-manylinux_2_28_aarch64 (given: {words!r})"
            )
        return cls(int(found[1]), found[2] or f"manylinux_2_28_{platform.machine()}")

    @property
    def platforms(self) -> list[str]:
        """All platforms whose wheels run there."""
        found = re.fullmatch(r"manylinux_2_([0-9]+)_(\w+)", self.platform)
        if not found:
            return [self.platform]
        older = range(int(found[1]), OLDEST_GLIBC - 1, -1)
        return [*(f"manylinux_2_{minor}_{found[2]}" for minor in older), f"manylinux2014_{found[2]}"]

    @property
    def environment(self) -> dict[str, str]:
        """What the conditions of requirements are compared with."""
        kinds = {"win": ("win32", "Windows", "nt"), "macosx": ("darwin", "Darwin", "posix")}
        kind = next((kinds[start] for start in kinds if self.platform.startswith(start)), ("linux", "Linux", "posix"))
        machine = "x86_64" if self.platform.endswith("x86_64") else self.platform.rpartition("_")[2]
        return {
            **{key: str(value) for key, value in default_environment().items()},
            **dict(zip(("sys_platform", "platform_system", "os_name"), kind, strict=True)),
            "platform_machine": machine,
            "python_version": f"3.{self.minor}",
            "python_full_version": f"3.{self.minor}.0",
            "extra": "",
        }


def own_requirements() -> list[str]:
    """What this project needs."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(settings["project"]["dependencies"])


def needed(without: Collection[str], environment: Mapping[str, str]) -> list[str]:
    """All libraries that are needed, and what they need, but for some and what those alone need; sorted.

    Args:
        without: Names.
        environment: Of the target.
    """
    away = {canonicalize_name(name) for name in without}
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(line), "") for line in own_requirements()]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({**environment, "extra": extra})
        if not applies or name in away:
            continue
        found.add(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(line), wanted) for line in _requires(name)]
    return sorted(found)


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        # what only the target needs; what that one needs is not known here
        return []


def pinned(name: str) -> str:
    """The library in the version that is installed here."""
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        return name


def check_names(without: Collection[str], environment: Mapping[str, str]) -> None:
    """Refuse names that nothing would bring."""
    known = needed((), environment)
    if strange := sorted({canonicalize_name(name) for name in without} - set(known)):
        raise RefusedError(f"nothing here needs {', '.join(strange)} (known: {', '.join(known)})")


def download(names: Sequence[str], target: Target, folder: Path) -> None:
    """Fetch the wheels."""
    chosen = [word for name in target.platforms for word in ("--platform", name)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    where = ["--python-version", f"3.{target.minor}", "--implementation", "cp", *chosen, "--dest", str(folder)]
    ended = subprocess.run([*pip, *where, *map(pinned, names)], capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
        raise RefusedError(f"pip: {lines[-1] if lines else ended.stderr.strip()}")


def build(folder: Path) -> None:
    """Make this project's wheel."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RefusedError(f"the wheel cannot be built: {ended.stderr.strip().splitlines()[-1]}")


def sizes(folder: Path) -> dict[str, float]:
    """The files' sizes in MiB, the largest first."""
    found = {path.name: path.stat().st_size / 2**20 for path in folder.iterdir()}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def check_size(found: Mapping[str, float], most: float) -> None:
    """Refuse what is too large, and say what takes the room."""
    if sum(found.values()) > most:
        lines = [f"{size:7.1f} MiB  {name}" for name, size in found.items() if size >= 0.1]
        raise RefusedError(
            "\n".join([f"{sum(found.values()):.1f} MiB, and {most} are allowed: name more in WITHOUT", *lines])
        )


def replace(made: Path, out: Path) -> None:
    """Put a folder in the place of an older one of its kind."""
    if out.exists():
        strange = [path.name for path in out.iterdir() if path.suffix != ".whl" and path.name not in ("bench", "site")]
        if strange:
            raise RefusedError(f"{out} holds other things, such as {strange[0]}: name another folder by OUT")
        shutil.rmtree(out)
    shutil.move(made, out)


def write_folder(target: Target, without: Collection[str], out: Path, most: float = MAX_MIB) -> dict[str, float]:
    """Write the folder and return its files' sizes in MiB.

    Raises:
        RefusedError: If a name is unknown, there is no such wheel, it would be too large, or the folder holds other
            things; nothing is written then.
    """
    environment = target.environment
    check_names(without, environment)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="offline-", dir=out.parent) as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        build(made)
        download(needed(without, environment), target, made)
        script = made / "bench"
        script.write_text(SCRIPT.format(tag=f"cpython-3{target.minor}"), encoding="utf-8")
        script.chmod(0o755)
        check_size(found := sizes(made), most)
        replace(made, out)
    return found


def main(words: Sequence[str]) -> int:
    """Write the folder and say what to do there; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.offline", description=__doc__)
    parser.add_argument("--target", default=TARGET, help="cp312, or with its platform cp312-manylinux_2_28_aarch64")
    parser.add_argument("--without", default=WITHOUT, metavar="NAMES", help="what is there, or not wanted")
    parser.add_argument("--out", type=Path, default=ROOT / "offline", metavar="DIR")
    chosen = parser.parse_args(words)
    without = [name for name in re.split(r"[,\s]+", chosen.without) if name]
    try:
        target = Target.of(chosen.target)
        found = write_folder(target, without, chosen.out)
    except RefusedError as error:
        print(f"offline: {error}", file=sys.stderr)
        return 1
    print(f"{chosen.out}: {len(found) - 1} wheels for {chosen.target}, {sum(found.values()):.1f} MiB")
    print(f"there: sh {shlex.quote(chosen.out.name)}/bench run --engine serial --dataset folder:PATH")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
