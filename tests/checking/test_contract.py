"""The contract is kept by every method, and catches methods that break it."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

import methods
from benchmark.checking.cases import cases, families
from benchmark.checking.check import ClauseResult, check, check_case, faults
from benchmark.checking.contract import CLAUSES
from methods import backbones, registry
from tests.command_line import Bench


@pytest.fixture
def one_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the larger backbones out, which have tests of their own."""
    monkeypatch.setattr("benchmark.checking.cases.families", tuple)


def covered() -> list[str]:
    """Return all methods' names; one that the contract cannot build stops the collection of these tests."""
    names = list(methods.available())
    for name in names:
        with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            next(cases(registry.load(name), Path(folder))).build()
    return names


@pytest.mark.parametrize("name", covered())
def test_the_contract_is_kept_at_the_defaults_by(name: str, tmp_path: Path) -> None:
    results = check_case(next(cases(registry.load(name), tmp_path)))
    assert faults(results) == []
    assert {result.clause for result in results} >= CLAUSES.keys()


@pytest.mark.thorough
@pytest.mark.parametrize("name", covered())
def test_the_contract_is_kept_by(name: str) -> None:
    results = check(name)
    assert faults(results) == []
    labels = {result.case for result in results}
    assert {f"backbone={family}" for family in families()} <= labels
    if "peers" in registry.load(name).Hyperparameters.model_fields:
        assert {"peers=2", "peers=3", "peers=4"} <= labels
    assert {result.clause for result in results if result.case == "defaults"} >= CLAUSES.keys()


def test_every_family_of_backbones_is_covered() -> None:
    factories = {backbones.describe(name).factory for name in backbones.available()}
    assert {backbones.describe(name).factory for name in ("resnet8", *families())} == factories
    assert len(families()) == len(factories) - 1


# ---- methods that break it ----

PLUGIN = '''
import numpy
import torch
from pydantic import Field
from torch import nn

from methods.hyperparameters import BaseHyperparameters
from methods.backbones import Backbone
from methods.networks import standalone
from methods.objectives import cross_entropy
from methods.peers import SeparatePeers


def tiny(name, num_classes, in_channels, image_size) -> Backbone:
    """Two convolutions."""
    stages = [lambda: nn.Conv2d(in_channels, 8, 3, 2), lambda: nn.Sequential(nn.BatchNorm2d(8), nn.ReLU())]
    classifier = lambda: nn.Linear(8, num_classes)
    return Backbone(name, stages, (8, 8), 1, classifier, nn.Linear, num_classes)


class Plugin(SeparatePeers):
    """Two networks that learn from the labels."""

    name = "plugin"

    class Hyperparameters(BaseHyperparameters):
        """One."""

        weight: float = Field(1.0, ge=0, description="weight of the loss")

    def __init__(self, backbones, hyperparameters):
        super().__init__(backbones, hyperparameters, 2)
        self.prepare()

    def prepare(self):
        self.calls = 0

    def losses(self, outputs, labels, progress):
        return {"cross_entropy": self.hyperparameters.weight * cross_entropy(outputs.peers, labels)}
'''


def write_plugin(folder: Path, body: str = "", replaced: str = "", by: str = "") -> Path:
    """Write the plugin with further methods of the class, or with a part of it replaced."""
    path = folder / "plugin.py"
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    path.write_text((PLUGIN.replace(replaced, by) if replaced else PLUGIN) + "\n" + indented)
    return path


def broken_clauses(path: Path) -> dict[str, str]:
    """Return what is broken at the plugin's defaults: the reason by the clause."""
    case = next(cases(registry.load("plugin", [path]), path.parent))
    return broken(check_case(replace(case, backbone="tiny", plugins=(str(path),))))


def broken(results: list[ClauseResult]) -> dict[str, str]:
    return {result.clause: result.reason for result in results if result.reason is not None}


@pytest.mark.usefixtures("one_family")
def test_the_plugin_keeps_the_contract_before_it_is_broken(tmp_path: Path) -> None:
    assert faults(check("plugin", [write_plugin(tmp_path)])) == []


