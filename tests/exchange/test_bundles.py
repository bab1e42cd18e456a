"""Bundles: the same bytes every time, the same table elsewhere, and nothing written of what is not a run."""

import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import pandas as pd
import pytest

from benchmark import exchange, store, tables
from benchmark.configuration import RunAlias
from benchmark.configuration.code import source_of
from benchmark.configuration.run_config import Origin
from benchmark.exchange import bundles
from benchmark.store import CONFIG, METRICS, RESULT, Result, Status, Store
from methods.errors import InputError
from methods.plugins import import_plugin
from tests.command_line import Bench
from tests.exchange.conftest import write_bundle
from tests.store.test_index import config, finish

Members = dict[str, bytes | tarfile.TarInfo]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three finished runs, one that failed, one that is not finished."""
    root = tmp_path / "results"
    for seed in range(3):
        finish(root, seed, 50.0 + seed)
    Store(root).write_result(config(3), Result(Status.FAILED, "it broke"))
    Store(root).begin(config(4))
    return root


def files(root: Path) -> dict[str, bytes]:
    """Everything below a folder but the index."""
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    # hidden are the index and the locks
    return {name: path.read_bytes() for name, path in found.items() if "/." not in name}


@pytest.mark.parametrize("ending", exchange.ENDINGS)
def test_the_same_runs_give_the_same_bytes_and_the_same_table_elsewhere(
    results: Path, tmp_path: Path, ending: str
) -> None:
    one, other, into = tmp_path / f"one{ending}", tmp_path / "deep" / f"other{ending}", tmp_path / "there"
    exchange.pack(results, one)
    for path in results.rglob("*.json*"):
        os.utime(path, (5, 5))
        path.chmod(0o600)
    assert exchange.pack(results, other).runs == 5
    assert one.read_bytes() == other.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"results", "deep", one.name}
    assert exchange.merge([one], into) == exchange.Merged(5, 0, 0)
    assert files(into) == files(results)
    for epochs in get_args(store.Epochs):
        pd.testing.assert_frame_equal(store.load(into, epochs), store.load(results, epochs))


class TestMerge:
    @pytest.fixture
    def bundle(self, results: Path, tmp_path: Path) -> Path:
        exchange.pack(results, tmp_path / "b.tar.gz")
        return tmp_path / "b.tar.gz"

    def test_a_dry_run_writes_nothing_and_repeats_are_nothing(self, bundle: Path, tmp_path: Path) -> None:
        into = tmp_path / "there"
        assert exchange.merge([bundle], into, dry_run=True).added == 5
        assert not into.exists()
        exchange.merge([bundle, bundle], into)
        before = {path: path.stat().st_mtime_ns for path in into.rglob("*")}
        assert exchange.merge([bundle], into) == exchange.Merged(0, 0, 5)
        assert {path: path.stat().st_mtime_ns for path in into.rglob("*")} == before

    def test_what_has_ended_takes_the_place_of_what_has_not_and_a_run_in_progress_is_left(
        self, bundle: Path, tmp_path: Path
    ) -> None:
        into = tmp_path / "there"
        Store(into).begin(config(0))
        ended = finish(into, 4, 70.0)
        mine = files(ended)
        with Store(into).lock(config(0), 0):
            assert exchange.merge([bundle], into) == exchange.Merged(3, 0, 1, busy=1)
        assert not Store(into).ended(config(0))
        assert exchange.merge([bundle], into).completed == 1
        assert Store(into).ended(config(0))
        assert files(ended) == mine

    def test_other_numbers_of_the_same_environment_are_named_and_left(self, bundle: Path, tmp_path: Path) -> None:
        into = tmp_path / "there"
        folder = finish(into, 1, 20.0)
        mine = files(folder)
        done = exchange.merge([bundle], into)
        (line,) = done.contradictions
        assert all(word in line for word in (str(folder), str(bundle), "student 21 %", "student 52 %"))
        assert (done.added, done.replicates, files(folder)) == (4, 0, mine)

    @pytest.mark.parametrize("order", [1, -1])
    def test_the_same_runs_measured_elsewhere_are_replicates(self, results: Path, tmp_path: Path, order: int) -> None:
        elsewhere = tmp_path / "elsewhere"
        for seed in range(3):
            folder = finish(elsewhere, seed, 50.0 + seed)
            result = json.loads((folder / RESULT).read_text())
            result["environment"] = {"torch": "2", "hardware": "another"}
            (folder / RESULT).write_text(json.dumps(result))
            lines = (folder / METRICS).read_text()
            (folder / METRICS).write_text(lines.replace('"loss": 1.0', '"loss": 1.0000001'))
        made = [tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"][::order]
        exchange.pack(results, made[0])
        exchange.pack(elsewhere, made[1])
        done = exchange.merge(sorted(made), tmp_path / "there")
        assert (done.added, done.replicates, done.contradictions) == (8, 3, ())
        assert exchange.merge(made, tmp_path / "there") == exchange.Merged(0, 0, 8)
        frame = store.load(tmp_path / "there", "last", where={"status": "finished"})
        assert frame.groupby("environment").size().to_dict() == {"another, torch 2": 3, "torch 2": 3}
        # a bundle of both is one that can be merged
        exchange.pack(tmp_path / "there", tmp_path / "c.tar.gz")
        assert exchange.merge([tmp_path / "c.tar.gz"], tmp_path / "again").added == 8

    def test_what_a_run_was_asked_for_as_is_joined(self, bundle: Path, tmp_path: Path) -> None:
        into = tmp_path / "there"
        finish(into, 0)
        Store(into).claim(config(0).also([RunAlias(name="mine")]))
        assert exchange.merge([bundle], into) == exchange.Merged(4, 0, 1)
        frame = store.load(into, "last", "seed=0")
        assert json.loads(frame["uses"][0]) == [{}, {"name": "mine"}]

    def test_sources_of_plugins_go_along_by_their_hash(self, results: Path, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("class Mine: ...\n")
        source = source_of(import_plugin(str(tmp_path / "mine.py")))
        name, content = f"{source.hash}.py", source.text.encode()
        bundle = bundled(tmp_path, {**members(results), f"sources/{name}": content})
        exchange.merge([bundle], tmp_path / "there")
        assert (tmp_path / "there/sources" / name).read_bytes() == content
        for other, fault in (
            (content + b"evil = 1\n", "is another plug-in's code than its name says"),
            (content + b"a b\n", "is no plug-in's code"),
            (b"class Mine: ...\n", "is no plug-in's code"),
        ):
            with pytest.raises(InputError, match=fault):
                exchange.merge([bundled(tmp_path, {**members(results), f"sources/{name}": other})], tmp_path / "no")

    def test_where_this_machine_keeps_its_files_does_not_go_along(self, results: Path, tmp_path: Path) -> None:
        there = Origin(plugins=[str(tmp_path / "mine.py")], data_root=str(tmp_path / "data"))
        own = config(5).model_copy(update={"origin": there})
        Store(results).begin(own)
        assert str(tmp_path) in (Store(results).folder(own) / CONFIG).read_text()
        exchange.pack(results, tmp_path / "c.tar.gz")
        exchange.merge([tmp_path / "c.tar.gz"], tmp_path / "there")
        stored = (Store(tmp_path / "there").folder(own) / CONFIG).read_text()
        assert str(tmp_path) not in stored
        assert "mine.py" in stored
        # what is there keeps what it knows of its own machine
        assert exchange.merge([tmp_path / "c.tar.gz"], results).present == 6
        assert str(tmp_path) in (Store(results).folder(own) / CONFIG).read_text()

    def test_sequential_plans_go_along_and_displace_none(self, results: Path, tmp_path: Path) -> None:
        names = [path.name for path in (results / "runs").iterdir()]
        tables.keep_plan(results, sequential(3, 6), names)
        tables.keep_plan(results, sequential(3, 4), ["another"])
        exchange.pack(results, tmp_path / "b.tar.gz")
        tables.keep_plan(tmp_path / "there", sequential(3, 6, 9), names)
        for new in (1, 0):
            assert exchange.merge([tmp_path / "b.tar.gz"], tmp_path / "there").plans == new
        found = tables.stored_plans([tmp_path / "there"])
        assert sorted(len(one.declaration.looks) for one in found) == [2, 3]
        assert all(one.runs == set(names) for one in found)


def members(results: Path) -> Members:
    """The files of a bundle of a results folder's runs, without the last one."""
    return {name: content for name, content in sorted(files(results).items()) if not name.startswith("runs/.")}


