"""Runs repeated here: identical, close, or different and from where on."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import cli, exchange
from benchmark.exchange.comparison import Outcome, compared, first_difference
from benchmark.store import CONFIG, METRICS, Row, Store
from methods.errors import InputError

MADE = {"hardware": "one", "torch": "2", "deterministic": "true"}
Bench = Callable[..., tuple[int, str]]


def curve(*accuracies: float) -> list[Row]:
    return [
        {"epoch": epoch, "seconds": 1.0 + accuracy, "loss": 1.0, "student": accuracy}
        for epoch, accuracy in enumerate(accuracies)
    ]


class TestCompared:
    def test_time_is_no_difference(self) -> None:
        other = [{**row, "seconds": 99.0} for row in curve(10, 20)]
        assert first_difference(curve(10, 20), other) is None
        assert compared(curve(10, 20), other, MADE, {**MADE, "hardware": "two"}).outcome is Outcome.IDENTICAL

    @pytest.mark.parametrize("epoch", [0, 1, 2])
    def test_the_last_bit_counts_on_the_same_device(self, epoch: int) -> None:
        other = curve(10, 20, 30)
        other[epoch]["loss"] = 1.0 + 2**-52
        verdict = compared(curve(10, 20, 30), other, MADE, MADE)
        assert verdict.outcome is Outcome.DIFFERENT
        assert verdict.text.startswith(f"from epoch {epoch} on: 1 stored, 1.0000000000000002 here (loss)")

    @pytest.mark.parametrize(("gap", "outcome"), [(1.9, Outcome.CLOSE), (2.1, Outcome.DIFFERENT)])
    @pytest.mark.parametrize("epoch", [0, 1])
    def test_another_device_explains_so_much_in_every_epoch(self, gap: float, outcome: Outcome, epoch: int) -> None:
        other = curve(10, 20)
        other[epoch]["student"] += gap
        verdict = compared(curve(10, 20), other, MADE, {**MADE, "hardware": "two"})
        assert verdict.outcome is outcome
        assert "hardware one against two" in verdict.text
        if outcome is Outcome.DIFFERENT:
            assert f"more than 2 points in epoch {epoch}" in verdict.text

    def test_free_kernels_explain_it_too(self) -> None:
        free = {**MADE, "deterministic": "false"}
        assert compared(curve(10), curve(10.5), free, free).outcome is Outcome.CLOSE

    def test_scores_of_a_later_version_are_no_difference(self) -> None:
        later = [{**row, "cka/peers": 0.5} for row in curve(10, 20)]
        older = {**MADE, "okdbench": "0.1.0"}
        assert compared(curve(10, 20), later, older, {**MADE, "okdbench": "0.2.0"}).outcome is Outcome.IDENTICAL
        # of the same version, or where the stored run has what the other lacks, they are one
        assert compared(curve(10, 20), later, older, older).outcome is Outcome.DIFFERENT
        assert compared(later, curve(10, 20), older, MADE).outcome is Outcome.DIFFERENT

    def test_losses_and_lengths_count(self) -> None:
        elsewhere = {**MADE, "torch": "3"}
        other = curve(10, 20)
        other[1]["loss"] = 1.2
        assert "losses differ by more than 10% in epoch 1" in compared(curve(10, 20), other, MADE, elsewhere).text
        assert "2 epochs stored, 1 here" in compared(curve(10, 20), curve(10), MADE, elsewhere).text


class TestVerify:
    @pytest.fixture
    def bench(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
        def call(*words: object) -> tuple[int, str]:
            monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
            capsys.readouterr()
            code = 0
            try:
                cli.main()
            except SystemExit as end:
                code = int(end.code or 0)
            return code, capsys.readouterr().out

        return call

    @pytest.fixture
    def bundle(self, finished_runs: Path, tmp_path: Path) -> Path:
        exchange.pack(finished_runs, tmp_path / "b.tar.gz")
        return tmp_path / "b.tar.gz"

    def test_a_bundle_is_identical_here(self, bundle: Path, bench: Bench) -> None:
        code, out = bench("verify", bundle)
        assert code == 0
        assert [line.split()[0] for line in out.splitlines()[:-1]] == ["identical"] * 4
        assert out.splitlines()[-1] == "4 runs: 4 identical"

    def test_edited_metrics_are_different_and_the_epoch_is_named(
        self, bundle: Path, tmp_path: Path, bench: Bench
    ) -> None:
        exchange.merge([bundle], tmp_path / "results")
        folder = next(iter(sorted((tmp_path / "results/runs").glob("dml-*-s1-*"))))
        lines = (folder / METRICS).read_text().splitlines()
        row = json.loads(lines[1])
        row["student"] = row["student"] - 2 if row["student"] > 50 else row["student"] + 2
        (folder / METRICS).write_text("\n".join([lines[0], json.dumps(row)]) + "\n")
        code, out = bench("verify", folder.name, "--results", tmp_path / "results")
        assert code == 1
        assert out.startswith(f"different     {folder.name}  from epoch 1 on: {row['student']:.17g} stored, ")
        assert out.splitlines()[-1] == "1 run: 1 different"

    def test_a_sample_is_drawn_by_its_seed(self, finished_runs: Path) -> None:
        drawn = [[case.name for case in exchange.cases(None, finished_runs, 2, seed)] for seed in (0, 0, 1, 2, 3)]
        assert drawn[0] == drawn[1]
        assert len({tuple(names) for names in drawn}) > 1
        assert all(len(names) == 2 and names == sorted(names) for names in drawn)

    def test_what_cannot_be_repeated_is_said(self, bundle: Path, tmp_path: Path, bench: Bench) -> None:
        exchange.merge([bundle], tmp_path / "results")
        (case, *_) = exchange.cases(None, tmp_path / "results")
        moved = case.contents.config.model_copy(update={"dataset_checksum": "0" * 64})
        Store(tmp_path / "other").begin(moved)
        folder = Store(tmp_path / "other").folder(moved)
        for name in (METRICS, "result.json"):
            (folder / name).write_bytes((tmp_path / "results/runs" / case.name / name).read_bytes())
        assert (folder / CONFIG).is_file()
        code, out = bench("verify", "--results", tmp_path / "other")
        assert code == 1
        assert out.startswith("not repeated  ")
        assert "the images of digits are not here those that the run was made with" in out

    def test_there_must_be_something_to_repeat(self, tmp_path: Path) -> None:
        (tmp_path / "runs").mkdir()
        with pytest.raises(InputError, match="there is nothing to repeat"):
            exchange.cases(None, tmp_path)
