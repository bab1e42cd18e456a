"""The pages of a site, which runs are checked, and what a folder that is written to keeps."""

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmark import exchange, tables
from benchmark.configuration import suites as declared_suites
from benchmark.escaping import file_name
from benchmark.exchange import RECORD, Comparison, Outcome
from benchmark.site import Built, build
from benchmark.site.pages import LIMIT
from benchmark.store import CONFIG, METRICS, RESULT, Store, load, read
from benchmark.tables import TableStyle, read_layout
from methods import registry
from methods.errors import InputError
from tests.command_line import Bench
from tests.reports.test_report import config, store_run

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "submissions" / "example"


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def rows(page: str) -> dict[str, list[str]]:
    """The cells of all tables' rows by their first one; of several rows of one name the first."""
    found = re.findall(r"<tr[^>]*><th scope=\"row\"[^>]*>(.*?)</th>(.*?)</tr>", page)
    cells: dict[str, list[str]] = {}
    for head, rest in found:
        cells.setdefault(bare(head), [unescape(bare(cell)) for cell in re.findall(r"<td[^>]*>(.*?)</td>", rest)])
    return cells


def board(out: Path) -> Path:
    """The file of the only leaderboard."""
    (path,) = (path for path in (out / "boards").glob("*.json") if path.stem != "schema")
    return path


def bare(markup: str) -> str:
    return re.sub(r"<[^>]+>", "", markup)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    store_run(Store(root), config("dml", 0), 80)
    return root


