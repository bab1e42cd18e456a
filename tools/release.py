"""``make release-check``: whether what would be published is what is here, and works where nothing else is.

``python -m tools.release [--no-install]`` builds the source archive and the wheel twice from the files that git knows,
compares their bytes, looks for what does not belong in them, compares the versions that are stated, renders the long
description, and runs the wheel in an empty environment away from the checkout, where its help has to come at once. It
prints a line a check and ends with exit code 1 at the first that fails.
"""

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from email import message_from_string
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

import yaml

from tools.matrix import find_uv, own_environment

ROOT = Path(__file__).parents[1]

_CODE = ("benchmark/*.py", "benchmark/*.pyi", "benchmark/py.typed", "methods/*.py", "methods/py.typed")
_DATA = ("benchmark/*/templates/*", "benchmark/*/styles/*", "benchmark/*/*.yaml", "benchmark/hardware/reference.json")
WHEEL = (
    *_CODE,
    *_DATA,
    "benchmark/configs/*.yaml",
    "benchmark/docs/fidelity.md",
    *(
        f"okdbench-*.dist-info/{name}"
        for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    ),
)
"""What may be in the wheel; a star stands for any characters, slashes too."""

SDIST = (
    *_CODE,
    *_DATA,
    "configs/*.yaml",
    *(f"docs/*.{ending}" for ending in ("md", "svg", "yaml", "js")),
    *("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    *(".gitignore", "PKG-INFO", "pyproject.toml"),
)
"""What may be in the source archive, below its folder."""

HELP_SECONDS = 0.4
"""``bench --help`` answers sooner than this."""

TWICE = "the same bytes twice"
"""Said where two builds agree."""


class ReleaseError(Exception):
    """Something that must not be published; one line."""


def strangers(names: Iterable[str], allowed: Sequence[str]) -> list[str]:
    """Return the names that fit no pattern."""
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in allowed)]


def contents(archive: Path) -> list[str]:
    """Return the files of a wheel, or of a source archive below its folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return sorted(wheel.namelist())
    with tarfile.open(archive) as source:
        return sorted(member.name.partition("/")[2] for member in source if not member.isdir())


def check_contents(archive: Path, tracked: Sequence[str]) -> str:
    """Return a line on an archive that has all of the package and nothing else.

    Args:
        archive: A wheel or a source archive.
        tracked: The files that git knows.

    Raises:
        ReleaseError: If something is too much, or lacking.
    """
    names = contents(archive)
    wheel = archive.suffix == ".whl"
    if strange := strangers(names, WHEEL if wheel else SDIST):
        raise ReleaseError(f"{archive.name} has what is on no list: {', '.join(strange)}")
    wanted = [name for name in tracked if name.startswith(("methods/", "benchmark/"))]
    recipes = [name for name in tracked if name.startswith("configs/")]
    wanted += [f"benchmark/{name}" for name in recipes] if wheel else recipes
    if lacking := sorted(set(wanted) - set(names)):
        raise ReleaseError(f"{archive.name} lacks {', '.join(lacking)}")
    return f"{archive.name}: {len(names)} files, all of them on the list, {archive.stat().st_size / 1024:.0f} KiB"


def stated_versions() -> dict[str, str]:
    """Return the version that each file states: of the changelog the last release."""
    released = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    return {
        "CHANGELOG.md": next((version for version in released if version != "Unreleased"), "none"),
        "pyproject.toml": settings["project"]["version"],
        "CITATION.cff": str(citation["version"]),
    }


def agreed(versions: dict[str, str]) -> str:
    """Return the version that all state.

    Raises:
        ReleaseError: If two of them differ.
    """
    if len(set(versions.values())) != 1:
        raise ReleaseError(f"versions differ: {', '.join(f'{place} {version}' for place, version in versions.items())}")
    return next(iter(versions.values()))


def metadata(wheel: Path) -> str:
    """Return what a wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(name).decode()


def check_description(text: str) -> str:
    """Return a line on a long description that renders as a package index would render it.

    Args:
        text: The wheel's metadata.

    Raises:
        ReleaseError: If it does not, or is of another kind than Markdown.
    """
    from readme_renderer import markdown

    message = message_from_string(text)
    kind = message.get("Description-Content-Type", "")
    if not kind.startswith("text/markdown"):
        raise ReleaseError(f"the long description is no Markdown: {kind or 'no type'}")
    rendered = markdown.render(str(message.get_payload()))
    if not rendered or "<h1" not in rendered or "<table" not in rendered:
        raise ReleaseError("the long description does not render")
    return f"the long description renders, {len(rendered) / 1024:.0f} KiB"


