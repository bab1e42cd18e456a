"""A submission whose runs were made here, and what forges a bundle of it."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from benchmark import exchange
from benchmark.exchange import bundles, submission, verification
from benchmark.store import CONFIG, METRICS, RESULT, Contents, Result, Row, run_name
from benchmark.store.files import parse_config

SEEDS = 4
SETTINGS = {"epochs": 2, "data": {"train_per_class": 3, "test_per_class": 20}}


@dataclass
class Run:
    """A run of a bundle, to be changed: what its files say."""

    config: dict[str, Any]
    result: dict[str, Any]
    rows: list[dict[str, Any]]
    name: str
    files: dict[str, bytes] = field(default_factory=dict)

    def elsewhere(self) -> None:
        self.result["environment"]["hardware"] = "another"

    def add(self, gap: float, *names: str, rows: slice = slice(None)) -> None:
        """Add to some of the metrics, by default to all accuracies of students and peers."""
        for row in self.rows[rows]:
            for name in names or [name for name in row if name == "student" or name.startswith("top1/")]:
                row[name] += gap

    def renamed(self) -> None:
        """Give the run the name that its changed configuration has."""
        self.name = run_name(parse_config(yaml.safe_dump(self.config).encode()))


def write_bundle(path: Path, files: dict[str, bytes | tarfile.TarInfo], last: bool = True) -> Path:
    """Write any files as a bundle, with its last one unless that is among them."""
    runs = len({name.split("/")[1] for name in files if name.startswith("runs/") and name.count("/") == 2})
    with (
        path.open("wb") as stream,
        bundles._compressed(stream, ".tar.gz") as inner,
        tarfile.open(fileobj=inner, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        end = {bundles.LAST: json.dumps({"format": 1, "runs": runs}).encode()} if last else {}
        for name, content in {**files, **end}.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def forge(bundle: Path, change: Callable[[Run], object], of: str = "") -> Path:
    """Change the runs of a bundle whose names begin so, in place."""
    files: dict[str, bytes | tarfile.TarInfo] = {}
    for item in bundles.contents(bundle):
        if isinstance(item, bundles.BundledFile):
            files[item.path] = item.content
            continue
        raw = item.raw
        rows = [json.loads(line) for line in raw[METRICS].splitlines()]
        run = Run(yaml.safe_load(raw[CONFIG]), json.loads(raw[RESULT]), rows, item.name)
        if item.name.startswith(of):
            change(run)
        files[f"runs/{run.name}/{CONFIG}"] = yaml.safe_dump(run.config, sort_keys=False).encode()
        files[f"runs/{run.name}/{METRICS}"] = "".join(f"{json.dumps(row)}\n" for row in run.rows).encode()
        files[f"runs/{run.name}/{RESULT}"] = json.dumps(run.result).encode()
        files |= {f"runs/{run.name}/{name}": content for name, content in run.files.items()}
    return write_bundle(bundle, files)


@pytest.fixture(scope="session")
def honest_submission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission of DML and its baseline, some seeds of two epochs on thirty digits, as --prepare writes it."""
    from benchmark import running

    results = tmp_path_factory.mktemp("laboratory")
    layer = {"methods": ["independent", "dml"], "dataset": "digits", "seeds": SEEDS, "results": str(results)}
    assert running.carry_out(running.prepare([{**layer, **SETTINGS, "engine": "serial"}]), Console(quiet=True))
    folder = tmp_path_factory.mktemp("submissions") / "dml"
    form = submission.prepare(results, folder, method="dml")
    form.write_text(form.read_text().replace(submission.TO_FILL_IN, "filled in"))
    return folder


@pytest.fixture
def submitted(honest_submission: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    shutil.copytree(honest_submission, tmp_path / "submissions" / "dml")
    return tmp_path / "submissions" / "dml"


@pytest.fixture(autouse=True, scope="package")
def repeated_once() -> Iterator[None]:
    """A repetition is the same every time: each configuration is trained once for all tests of this folder."""
    repeated = verification._repeated

    def once(contents: Contents, access: exchange.Access) -> tuple[Result, list[Row]]:
        # what a run was asked for as, or says of its machine, is nothing that a repetition sees
        key = contents.config.model_copy(update={"uses": [], "budgets": ["equal epochs"]}).model_dump_json()
        if key not in _REPEATED or access.plugins:
            _REPEATED[key] = repeated(contents, access)
        return _REPEATED[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "_repeated", once)
        yield


_REPEATED: dict[str, tuple[Result, list[Row]]] = {}


@pytest.fixture
def access(tmp_path: Path) -> exchange.Access:
    """What a repetition may use: no dataset is downloaded to here."""
    return exchange.Access(tmp_path / "data", device="cpu")
