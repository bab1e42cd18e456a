"""From words to runs: settings, seeds, recipes, files and flags; and what makes two runs the same."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, strategies as st
from pydantic import ValidationError

from benchmark import datasets
from benchmark.configuration import FieldRole, parse_yaml, read_yaml, recipes, settings_of_role
from benchmark.configuration.planning import Request, layer_from_assignments, layer_from_file, parse_seeds, plan
from benchmark.configuration.run_config import SECTIONS, DataConfig, RunConfig, TrainConfig
from methods.errors import InputError
from methods.hyperparameters import validated
from tests.profiles import examples

Layer = Mapping[str, Any]

CONFIGS = st.builds(
    RunConfig,
    method=st.sampled_from(["dml", "pcl"]),
    dataset=st.sampled_from(["digits", "folder:photos"]),
    backbone=st.sampled_from(["resnet8", "resnet32"]),
    seed=st.integers(0, 2**32 - 1),
    train=st.builds(TrainConfig, epochs=st.integers(1, 999), lr=st.floats(1e-6, 9), nesterov=st.booleans()),
    data=st.builds(DataConfig, train_per_class=st.none() | st.integers(1, 999), holdout=st.floats(0, 0.5)),
    hyperparameters=st.dictionaries(st.sampled_from("abcde"), st.none() | st.booleans() | st.floats(0, 9), min_size=1),
    method_version=st.integers(1, 9),
    dataset_checksum=st.text("0123456789abcdef", min_size=1),
)
YAML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
WORDS = st.text("abc 01.:-#{'", max_size=9)
JSON_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS
OTHER_WORDS = "bf16 fp32 cosine constant norm_and_bias mean black adamw randaugment mixup resized"
OTHER_VALUES = (1, 2, 32, 64, 0.25, 0.125, True, False, [0.875], *OTHER_WORDS.split())
SETTINGS = [(section, key) for section, model in SECTIONS.items() for key in model.model_fields]


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def planned(*layers: Layer) -> RunConfig:
    [run] = plan(Request([{"methods": "independent", "seeds": 1}, *layers]), datasets)
    return run


def with_another(config: RunConfig, key: str, name: str) -> RunConfig:
    """The configuration with one setting changed to some other value that it may have."""
    before = config.model_dump()
    for value in OTHER_VALUES:
        with suppress(ValidationError):
            after = RunConfig(**{**before, key: {**before[key], name: value} if name else value})
            if after != config:
                return after
    raise AssertionError(f"no other value for {key}.{name}")


def refusal(function: Callable[..., Any], *arguments: Any) -> str | None:
    """The message with which arguments are refused; None if they are taken."""
    try:
        function(*arguments)
    except InputError as error:
        return str(error)
    return None


class TestIdentity:
    @given(CONFIGS)
    def test_equal_settings_have_one_identity(self, config: RunConfig) -> None:
        assert RunConfig(**config.model_dump()).identity == config.identity

    @examples(25)
    @given(CONFIGS)
    @example(planned({"data": {"holdout": 0.25}}))
    def test_every_setting_counts(self, config: RunConfig) -> None:
        content = config.model_dump(exclude={"files", *RunConfig.of_role(FieldRole.REQUEST)})
        leaves = [
            (key, name) for key, value in content.items() for name in (value if isinstance(value, dict) else [""])
        ]
        measuring = settings_of_role(FieldRole.MEASURES)
        leaves = [(key, name) for key, name in leaves if f"{key}.{name}" not in measuring]
        unused = {(section, name) for section in SECTIONS for name in getattr(config, section).unused()}
        leaves = [leaf for leaf in leaves if leaf not in unused]
        identities = {config.identity, *(with_another(config, key, name).identity for key, name in leaves)}
        assert len(identities) == 1 + len(leaves)

    @pytest.mark.parametrize(
        ("unread", "beside"),
        [
            ({"train": {"momentum": 0.5}}, {"train": {"optimizer": "adamw"}}),
            ({"train": {"nesterov": False}}, {"train": {"optimizer": "adamw"}}),
            ({"data": {"pad": 3, "flip": True, "padding": "mean"}}, {"data": {"augment": "none"}}),
            ({"data": {"pad": 3, "padding": "mean"}}, {"data": {"crop": "resized"}}),
            ({"data": {"crop_scale": 0.5}}, {"data": {"crop": "padded"}}),
            ({"data": {"crop": "resized"}}, {"data": {"augment": "none"}}),
            ({"data": {"mix_alpha": 0.2}}, {"data": {"mix": "none"}}),
            ({"data": {"subset_seed": 1}}, {"data": {"train_per_class": None}}),
        ],
    )
    def test_what_nothing_reads_does_not_count(self, unread: Layer, beside: Layer) -> None:
        assert planned(beside, unread).identity == planned(beside).identity

    def test_split_to_score_on_does_not_count_where_a_part_is_held_out(self) -> None:
        assert DataConfig(test_split="dev", holdout=0.25).canonical() == DataConfig(holdout=0.25).canonical()

    def test_the_seed_of_a_subset_counts_unless_it_is_the_first(self) -> None:
        of_ten = {"data": {"train_per_class": 10}}
        seeds = [planned(of_ten, {"data": {"subset_seed": seed}}).identity for seed in (0, 1, 2)]
        assert len(set(seeds)) == 3
        assert seeds[0] == planned(of_ten).identity
        assert "subset_seed" not in planned(of_ten).data.canonical()

    def test_alpha_counts_where_something_is_mixed(self) -> None:
        mixed = {"data": {"mix": "cutmix"}}
        assert planned(mixed, {"data": {"mix_alpha": 0.2}}).identity != planned(mixed).identity

    @given(CONFIGS, st.randoms())
    def test_order_of_keys_does_not_count(self, config: RunConfig, random: Any) -> None:
        content = config.model_dump()
        for section in (content, content["hyperparameters"]):
            items = list(section.items())
            random.shuffle(items)
            section.clear()
            section.update(items)
        assert RunConfig(**content).identity == config.identity

    def test_images_and_files_count_by_their_content_and_not_by_their_place(self) -> None:
        def identity(place: str, images: str = "1", weights: str = "1") -> str:
            update = {"dataset": f"folder:{place}", "dataset_checksum": images, "files": {"teacher": weights}}
            return planned().model_copy(update=update | {"hyperparameters": {"teacher": place}}).identity

        assert identity("here") == identity("there")
        assert len({identity("here"), identity("here", images="2"), identity("here", weights="2")}) == 3

    def test_whole_number_is_the_same_learning_rate(self) -> None:
        assert planned({"train": {"lr": 1}}).identity == planned({"train": {"lr": 1.0}}).identity

    def test_stored_configuration_gives_it_back(self) -> None:
        config = planned()
        stored = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
        assert RunConfig(**stored).identity == config.identity


class TestLearningRate:
    def test_drops_exactly_at_150_and_225_of_300(self) -> None:
        rates = [TrainConfig().lr_at(epoch) for epoch in range(300)]
        assert rates == pytest.approx([0.1] * 150 + [0.01] * 75 + [0.001] * 75)

    @given(quarter=st.integers(1, 500))
    def test_shorter_run_keeps_the_shape(self, quarter: int) -> None:
        train = TrainConfig(epochs=4 * quarter)
        rates = [train.lr_at(epoch) for epoch in range(train.epochs)]
        assert rates == pytest.approx([0.1] * 2 * quarter + [0.01] * quarter + [0.001] * quarter)


class TestSeeds:
    @pytest.mark.parametrize(
        ("value", "seeds"),
        [
            *(("3", [0, 1, 2]), (3, [0, 1, 2]), ("5,", [5]), ("4294967295,", [2**32 - 1])),
            *(("0,4,7", [0, 4, 7]), ("7, 0, 7", [7, 0]), ([0, 4, 7], [0, 4, 7])),
            *(("2-4", [2, 3, 4]), ("3-3", [3]), ("7, 0 - 1", [7, 0, 1])),
        ],
    )
    def test_how_many_or_which(self, value: Any, seeds: list[int]) -> None:
        assert parse_seeds(value) == seeds

    WORDS = ("", ",", "two", "0", "-1", "1.5", "1,-2", "1,x", "1-", "4-2", "1,4-2", "4294967296,", "9" * 99, "٣")
    RANGES = ("0-", "-3", "0-4-5", "a-b", "0-100000", "4294967295-4294967296")

    @pytest.mark.parametrize("value", [*WORDS, *RANGES, 0, -1, 2.0, True, None])
    def test_anything_else_is_refused(self, value: Any) -> None:
        with pytest.raises(InputError, match=r"seeds takes how many \(3\) or which \(0,4,7 or 0-4\)"):
            parse_seeds(value)

    @given(st.lists(st.integers(0, 2**32 - 1), min_size=2, unique=True))
    def test_a_list_is_itself(self, seeds: list[int]) -> None:
        assert parse_seeds(",".join(map(str, seeds))) == seeds


class TestPrecedence:
    def test_recipe_then_file_then_command_line(self, tmp_path: Path) -> None:
        file = layer_from_file(str(written(tmp_path, "train: {epochs: 7, lr: 0.3}")))
        train = planned(file, layer_from_assignments(["train.epochs=5"])).train
        assert (train.epochs, train.lr) == (5, 0.3)
        recipe = recipes.read(recipes.find("digits"))["train"]
        assert train.batch_size == recipe["batch_size"] != TrainConfig().batch_size
        assert train.weight_decay == TrainConfig().weight_decay

    @pytest.mark.parametrize("weak", [{"epochs": 9}, {"train": {"epochs": 9}}])
    @pytest.mark.parametrize("strong", [{"epochs": 4}, {"train": {"epochs": 4}}])
    def test_epochs_is_short_for_train_epochs_in_every_layer(self, weak: Layer, strong: Layer) -> None:
        assert planned(weak, strong).train.epochs == 4

    def test_keys_are_written_as_the_flags_are(self, tmp_path: Path) -> None:
        layer = layer_from_file(str(written(tmp_path, "data-root: here\ntrials-per-gpu: 2\nsave_students: true")))
        assert layer == {"data_root": "here", "trials_per_gpu": 2, "save_students": True}


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("word", "meant"),
        [
            ("trian.epochs=3", "train"),
            ("pcll.temperature=3", "pcl"),
            ("train.epoch=3", "epochs"),
            ("data.padd=3", "pad"),
            ("pcl.temprature=3", "temperature"),
        ],
    )
    @pytest.mark.parametrize("source", ["file", "command line"])
    def test_below_the_top(self, tmp_path: Path, word: str, meant: str, source: str) -> None:
        layer = layer_from_assignments([word])
        path = str(written(tmp_path, yaml.safe_dump(layer)))
        with pytest.raises(InputError, match=f"did you mean '{meant}'"):
            plan(Request([layer_from_file(path), {"methods": "pcl"}] if source == "file" else [layer]), datasets)

    @pytest.mark.parametrize(("key", "meant"), [("method", "methods"), ("seed", "seeds"), ("data-rot", "data_root")])
    def test_at_the_top(self, tmp_path: Path, key: str, meant: str) -> None:
        with pytest.raises(InputError, match=f"did you mean '{meant}'"):
            layer_from_file(str(written(tmp_path, f"{key}: 1")))

    def test_file_may_hold_settings_of_methods_that_do_not_run(self) -> None:
        assert planned({"pcl": {"temperature": 5}}, {}).method == "independent"

    @pytest.mark.parametrize("word", ["", "train", "train.lr", "lr=3", ".lr=3", "train.=3", "=3"])
    def test_assignment_needs_section_key_and_value(self, word: str) -> None:
        with pytest.raises(InputError, match=r"SECTION\.KEY=VALUE"):
            layer_from_assignments([word])


class TestRanges:
    OUT_OF_RANGE = """
        train.epochs=0 train.epochs=1.5 train.epochs=100001 train.batch_size=1
        train.lr=0 train.lr=.nan train.lr=.inf train.lr=fast train.lr='0.1'
        train.momentum=1 train.milestones=[0.5,2] train.nesterov=1 train.threads=0
        train.optimizer=adam train.label_smoothing=1
        data.train_per_class=0 data.holdout=1 data.pad=-1 data.augment=autoaugment
        data.erase=1.5 data.mix=both data.mix_alpha=0
        pcl.temperature=0 pcl.peers=1 pcl.ema_decay=1 pcl.ramp=steep
    """

    @pytest.mark.parametrize("word", [*OUT_OF_RANGE.split(), "pcl.temperature=1" + "0" * 400])
    def test_value_out_of_range_is_named(self, word: str) -> None:
        with pytest.raises(InputError) as caught:
            plan(Request([{"methods": "pcl"}, layer_from_assignments([word])]), datasets)
        assert str(caught.value).startswith(word.partition("=")[0])
        assert "\n" not in str(caught.value)

    def test_nesterov_needs_momentum(self) -> None:
        with pytest.raises(InputError, match=r"set train\.nesterov=false"):
            planned({"train": {"momentum": 0}})
        assert planned({"train": {"momentum": 0, "optimizer": "adamw"}}).train.momentum == 0

    @pytest.mark.parametrize("number", [-1, 2**32])
    def test_seed_is_a_32_bit_number(self, number: int) -> None:
        with pytest.raises(ValidationError, match="seed"):
            RunConfig(**{**planned().model_dump(), "seed": number})

    @given(st.sampled_from(SETTINGS), YAML_VALUES)
    def test_any_value_is_taken_or_refused_on_one_line(self, setting: tuple[str, str], value: Any) -> None:
        section, key = setting
        message = refusal(validated, SECTIONS[section], {key: value}, section)
        assert message is None or (message.startswith(f"{section}.{key}") and len(message.splitlines()) == 1)


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            *(
                ("1e-3", 1e-3),
                ("-2E+5", -2e5),
                ("1.e3", 1e3),
                (".5e1", 5.0),
                ("5", 5),
                ("-0", 0),
                (".inf", float("inf")),
            ),
            *((word, word) for word in ("1e", "v1e3", "0100", "1:30", "1_000", "0x10", "on", "2026-01-01")),
        ],
    )
    def test_numbers_are_numbers(self, text: str, value: Any) -> None:
        parsed = parse_yaml(text, "here")
        assert (parsed, type(parsed)) == (value, type(value))

    @given(st.recursive(JSON_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner), max_leaves=9))
    def test_json_is_read_as_it_is(self, content: Any) -> None:
        assert parse_yaml(json.dumps(content), "here") == content

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("a: &x 1\nb: *x", "aliases"),
            ("a: 1\na: 2", "duplicate key .a."),
            ("a: {b: 1, b: 2}", "duplicate key .b."),
            ("a: [1", "line 1: not valid YAML"),
            ("a: 1\n---\nb: 2", "another document"),
            ("!!python/object/apply:os.getcwd []", "constructor"),
            ("? [a]\n: 1", "unhashable"),
            ("9" * 5000, "digits"),
            ("!!bool maybe", "not valid YAML"),
            ("!!timestamp soon", "not valid YAML"),
            ("!!int ''", "not valid YAML"),
            ("\x07", "not valid YAML"),
        ],
    )
    def test_what_is_not_plain_data_is_refused_on_one_line(self, text: str, reason: str) -> None:
        with pytest.raises(InputError, match=f"^here.*{reason}.*$"):
            parse_yaml(text, "here")

    def test_file_must_be_text_of_some_size(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_bytes(b"\xff\xfe\x00binary")
        with pytest.raises(InputError, match="not a text file"):
            read_yaml(path)
        path.write_bytes(b"#" * (recipes.MAX_BYTES + 1))
        with pytest.raises(InputError, match="larger than"):
            read_yaml(path)
        path.unlink()
        with pytest.raises(InputError, match="cannot read"):
            read_yaml(path)

    @pytest.mark.parametrize("text", ["", "[1, 2]", "word", "1: 2"])
    def test_configuration_must_hold_keys_and_values(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(InputError, match="must hold keys and values"):
            layer_from_file(str(written(tmp_path, text)))

    @given(st.text(alphabet="ab1-+.:,&*!?|>'\"{}[]#%@ \n\t~<=", max_size=30))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        message = refusal(parse_yaml, text, "here")
        assert message is None or len(message.splitlines()) == 1


class TestRecipes:
    @pytest.mark.parametrize("name", [name for name in recipes.available() if not name.startswith("sweeps/")])
    def test_every_recipe_means_some_runs(self, name: str) -> None:
        layer = layer_from_file(name)
        runs = plan(Request([layer, {}]), datasets)
        assert {run.dataset for run in runs} == set(_listed(layer.get("dataset", "digits")))
        assert len({run.identity for run in runs}) == len(runs) > 0

    @pytest.mark.parametrize("name", ["demo", "sweeps/decay"])
    def test_recipes_are_found_from_any_folder(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert recipes.find(name) == recipes.folder() / f"{name}.yaml"

    @pytest.mark.parametrize(
        "name", ["demo.yaml", "configs/demo.yaml", "nonexist/cifar_small.yaml", "x/demo", "./demo"]
    )
    def test_a_word_with_a_slash_or_a_suffix_is_a_path_and_nothing_else(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"no such configuration file: .* \(recipes: "):
            recipes.find(name)

    def test_own_file_comes_before_a_recipe_of_its_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("demo.yaml").write_text("seeds: 5", encoding="utf-8")
        assert layer_from_file("demo.yaml") == {"seeds": 5}


def _listed(value: Any) -> list[str]:
    return value.split(",") if isinstance(value, str) else list(value)