def tracked_files() -> list[str]:
    """Return the files that git knows and that are here."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def build(names: Sequence[str], folder: Path, mode: int, written: int) -> list[Path]:
    """Build both archives from a copy whose files have other times and rights; return them by name.

    Args:
        names: The files to copy.
        folder: Where the copy and the archives are written.
        mode: The rights of the files.
        written: When they were written, in seconds since 1970.
    """
    source = folder / "source"
    for name in names:
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
        copy.chmod(mode)
        os.utime(copy, (written, written))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)]
    done = subprocess.run(command, env=own_environment() | _epoch(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"the build fails: {' '.join((done.stderr or done.stdout).split())[-500:]}")
    return sorted((folder / "dist").iterdir())


def _epoch() -> dict[str, str]:
    """Return the time of the last commit, for the files in the archives."""
    asked = ["git", "log", "-1", "--format=%ct"]
    seconds = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return {"SOURCE_DATE_EPOCH": seconds}


def compare(first: Sequence[Path], second: Sequence[Path]) -> list[str]:
    """Return a line on each archive.

    Raises:
        ReleaseError: If two builds differ.
    """
    lines = []
    for one, two in zip(first, second, strict=True):
        sums = [sha256(path.read_bytes()).hexdigest() for path in (one, two)]
        if one.name != two.name or sums[0] != sums[1]:
            raise ReleaseError(f"two builds of {one.name} differ: {sums[0][:16]} and {sums[1][:16]}")
        lines.append(f"{one.name}: {TWICE}, {sums[0][:16]}")
    return lines


def try_out(wheel: Path, folder: Path, version: str) -> list[str]:
    """Install a wheel with nothing else and use it; return a line a command.

    Args:
        wheel: What is installed.
        folder: Empty, and outside the checkout.
        version: What it has to call itself.

    Raises:
        ReleaseError: If a command fails or is not the wheel's own.
    """
    environment = own_environment()
    # a home and a working folder without anything
    environment |= {"OKDBENCH_DATA": str(folder / "data"), "PYTHONNOUSERSITE": "1"}
    venv, work = folder / "venv", folder / "work"
    work.mkdir()
    uv = find_uv()
    if uv is None:
        raise ReleaseError("uv is not there: make install brings it")
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    _done([uv, "venv", "--python", sys.executable, venv], work, environment)
    _done([uv, "pip", "install", "--python", venv / "bin" / "python", *pins, wheel], work, environment)
    where = [str(venv / "bin" / "python"), "-c", "import benchmark; print(benchmark.__file__)"]
    if not (place := _done(where, work, environment).strip()).startswith(str(venv)):
        raise ReleaseError(f"the installed package is not what is imported, but {place}")
    bench = venv / "bin" / "bench"
    if (said := _done([bench, "--version"], work, environment).strip()) != version:
        raise ReleaseError(f"bench --version says {said!r}, not {version!r}")
    lines = ["installed away from the checkout, with nothing else"]
    # the first call compiles; what else the machine does makes a call slower, none faster
    least = min(_seconds([bench, "--help"], work, environment) for _ in range(10))
    if least >= HELP_SECONDS:
        raise ReleaseError(f"bench --help takes {least:.2f} s, not under {HELP_SECONDS} s")
    lines.append(f"bench --help: {least:.2f} s")
    commands = ["list", "check", "run --dataset digits --epochs 1", "table", "report --out report.html"]
    if re.search(r"^\W*site\s", _done([bench, "--help"], work, environment), re.MULTILINE):
        commands.append("site --results results --out site")
    for command in commands:
        seconds = _seconds([bench, *command.split()], work, environment)
        lines.append(f"bench {command}: {seconds:.0f} s")
    return lines


def _seconds(command: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> float:
    begin = time.monotonic()
    _done(command, folder, environment)
    return time.monotonic() - begin


def _done(command: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join(str(word) for word in command[1:])
        last = ((done.stderr.strip() or done.stdout.strip()).splitlines() or ["nothing is said"])[-1]
        raise ReleaseError(f"{Path(command[0]).name} {words} ended with {done.returncode}: {last}")
    return done.stdout


def main(words: Sequence[str]) -> int:
    """Check everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("--no-install", action="store_true", help="leave out what needs an index of packages")
    chosen = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="okdbench-release-") as name:
        try:
            for line in _lines(Path(name), install=not chosen.no_install):
                print(f"ok      {line}", flush=True)
        except ReleaseError as error:
            print(f"FAILED  {error}")
            return 1
    return 0


def _lines(folder: Path, install: bool) -> Iterable[str]:
    tracked = tracked_files()
    first = build(tracked, folder / "one", 0o644, 1_500_000_000)
    yield from compare(first, build(tracked, folder / "another folder", 0o600, 1_600_000_000))
    for archive in first:
        yield check_contents(archive, tracked)
    (wheel,) = [archive for archive in first if archive.suffix == ".whl"]
    said = metadata(wheel)
    version = agreed(stated_versions() | {wheel.name: str(message_from_string(said)["Version"])})
    yield f"version {version}: pyproject.toml, CHANGELOG.md, CITATION.cff and the wheel agree"
    yield check_description(said)
    if install:
        yield from try_out(wheel, folder, version)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(sys.argv[1:]))
