"""A submission: the form, what must be equal, the runs that are repeated, and the example of the repository."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark import exchange
from benchmark.configuration import source_of_method
from benchmark.exchange import Access, Mark, submission, submission_check
from benchmark.store import METRICS
from methods.errors import InputError
from tests.command_line import Bench

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "submissions" / "example"
FORM = yaml.safe_load((EXAMPLE / "submission.yaml").read_text())


@pytest.fixture
def handed_in(tmp_path: Path) -> Path:
    """The example, to be changed."""
    folder = tmp_path / "handed_in"
    shutil.copytree(EXAMPLE, folder)
    return folder


def say(folder: Path, **changed: Any) -> Path:
    """Change what submission.yaml says; a key that is None is left out."""
    form = {key: value for key, value in (FORM | changed).items() if value is not None}
    (folder / "submission.yaml").write_text(yaml.safe_dump(form))
    return folder


def repacked(folder: Path, change: Callable[[Path], None], workplace: Path) -> Path:
    """Change the runs of a submission's bundle."""
    exchange.merge([folder / "runs.tar.gz"], workplace)
    change(workplace / "runs")
    exchange.pack(workplace, folder / "runs.tar.gz")
    return folder


def found(folder: Path) -> list[str]:
    read = submission.read(folder)
    access = Access(Path("data"), plugins=read.plugins)
    return list(submission_check.unequal(read, exchange.cases(read.bundle, folder), access))


class TestExample:
    def test_it_is_the_method_of_the_documentation(self) -> None:
        page = (ROOT / "docs" / "adding_a_method.md").read_text(encoding="utf-8")
        (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        assert (EXAMPLE / "consensus.py").read_text(encoding="utf-8") == code

    def test_the_documented_form_is_its_own(self) -> None:
        page = (ROOT / "docs" / "submitting.md").read_text(encoding="utf-8")
        (form,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        assert (EXAMPLE / "submission.yaml").read_text(encoding="utf-8") == form
        # the first table; the next one has the results of a check
        keys = re.findall(r"^\| `(\w+)` \|", page.partition("\n## Check")[0], re.MULTILINE)
        assert keys == list(submission.Form.model_fields)

    def test_it_is_small_and_says_nothing_of_the_machine_that_made_it(self) -> None:
        assert sum(path.stat().st_size for path in EXAMPLE.iterdir()) < 10_000
        origins = [case.config.origin for case in exchange.cases(str(EXAMPLE / "runs.tar.gz"), Path())]
        known = {(*origin.plugins, origin.data_root) for origin in origins}
        assert known == {("submissions/example/consensus.py", None)}

    def test_its_record_is_of_these_runs(self) -> None:
        record = exchange.record_of(ROOT / "submissions", EXAMPLE / "runs.tar.gz")
        claims = exchange.statements(exchange.cases(EXAMPLE / "runs.tar.gz", EXAMPLE), record)
        assert {one.mark for one in claims.values()} == {Mark.IDENTICAL}

    def test_nothing_differs_when_it_is_repeated(self, bench: Bench) -> None:
        answer = bench("submit", "--check", EXAMPLE, "--seed", 3)
        lines = answer.out.splitlines()
        # on other hardware two seeds are too few to say more
        assert {line.split()[0] for line in lines[:4]} in ({"identical"}, {"repeated"})
        mark = lines[-1].partition(":")[0]
        assert (mark, answer.code) in (("identical", 0), ("not enough repeated", 1), ("reproduced", 0))
        assert lines[-1].endswith("4 runs repeated (--seed 3)")


class TestForm:
    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"who": None}, "who"),
            ({"licence": ""}, "licence"),
            ({"machines": "two"}, "'machines'"),
            ({"bundle": "../runs.tar.gz"}, "bundle"),
            ({"bundle": "other.tar.gz"}, "other.tar.gz"),
            ({"bundle": "consensus.py"}, "unknown kind of bundle 'consensus.py'"),
            ({"code": {"file": "consensus.py"}}, "code.hash"),
            *(({"paper": link}, "paper") for link in ("javascript:alert(1)", "ftp://example.org/a.pdf")),
            *(({"paper": f"https://example.org/{end}"}, "paper") for end in ('"onclick=', "a b")),
            *(({"trials": trials}, "trials") for trials in (-1, 1.5, True)),
            ({"settings": {"trains": {}}}, "section of settings in"),
            ({"settings": {"train": {"epochs": 0}}}, "settings.train.epochs"),
        ],
    )
    def test_a_wrong_word_is_one_line(self, changed: dict[str, Any], said: str, handed_in: Path) -> None:
        with pytest.raises(InputError, match=re.escape(said)):
            submission.read(say(handed_in, **changed))

    def test_there_must_be_one_and_all_of_a_folder_are_found(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"there is no submission\.yaml"):
            submission.read(tmp_path)
        assert "example" in [one.name for one in submission.below(ROOT / "submissions")[0]]


