"""A table whose runs were made on different machines says so under itself."""

import json
import shutil
from pathlib import Path

import pytest

from benchmark import store
from benchmark.tables import build
from benchmark.tables.replicates import footnotes
from tests.command_line import Bench


def with_change(results: Path, to: Path, key: str, value: str) -> Path:
    """A copy of a results folder in which one run was made with something else."""
    shutil.copytree(results, to)
    path = min(to.glob("runs/*/result.json"))
    content = json.loads(path.read_text())
    content["environment"][key] = value
    path.write_text(json.dumps(content))
    return to


def test_runs_that_were_made_alike_have_no_footnote(finished_runs: Path) -> None:
    assert footnotes(store.load(finished_runs)) == []


@pytest.mark.parametrize(
    ("key", "value", "called"),
    [
        ("hardware", "NVIDIA H200", "devices"),
        ("torch", "2.0.0", "versions of torch"),
        ("commit", "0123456789ab", "commits of okdbench"),
    ],
)
def test_what_differs_is_named_with_how_many_runs(
    bench: Bench, finished_runs: Path, tmp_path: Path, key: str, value: str, called: str
) -> None:
    mixed = with_change(finished_runs, tmp_path / "mixed", key, value)
    (line,) = footnotes(store.load(mixed))
    assert line.startswith(f"note: this table mixes {called}: ")
    assert "(3 runs)" in line
    assert f"{value} (1 run)" in line
    assert bench("table", "--results", str(mixed)).out.endswith(f"\n{line}\n")
    csv = bench("table", "--results", str(mixed), "--format", "csv")
    assert "note:" not in csv.out
    assert csv.err == f"{line}\n"


@pytest.mark.parametrize(("commit", "noted"), [("", True), ("0123456789ab+", True), ("0123456789ab", False)])
def test_changed_sources_are_told_apart_where_the_commit_does_not(
    finished_runs: Path, tmp_path: Path, commit: str, noted: bool
) -> None:
    shutil.copytree(finished_runs, tmp_path / "mixed")
    for number, path in enumerate(sorted((tmp_path / "mixed").glob("runs/*/result.json"))):
        content = json.loads(path.read_text())
        content["environment"] |= {"commit": commit, "source": f"{number:x}" * 32}
        path.write_text(json.dumps(content))
    frame = store.load(tmp_path / "mixed")
    lines = footnotes(frame)
    # they are told apart in a note and share their column
    assert build(frame).headings == build(store.load(finished_runs)).headings
    assert ["source trees" in line for line in lines] == [True] * noted


def test_what_a_run_does_not_say_is_no_difference(finished_runs: Path, tmp_path: Path) -> None:
    assert footnotes(store.load(with_change(finished_runs, tmp_path / "mixed", "cuda", "13.0"))) == []


class TestEnvironments:
    @pytest.fixture
    def two(self, finished_runs: Path, tmp_path: Path) -> list[str]:
        """The results, and the same runs as another machine measures them, without the last seed of one method."""
        for path in finished_runs.glob("runs/*/result.json"):
            folder = tmp_path / "elsewhere" / "runs" / path.parent.name
            shutil.copytree(path.parent, folder)
            content = json.loads(path.read_text())
            content["environment"]["hardware"] = "Another CPU"
            (folder / "result.json").write_text(json.dumps(content))
        (last,) = (tmp_path / "elsewhere" / "runs").glob("pcl-*-s1-*")
        shutil.rmtree(last)
        return ["--results", str(finished_runs), "--results", str(tmp_path / "elsewhere")]

    def test_replicates_are_columns_of_their_own_and_pairs_stay_within_one(self, bench: Bench, two: list[str]) -> None:
        out = bench("table", *two, "--baseline", "dml", "--format", "json").out
        found = json.loads(out)
        text = json.dumps(found)
        assert "Another CPU" in text
        table = build(store.load([two[1], two[3]], "last"), baseline="dml")
        columns = [heading.column for heading in table.headings]
        assert len(columns) == 2
        counts = {heading.column: len(one.values) for (row, heading), one in table.replicates.items() if row == "pcl"}
        assert {counts[column] for column in columns if "Another CPU" in column} == {1}
        assert sorted(counts.values()) == [1, 2]
        pairs = {heading.column: gain.n for (row, heading), gain in table.gains.items() if row == "pcl"}
        assert pairs == counts

    def test_one_environment_is_chosen_by_a_part_of_its_name(self, bench: Bench, two: list[str]) -> None:
        assert "(1)" in bench("table", *two, "--environment", "another").out
        bench("table", *two, "--environment", "nowhere").assert_refused("Another CPU")
