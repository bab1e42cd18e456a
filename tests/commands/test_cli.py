"""The ``bench`` command as a person meets it: its answers to bad words, what it repeats, keeps and prints."""

import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmark import store
from tests.command_line import BENCH, CALM, PLUGIN, Answer, Bench, process

pytestmark = pytest.mark.usefixtures("small")


@pytest.mark.parametrize("words", ["--help", "table --published"])
def test_characters_that_a_stream_cannot_write_are_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    answer = process(tmp_path, *words.split())
    assert (answer.code, answer.err) == (0, "")
    assert "\\xb1" in answer.out


class TestWithoutTorch:
    """``--help``, ``list`` and ``table`` answer at once: what would take long to import, they leave alone."""

    HEAVY = frozenset({"torch", "torchvision", "ray", "sklearn", "scipy", "matplotlib", "timm"})
    NUMBERS = frozenset({"pandas", "numpy", "pyarrow"})
    SETTINGS = frozenset({"pydantic", "yaml"})
    LIGHT = (
        ("--help", HEAVY | NUMBERS | SETTINGS),
        ("--version", HEAVY | NUMBERS | SETTINGS),
        ("run --help", HEAVY | NUMBERS),
        ("list", HEAVY | {"pandas", "pyarrow"}),
        ("table --results {}", HEAVY),
        ("table --format csv --results {}", HEAVY),
        ("show dml-digits-resnet8-s0 --results {}", {"torch", "ray"}),
    )

    @pytest.mark.parametrize(("words", "left_alone"), LIGHT, ids=[words for words, _ in LIGHT])
    def test_what_takes_long_is_not_imported(
        self, tmp_path: Path, finished_runs: Path, words: str, left_alone: frozenset[str]
    ) -> None:
        program = "import sys, atexit\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        call = [sys.executable, "-c", program + "from benchmark.cli import main\nmain()"]
        answer = process(tmp_path, *words.format(finished_runs).split(), program=call)
        assert answer.code == 0
        imported = set(answer.err.split())
        assert "benchmark.cli" in imported
        assert left_alone & imported == set()


