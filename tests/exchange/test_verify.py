"""Runs repeated here, and what several repetitions say of a claim."""

import json
from pathlib import Path

import pytest

from benchmark import exchange
from benchmark.exchange import Comparison, Mark, Outcome, state
from benchmark.exchange.comparison import compare
from benchmark.store import METRICS, Row, Store
from methods.errors import InputError
from tests.command_line import Bench

MADE = {"hardware": "one", "torch": "2", "deterministic": "true"}


def curve(*accuracies: float) -> list[Row]:
    return [
        {"epoch": epoch, "seconds": 1.0 + accuracy, "loss": 1.0, "student": accuracy}
        for epoch, accuracy in enumerate(accuracies)
    ]


class TestCompare:
    def test_time_is_no_difference(self) -> None:
        other = [{**row, "seconds": 99.0} for row in curve(10, 20)]
        assert compare(curve(10, 20), other, MADE, MADE).outcome is Outcome.IDENTICAL

    @pytest.mark.parametrize("epoch", [0, 1, 2])
    def test_the_last_bit_counts_on_the_same_device(self, epoch: int) -> None:
        other = curve(10, 20, 30)
        other[epoch]["loss"] = 1.0 + 2**-52
        found = compare(curve(10, 20, 30), other, MADE, MADE)
        assert found.outcome is Outcome.DIFFERENT
        assert f"epoch {epoch} " in found.text
        assert "1.0000000000000002" in found.text

    @pytest.mark.parametrize("key", ["hardware", "torch", "cuda", "ATEN_CPU_CAPABILITY", "deterministic"])
    def test_equal_numbers_of_another_environment_are_not_called_identical(self, key: str) -> None:
        found = compare(curve(10, 20), curve(10, 20), {**MADE, key: "another"}, MADE)
        assert (found.outcome, found.differences["student"]) == (Outcome.REPEATED, 0.0)
        assert key in found.text

    def test_another_commit_that_changes_no_number_is_identical(self) -> None:
        found = compare(curve(10), curve(10), {**MADE, "commit": "a"}, {**MADE, "commit": "b", "source": "c"})
        assert found.outcome is Outcome.IDENTICAL

    @pytest.mark.parametrize("stored", [10, 11])
    def test_the_day_changes_no_outcome(self, stored: float) -> None:
        later = compare(curve(stored), curve(10), {**MADE, "date": "2026-11-03"}, {**MADE, "date": "2026-11-30"})
        assert later == compare(curve(stored), curve(10), MADE, MADE)

    @pytest.mark.parametrize("free", [{"deterministic": "false"}, {"hardware": "two"}])
    def test_a_difference_is_signed_and_of_the_last_and_the_best_epoch(self, free: dict[str, str]) -> None:
        found = compare(curve(30, 20), curve(25, 21.5), MADE, {**MADE, **free})
        assert found.outcome is Outcome.REPEATED
        assert (found.differences["student"], found.differences["best_epoch"]) == (1.5, -5.0)

    def test_metrics_of_a_later_version_are_no_difference(self) -> None:
        later = [{**row, "cka/peers": 0.5} for row in curve(10, 20)]
        assert compare(curve(10, 20), later, MADE, MADE).outcome is Outcome.IDENTICAL
        # what the stored run has and its repetition lacks is none of this run's
        assert compare(later, curve(10, 20), MADE, MADE).outcome is Outcome.INCONSISTENT

    @pytest.mark.parametrize("stored", [curve(10), [{"epoch": 0, "student": 10}, {"epoch": 1, "student": 20}]])
    def test_a_run_that_lacks_something_is_inconsistent_whatever_made_it(self, stored: list[Row]) -> None:
        older = {"okdbench": "0.0.1", "hardware": "another"}
        assert compare(stored, curve(10, 20), older, MADE).outcome is Outcome.INCONSISTENT


def repeated(
    *gaps: float, outcome: Outcome = Outcome.REPEATED, name: str = "student", level: float = 70
) -> list[Comparison]:
    return [Comparison(outcome, "", {name: level - gap}, {name: gap}) for gap in gaps]


NOISE = (0.31, -0.22, 0.05, -0.35, 0.18, 0.12, -0.09, 0.27, -0.28, 0.03)
"""Of the size that seeds have on small images: a standard deviation of 0.23 points."""


