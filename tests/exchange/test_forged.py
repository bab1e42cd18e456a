"""What is claimed in a bundle and is not so: it is never identical or reproduced, and displaces no other result."""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark import exchange
from benchmark.exchange import Access, Mark, Outcome, submission, submission_check, verification
from benchmark.store import load, read
from methods.errors import InputError
from tests.command_line import Bench
from tests.exchange.conftest import SEEDS, Run, forge


def check(folder: Path, access: Access, **options: Any) -> tuple[submission_check.Checked, list[str]]:
    told: list[str] = []
    options = {"seed": 1, **options}
    return submission_check.check(submission.read(folder), access, tell=told.append, **options), told


def claim(found: submission_check.Checked, method: str) -> exchange.Statement:
    (statement,) = [one for name, one in found.claims.items() if name.startswith(f"{method} on ")]
    return statement


def test_honest_runs_are_identical_here(submitted: Path, access: Access) -> None:
    found, told = check(submitted, access)
    assert found.mark is Mark.IDENTICAL, told
    assert [str(one) for one in found.claims.values()] == [f"identical ({SEEDS} of {SEEDS})"] * 2


def only_accuracies(run: Run) -> None:
    run.rows[:] = [{"epoch": row["epoch"], "top1/peer0": 99.5, "top1/peer1": 99.5} for row in run.rows]
    run.elsewhere()
    run.result["environment"]["commit"] = "0" * 12


def without(*names: str) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        for row in run.rows:
            for name in names:
                del row[name]
        run.result["environment"] |= {"commit": "0" * 12, "okdbench": "0.0.1"}

    return change


def students(*names: str) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        run.result["students"] = list(names)
        for row in run.rows:
            row["student"] = sum(row[f"top1/{name}"] for name in names) / len(names) if names else 99.0

    return change


def use(**what: Any) -> Callable[[Run], None]:
    return lambda run: run.config.update(uses=[{"name": "", "train": {}, "chosen": {}, **what}])


def metric(name: str, value: float) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        for row in run.rows:
            row[name] = value

    return change


def ended(status: str, epochs: int) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        run.result["status"] = status
        del run.rows[epochs:]

    return change


# what is seen without repeating anything
INCONSISTENT: dict[str, tuple[Callable[[Run], object], str]] = {
    "nothing but accuracies": (only_accuracies, "lacks"),
    "no loss": (without("loss"), "lacks loss"),
    "no student": (without("student"), "lacks student"),
    "no top-5": (without("top5/peer0"), "lacks top5/peer0"),
    "no likelihood": (without("nll/ensemble"), "lacks nll/ensemble"),
    "no accuracy of a peer": (without("top1/peer1"), "lacks top1/peer1"),
    "the ensemble as student": (students("ensemble"), "students are ensemble"),
    "one of two students": (students("peer0"), "students are peer0"),
    "no students": (students(), "students are none"),
    "students in another order": (students("peer1", "peer0"), "students are peer1, peer0"),
    "a mean that is none": (lambda run: run.add(1.0, "student"), "the students' mean"),
    "another predictor": (metric("top1/super", 99.0), "metrics of super"),
    "the name of another method": (use(name="pcl"), "another method"),
    "other hyperparameters": (use(name="mine", chosen={"temperature": 99.0}), "temperature is said to be 99"),
    "hyperparameters that are none": (use(name="mine", chosen={"magic": 1}), "magic is said to be 1"),
    "settings that are none": (use(train={"magic": 1}), "magic is no setting"),
    "a comparison of equal cost": (lambda run: run.config.update(budgets=["equal cost: pcl"]), "budgets"),
    "a run that has collapsed": (ended("collapsed", 1), "collapsed"),
    "a run that has diverged": (ended("diverged", 0), "diverged"),
}