class TestPages:
    def test_there_is_a_page_a_method_and_a_page_a_run_set(self, site: tuple[Path, Built]) -> None:
        out, built = site
        methods = {path.stem for path in (out / "methods").iterdir()}
        assert methods == {*registry.catalogue(), "consensus"}
        assert (built.boards, built.methods, built.run_sets, built.runs) == (3, len(methods), 7, 16)
        assert len(list((out / "runs").iterdir())) == len(list((out / "bundles").iterdir())) == 7
        assert built.size == sum(path.stat().st_size for path in out.rglob("*") if path.is_file())

    def test_a_leaderboard_says_what_the_table_says(self, site: tuple[Path, Built], results: Path) -> None:
        out, _ = site
        boards = re.findall(r"<section class=\"board\".*?</section>", text_of(out / "index.html"), re.DOTALL)
        (digits,) = [part for part in boards if "pcl.html" in part]
        found = rows(digits)
        showing = TableStyle(n=False, p=False, rank=False)
        table = tables.build(load(results, "last"), ["student"], baseline="independent", showing=showing)
        content = tables.typed(table)
        expected = {row.id: [cell.text for cell in content.lines[place][1:3]] for place, row in enumerate(content.rows)}
        assert list(found) == list(expected) == ["independent", "dml", "pcl"]
        assert {row: cells[:2] for row, cells in found.items()} == expected
        assert expected["dml"][0] == "87.20 ± 0.20"
        assert expected["dml"][1].startswith("-2.90 [-3.")
        assert found["dml"][2:] == ["10.00", "60", "3 seeds", "claimed"]
        assert found["pcl"][0].startswith("84.30 ± 0.30, 1 failed: ")

    def test_a_leaderboard_is_a_file_for_programs_too(self, site: tuple[Path, Built], results: Path) -> None:
        out, built = site
        files = {path: json.loads(text_of(path)) for path in (out / "boards").glob("*.json")}
        schema = files.pop(out / "boards" / "schema.json")
        assert len(files) == built.boards
        check = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(out / "boards" / "schema.json")]
        done = subprocess.run([*check, *map(str, files)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        ((path, digits),) = [item for item in files.items() if len(item[1]["rows"]) == 3]
        assert (digits["format"], digits["dataset"], digits["network"]) == (2, "digits", "resnet8")
        shown = tables.typed(tables.build(load(results, "last"), ["student"], baseline=digits["baseline"]))
        for place, row in enumerate(digits["rows"]):
            value, gain = (
                next(one for one in shown.columns if one.kind == kind).cells[place] for kind in ("value", "gain")
            )
            assert (row["accuracy"], row["std"], row["seeds"]) == (value.value, value.std, value.n)
            assert (row["gain"], row["gain_low"]) == ((gain.gain.mean, gain.gain.low) if gain.gain else (None, None))
            assert (row["training_macs"], row["run_seconds"]) == (10.0, 60.0)
            known = {"laboratory": "this repository", "hardware": "H200", "tuning": "defaults", "trials": None}
            # the runs say no day, and no suite has them
            known |= dict.fromkeys(("date", "paper", "suite"), "")
            assert row["provenance"].items() >= known.items()
            assert schema["$defs"]["Provenance"]["properties"].keys() == row["provenance"].keys()
            assert (out / row["page"]).is_file()
        flat = pd.read_csv(path.with_suffix(".csv"))
        assert flat["accuracy"].tolist() == pytest.approx([row["accuracy"] for row in digits["rows"]])
        assert set(flat["hardware"]) == {"H200"}

    def test_a_leaderboard_of_two_suites_runs_has_the_verdicts_of_each(self, tmp_path: Path) -> None:
        exchange.merge([ROOT / "results" / "cifar100" / "runs.tar.gz"], tmp_path / "results")
        build([tmp_path / "results"], tmp_path / "site")
        written = (tmp_path / "site" / "boards" / "cifar100-resnet8-equal-epochs-epochs-60.json").read_text()
        found = {row["row"]: row for row in json.loads(written)["rows"]}
        told: dict[str, tuple[str, float | None, float | None]] = {}
        for suite in ("cifar100_subset", "cifar100_others"):
            choice = read_layout(None, {"suite": suite})
            frame, _ = choice.runs(load(tmp_path / "results", "last", split="all"))
            shown = tables.build(frame, ["student"], baseline="independent", choice=choice)
            gains = {row: gain for (row, key), gain in shown.gains.items() if "equal cost" not in key.column}
            told |= {row: (gain.text, gain.low, gain.high) for row, gain in gains.items()}
        assert len(told) == 13
        for row, expected in told.items():
            assert (found[row]["verdict"], found[row]["gain_low"], found[row]["gain_high"]) == expected, row
        assert found["kd"]["verdict"] == found["kd"]["provenance"]["suite"] == ""
        assert found["cl"]["provenance"]["suite"].startswith("cifar100_others")

    def test_a_leaderboard_of_a_suites_runs_has_the_suites_verdicts(self, tmp_path: Path) -> None:
        exchange.merge([ROOT / "results" / "digits" / "runs.tar.gz"], tmp_path / "results")
        build([tmp_path / "results"], tmp_path / "site")
        found = {row["row"]: row for row in json.loads(text_of(board(tmp_path / "site")))["rows"]}
        choice = read_layout(None, {"suite": "digits"})
        frame, _ = choice.runs(load(tmp_path / "results", "last", split="all"))
        shown = tables.typed(tables.build(frame, ["student"], baseline="independent", choice=choice))
        gain = next(one for one in shown.columns if one.kind == "gain")
        expected = {row.id: gain.cells[place] for place, row in enumerate(shown.rows)}
        assert len(expected) == 14
        for row, cell in expected.items():
            told = (cell.gain.text, cell.gain.low) if cell.gain else ("", None)
            assert (found[row]["verdict"], found[row]["gain_low"]) == told, row
        # the suite has no such method
        assert found["kd"]["verdict"] == ""
        version = declared_suites.available()["digits"].version
        assert {found[row]["provenance"]["suite"] for row in expected} == {f"digits, version {version}"}
        assert found["kd"]["provenance"]["suite"] == ""
        settings = {row: one["provenance"]["tuning"] for row, one in found.items()}
        assert settings["dml"] == "defaults"
        # the suite declares settings of it
        assert {words for row, words in settings.items() if row.startswith("dkel")} == {"other than defaults"}

    def test_a_row_has_the_days_of_its_runs_and_what_the_submitter_states(self, tmp_path: Path) -> None:
        folder = tmp_path / "submissions" / "theirs"
        shutil.copytree(EXAMPLE, folder)
        exchange.merge([EXAMPLE / "runs.tar.gz"], tmp_path / "work")
        for path in (tmp_path / "work" / "runs").glob(f"consensus-*/{RESULT}"):
            result = json.loads(path.read_text())
            result["environment"]["date"] = "2026-11-03" if "-s0-" in path.parent.name else "2026-10-29"
            path.write_text(json.dumps(result))
        (folder / "runs.tar.gz").unlink()
        exchange.pack(tmp_path / "work", folder / "runs.tar.gz")
        paper = "https://example.org/paper?a=1&b='2'"
        form = yaml.safe_load((folder / "submission.yaml").read_text()) | {"paper": paper, "trials": 40}
        (folder / "submission.yaml").write_text(yaml.safe_dump(form))
        out = tmp_path / "site"
        build([], out, tmp_path / "submissions")
        path = board(out)
        found = {row["method"]: row["provenance"] for row in json.loads(text_of(path))["rows"]}
        stated = {"date": "2026-10-29 to 2026-11-03", "paper": paper, "tuning": "tuned", "trials": 40}
        assert {key: found["consensus"][key] for key in stated} == stated
        # of a method to compare with nothing is stated
        unstated = {"date": "", "paper": "", "tuning": "defaults", "trials": None}
        assert {key: found["independent"][key] for key in unstated} == unstated
        flat = pd.read_csv(path.with_suffix(".csv"), dtype=str, keep_default_na=False).set_index("method")
        assert flat.loc[["consensus", "independent"], "trials"].tolist() == ["40", ""]
        assert flat.loc["consensus", "paper"] == paper
        index = text_of(out / "index.html")
        assert [unescape(link) for link in re.findall(r'href="([^"]*//[^"]*)"', index)] == [paper]
        assert "2026-10-29 to 2026-11-03" in index

    @pytest.mark.parametrize(("plugins", "tuning"), [((), ""), ((str(EXAMPLE / "consensus.py"),), "defaults")])
    def test_a_plugins_defaults_are_known_with_its_code(
        self, plugins: tuple[str, ...], tuning: str, tmp_path: Path
    ) -> None:
        build([EXAMPLE / "runs.tar.gz"], tmp_path / "site", plugins=plugins)
        content = json.loads(text_of(board(tmp_path / "site")))
        found = {row["method"]: row["provenance"]["tuning"] for row in content["rows"]}
        assert found == {"consensus": tuning, "independent": "defaults"}

    def test_a_method_is_introduced_with_all_that_is_known(self, site: tuple[Path, Built]) -> None:
        page = text_of(site[0] / "methods" / "dkel.html")
        for title in ("Hyperparameters", "Schedules", "Where released code and paper differ"):
            assert f"<h2>{title}</h2>" in page
        found = rows(page)
        assert found["teacher_init_steps"][:2] == ["whole number at least 0", "2"]
        assert found["ramp-up divided by the weight 0.1 (D1)"][-1] == "test_released.py"
        assert "no runs of this method" in page
        assert "<figcaption>teacher_ensemble_distillation</figcaption>\n<svg" in page
        assert "<h2>Published numbers</h2>" in text_of(site[0] / "methods" / "dml.html")

    def test_every_run_has_a_command_without_paths_of_this_machine(
        self, site: tuple[Path, Built], results: Path
    ) -> None:
        out, _ = site
        commands = [
            line for path in (out / "runs").iterdir() for line in re.findall(r"<pre[^>]*>(.*?)</pre>", text_of(path))
        ]
        assert len(commands) == 16
        assert all(command.startswith("bench run --methods ") for command in commands)
        assert sum("--plugin submissions/example/consensus.py" in command for command in commands) == 4
        pages = [path for path in out.rglob("*") if path.suffix in (".html", ".js", ".json", ".css")]
        assert [path.name for path in pages if str(results) in text_of(path) or "/tmp/" in text_of(path)] == []

    def test_nothing_leads_out_and_what_runs_say_is_text(self, site: tuple[Path, Built]) -> None:
        for path in site[0].rglob("*.html"):
            page = text_of(path)
            links = re.findall(r"(?:href|src)=\"([^\"]*)\"", page)
            assert [link for link in links if "//" in link] == []
            local = [link.partition("#")[0] for link in links if not link.startswith(("#", "data:"))]
            assert [link for link in local if not (path.parent / link).is_file()] == [], path
            assert "<img src=x" not in page
            assert "default-src 'none'" in page

    def test_a_bundle_gives_the_runs_back(self, site: tuple[Path, Built], results: Path, tmp_path: Path) -> None:
        (bundle,) = (site[0] / "bundles").glob("pcl-digits-*")
        assert exchange.merge([bundle], tmp_path).added == 4
        here = {one.name: one.digest for one in read(results).found}
        assert {one.name: one.digest for one in read(tmp_path).found}.items() <= here.items()

    def test_the_address_of_a_run_set_stays_when_others_come(
        self, site: tuple[Path, Built], results: Path, tmp_path: Path
    ) -> None:
        more = Store(tmp_path / "more")
        store_run(more, config("one", 0), 80)
        store_run(more, config("dml", 3), 87)
        build([results, more.root], tmp_path / "site", ROOT / "submissions")
        before, after = ({path.name for path in (where / "runs").iterdir()} for where in (site[0], tmp_path / "site"))
        assert before < after


class TestMarks:
    @pytest.fixture
    def own(self, tmp_path: Path) -> Path:
        store = Store(tmp_path / "own")
        for seed in range(2):
            store_run(store, config("dml", seed), 80)
        return store.root

    def marks(self, results: Path, out: Path) -> dict[str, str]:
        build([results], out)
        return self.mark_of(out)

    def mark_of(self, out: Path) -> dict[str, str]:
        return {head: cells[-1] for head, cells in rows(text_of(out / "index.html")).items()}

    def record(self, root: Path, *outcomes: Outcome) -> None:
        every = exchange.cases(None, root)
        said = {
            case.name: Comparison(outcome, content=case.hash) for case, outcome in zip(every, outcomes, strict=False)
        }
        exchange.write_record(root, root, exchange.Record(runs=said, environment={"torch": "2"}))

    def test_runs_are_claimed_until_one_was_repeated(self, own: Path, tmp_path: Path) -> None:
        assert self.marks(own, tmp_path / "site") == {"dml": "claimed"}
        self.record(own, Outcome.IDENTICAL)
        assert self.marks(own, tmp_path / "site") == {"dml": "not enough repeated (1 of 2, 2 more needed)"}
        self.record(own, Outcome.IDENTICAL, Outcome.IDENTICAL)
        assert self.marks(own, tmp_path / "site") == {"dml": "identical (2 of 2)"}
        self.record(own, Outcome.IDENTICAL, Outcome.DIFFERENT)
        assert self.marks(own, tmp_path / "site") == {"dml": "differs (2 of 2)"}

    def test_what_was_verified_is_claimed_again_after_an_edit(self, own: Path, tmp_path: Path) -> None:
        self.record(own, Outcome.IDENTICAL)
        (first, *_) = sorted((own / "runs").glob("dml-*"))
        lines = (first / METRICS).read_text().splitlines()
        row = json.loads(lines[-1]) | {"student": 99.0}
        (first / METRICS).write_text("\n".join([*lines[:-1], json.dumps(row)]) + "\n")
        assert self.marks(own, tmp_path / "site") == {"dml": "claimed"}

    def test_a_submission_has_the_mark_of_its_check_and_its_plugin_is_not_run(
        self, site: tuple[Path, Built], tmp_path: Path
    ) -> None:
        assert rows(text_of(site[0] / "index.html"))["consensus"][-1] == "identical (2 of 2)"
        (page,) = (site[0] / "runs").glob("consensus-*")
        assert "CC0-1.0" in text_of(page)
        method = text_of(site[0] / "methods" / "consensus.html")
        assert "whose code is not run here" in method
        assert "<h2>Hyperparameters</h2>" not in method
        build([], tmp_path / "site", ROOT / "submissions", plugins=[str(EXAMPLE / "consensus.py")])
        method = text_of(tmp_path / "site" / "methods" / "consensus.html")
        assert "separate networks that all learn from the mean of their probabilities" in method
        assert rows(method)["rampup_epochs"][1] == "80 of 300 epochs"

    def test_a_submission_that_disputes_runs_from_here_differs(self, tmp_path: Path) -> None:
        shutil.copytree(EXAMPLE, tmp_path / "submissions" / "theirs")
        exchange.merge([EXAMPLE / "runs.tar.gz"], tmp_path / "results")
        (own,) = (tmp_path / "results/runs").glob("independent-*-s0-*")
        row = json.loads((own / METRICS).read_text())
        (own / METRICS).write_text(json.dumps(row | {"student": row["student"] + 1}) + "\n")
        built = build([tmp_path / "results"], tmp_path / "site", tmp_path / "submissions")
        (note,) = [note for note in built.notes if "other numbers" in note]
        assert str(own) in note
        # the claim replaces nothing
        build([tmp_path / "results"], tmp_path / "alone")
        board = text_of(tmp_path / "site" / "index.html")
        assert rows(text_of(tmp_path / "alone" / "index.html"))["independent"][0] in bare(board)
        # and it is beside them, with whose it is
        assert "claimed in theirs" in board

    def test_a_record_inside_a_submission_or_a_bundles_folder_is_never_read(self, own: Path, tmp_path: Path) -> None:
        self.record(own, Outcome.IDENTICAL, Outcome.IDENTICAL)
        below = tmp_path / "results" / "theirs"
        shutil.copytree(own, below)
        assert self.marks(tmp_path / "results", tmp_path / "site") == {"dml": "claimed"}
        shutil.copytree(EXAMPLE, tmp_path / "submissions" / "theirs")
        shutil.copy(ROOT / "submissions" / RECORD, tmp_path / "submissions" / "theirs" / RECORD)
        build([own], tmp_path / "other", tmp_path / "submissions")
        assert rows(text_of(tmp_path / "other" / "index.html"))["consensus"][-1] == "claimed"

    @pytest.mark.parametrize("damage", ["bundle", "submission.yaml", "record"])
    def test_what_is_damaged_is_left_out_and_named(self, damage: str, own: Path, tmp_path: Path) -> None:
        broken = tmp_path / "submissions" / "broken"
        shutil.copytree(EXAMPLE, broken)
        self.record(own, Outcome.IDENTICAL)
        if damage == "bundle":
            (broken / "runs.tar.gz").write_bytes((broken / "runs.tar.gz").read_bytes()[:1000])
            shutil.copy(broken / "runs.tar.gz", own / "cut.tar.gz")
        elif damage == "record":
            shutil.rmtree(broken)
            (own / RECORD).write_text('{"format": 1, "runs": {"a": {"digest": "x", "outcome": "fine"}}}')
        else:
            (broken / damage).write_text("who: [")
        built = build([own], tmp_path / "site", tmp_path / "submissions")
        assert (built.boards, built.runs) == (1, 2)
        named = [note for note in built.notes if any(name in note for name in ("broken", "cut.tar.gz", RECORD))]
        assert len(named) == len(built.notes) == (2 if damage == "bundle" else 1)
        if damage == "record":
            assert self.mark_of(tmp_path / "site") == {"dml": "claimed"}

    def test_nothing_but_damage_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "cut.tar.gz").write_bytes(b"no archive")
        with pytest.raises(InputError, match=r"cut\.tar\.gz"):
            build([tmp_path / "results"], tmp_path / "site")


class TestNamesThatBecomePaths:
    """Methods, datasets, backbones and hashes of plug-ins come from bundles: no file is written or read elsewhere."""

    EVIL = ("x/../../../../pwned/evil", "../pwned", "/tmp/pwned", ".", "..", "a\\..\\b", "con:x", "-", "", "x" * 300)

    def files(self, folder: Path) -> set[str]:
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}

    @pytest.mark.parametrize("name", EVIL)
    def test_a_file_name_stays_in_its_folder(self, name: str) -> None:
        made = file_name(name, ".html")
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+.-]{0,99}", made)
        assert made.endswith(".html")

    def test_different_names_have_different_files_and_usual_ones_their_own(self) -> None:
        names = [*self.EVIL, "x/..", "x..", "x-.."]
        assert len({file_name(name) for name in names}) == len(names)
        for name in (*registry.catalogue(), "a+b", "my_method.v2"):
            assert file_name(name, ".html") == f"{name}.html"

    @pytest.mark.parametrize("field", ["method", "dataset", "backbone"])
    def test_a_bundle_writes_nothing_outside_the_site(self, field: str, tmp_path: Path) -> None:
        evil = "x/../../../../pwned/evil"
        run = config("dml", 0).model_copy(update={field: evil})
        results = Store(tmp_path / "a" / "b" / "c" / "results")
        plain = config("independent", 0)
        store_run(results, plain, 80)
        results.folder(plain)
        folder = results.runs / "evil-run-s0-0123456789ab"
        shutil.copytree(results.folder(plain), folder)
        (folder / CONFIG).write_text(yaml.safe_dump(run.model_dump(mode="json")))
        before = self.files(tmp_path)
        assert build([results.root], tmp_path / "a" / "b" / "c" / "site").runs == 2
        made = {name for name in self.files(tmp_path) - before if not name.endswith(".index.json")}
        assert {name for name in made if not name.startswith("a/b/c/site")} == set()