LOSSES = "def losses(self, outputs, labels, progress):\n"
FORWARD = "def forward(self, views):\n    outputs = super().forward(views)\n"
PREDICTED = "def predict(self, images):\n    predicted = super().predict(images).items()\n"
MIXED = "    from methods.objectives import hard_labels, soft_labels\n"
GRADIENT, SCALARS = "a gradient for every trainable parameter", "losses: named finite scalars"
PREDICT, STUDENT = "predict: deterministic, for all students", "student(): equal to its predictor"
SHAPES, FUNCTION = "outputs of the stated shapes", "losses: a function of their arguments"
LABELS, GROUPS = "losses: smoothed and mixed labels", "parameter_groups: every trained parameter in one"
UNTRAINED, RANDOM = "only after_step moves untrained parameters", "random numbers from the run's axis"
RESUMED, MODES = "a run resumes from its checkpoint", "train and eval mode kept by a step"
TRAINING = "training mode"

BROKEN: dict[str, dict[str, tuple[str, str]]] = {
    GRADIENT: {
        "a parameter without a gradient": ("def prepare(self):\n    self.unused = nn.Linear(2, 3)", "unused.bias"),
        "no finite gradient": (LOSSES + "    return {'root': (0 * outputs.peers).sum().abs().sqrt()}", "networks.0."),
    },
    PREDICT: {
        "not deterministic": (PREDICTED + "    return {k: v + torch.randn(()) for k, v in predicted}", "peer0"),
        "batch statistics": (PREDICTED + "    return {k: v - v.mean(0) for k, v in predicted}", "others of its batch"),
        "no student": ("def predict(self, images):\n    return {'peer0': self.networks[0](images)}", "peer1"),
        "a changed state": (
            "def predict(self, images):\n    self.networks[1].branch.classifier.bias[0] += 1e-3\n"
            "    return {'peer0': self.networks[0](images), 'peer1': self.networks[0](images)}",
            "networks.1.branch.classifier.bias",
        ),
    },
    STUDENT: {
        "a student that differs": (
            "def student(self, name=None):\n    self.check_student(name)\n    return standalone(self.networks[1])",
            "peer0",
        ),
        "a student that is no copy": (
            "def student(self, name=None):\n    return self.networks[int(self.check_student(name)[-1])]",
            "networks.0.",
        ),
        TRAINING: ("def student(self, name=None):\n    return super().student(name).train()", "eval mode"),
        "a student of any name": (
            "def student(self, name=None):\n    return super().student(name if name in self.students else None)",
            "not among the students",
        ),
    },
    SCALARS: {
        "a loss instead of named ones": (LOSSES + "    return cross_entropy(outputs.peers, labels)", "a tensor []"),
        "an unnamed loss": (LOSSES + "    return {'': cross_entropy(outputs.peers, labels)}", "''"),
        "a loss that is no scalar": (LOSSES + "    return {'each': outputs.peers.mean((1, 2))}", "'each'"),
        "a loss that is not finite late in the run": (
            LOSSES + "    early = torch.tensor(float(progress.epoch <= 200))\n"
            "    return {'log': outputs.peers.mean() + torch.log(early)}",
            "epoch 299 of 300",
        ),
        "a loss without a gradient": (LOSSES + "    return {'constant': outputs.peers.detach().mean()}", "gradient"),
        "an error": (LOSSES + "    return {'wrong': outputs.peers @ labels}", "RuntimeError"),
    },
    LABELS: {
        "labels that only class indices are": (
            "mixed_labels = False\n"
            + LOSSES
            + "    logits = outputs.peers.gather(-1, labels.expand(2, -1).unsqueeze(-1))\n"
            "    return {'mine': -logits.mean()}",
            "RuntimeError",
        ),
        "labels whose probabilities are never read": (
            "mixed_labels = False\n"
            + LOSSES
            + MIXED
            + "    return {'cross_entropy': cross_entropy(outputs.peers, hard_labels(labels))}",
            "train.label_smoothing",
        ),
        "mixed labels that count as their larger half": (
            "mixed_labels = True\n"
            + LOSSES
            + MIXED
            + "    share = float(1 - labels.amax()) if labels.dim() == 2 else 0.0\n"
            "    smoothed = soft_labels(hard_labels(labels), 5, share)\n"
            "    return {'cross_entropy': cross_entropy(outputs.peers, smoothed)}",
            "mixed_labels is True",
        ),
        "labels that are counted otherwise": (
            "mixed_labels = True\n"
            + LOSSES
            + "    return {'cross_entropy': cross_entropy(outputs.peers, labels) * labels.dim()}",
            "'cross_entropy'",
        ),
    },
    FUNCTION: {
        "losses that remember": (
            LOSSES + "    self.calls += 1\n    return {'growing': outputs.peers.mean() * self.calls}",
            "'growing' is another one when it is computed twice",
        ),
        "losses that read the weights": (
            LOSSES + "    return {'decay': outputs.peers.mean() + self.networks[0].branch.classifier.weight.norm()}",
            "'decay' depends on the weights",
        ),
        "losses that change the state": (
            "def prepare(self):\n    self.register_buffer('seen', torch.zeros(()))\n"
            + LOSSES
            + "    self.seen += 1\n    return {'cross_entropy': cross_entropy(outputs.peers, labels)}",
            "changes seen",
        ),
    },
    "the same weights from the same seed": {
        "weights from another generator": (
            "def prepare(self):\n    self.networks[0].branch.classifier.bias.data[0] = numpy.random.rand()",
            "networks.0.branch.classifier.bias",
        ),
    },
    UNTRAINED: {
        "a step that moves what needs no gradient": (
            "def prepare(self):\n    self.centre = nn.Parameter(torch.zeros(()), requires_grad=False)\n"
            "def forward(self, views):\n    self.centre += 1\n    return super().forward(views)",
            "centre",
        ),
        "a start that leaves networks frozen": (
            "def start(self, batches):\n    self.networks[1].requires_grad_(False)",
            "networks.1.",
        ),
    },
    MODES: {"left in eval mode": ("def after_step(self, progress):\n    self.networks[1].eval()", "networks.1")},
    SHAPES: {
        "views of another number": (
            "def prepare(self):\n    self.views = 3\ndef forward(self, views):\n    return super().forward(views[:1])",
            "[3, B, C, H, W]",
        ),
        "logits of another shape": (
            FORWARD + "    outputs.ensemble = outputs.peers\n    return outputs",
            "Outputs.ensemble is a tensor [2, 6, 5], not logits [6, 5]",
        ),
        "outputs of another class": (
            "from methods.interface import Outputs as Base\nclass Outputs(Base):\n    pass\n"
            "def forward(self, views):\n    return self.Base(super().forward(views).peers)",
            "Plugin.Outputs",
        ),
        "undeclared": (FORWARD + "    outputs.middle = outputs.peers.mean(0)\n    return outputs", "Outputs.middle"),
        "features of another shape": (
            FORWARD + "    outputs.features = outputs.peers[0]\n    return outputs",
            "Outputs.features is a tensor [6, 5]",
        ),
    },
    "is built": {"a method without students": ("def prepare(self):\n    self.students = ()", "students")},
    GROUPS: {
        "nothing to train": (
            "def prepare(self):\n    self.networks.requires_grad_(False)\n"
            + FORWARD
            + "    outputs.peers.requires_grad_()\n    return outputs",
            "no parameter",
        ),
        "a parameter in no group": (
            "def parameter_groups(self):\n    return super().parameter_groups()[:1]",
            "networks.1.branch.classifier.bias",
        ),
        "another order the second time": (
            "def parameter_groups(self):\n    self.turned = not getattr(self, 'turned', False)\n    import methods\n"
            "    return [methods.ParameterGroup(list(self.parameters())[:: 1 if self.turned else -1])]",
            "second time",
        ),
        "two groups": ("def parameter_groups(self):\n    return 2 * super().parameter_groups()", "twice"),
        "a frozen parameter in a group": (
            "def prepare(self):\n    self.networks[1].branch.classifier.requires_grad_(False)\n"
            "def parameter_groups(self):\n    import methods\n"
            "    return [methods.ParameterGroup(list(self.parameters()))]",
            "networks.1.branch.classifier.weight",
        ),
        "a rate that is no number": (
            "def parameter_groups(self):\n    import methods\n"
            "    rate = lambda epoch, epochs: -1.0 if epoch == 200 else 1.0\n"
            "    return [methods.ParameterGroup(list(self.parameters()), schedule=rate)]",
            "epoch 200 of 300: -1.0",
        ),
    },
    RANDOM: {
        "a hook that samples from another generator": (
            "def begin_step(self, indices, labels):\n    numpy.random.rand()",
            "numpy.random",
        ),
        "reseeding": ("def before_update(self, outputs, labels, progress):\n    torch.manual_seed(0)", "reseeds"),
    },
    RESUMED: {
        "state that is not stored": (
            FORWARD
            + "    outputs.peers = outputs.peers * (1 + 0.1 * self.calls)\n    return outputs\n"
            + "def after_step(self, progress):\n    self.calls += 1",
            "epoch 1",
        ),
        "a hook that keeps state outside buffers": (
            "def begin_step(self, indices, labels):\n    self.calls += 1\n"
            "def before_update(self, outputs, labels, progress):\n"
            "    for parameter in self.parameters():\n        parameter.grad *= 1 + 0.1 * self.calls",
            "epoch 1",
        ),
        "a generator of its own": (
            "def prepare(self):\n    self.source = torch.Generator().manual_seed(0)\n"
            "def before_update(self, outputs, labels, progress):\n"
            "    for parameter in self.parameters():\n"
            "        parameter.grad *= torch.rand((), generator=self.source)",
            "epoch 1",
        ),
        "state that a checkpoint cannot hold": (
            "def get_extra_state(self):\n    return lambda: 0\ndef set_extra_state(self, state):\n    pass",
            "",
        ),
    },
}