@pytest.mark.parametrize("kind", INCONSISTENT)
def test_what_no_run_of_its_configuration_has_differs(submitted: Path, access: Access, kind: str) -> None:
    change, said = INCONSISTENT[kind]
    forge(submitted / "runs.tar.gz", change, "dml-")
    found, told = check(submitted, access, sample=1)
    assert found.mark is Mark.DIFFERS
    assert any(said in line for line in told), told


def elsewhere(change: Callable[[Run], object]) -> Callable[[Run], None]:
    def both(run: Run) -> None:
        change(run)
        run.elsewhere()

    return both


def without_environment(run: Run) -> None:
    run.add(1.0)
    run.result["environment"] = None


def free_kernels(run: Run) -> None:
    run.add(1.0)
    run.result["environment"]["deterministic"] = "false"


def noisy(gap: float) -> Callable[[Run], None]:
    """Inflate a run, differently for every seed."""
    return lambda run: run.add(gap + 0.05 * (run.config["seed"] - 1.5))


INFLATED: dict[str, tuple[Callable[[Run], object], Mark]] = {
    **{
        f"{gap} points on other hardware": (elsewhere(lambda run, gap=gap: run.add(gap)), Mark.NOT_REPRODUCED)  # type: ignore[misc]
        for gap in (0.6, 1.0, 1.9, 1.99)
    },
    "0.6 points and noise": (elsewhere(noisy(0.6)), Mark.NOT_REPRODUCED),
    "1 point, nothing known of the machine": (without_environment, Mark.NOT_REPRODUCED),
    "1 point, by free kernels": (free_kernels, Mark.NOT_REPRODUCED),
    "the best epoch": (elsewhere(lambda run: run.add(3.0, rows=slice(0, 1))), Mark.NOT_REPRODUCED),
    "the ensemble": (elsewhere(lambda run: run.add(5.0, "top1/ensemble")), Mark.NOT_REPRODUCED),
    "the likelihood": (elsewhere(lambda run: run.add(-0.4, "nll/peer0")), Mark.NOT_REPRODUCED),
    "a diagnostic": (elsewhere(lambda run: run.add(5.0, "kl/peers", rows=slice(1, 2))), Mark.NOT_REPRODUCED),
    "1 point here": (lambda run: run.add(1.0), Mark.DIFFERS),
    "the last bit of a loss here": (lambda run: run.add(1e-9, "loss"), Mark.DIFFERS),
    "a metric of no version": (metric("magic/peer0", 1.0), Mark.DIFFERS),
    "another role": (lambda run: run.result.update(roles={"peer0": "ensemble"}), Mark.DIFFERS),
    "the same numbers on other hardware": (Run.elsewhere, Mark.REPRODUCED),
    "rounding on other hardware": (elsewhere(lambda run: run.add(1e-7, "loss")), Mark.REPRODUCED),
}


@pytest.mark.parametrize("kind", INFLATED)
def test_an_inflated_number_is_never_reproduced(submitted: Path, access: Access, kind: str) -> None:
    change, mark = INFLATED[kind]
    forge(submitted / "runs.tar.gz", change, "dml-")
    found, told = check(submitted, access)
    assert claim(found, "dml").mark is mark, told
    assert found.mark is mark
    # nobody else's runs are touched by it
    assert claim(found, "independent").mark is Mark.IDENTICAL


@pytest.mark.parametrize(("gap", "code"), [(0.6, 1), (1.0, 1), (1.9, 1), (0.0, 0)])
def test_the_command_says_it_and_keeps_it_beside_the_submission(
    submitted: Path, bench: Bench, gap: float, code: int
) -> None:
    forge(submitted / "runs.tar.gz", elsewhere(lambda run: run.add(gap)), "dml-")
    answer = bench("submit", "--check", str(submitted), "--record", "--device", "cpu")
    assert answer.code == code
    last = answer.out.splitlines()[-1]
    assert last.startswith("not reproduced: dml, " if code else "reproduced: dml, ")
    assert "--seed " in last
    kept = json.loads((submitted.parent / exchange.RECORD).read_text())
    assert list(kept["records"]) == ["dml/runs.tar.gz"]
    assert not (submitted / exchange.RECORD).exists()


