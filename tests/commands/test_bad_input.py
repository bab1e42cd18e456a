"""Bad input of every kind: each ends in one line and exit code 2, none in a traceback."""

import string
import sys
from collections.abc import Callable, Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, strategies as st

import methods
from benchmark import datasets, running
from benchmark.configuration import OPTIONS, SECTIONS, layer_from_file
from methods import backbones, registry
from methods.errors import InputError
from tests.command_line import Answer, answer
from tests.profiles import examples

Layer = dict[str, Any]
Refused = Callable[[Callable[[], object]], str]

MANY = examples(180, list(HealthCheck))
SOME = examples(100, list(HealthCheck))

GOOD: Layer = {"methods": "independent", "dataset": "digits", "seeds": 1}
MODELS: Mapping[str, Any] = {**SECTIONS, **{name: registry.load(name).Hyperparameters for name in methods.available()}}
LISTS = ("methods", "variants", "dataset", "backbone")
KNOWN = {"description", *OPTIONS, *MODELS}
NAMES = {*methods.available(), *datasets.available(), *backbones.available(), "ray", "serial", "auto", "cpu", "cuda"}
SETTINGS = [(section, key) for section, model in MODELS.items() for key in model.model_fields]

WORDS = st.text(max_size=12) | st.text(string.printable, max_size=12)
HUGE = st.integers(min_value=2**33) | st.integers(max_value=-1) | st.just(10**400)
NOT_NUMBERS = st.sampled_from([float("nan"), float("inf"), -float("inf")])
LEAVES = st.none() | st.booleans() | HUGE | NOT_NUMBERS | st.floats() | WORDS | st.binary(max_size=9) | st.dates()
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(LEAVES, inner), max_leaves=6)
CONTAINERS = st.dictionaries(WORDS, NESTED, min_size=1, max_size=3) | st.lists(NESTED, min_size=1, max_size=3)
# of no setting's type and in no setting's range
WRONG = st.dictionaries(WORDS, LEAVES, min_size=1, max_size=3) | HUGE | NOT_NUMBERS | st.binary(max_size=9)
# no name of anything, and no path to anything
STRANGE = st.text(min_size=1, max_size=60).map(lambda word: f"\u00e9?{word.replace(',', '')}")
# what a shell may hand over, bytes that are no text as lone surrogates; and names that are too long for the system
NOWHERE = st.text(
    st.characters(codec="utf-8", exclude_characters="\0") | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    max_size=300,
).map("\u00e9?{}".format)