class TestEqual:
    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"settings": None}, "recipe: train.epochs is 1, here 20 ("),
            ({"settings": {"train": {"epochs": 1, "lr": 0.2}}}, "recipe: train.lr is 0.1, here 0.2 ("),
            ({"method": "dml", "code": None}, "method: no run is of dml"),
            ({"code": {"file": "consensus.py", "hash": "0" * 32}}, "code: consensus.py has the hash "),
            ({"recipe": "nothing"}, "unknown configuration 'nothing'"),
        ],
    )
    def test_what_must_be_equal_is_named(self, changed: dict[str, Any], said: str, handed_in: Path) -> None:
        assert any(said in line for line in found(say(handed_in, **changed)))

    @pytest.mark.parametrize("setting", [{"class_accuracy": True}, {"diagnostics_every": 3}])
    def test_settings_that_only_add_metrics_may_differ(self, setting: dict[str, Any], handed_in: Path) -> None:
        assert found(say(handed_in, settings={"train": {"epochs": 1, **setting}})) == []

    def test_other_code_than_the_runs_had(self, handed_in: Path) -> None:
        path = handed_in / "consensus.py"
        path.write_text(path.read_text().replace('"distillation": weight *', '"distillation": 2 * weight *'))
        own = source_of_method("consensus", [path])
        assert own is not None
        lines = found(say(handed_in, code={"file": "consensus.py", "hash": own.hash}))
        assert [line.partition(":")[0] for line in lines] == ["code", "code"]
        assert lines[0].startswith(
            f"code: sources.method is {FORM['code']['hash']}, here {own.hash} (consensus-digits-"
        )

    def test_seeds_are_paired_and_the_headline_is_a_mean(self, handed_in: Path, tmp_path: Path) -> None:
        def change(runs: Path) -> None:
            (lost,) = runs.glob("independent-*-s1-*")
            shutil.rmtree(lost)
            (path,) = runs.glob(f"consensus-*-s0-*/{METRICS}")
            path.write_text(json.dumps(json.loads(path.read_text()) | {"student": 60.0}) + "\n")

        lines = found(repacked(handed_in, change, tmp_path / "work"))
        assert lines[0] == "protocol: on digits/resnet8 the methods have other seeds than one another"
        assert lines[1].startswith("protocol: student in epoch 0 is 60, the students' mean ")
        assert len(lines) == 2


class TestPrepare:
    @pytest.fixture
    def prepared(self, tmp_path: Path, bench: Bench) -> tuple[int, Path]:
        """The example's runs in a results folder, and what --prepare makes of them."""
        results, out = tmp_path / "results", tmp_path / "mine"
        exchange.merge([EXAMPLE / "runs.tar.gz"], results)
        return bench("submit", "--prepare", results, "--out", out, "--plugin", EXAMPLE / "consensus.py").code, out

    def test_what_follows_from_the_runs_is_that_of_the_example(self, prepared: tuple[int, Path]) -> None:
        code, out = prepared
        assert code == 0
        form = yaml.safe_load((out / "submission.yaml").read_text())
        for key in ("method", "code", "recipe", "settings", "bundle"):
            assert form[key] == FORM[key]
        assert (out / "consensus.py").read_bytes() == (EXAMPLE / "consensus.py").read_bytes()
        assert found_in_bundle(out) == found_in_bundle(EXAMPLE)

    def test_it_is_one_once_it_is_filled_in(self, prepared: tuple[int, Path]) -> None:
        _, out = prepared
        with pytest.raises(InputError, match="who is still to be filled in"):
            submission.read(out)
        form = out / "submission.yaml"
        form.write_text(form.read_text().replace(submission.TO_FILL_IN, "mine"))
        assert found(out) == []
        # what is optional is there as a comment
        assert re.findall(r"^# (\w+): ", form.read_text(), re.MULTILINE) == ["paper", "trials", "about"]

    def test_what_it_cannot_know_is_asked(
        self, tmp_path: Path, finished_runs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=re.escape("--method dml|pcl")):
            submission.prepare(finished_runs, tmp_path / "out")
        exchange.merge([EXAMPLE / "runs.tar.gz"], tmp_path / "results")
        with pytest.raises(InputError, match="no file has the code"):
            submission.prepare(tmp_path / "results", tmp_path / "out")


def found_in_bundle(folder: Path) -> dict[str, str]:
    return {case.name: case.claim for case in exchange.cases(folder / "runs.tar.gz", folder)}