def test_too_few_repetitions_say_how_many_are_needed(submitted: Path, access: Access) -> None:
    forge(submitted / "runs.tar.gz", Run.elsewhere, "dml-")
    found, _ = check(submitted, access, sample=2)
    assert str(claim(found, "dml")) == f"not enough repeated (1 of {SEEDS}, 2 more needed)"


def place(dataset: str) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        run.config["dataset"] = dataset
        run.renamed()

    return change


@pytest.mark.parametrize("dataset", ["npz:{fifo}", "npz:/dev/zero", "folder:/etc", "hf:some/thing", "npz:{secret}"])
def test_no_place_of_a_bundle_is_read(submitted: Path, access: Access, dataset: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "secret").write_text("a secret")
    named = dataset.format(fifo=tmp_path / "fifo", secret=tmp_path / "secret")
    forge(submitted / "runs.tar.gz", place(named), "dml-")
    found, told = check(submitted, access)
    assert found.mark is Mark.DIFFERS
    assert {one.outcome for name, one in found.record.runs.items() if name.startswith("dml")} == {Outcome.NOT_REPEATED}
    assert not any("a secret" in line for line in told)


def test_no_file_of_a_bundle_is_read(submitted: Path, access: Access, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret")

    def teacher(run: Run) -> None:
        run.config |= {"method": "kd", "files": {"teacher": "0" * 64}}
        run.config["hyperparameters"] = {"teacher": str(tmp_path / "secret"), "temperature": 3.0, "weight": 1.0}
        run.renamed()

    forge(submitted / "runs.tar.gz", teacher, "dml-")
    found, told = check(submitted, access)
    assert found.mark is Mark.DIFFERS
    assert any("--file" in line for line in told)


def test_an_absent_dataset_is_not_downloaded(submitted: Path, access: Access) -> None:
    def other(run: Run) -> None:
        run.config["dataset"] = "cifar10"
        run.renamed()

    forge(submitted / "runs.tar.gz", other, "dml-")
    found, _ = check(submitted, access)
    texts = [one.text for name, one in found.record.runs.items() if name.startswith("dml")]
    assert len(texts) == SEEDS
    assert all("nothing is downloaded" in text for text in texts)
    assert not access.data_root.exists()


def called(method: str) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        run.config["method"] = method
        run.renamed()

    return change


REFUSED: dict[str, Callable[[Run], object]] = {
    "another seed": lambda run: run.config.update(seed=77),
    "another name": lambda run: setattr(run, "name", f"{run.name[:-12]}{'0' * 12}"),
    "a replicate of another environment": lambda run: setattr(run, "name", f"{run.name}@{'0' * 8}"),
    "a method that is a path": called("x/../../../../pwned/evil"),
    "a method that is markup": called("<script>"),
    "an accuracy above 100": lambda run: run.add(99, "top1/peer0"),
    "a negative likelihood": lambda run: run.add(-90, "nll/peer0"),
    "a loss without bounds": metric("loss", float("inf")),
    "an epoch too many": lambda run: run.rows.append({**run.rows[-1], "epoch": 2}),
    "no epoch": lambda run: run.rows.clear(),
    "a pickled checkpoint": lambda run: run.files.update({"checkpoint.pt": b"x"}),
    "an index": lambda run: run.files.update({".index.json": b"x"}),
    "a record": lambda run: run.files.update({"verification.json": b"{}"}),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bundle_that_is_none_is_one_line(submitted: Path, access: Access, kind: str, tmp_path: Path) -> None:
    forge(submitted / "runs.tar.gz", REFUSED[kind], "dml-")
    for attempt in (
        lambda: check(submitted, access),
        lambda: exchange.merge([submitted / "runs.tar.gz"], tmp_path / "r"),
    ):
        with pytest.raises(InputError) as error:
            attempt()
        assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "r").exists()


class TestDraw:
    def test_it_is_the_checkers_and_not_what_was_claimed(self, submitted: Path) -> None:
        def names(seed: int) -> list[str]:
            return [case.name for case in verification.drawn(exchange.cases(bundle, submitted), seed)]

        bundle = submitted / "runs.tar.gz"
        before = {seed: names(seed) for seed in range(4)}
        assert len({tuple(order) for order in before.values()}) == 4
        forge(bundle, lambda run: run.result.update(seconds=0.0 if run.config["seed"] else 1e9))
        assert {seed: names(seed) for seed in range(4)} == before
        # of every claim one in turn
        assert all(
            {name.partition("-")[0] for name in order[:2]} == {"dml", "independent"} for order in before.values()
        )

    def test_the_time_ends_a_run_in_its_middle(self, submitted: Path, access: Access) -> None:
        case = exchange.cases(submitted / "runs.tar.gz", submitted)[0]
        config = case.config
        train = config.train.model_copy(update={"epochs": 100_000})
        endless = replace(case, config=config.model_copy(update={"train": train}))
        begun = time.monotonic()
        found = verification.verify(endless, access, seconds=1.0)
        assert found.outcome is Outcome.NOT_REPEATED
        assert time.monotonic() - begun < 60


class TestRecords:
    def test_they_are_bound_to_the_bytes_that_were_checked(self, submitted: Path, access: Access) -> None:
        bundle, root = submitted / "runs.tar.gz", submitted.parent
        found, _ = check(submitted, access)
        assert exchange.write_record(root, bundle, found.record).parent == root
        record = exchange.record_of(root, bundle)
        honest = exchange.statements(exchange.cases(bundle, submitted), record)
        assert {one.mark for one in honest.values()} == {Mark.IDENTICAL}
        kept = bundle.read_bytes()
        forge(bundle, lambda run: run.add(1.0))
        assert exchange.record_of(root, bundle).runs == {}
        # neither by another run's name, nor for a copy elsewhere that has the same bytes
        forged = exchange.statements(exchange.cases(bundle, submitted), record)
        assert {one.mark for one in forged.values()} == {Mark.CLAIMED}
        bundle.write_bytes(kept)
        assert exchange.record_of(root, bundle) == record

    def test_a_record_for_other_bytes_replaces_an_old_one(self, submitted: Path, access: Access) -> None:
        bundle, root = submitted / "runs.tar.gz", submitted.parent
        first, _ = check(submitted, access, sample=1)
        second, _ = check(submitted, access, sample=1, seed=2)
        exchange.write_record(root, bundle, first.record)
        exchange.write_record(root, bundle, second.record)
        assert exchange.record_of(root, bundle).runs.keys() == first.record.runs.keys() | second.record.runs.keys()
        forge(bundle, Run.elsewhere)
        other, _ = check(submitted, access, sample=1)
        exchange.write_record(root, bundle, other.record)
        assert exchange.record_of(root, bundle).runs == other.record.runs

    @pytest.mark.parametrize("content", ["{", "[]", '{"format": 1, "runs": {}}', '{"format": 2, "records": {"x": 1}}'])
    def test_a_damaged_one_is_one_line(self, submitted: Path, content: str) -> None:
        (submitted.parent / exchange.RECORD).write_text(content)
        with pytest.raises(InputError, match=r"verification\.json is damaged"):
            exchange.record_of(submitted.parent, submitted / "runs.tar.gz")


class TestOthers:
    """A submission's runs beside those of other people."""

    def unpacked(self, submitted: Path, root: Path, change: Callable[[Run], object]) -> Path:
        forge(submitted / "runs.tar.gz", change, "dml-")
        exchange.merge([submitted / "runs.tar.gz"], root)
        return root

    @pytest.fixture
    def own(self, submitted: Path, tmp_path: Path) -> Path:
        exchange.merge([submitted / "runs.tar.gz"], tmp_path / "own")
        return tmp_path / "own"

    @pytest.mark.parametrize("mine_first", [True, False])
    def test_a_claim_replaces_no_result(self, own: Path, submitted: Path, tmp_path: Path, mine_first: bool) -> None:
        theirs = self.unpacked(submitted, tmp_path / "theirs", lambda run: run.add(1.0))
        before = load(own, "last").set_index("run")["student"]
        found = read([own, theirs] if mine_first else [theirs, own], by_index=False, claims={theirs: "theirs"})
        mine = [one for one in found.found if "claimed in theirs" not in one.environment]
        assert {one.name: one.last_metrics["student"] for one in mine} == before.to_dict()
        # the claims are beside them
        assert len(found.found) == len(mine) + SEEDS
        assert len(found.left_out) == SEEDS
        assert all(str(own) in str(one) and str(theirs) in str(one) for one in found.left_out.values())

    @pytest.mark.parametrize("hardware", ["same", "another"])
    def test_a_claim_relabels_no_result(self, own: Path, submitted: Path, tmp_path: Path, hardware: str) -> None:
        def change(run: Run) -> None:
            use(name="best of all")(run)
            run.config["budgets"] = ["equal cost: pcl", "equal epochs"]
            if hardware == "another":
                run.elsewhere()

        theirs = self.unpacked(submitted, tmp_path / "theirs", change)
        found = read([own, theirs], by_index=False, claims={theirs: "theirs"})
        mine = [one for one in found.found if one.root == own]
        assert len(mine) == 2 * SEEDS
        assert all(one.config.uses == [] and one.config.budgets == ["equal epochs"] for one in mine)

    def test_one_damaged_bundle_or_form_is_left_out(self, submitted: Path) -> None:
        broken = submitted.parent / "broken"
        shutil.copytree(submitted, broken)
        (broken / submission.FORM).write_text("who: [")
        found, faults = submission.below(submitted.parent)
        assert [one.name for one in found] == ["dml"]
        (line,) = faults
        assert line.startswith("broken ")

    @pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
    @pytest.mark.parametrize("name", ["submission.yaml", "runs.tar.gz"])
    def test_a_file_that_is_none_is_one_line(self, submitted: Path, kind: str, name: str, tmp_path: Path) -> None:
        path, kept = submitted / name, tmp_path / name
        path.rename(kept)
        {"link": lambda path: path.symlink_to(kept), "fifo": os.mkfifo, "folder": Path.mkdir}[kind](path)
        with pytest.raises(InputError) as error:
            submission.read(submitted)
        assert name in str(error.value)


def test_pack_follows_no_links(submitted: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    exchange.merge([submitted / "runs.tar.gz"], results)
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes(b"a secret")
    first, second, third, fourth, *_ = sorted((results / "runs").iterdir())
    (first / "peer0.safetensors").symlink_to(secret)
    (second / "metrics.jsonl").rename(tmp_path / "metrics.jsonl")
    (second / "metrics.jsonl").symlink_to(tmp_path / "metrics.jsonl")
    third.rename(tmp_path / third.name)
    third.symlink_to(tmp_path / third.name)
    (fourth / "metrics.jsonl").write_text("x\n")
    packed = exchange.pack(results, tmp_path / "b.tar.gz", weights=True)
    assert packed.runs == 2 * SEEDS - 4
    assert sorted(line.partition(" ")[0] for line in packed.left_out) == [*map(str, (first, second, third, fourth))]
    assert any("metrics.jsonl, line 1" in line for line in packed.left_out)


def test_files_that_a_person_names_are_used(submitted: Path, access: Access) -> None:
    config = exchange.cases(submitted / "runs.tar.gz", submitted)[0].config
    moved = config.model_copy(update={"dataset": "npz:/somewhere/else.npz"})
    with pytest.raises(InputError, match="--dataset npz:"):
        verification.allowed(moved, access)
    named = replace(access, datasets=["npz:/somewhere/else.npz"])
    assert verification.allowed(moved, named) == moved