class TestState:
    @pytest.mark.parametrize(
        ("comparisons", "runs", "said"),
        [
            ([], 5, "claimed"),
            (repeated(0, outcome=Outcome.IDENTICAL), 1, "identical (1 of 1)"),
            (repeated(0, 0, outcome=Outcome.IDENTICAL), 2, "identical (2 of 2)"),
            (repeated(0, 0, 0, outcome=Outcome.IDENTICAL), 9, "identical (3 of 9)"),
            (repeated(0, 0, outcome=Outcome.IDENTICAL), 9, "not enough repeated (2 of 9, 1 more needed)"),
            (repeated(0), 5, "not enough repeated (1 of 5, 2 more needed)"),
            (repeated(0, 0), 2, "not enough repeated (2 of 2, 1 more needed)"),
            (repeated(*NOISE[:3]), 10, "not enough repeated (3 of 10, 1 more needed)"),
            (repeated(*NOISE[:4]), 10, "not enough repeated (4 of 10, 1 more needed)"),
            (repeated(*NOISE[:5]), 10, "reproduced (5 of 10)"),
            (repeated(*NOISE), 10, "reproduced (10 of 10)"),
            (repeated(*(gap + 0.7 for gap in NOISE)), 10, "not reproduced (10 of 10)"),
            (repeated(*(gap - 0.2 for gap in NOISE)), 10, "reproduced (10 of 10)"),
            (repeated(*(gap - 0.45 for gap in NOISE[:5])), 5, "not enough repeated (5 of 5, 148 more needed)"),
            *((repeated(*(gap - lie for gap in NOISE)), 10, "not reproduced (10 of 10)") for lie in (0.6, 1.0, 1.9)),
            *((repeated(-lie, -lie, -lie), 3, "not reproduced (3 of 3)") for lie in (0.5, 0.6, 1.0, 1.9)),
            (repeated(-0.6, -0.2, -1.4), 5, "not enough repeated (3 of 5, 3 more needed)"),
            (repeated(0, 0, 0) + repeated(0, outcome=Outcome.DIFFERENT), 5, "differs (4 of 5)"),
            (repeated(0, 0, 0) + repeated(0, outcome=Outcome.INCONSISTENT), 5, "differs (4 of 5)"),
            (repeated(0, 0, 0) + repeated(0, outcome=Outcome.NOT_REPEATED), 5, "reproduced (3 of 5)"),
            (repeated(-3, -3, -3, name="top1/ensemble"), 3, "not reproduced (3 of 3)"),
            (repeated(-3, -3, -3, name="best_epoch"), 3, "not reproduced (3 of 3)"),
            (repeated(0.3, 0.3, 0.3, name="nll/peer0", level=1), 3, "not reproduced (3 of 3)"),
            (repeated(0.01, 0.01, 0.01, name="nll/peer0", level=1), 3, "reproduced (3 of 3)"),
        ],
    )  # fmt: skip
    def test_what_repetitions_say(self, comparisons: list[Comparison], runs: int, said: str) -> None:
        assert str(state(comparisons, runs)) == said

    def test_the_bound_is_that_of_the_board(self) -> None:
        gaps = repeated(*(gap - 1.0 for gap in NOISE))
        assert [state(gaps, 10, bound).mark for bound in (0.5, 2.0)] == [Mark.NOT_REPRODUCED, Mark.REPRODUCED]


class TestVerify:
    @pytest.fixture
    def bundle(self, finished_runs: Path, tmp_path: Path) -> Path:
        exchange.pack(finished_runs, tmp_path / "b.tar.gz")
        return tmp_path / "b.tar.gz"

    def test_a_bundle_is_identical_here(self, bundle: Path, bench: Bench) -> None:
        answer = bench("verify", bundle)
        assert answer.code == 0
        lines = answer.out.splitlines()
        assert [line.split()[0] for line in lines[:4]] == ["identical"] * 4
        assert "4 of 4 runs" in lines[4]
        assert [line.rpartition(": ")[2] for line in lines[5:]] == ["identical (2 of 2)"] * 2

    def test_edited_metrics_are_different_and_the_epoch_is_named(
        self, bundle: Path, tmp_path: Path, bench: Bench
    ) -> None:
        exchange.merge([bundle], tmp_path / "results")
        folder = next(iter(sorted((tmp_path / "results/runs").glob("dml-*-s1-*"))))
        lines = (folder / METRICS).read_text().splitlines()
        row = json.loads(lines[1])
        row["student"] = row["student"] - 2 if row["student"] > 50 else row["student"] + 2
        (folder / METRICS).write_text("\n".join([lines[0], json.dumps(row)]) + "\n")
        answer = bench("verify", folder.name, "--results", tmp_path / "results")
        assert answer.code == 1
        assert answer.out.startswith(f"different     {folder.name}  from epoch 1 on: {row['student']:.17g} stored, ")
        assert answer.out.splitlines()[-1].endswith("differs (1 of 1)")

    def test_what_cannot_be_repeated_is_said(self, bundle: Path, tmp_path: Path, bench: Bench) -> None:
        exchange.merge([bundle], tmp_path / "results")
        (case, *_) = exchange.cases(None, tmp_path / "results")
        moved = case.config.model_copy(update={"dataset_checksum": "0" * 64})
        Store(tmp_path / "other").begin(moved)
        folder = Store(tmp_path / "other").folder(moved)
        for name in (METRICS, "result.json"):
            (folder / name).write_bytes((tmp_path / "results/runs" / case.name / name).read_bytes())
        answer = bench("verify", "--results", tmp_path / "other")
        assert answer.code == 1
        assert answer.out.startswith("not repeated  ")
        assert "the images of digits are not here" in answer.out

    def test_there_must_be_something_to_repeat(self, tmp_path: Path) -> None:
        (tmp_path / "runs").mkdir()
        with pytest.raises(InputError, match="there is nothing to repeat"):
            exchange.cases(None, tmp_path)