def bundled(folder: Path, contents: Members, last: bool = True) -> Path:
    return write_bundle(folder / "hostile.tar.gz", contents, last)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def altered(file: str, change: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    """The bundle with one file of its second run changed."""

    def alter(good: Members) -> Members:
        name = [name for name in good if name.endswith(file)][1]
        content = good[name]
        assert isinstance(content, bytes)
        assert change(content) != content
        return {**good, name: change(content)}

    return alter


def added(name: str, content: bytes | tarfile.TarInfo = b"x") -> Callable[[Members], Members]:
    return lambda good: {**good, name: content}


def renamed(good: Members) -> Members:
    """The first run under a name whose identity is another's."""
    first, second = sorted({name.split("/")[1] for name in good})[:2]
    wrong = first.rpartition("-")[0] + "-" + second.rpartition("-")[2]
    return {name.replace(first, wrong): content for name, content in good.items() if second not in name}


def sequential(*looks: int) -> tables.Declaration:
    return tables.Declaration("until decided", "dml", ("dml", "one"), looks[-1], 1, {"student": 0.5}, looks)


def made_plan(*looks: int) -> tables.Plan:
    with TemporaryDirectory() as folder:
        tables.keep_plan(Path(folder), sequential(*looks), ["a"])
        return tables.stored_plans([Path(folder)])[0]


PLAN = made_plan(3, 6)


def plan(change: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    """The bundle with a changed plan whose name is that of its content."""
    content = change(PLAN.content)
    assert content != PLAN.content
    return added(f"plans/{PLAN._replace(content=content).file}", content)


RUN = "runs/dml-digits-resnet8-s9-0123456789ab"
HOSTILE: dict[str, Callable[[Members], Members]] = {
    "path outside": added("../evil.yaml"),
    "path outside from within": added(f"{RUN}/../../../evil.yaml"),
    "absolute path": added("/tmp/evil.yaml"),
    "another file": added(f"{RUN}/evil.py"),
    "pickled checkpoint": added(f"{RUN}/checkpoint.pt"),
    "hidden folder": added("runs/.locks/config.yaml"),
    "symlink": added("l", special(f"{RUN}/{CONFIG}", tarfile.SYMTYPE, "/etc/passwd")),
    "symlinked folder": added("l", special(RUN, tarfile.SYMTYPE, "/tmp")),
    "hard link": added("l", special(f"{RUN}/{CONFIG}", tarfile.LNKTYPE, "/etc/passwd")),
    "device file": added("l", special(f"{RUN}/{CONFIG}", tarfile.CHRTYPE)),
    "fifo": added("l", special(f"{RUN}/{CONFIG}", tarfile.FIFOTYPE)),
    "folder": added("l", special(RUN, tarfile.DIRTYPE)),
    "wrong identity": renamed,
    "another seed": altered(CONFIG, lambda content: content.replace(b"seed: 1", b"seed: 7")),
    "NaN": altered(METRICS, lambda content: content.replace(b'"loss": 1.0', b'"loss": NaN', 1)),
    "infinity": altered(METRICS, lambda content: content.replace(b'"loss": 1.0', b'"loss": 1e999', 1)),
    "string for a number": altered(METRICS, lambda content: content.replace(b'"loss": 1.0', b'"loss": "1"', 1)),
    "truth for a number": altered(METRICS, lambda content: content.replace(b'"loss": 1.0', b'"loss": true', 1)),
    "accuracy above 100": altered(METRICS, lambda content: content.replace(b'"student": 5', b'"student": 5111', 1)),
    "an epoch twice": altered(METRICS, lambda content: content.split(b"\n")[0] + b"\n" + content),
    "an epoch missing": altered(METRICS, lambda content: content.partition(b"\n")[2]),
    "string for seconds": altered(RESULT, lambda content: content.replace(b"2.0", b'"2.0"')),
    "unknown status": altered(RESULT, lambda content: content.replace(b"finished", b"finishes")),
    "no configuration": lambda good: {name: part for name, part in good.items() if not name.endswith(CONFIG)},
    "no weights": added(f"{RUN}/peer0.safetensors"),
    "python in YAML": altered(CONFIG, lambda content: content + b"x: !!python/object/apply:os.system ['true']\n"),
    "nesting": altered(CONFIG, lambda content: content + b"x: " + b"[" * 100_000),
    "a plan under another name": added("plans/0123456789ab.json", PLAN.content),
    "a plan outside": added("plans/../../0123456789ab.json", PLAN.content),
    "a plan of absurd size": added(f"plans/{PLAN.file}", PLAN.content + b" " * tables.MAX_PLAN),
    "a plan of absurd depth": plan(lambda content: b"[" * 100_000),
    "a plan that forbids nothing": plan(lambda content: content.replace(b'"comparisons": 1', b'"comparisons": 0')),
    "a plan with a boundless bound": plan(lambda content: content.replace(b"0.5", b"1e999")),
    "a plan whose looks end early": plan(lambda content: content.replace(b'"seeds": 6', b'"seeds": 9')),
    "a plan with control characters": plan(lambda content: content.replace(b"until", b"\\u001b[2J")),
    "a plan with more than a plan has": plan(lambda content: content.replace(b'"runs"', b'"more": 1, "runs"')),
    "aliases": altered(CONFIG, lambda content: b"a: &a [1]\nb: [*a, *a]\n" + content),
}


class TestHostile:
    def refused(self, bundle: Path, tmp_path: Path) -> str:
        into = tmp_path / "there"
        before = set(tmp_path.rglob("*"))
        with pytest.raises(InputError) as error:
            exchange.merge([bundle], into)
        line = str(error.value)
        assert len(line.splitlines()) == 1
        assert str(bundle) in line
        assert set(tmp_path.rglob("*")) == before
        return line

    @pytest.mark.parametrize("kind", HOSTILE)
    def test_one_line_and_nothing_written(self, results: Path, tmp_path: Path, kind: str) -> None:
        good = members(results)
        self.refused(bundled(tmp_path, HOSTILE[kind](good)), tmp_path)

    def test_the_bundle_itself_is_fine(self, results: Path, tmp_path: Path) -> None:
        assert exchange.merge([bundled(tmp_path, members(results))], tmp_path / "there").added == 5

    @pytest.mark.parametrize(
        ("name", "kind", "said"),
        [
            (f"{RUN}/{METRICS}", tarfile.REGTYPE, "10,737,418,240 bytes"),
            ("zeros", tarfile.REGTYPE, "no place"),
            *(("x", kind, "absurd") for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE)),
            ("", b"", "absurd"),
        ],
    )
    def test_ten_gigabytes_are_not_read(self, tmp_path: Path, name: str, kind: bytes, said: str) -> None:
        info = special(name, kind)
        info.size = 10 * 2**30
        path = tmp_path / "hostile.tar.gz"
        with path.open("wb") as stream, bundles._compressed(stream, ".tar.gz") as inner:
            inner.write(info.tobuf(tarfile.GNU_FORMAT) if name else b"")
            for _ in range(16):
                inner.write(bytes(2**20))
        assert said in self.refused(path, tmp_path)

    @pytest.mark.parametrize("ending", exchange.ENDINGS)
    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
    def test_a_bundle_that_was_cut(self, results: Path, tmp_path: Path, ending: str, share: float) -> None:
        path = tmp_path / f"cut{ending}"
        exchange.pack(results, path)
        os.truncate(path, int(share * path.stat().st_size))
        self.refused(path, tmp_path)

    def test_a_bundle_that_was_cut_between_its_files(self, results: Path, tmp_path: Path) -> None:
        self.refused(bundled(tmp_path, members(results), last=False), tmp_path)
        short = dict(list(members(results).items())[:3])
        path = bundled(tmp_path, short | {bundles.LAST: b'{"format": 1, "runs": 5}'}, last=False)
        assert "does not say format 1 and 1 runs" in self.refused(path, tmp_path)

    @pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"text" * 999, b"\x28\xb5\x2f\xfd" + b"\xff" * 999])
    @pytest.mark.parametrize("ending", exchange.ENDINGS)
    def test_what_is_no_bundle_at_all(self, tmp_path: Path, content: bytes, ending: str) -> None:
        path = tmp_path / f"no{ending}"
        path.write_bytes(content)
        self.refused(path, tmp_path)