@pytest.mark.parametrize(("clause", "fault"), [(clause, fault) for clause, own in BROKEN.items() for fault in own])
def test_the_contract_catches(clause: str, fault: str, tmp_path: Path) -> None:
    body, fact = BROKEN[clause][fault]
    found = broken_clauses(write_plugin(tmp_path, body))
    assert fact in found.get(clause, "kept"), found


COUNTING = """\
def prepare(self):
    self.seen = {"batches": 0, "labels": torch.zeros(5)}
def get_extra_state(self):
    return self.seen
def set_extra_state(self, state):
    self.seen = state
def begin_step(self, indices, labels):
    counts = torch.bincount(labels, minlength=5).float()
    self.seen = {"batches": self.seen["batches"] + 1, "labels": self.seen["labels"] + counts}
def after_step(self, progress):
    with torch.no_grad():
        self.networks[0].branch.classifier.bias += 0.001 * self.seen["labels"]
"""


def test_state_in_get_extra_state_is_compared_and_resumed(tmp_path: Path) -> None:
    assert broken_clauses(write_plugin(tmp_path, COUNTING)) == {}
    other = tmp_path / "other"
    other.mkdir()
    found = broken_clauses(write_plugin(other, COUNTING.replace("self.seen = state\n", "pass\n")))
    assert RESUMED in found