def is_right(value: Any) -> bool:
    """Whether a value happens to be numbers, or names of something: hypothesis draws our own words too."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return False
    stripped = [word.strip() for word in words if word.strip()]
    return bool(stripped) and all(word.isdigit() or word in NAMES for word in stripped)


def one_line(text: str) -> bool:
    return bool(text.strip()) and len(text.strip().splitlines()) == 1 and "Traceback" not in text


def is_refused(call: Callable[[], object]) -> bool:
    """Whether bad input is refused; anything but an InputError of one line is a fault of ours."""
    try:
        call()
    except InputError as error:
        # cli.main joins the message's lines: here it may have line breaks that the input had
        message = " ".join(str(error).split())
    else:
        return False
    assert one_line(message)
    return True


def refused_layer(*layers: Layer) -> None:
    assert is_refused(lambda: running.prepare([GOOD, *layers])), layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path := tmp_path_factory.mktemp("bad"))
        yield path
        # nothing was begun
        assert not list(path.rglob("config.yaml"))


class TestLayers:
    """What a configuration file may hold once it is read."""

    @MANY
    @given(setting=st.sampled_from(SETTINGS), value=WRONG)
    def test_setting_of_a_wrong_type_or_range(self, setting: tuple[str, str], value: Any) -> None:
        section, key = setting
        # these two take any number that large
        assume(not (isinstance(value, int) and value >= 0))
        chosen = {} if section in SECTIONS else {"methods": section}
        refused_layer({section: {key: value}} | chosen)

    @MANY
    @given(section=st.sampled_from(sorted(MODELS)), key=WORDS, value=NESTED)
    def test_unknown_key_in_a_section(self, section: str, key: str, value: Any) -> None:
        assume(key not in MODELS[section].model_fields)
        refused_layer({section: {key: value}} | ({} if section in SECTIONS else {"methods": section}))

    @MANY
    @given(key=WORDS, value=NESTED)
    def test_unknown_key_at_the_top(self, key: str, value: Any) -> None:
        assume(key not in KNOWN)
        refused_layer({key: value})

    @SOME
    @given(section=st.sampled_from(sorted(MODELS)), value=LEAVES | st.lists(NESTED))
    def test_section_that_is_no_mapping(self, section: str, value: Any) -> None:
        refused_layer({section: value})

    @MANY
    @given(key=st.sampled_from(LISTS), value=LEAVES | CONTAINERS | STRANGE | st.lists(STRANGE, max_size=3))
    @example(key="methods", value="dml")
    def test_names_of_nothing(self, key: str, value: Any) -> None:
        assume(value is not None and not is_right(value))
        refused_layer({key: value})

    SAVED = ("save_students", "save_predictions", "predictions_type")

    @MANY
    @given(
        key=st.sampled_from(["seeds", "epochs", "engine", "device", "trials_per_gpu", *SAVED]),
        value=NESTED.filter(lambda value: not isinstance(value, bool | None)) | STRANGE,
    )
    @example(key="seeds", value="1,2")
    @example(key="engine", value="serial")
    def test_option_of_a_wrong_type_or_range(self, key: str, value: Any) -> None:
        assume(not is_right(value))
        refused_layer({key: value})

    @SOME
    @given(
        key=st.sampled_from(["results", "data_root", "address"]),
        value=st.sampled_from(["a\0b", "\ud800", " "]) | CONTAINERS | HUGE,
    )
    def test_path_that_is_none(self, key: str, value: Any) -> None:
        refused_layer({key: value})

    # the last is a folder whose parts have names that are too long for the system
    @pytest.mark.parametrize("path", ["~nobody/x", "a\0b", "é" * 128, "x" * 5000, "x/" * 3000, "\ud800", "/.." * 1364])
    def test_path_to_nothing(self, folder: Path, path: str) -> None:
        refused_layer({"dataset": f"folder:{path}"})
        refused_layer({"methods": "kd", "kd": {"teacher": path}})


class TestFiles:
    """What may be where ``--config`` points."""

    @staticmethod
    def read(folder: Path, content: bytes) -> bool:
        path = folder / "mine.yaml"
        path.write_bytes(content)
        return is_refused(lambda: running.prepare([GOOD, layer_from_file(str(path))]))

    @MANY
    @given(content=st.binary(max_size=60), at=st.integers(0, 60))
    def test_configuration_with_a_hole_of_bytes_that_are_no_text(self, folder: Path, content: bytes, at: int) -> None:
        good = yaml.safe_dump(GOOD).encode()
        assert self.read(folder, good[:at] + b"\xff\x00" + content + good[at:])

    @MANY
    @given(content=NESTED)
    def test_any_yaml(self, folder: Path, content: Any) -> None:
        self.read(folder, yaml.dump(content, allow_unicode=True).encode("utf-8", "surrogatepass"))

    @pytest.mark.parametrize("depth", [1000, 100_000])
    @pytest.mark.parametrize("bomb", ["[", "{a: ", "- ", "? ", "a:\n  ", "&x [", "!!seq ["])
    def test_bombs_of_depth(self, folder: Path, bomb: str, depth: int) -> None:
        assert self.read(folder, b"train: " + bomb.encode() * depth)

    @pytest.mark.parametrize("width", [2, 9])
    def test_bomb_of_aliases(self, folder: Path, width: int) -> None:
        lines = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * width)}]" for n in range(1, 50))
        assert self.read(folder, f"l0: &l0 [x]\n{lines}".encode())

    @pytest.mark.parametrize("name", ["nowhere.yaml", ".", "/", "/dev/null", "a\0b", "x" * 5000, "~nobody/x.yaml", ""])
    def test_file_that_is_none(self, folder: Path, name: str) -> None:
        assert is_refused(lambda: layer_from_file(name)), name

    @MANY
    @given(content=st.binary(max_size=200))
    def test_any_bytes(self, folder: Path, content: bytes) -> None:
        self.read(folder, content)


FLAGS = ("methods", "dataset", "backbone", "seeds", "epochs", "config", "set", "engine", "device", "trials-per-gpu")
COMMANDS = ("run", "table", "list", "check", "speed")
READERS = ("table", "list runs", "show x", "report", "plot curves", "export x --to x.onnx")
# a word that begins with a hyphen is an option; what is in no option's form is refused by the option
ARGUMENTS = STRANGE.filter(lambda word: "\0" not in word) | st.sampled_from(
    ["", ",", "-1", "0x10", "9" * 400, "\u00b3", "a\nb\nc", "--", "-", "*", "[", "{}", "null", "1e999", "\ud800"]
)


class TestCommandLine:
    """Words after ``bench``."""

    @pytest.fixture
    def call(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
        def call(*words: str) -> Answer:
            # as it is outside of tests
            assert isinstance(sys.stderr, TextIOWrapper)
            sys.stderr.reconfigure(errors="backslashreplace")
            return answer(words, monkeypatch, capsys)

        return call

    @staticmethod
    def assert_refused(given: Answer, words: object) -> None:
        assert (given.code, given.out) == (2, ""), (words, given)
        assert given.err.startswith("bench: "), (words, given)
        assert one_line(given.err), (words, given)

    @MANY
    @given(flag=st.sampled_from(FLAGS), word=ARGUMENTS)
    def test_value_of_an_option(self, call: Any, flag: str, word: str) -> None:
        words = ["run", "--methods", "independent", "--dataset", "digits", "--dry-run", f"--{flag}", word]
        self.assert_refused(call(*words), words)

    @MANY
    @given(setting=st.sampled_from(SETTINGS), text=STRANGE | st.sampled_from(["[", "{", "*x", "!!python/none x", "\0"]))
    def test_assignment(self, call: Any, setting: tuple[str, str], text: str) -> None:
        section, key = setting
        chosen = "independent" if section in SECTIONS else section
        words = ["run", "--methods", chosen, "--dataset", "digits", "--dry-run", "--set", f"{section}.{key}={text}"]
        self.assert_refused(call(*words), words)

    @SOME
    @given(command=st.sampled_from(COMMANDS), option=st.from_regex(r"--[a-z]{3,12}", fullmatch=True))
    def test_option_that_there_is_not(self, call: Any, command: str, option: str) -> None:
        words = [command, f"{option}-zzz"]
        self.assert_refused(call(*words), words)

    @SOME
    @given(word=STRANGE)
    def test_command_that_there_is_not(self, call: Any, word: str) -> None:
        self.assert_refused(call(word), word)

    @SOME
    @given(command=st.sampled_from(["run", "table", "list", "check"]), words=st.lists(STRANGE, min_size=1, max_size=3))
    def test_words_too_many(self, call: Any, command: str, words: list[str]) -> None:
        self.assert_refused(call(command, *words), words)

    @SOME
    @given(command=st.sampled_from(READERS), path=NOWHERE)
    @example(command="table", path="x" * 256)
    def test_results_folder_that_is_not_there(self, call: Any, command: str, path: str) -> None:
        words = [*command.split(), f"--results={path}"]
        self.assert_refused(call(*words), words)

    @pytest.mark.parametrize(
        "words",
        [
            *(f"{command} --results" for command in READERS),
            "schedules --method pcl --out",
            "run --methods independent --dataset digits --dry-run --results",
            "run --methods independent --dataset tinyimagenet --dry-run --data-root",
            "doctor --results",
        ],
    )
    def test_path_with_a_name_that_is_too_long(self, call: Any, words: str) -> None:
        # some have printed what they found out before
        given = call(*words.split(), "x" * 256)
        self.assert_refused(Answer(given.code, "", given.err), words)