class TestCommands:
    def test_pack_and_merge(self, bench: Bench, results: Path, tmp_path: Path) -> None:
        assert "5 runs, " in bench("pack", results, "--out", tmp_path / "b.tar.zst").out
        for extra, said in ((["--dry-run"], "5 would be added"), ([], "5 added"), ([], "0 added, 0 completed, 5 ")):
            assert said in bench("merge", tmp_path / "b.tar.zst", "--into", tmp_path / "there", *extra).out

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("pack nowhere --out b.tar.zst", "nowhere"),
            ("pack . --out b.zip", "(valid: .tar.gz, .tar.zst)"),
            ("pack . --out b.tar.gz", "no runs in ."),
            ("merge nowhere.tar.zst --into there", "nowhere.tar.zst"),
            ("merge b.zip --into there", "(valid: .tar.gz, .tar.zst)"),
            ("verify nowhere.tar.zst", "no such bundle"),
            ("verify dml", "no such results folder"),
        ],
    )
    def test_bad_words(self, bench: Bench, tmp_path: Path, words: str, said: str) -> None:
        bench(*words.split()).assert_refused(said)
        assert list(tmp_path.iterdir()) == []

    def test_without_zstandard_the_other_endings_are_named(
        self, bench: Bench, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "zstandard", None)
        bench("pack", results, "--out", tmp_path / "b.tar.zst").assert_refused("okdbench[bundles]", ".tar.gz")


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.rglob("*.tmp"))
    shutil.rmtree(tmp_path, ignore_errors=True)