class TestFolder:
    def test_what_is_no_site_is_left_alone(self, small: Path, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").touch()
        with pytest.raises(InputError, match="is not empty"):
            build([small], tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_a_page_that_is_no_more_goes_and_other_files_stay(self, small: Path, tmp_path: Path) -> None:
        build([small], tmp_path / "site")
        (tmp_path / "site" / "CNAME").write_text("example.org")
        old = {path.name for path in (tmp_path / "site/runs").iterdir()}
        other = Store(tmp_path / "other")
        store_run(other, config("pcl", 0), 80)
        build([other.root], tmp_path / "site")
        assert old & {path.name for path in (tmp_path / "site/runs").iterdir()} == set()
        assert (tmp_path / "site" / "CNAME").is_file()

    @pytest.mark.parametrize("named", ["../outside.txt", "/etc/hostname"])
    def test_a_manifest_removes_nothing_outside(self, named: str, small: Path, tmp_path: Path) -> None:
        (tmp_path / "outside.txt").touch()
        (tmp_path / "site").mkdir()
        (tmp_path / "site/site.json").write_text(json.dumps({"files": [named]}))
        build([small], tmp_path / "site")
        assert (tmp_path / "outside.txt").is_file()

    def test_too_many_runs_for_bundles_are_said(
        self, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("benchmark.site.pages.BUNDLES", 10)
        built = build([small], tmp_path / "site")
        assert built.notes == ["1 of 1 run sets have no bundle, which would make the site too large"]
        assert "no bundle" in text_of(next((tmp_path / "site/runs").iterdir()))

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--results", "nowhere"], "no such results folder: nowhere"),
            (["--results", "empty"], "no runs and no bundles below empty yet: bench run makes some"),
            (["--results", "empty", "--submissions", "none"], "no such folder of submissions: none"),
            (["--results", "empty", "--suite", "lit"], "unknown suite 'lit', did you mean 'lite'"),
        ],
    )
    def test_bad_input_is_one_line(self, words: list[str], said: str, tmp_path: Path, bench: Bench) -> None:
        (tmp_path / "empty").mkdir()
        bench("site", *words).assert_refused(said)


@pytest.mark.thorough
def test_the_results_of_the_repository_are_a_site(tmp_path: Path) -> None:
    built = build([ROOT / "results"], tmp_path / "site", ROOT / "submissions")
    assert built.methods >= len(registry.catalogue()) >= 15
    assert built.runs >= 50
    assert built.size < LIMIT
    # the sweeps' runs are scored on held-out images
    assert [note for note in built.notes if "runs on validation images not shown" not in note] == []
    found = rows(text_of(tmp_path / "site" / "index.html"))
    assert {*registry.catalogue()} <= found.keys()
    marks = {cells[-1].partition(" ")[0] for cells in found.values()}
    assert {"identical", "claimed"} <= marks <= {"identical", "claimed", "not"}