WEIGHT = '"weight of the loss")'


@pytest.mark.usefixtures("one_family")
def test_a_hyperparameter_that_changes_nothing_is_reported(tmp_path: Path) -> None:
    field = f'{WEIGHT}\n        temperature: float = Field(2.0, gt=0, description="of nothing")'
    found = broken(check("plugin", [write_plugin(tmp_path, replaced=WEIGHT, by=field)]))
    assert found.keys() == {"every hyperparameter changes something"}
    assert "temperature" in found.popitem()[1]


@pytest.mark.thorough
@pytest.mark.usefixtures("one_family")
def test_a_hyperparameter_that_acts_beside_another_alone_is_not_reported(tmp_path: Path) -> None:
    field = (
        f'{WEIGHT}\n        smooth: bool = Field(False, description="whether labels are smoothed")'
        '\n        share: float = Field(0.1, ge=0, le=1, description="of the smoothing")'
    )
    path = write_plugin(tmp_path, replaced=WEIGHT, by=field)
    loss, chosen = "self.hyperparameters.weight * cross_entropy(outputs.peers, labels)", "self.hyperparameters"
    path.write_text(path.read_text().replace(loss, f"{loss} * (1 + {chosen}.share * {chosen}.smooth)"))
    assert faults(check("plugin", [path])) == []


