"""A store that others wrote: whatever its files hold, a run is named and left out, and nothing ends in a traceback."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, strategies as st

from benchmark import store
from benchmark.store import CONFIG, METRICS, RESULT, Store, files
from benchmark.tables import build, rendered
from benchmark.tables.replicates import footnotes
from tests.profiles import examples
from tests.store.test_index import config, finish

MANY = examples(150, list(HealthCheck))


@pytest.fixture(scope="module")
def real(finished_runs: Path) -> dict[str, bytes]:
    """The files of a run that was trained."""
    folder = next(iter(sorted(finished_runs.glob("runs/*-*"))))
    return {name: (folder / name).read_bytes() for name in (CONFIG, METRICS, RESULT)}


def attempt(contents: dict[str, bytes]) -> files.Contents | str:
    """What the files say, or the one line that says why they say nothing."""
    try:
        return files.parse(contents)
    except files.DamagedError as error:
        return str(error)


ALTERATIONS: dict[str, Callable[[bytes, int, int, bytes], bytes]] = {
    "altered": lambda content, start, end, other: content[:start] + other + content[end:],
    "cut": lambda content, start, end, other: content[:start] + content[end:],
    "cut off": lambda content, start, end, other: content[:start],
    "doubled": lambda content, start, end, other: content[:end] + content[start:],
    "zeros": lambda content, start, end, other: content[:start] + bytes(end - start) + content[end:],
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", [CONFIG, METRICS, RESULT])
@pytest.mark.parametrize("kind", ALTERATIONS)
@MANY
@given(data=st.data())
def test_any_region_of_a_run_altered(real: dict[str, bytes], name: str, kind: str, data: st.DataObject) -> None:
    content = real[name]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 400)))
    other = data.draw(
        st.binary(max_size=12) | st.sampled_from([b"NaN", b"1e999", b"null", b"true", b'"x"', b"[", b"-1"])
    )
    found = attempt({**real, name: ALTERATIONS[kind](content, start, end, other)})
    if isinstance(found, str):
        assert len(found.splitlines()) == 1
        assert found.startswith((name, "it is "))
    else:
        # what is read all the same is plain and within its bounds
        assert len(found.rows) <= found.config.train.epochs
        assert all(0 <= row.get("student", 0.0) <= 100 for row in found.rows)
        assert json.dumps(found.config.model_dump(mode="json"), allow_nan=False)


@MANY
@given(content=st.binary(max_size=300), name=st.sampled_from([CONFIG, METRICS, RESULT]))
def test_any_bytes(real: dict[str, bytes], content: bytes, name: str) -> None:
    found = attempt({**real, name: content})
    assert not isinstance(found, str) or len(found.splitlines()) == 1


@pytest.mark.parametrize("bomb", [b"[", b"{a: ", b"- ", b"? ", b"&x [", b"!!seq [", b"a:\n "])
@pytest.mark.parametrize("depth", [1000, 20_000])
def test_nesting_ends_nothing(real: dict[str, bytes], bomb: bytes, depth: int) -> None:
    assert isinstance(attempt({**real, CONFIG: bomb * depth}), str)
    assert isinstance(attempt({**real, RESULT: bomb * depth}), str)


@pytest.mark.parametrize(
    "line",
    [
        *('{"epoch": 1, "loss": "1"}', '{"epoch": 1, "loss": NaN}', '{"epoch": 1, "loss": true}'),
        *('{"epoch": 1, "student": 100.1}', '{"epoch": 1, "nll/peer0": -1}', '{"epoch": 1, "run": 2}'),
        *('{"epoch": 2}', '{"loss": 2}', "word", "", "[]"),
    ],
)
def test_a_bad_line_of_metrics_is_named(line: str) -> None:
    with pytest.raises(files.DamagedError, match=r"^metrics\.jsonl(, line 2|: 'run')"):
        files.parse_metrics(f'{{"epoch": 0}}\n{line}\n'.encode())


def test_a_score_that_is_no_finite_number_is_stored_as_none(tmp_path: Path) -> None:
    run = config(0)
    Store(tmp_path).begin(run)
    Store(tmp_path).write_metrics(run, [{"epoch": 0, "student": 10.0, "nll/peer0": float("nan")}])
    assert json.loads((Store(tmp_path).folder(run) / METRICS).read_text())["nll/peer0"] is None
    assert Store(tmp_path).metrics(run) == [{"epoch": 0, "student": 10.0}]


class TestInAStore:
    @pytest.fixture
    def results(self, tmp_path: Path) -> Path:
        for seed in range(3):
            finish(tmp_path, seed, 50.0 + seed)
        return tmp_path

    @pytest.mark.parametrize("epochs", ["all", "last"])
    def test_it_is_named_once_left_out_and_counted(self, results: Path, epochs: store.Epochs) -> None:
        folder = finish(results, 1, 90.0)
        with (folder / METRICS).open("a") as stream:
            stream.write('{"epoch": 4, "student": "word"}\n')
        for _ in range(2):
            frame = store.load(results, epochs)
            assert set(frame["seed"]) == {0, 2}
            (line,) = frame.attrs[store.DAMAGED].values()
            assert line.startswith(f"{folder} is left out: it is damaged: metrics.jsonl, line 5: student: ")
            assert "1 damaged run" in footnotes(frame)[0]
            assert "(2)" in rendered(build(frame))

    def test_another_number_of_epochs_than_planned(self, results: Path) -> None:
        run = config(5)
        Store(results).begin(run)
        Store(results).write_metrics(run, [{"epoch": epoch} for epoch in range(6)])
        folder = finish(results, 2)
        lines = (folder / METRICS).read_bytes().splitlines(keepends=True)
        (folder / METRICS).write_bytes(b"".join(lines[:-1]))
        damaged = store.load(results, "last").attrs[store.DAMAGED]
        assert "6 of 4 epochs" in damaged[Store(results).folder(run).name]
        assert "finished with 3 of 4 epochs" in damaged[folder.name]

    @pytest.mark.parametrize("name", [CONFIG, METRICS, RESULT])
    def test_what_is_too_large(self, results: Path, name: str) -> None:
        with (finish(results, 2) / name).open("wb") as stream:
            stream.truncate(10 * 2**30)
        (line,) = store.load(results, "last").attrs[store.DAMAGED].values()
        assert f"{name} has 10,737,418,240 bytes" in line


STRANGE = {
    "a sexagesimal fraction": "1:1:1:1.5",
    "a sexagesimal number": ":".join(["59"] * 200_000),
    "a number of a million digits": "9" * 900_000,
    "nesting": "[" * 300 + "]" * 300,
    "nesting of mappings": "{a: " * 300 + "1" + "}" * 300,
    "an infinite number": ".inf",
    "no number": ".nan",
    "an octal number": "0o17",
    "a word of YAML 1.1": "on",
    "a date": "2026-01-01",
    "a tag": "!!python/name:os.system",
    "a binary": "!!binary aGVsbG8=",
    "an alias": "&a [*a]",
    "a set": "!!set {1, 2}",
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_value_of_no_strict_yaml_is_damage_at_once(tmp_path: Path, kind: str) -> None:
    content = (finish(tmp_path, 0) / CONFIG).read_text()
    assert "peers: 2\n" in content
    begun = time.monotonic()
    for changed in (content.replace("peers: 2\n", f"peers: {STRANGE[kind]}\n"), f"{content}epochs: {STRANGE[kind]}\n"):
        with suppress(files.DamagedError):
            # what is no number in YAML 1.2 is a word
            assert files.parse_config(changed.encode()).hyperparameters["peers"] == STRANGE[kind]
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("extra", ["method: pcl\n", "train: {}\n"])
def test_a_key_twice_is_damage(tmp_path: Path, extra: str) -> None:
    content = (finish(tmp_path, 0) / CONFIG).read_bytes()
    with pytest.raises(files.DamagedError, match="strict YAML"):
        files.parse_config(content + extra.encode())


WORDS = ["1:30", "1e3", "on", "no", "0100", "0x1f", "1_000", "~", "null", "2026-01-01", ".5", "[", "a: b", ""]


@pytest.mark.parametrize("text", WORDS)
def test_a_word_that_is_a_number_to_some_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    run = config(0).model_copy(update={"hyperparameters": {"word": text}})
    folder = Store(tmp_path).begin(run)
    content = (folder / CONFIG).read_bytes()
    assert files.parse_config(content) == run
    # nor is it another one to readers of YAML 1.1
    assert yaml.safe_load(content)["hyperparameters"]["word"] == text


@pytest.mark.parametrize("name", [CONFIG, METRICS, RESULT])
@pytest.mark.parametrize("kind", ["link", "FIFO", "folder"])
def test_a_file_that_is_no_regular_one_is_damage_and_nothing_hangs(tmp_path: Path, name: str, kind: str) -> None:
    folder = finish(tmp_path / "results", 0)
    kept = tmp_path / name
    (folder / name).rename(kept)
    {"link": lambda path: path.symlink_to(kept), "FIFO": os.mkfifo, "folder": Path.mkdir}[kind](folder / name)
    frame = store.load(tmp_path / "results", "last")
    assert frame.empty
    (line,) = frame.attrs[store.DAMAGED].values()
    assert name in line
    assert kept.is_file()


def test_a_folder_whose_name_is_no_text_is_one_line(tmp_path: Path) -> None:
    folder = finish(tmp_path, 0)
    finish(tmp_path, 1)
    folder.rename(folder.parent / os.fsdecode(b"\xff\xfe-0123"))
    runs = store.read(tmp_path)
    assert len(runs.found) == 1
    assert ["its name is no text" in line for line in runs.left_out.values()] == [True]