class TestList:
    def test_methods_datasets_backbones_and_recipes_with_a_line_each(self, bench: Bench) -> None:
        lines = bench("list").out.splitlines()
        kinds = [line for line in lines if not line.startswith(" ")]
        assert kinds == ["methods:", "datasets:", "backbones:", "recipes:", "suites:"]
        described = {name: text.strip() for name, _, text in (line.strip().partition(" ") for line in lines)}
        for name in ("dkel", "digits", "folder:PATH", "resnet32", "cifar", "torchvision:NAME", "timm:NAME"):
            assert described[name]

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("def (", "SyntaxError, line 1: invalid syntax"),
            ("import no_such_module", "ModuleNotFoundError, line 1: No module named 'no_such_module'"),
            ("import sys; sys.exit(0)", "SystemExit, line 1: 0"),
            ("1 / 0", "ZeroDivisionError"),
            ("x = 1", "defines no method"),
            (PLUGIN.replace('"explosive"', "5"), "name must be a word"),
            (PLUGIN.replace('name = "explosive"', 'name = "explosive"; year = "new"'), "year a whole number"),
        ],
    )
    def test_broken_plugin_is_listed_with_its_reason_and_hides_no_other(
        self, bench: Bench, tmp_path: Path, code: str, reason: str
    ) -> None:
        (tmp_path / "mine.py").write_text(code, encoding="utf-8")
        (tmp_path / "other.py").write_text(PLUGIN, encoding="utf-8")
        answer = bench("list", "methods", "--plugin", "mine.py", "--plugin", "other.py")
        listed = {line.split()[0]: line for line in answer.out.splitlines()}
        assert {"mine", "explosive", "independent", "dkel"} <= set(listed)
        assert reason in listed["mine"].partition(" broken: ")[2]
        bench("run", "--plugin", "mine.py", "--methods", "mine").assert_refused("the method 'mine' is broken: ", reason)

    def test_a_broken_one_beside_a_wanted_one_is_named(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("x = 1\n\ndef (:\n")
        (tmp_path / "late.py").write_text("x = 1\ny = z\n")
        (tmp_path / "good.py").write_text(CALM)
        plugins = [word for name in ("mine", "late", "good") for word in ("--plugin", f"{name}.py")]
        answer = bench("run", "--config", "small", "--methods", "explosive", "--seeds", "1", "--dry-run", *plugins)
        assert answer.code == 0, answer.err
        assert "note: mine.py is broken: SyntaxError, line 3: " in answer.out
        assert "note: late.py is broken: NameError, line 2: name 'z' is not defined" in answer.out
        bench("run", "--methods", "explosiv", *plugins).assert_refused(
            "did you mean 'explosive'?", "; mine.py is broken: SyntaxError, line 3"
        )

    def test_plugin_without_hyperparameters_is_refused_in_one_line(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(f"{PLUGIN}    Hyperparameters = dict\n", encoding="utf-8")
        bench("run", "--plugin", "mine.py", "--config", "small").assert_refused("'explosive' has no Hyperparameters")


class TestDryRun:
    def test_shows_the_runs_and_which_are_finished(self, bench: Bench) -> None:
        assert bench("run", "--methods", "dml", "--seeds", "1", "--config", "small").code == 0
        kept = list(Path("results/runs").iterdir())
        lines = bench("run", "--methods", "dml,one", "--seeds", "2", "--dry-run", "--config", "small").out.splitlines()
        assert [" ".join(line.partition("(")[0].split()) for line in lines[:4]] == [
            "finished dml digits resnet8 seed 0",
            "to do dml digits resnet8 seed 1",
            "to do one digits resnet8 seed 0",
            "to do one digits resnet8 seed 1",
        ]
        assert lines[4] == "4 runs, 1 finished already"
        assert list(Path("results/runs").iterdir()) == kept


class TestRun:
    def test_finished_runs_are_not_repeated(self, bench: Bench, tmp_path: Path) -> None:
        words = ["run", "--methods", "independent,dml", "--seeds", "1", "--config", "small"]
        first = bench(*words)
        results = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/runs/*/*")}
        second = process(tmp_path, *words)
        assert (first.code, second.code) == (0, 0)
        assert "2 of 2 runs are finished already: skipped" in second.out
        assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/runs/*/*")} == results
        assert table_of(first) == table_of(second)
        assert [row[0] for row in table_of(first)] == ["method", "independent", "dml"]

    def test_failed_run_ends_with_its_reason_while_the_others_finish(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(PLUGIN, encoding="utf-8")
        words = "run --plugin mine.py --methods explosive,independent --seeds 1 --config small"
        answer = bench(*words.split())
        assert answer.code == 1
        cells = dict(table_of(answer))
        assert cells["explosive"] == "1 failed: RuntimeError: the fuse was short"
        assert cells["independent"].endswith(" (1)")
        assert "1 of 2 runs did not finish" in answer.out
        assert "Traceback" not in answer.out + answer.err
        frame = store.load(tmp_path / "results")
        statuses = dict(zip(frame["method"], frame["status"], strict=True))
        assert statuses == {"explosive": "failed", "independent": "finished"}

    @pytest.mark.parametrize("error", ["RuntimeError('x')", "MachineError('x')", "SystemExit(1)", "ImportError('x')"])
    def test_interrupt_that_a_library_turns_into_an_error_is_one_all_the_same(self, tmp_path: Path, error: str) -> None:
        lines = (
            "import os, signal",
            "from benchmark import cli",
            "from benchmark.errors import MachineError",
            "def call(**_):",
            "    try:",
            "        os.kill(os.getpid(), signal.SIGTERM)",
            "    except KeyboardInterrupt:",
            f"        raise {error}",
            "cli.program = lambda: call",
            "cli.main()",
        )
        answer = process(tmp_path, "run", program=[sys.executable, "-c", "\n".join(lines)])
        assert answer.code == 130
        assert answer.err.startswith("bench: stopped; what is finished is kept, resume with: bench")

    def test_interrupt_says_how_to_resume(self, tmp_path: Path) -> None:
        words = ["run", "--methods", "dml", "--seeds", "1", "--config", "small", "--epochs", "10000"]
        running = subprocess.Popen([BENCH, *words], cwd=tmp_path, stdout=-1, stderr=-1, text=True)
        with running:
            assert running.stdout is not None
            assert any(line.startswith("started") for line in running.stdout)
            running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=240)
        assert running.returncode == 130
        assert f"bench {' '.join(words)}" in err
        assert "Traceback" not in err


class TestTable:
    def test_the_ending_of_a_file_decides_its_format(self, bench: Bench, finished_runs: Path, tmp_path: Path) -> None:
        words = ["table", "--results", str(finished_runs), "--out"]
        for name, beginning in (("t.tex", "%"), ("t.json", "{"), ("t.csv", "method,label,"), ("t.md", "|"), ("t", "|")):
            assert bench(*words, name).code == 0
            assert (tmp_path / name).read_text().startswith(beginning), name
        assert bench(*words, "other.md", "--format", "latex").code == 0
        assert (tmp_path / "other.md").read_text() == (tmp_path / "t.tex").read_text()


def test_version_is_that_of_the_package(bench: Bench) -> None:
    assert bench("--version").out == f"{version('okdbench')}\n"


def table_of(answer: Answer) -> list[list[str]]:
    """The cells of the markdown table in an output, without the rule below its heading."""
    rows = [line for line in answer.out.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    return [row for row in cells if not row[0].startswith(":--")]