@pytest.mark.usefixtures("one_family")
@pytest.mark.parametrize(
    ("body", "raised"),
    [
        (f"{LOSSES}    raise IndexError('too far')", "        raise IndexError('too far')"),
        ("@classmethod\ndef example(cls, *given):\n    raise OSError('gone')", "        raise OSError('gone')"),
    ],
)
def test_an_error_is_shown_with_its_line_and_once_for_all_cases(body: str, raised: str, tmp_path: Path) -> None:
    path = write_plugin(tmp_path, body)
    (line,) = faults(check("plugin", [path]))
    number = 1 + path.read_text().splitlines().index(raised)
    error, _, message = raised.strip().removeprefix("raise ").removesuffix("')").partition("('")
    assert f"{error}: {message} (plugin.py, line {number})" in line


@pytest.mark.parametrize(
    ("replaced", "by", "facts"),
    [
        ('"plugin"', '"train"', ["'train'", "configuration"]),
        ('"plugin"', '"my.method"', ["'my.method'"]),
        ('    """Two networks that learn from the labels."""\n', "", ["docstring"]),
        (', description="weight of the loss"', "", ["weight", "description"]),
        ("1.0, ge=0", "-1.0, ge=0", ["weight", "default"]),
        (
            '"""One."""',
            "@classmethod\n        def resolve(cls, given, *arguments, **more):\n            return cls()",
            ["unknown hyperparameter"],
        ),
        ("class Hyperparameters(BaseHyperparameters)", "class Hyperparameters", ["BaseHyperparameters"]),
    ],
)
def test_the_contract_catches_a_declaration(replaced: str, by: str, facts: list[str], tmp_path: Path) -> None:
    path = write_plugin(tmp_path, replaced=replaced, by=by)
    (name,) = methods.available([path]).keys() - methods.available().keys()
    (line,) = faults(check(name, [path]))
    assert all(fact in line for fact in facts), line


def test_hyperparameters_that_json_does_not_give_back_are_caught(tmp_path: Path) -> None:
    field = f'{WEIGHT}\n        sizes: tuple[int, int] = Field((1, 2), description="two sizes")'
    found = broken_clauses(write_plugin(tmp_path, replaced=WEIGHT, by=field))
    assert "hyperparameters survive storage" in found


@pytest.mark.thorough
def test_what_is_true_for_some_numbers_of_peers_or_backbones_only_is_caught(tmp_path: Path) -> None:
    peers = '        peers: int = Field(2, ge=2, le=3, description="K")\n        weight: float'
    path = write_plugin(tmp_path, replaced="        weight: float", by=peers)
    narrow = "        if backbones[0].features != 64:\n            raise RuntimeError('too wide')\n"
    path.write_text(path.read_text().replace("        self.prepare()", f"{narrow}        self.prepare()"))
    lines = faults(check("plugin", [path]))
    assert any("peers" in line and "given: 4" in line for line in lines), lines
    assert any("(peers=3)" in line and "Outputs.peers is a tensor [2, 6, 5]" in line for line in lines), lines
    assert any("RuntimeError: too wide" in line for line in lines)


# ---- the command ----


@pytest.mark.usefixtures("one_family")
def test_bench_check_prints_the_results_of_each_method_and_all_faults_of_it(
    monkeypatch: pytest.MonkeyPatch, bench: Bench, tmp_path: Path
) -> None:
    monkeypatch.setattr(registry, "_own", lambda: iter(()))
    (tmp_path / "mine.py").write_text("import no_such_module")
    write_plugin(tmp_path)
    plugins = ("--plugin", "mine.py", "--plugin", "plugin.py")
    answer = bench("check", *plugins)
    first, second = sorted(answer.out.splitlines())
    assert answer.code == 1
    assert first.startswith("FAIL  mine ")
    assert all(fact in first for fact in ("line 1", "no_such_module"))
    assert second.startswith("ok    plugin ")
    assert bench("check", "plugin", *plugins).code == 0
    bodies = [BROKEN[STUDENT][TRAINING], *BROKEN[MODES].values()]
    write_plugin(tmp_path, "\n".join(body for body, _ in bodies))
    answer = bench("check", "plugin", *plugins)
    lines = answer.out.splitlines()
    assert answer.code == 1
    assert lines[0].startswith("FAIL  plugin ")
    assert [sum(clause in line for line in lines) for clause in (STUDENT, MODES)] == [1, 1]


def test_bench_check_answers_an_unknown_name_with_a_near_one(bench: Bench) -> None:
    bench("check", "okdip").assert_refused("'okdip'", "'okddip'", "dkel")
