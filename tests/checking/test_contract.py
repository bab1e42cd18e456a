"""The contract holds for every method, and catches methods that break it."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

import methods
from benchmark import cli
from benchmark.checking.cases import cases, families
from benchmark.checking.check import check, check_case, faults
from benchmark.checking.contract import CLAUSES
from methods import backbones, registry


def covered() -> list[str]:
    """Return all methods' names; one that the contract cannot build stops the collection of these tests."""
    names = list(methods.available())
    for name in names:
        with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            next(cases(registry.load(name), Path(folder))).build()
    return names


@pytest.mark.parametrize("name", covered())
def test_the_contract_is_kept_at_the_defaults_by(name: str, tmp_path: Path) -> None:
    case = next(cases(registry.load(name), tmp_path))
    findings = check_case(case)
    assert faults(findings) == []
    assert {finding.what for finding in findings} >= CLAUSES["all"].keys()


@pytest.mark.thorough
@pytest.mark.parametrize("name", covered())
def test_the_contract_is_kept_by(name: str) -> None:
    findings = check(name)
    assert faults(findings) == []
    labels = {finding.case for finding in findings}
    assert {f"backbone={family}" for family in families()} <= labels
    if "peers" in registry.load(name).Hyperparameters.model_fields:
        assert {"peers=2", "peers=3", "peers=4"} <= labels
    assert {finding.what for finding in findings if finding.case == "defaults"} >= CLAUSES["all"].keys()


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
    path.write_text(PLUGIN.replace(replaced, by) + "\n" + indented if replaced else PLUGIN + "\n" + indented)
    return path


def first_case(path: Path, folder: Path) -> list[str]:
    case = next(cases(registry.load("plugin", [path]), folder))
    return faults(check_case(replace(case, backbone="tiny", plugins=(str(path),))))


@pytest.mark.usefixtures("one_family")
def test_the_plugin_keeps_the_contract_before_it_is_broken(tmp_path: Path) -> None:
    assert faults(check("plugin", [write_plugin(tmp_path)])) == []


BROKEN = {
    "a loss that ignores a parameter": (
        "def prepare(self):\n    self.unused = nn.Linear(2, 3)",
        "gradient for every trainable parameter: unused.bias (and 1 more) gets none",
    ),
    "no parameter to train": (
        "def prepare(self):\n    self.networks.requires_grad_(False)\n"
        "def forward(self, views):\n    outputs = super().forward(views)\n    outputs.peers.requires_grad_()\n"
        "    return outputs",
        "gradient for every trainable parameter: no parameter needs a gradient",
    ),
    "a gradient that is not finite": (
        "def losses(self, outputs, labels, progress):\n    return {'root': (0 * outputs.peers).sum().abs().sqrt()}",
        "gradient for every trainable parameter: the gradient of networks.0.",
    ),
    "a predict that is not deterministic": (
        "def predict(self, images):\n    return {k: v + torch.randn(()) for k, v in super().predict(images).items()}",
        "predict: deterministic, for all students: peer0 predicts something else the second time",
    ),
    "a predict that uses batch statistics": (
        "def predict(self, images):\n    return {k: v - v.mean(0) for k, v in super().predict(images).items()}",
        "peer0 predicts an image by the others of its batch",
    ),
    "a predict that forgets a student": (
        "def predict(self, images):\n    return {'peer0': self.networks[0](images)}",
        "predict does not give the student peer1",
    ),
    "a predict that changes the state": (
        "def predict(self, images):\n    self.networks[1].branch.classifier.bias[0] += 1e-3\n"
        "    return {'peer0': self.networks[0](images), 'peer1': self.networks[0](images)}",
        "predict changes networks.1.branch.classifier.bias",
    ),
    "a student that differs": (
        "def student(self, name=None):\n    self.check_student(name)\n    return standalone(self.networks[1])",
        "student(): equal to its predictor: student(None) is off predict's peer0 by",
    ),
    "a student that is no copy": (
        "def student(self, name=None):\n    return self.networks[int(self.check_student(name)[-1])]",
        "student(None) is no copy: it shares networks.0.",
    ),
    "a student in training mode": (
        "def student(self, name=None):\n    return super().student(name).train()",
        "student(None) is no network in eval mode",
    ),
    "a student of any name": (
        "def student(self, name=None):\n    return super().student(name if name in self.students else None)",
        "student() takes a name that is not among the students",
    ),
    "a loss instead of named ones": (
        "def losses(self, outputs, labels, progress):\n    return cross_entropy(outputs.peers, labels)",
        "losses: named finite scalars: losses returned a tensor [], not a dict of named scalars",
    ),
    "an unnamed loss": (
        "def losses(self, outputs, labels, progress):\n    return {'': cross_entropy(outputs.peers, labels)}",
        "a loss has no name (its key: '')",
    ),
    "a loss that is no scalar": (
        "def losses(self, outputs, labels, progress):\n    return {'each': outputs.peers.mean((1, 2))}",
        "the loss 'each' is no scalar tensor but a tensor [2]",
    ),
    "a loss that is not finite late in the run": (
        "def losses(self, outputs, labels, progress):\n"
        "    return {'log': outputs.peers.mean() + torch.log(torch.tensor(0.0 if progress.epoch > 200 else 1.0))}",
        "the loss 'log' is -inf in epoch 299 of 300",
    ),
    "labels that only class indices are": (
        "mixed_labels = False\ndef losses(self, outputs, labels, progress):\n"
        "    logits = outputs.peers.gather(-1, labels.expand(2, -1).unsqueeze(-1))\n"
        "    return {'mine': -logits.mean()}",
        "losses: smoothed and mixed labels: RuntimeError",
    ),
    "labels whose probabilities are never read": (
        "mixed_labels = False\ndef losses(self, outputs, labels, progress):\n"
        "    from methods.objectives import hard_labels\n"
        "    return {'cross_entropy': cross_entropy(outputs.peers, hard_labels(labels))}",
        "no loss is changed by train.label_smoothing",
    ),
    "mixed labels that count as their larger half": (
        "mixed_labels = True\ndef losses(self, outputs, labels, progress):\n"
        "    from methods.objectives import hard_labels, soft_labels\n"
        "    smoothed = soft_labels(hard_labels(labels), 5, float(1 - labels.amax()) if labels.dim() == 2 else 0.0)\n"
        "    return {'cross_entropy': cross_entropy(outputs.peers, smoothed)}",
        "mixed_labels is True, and no loss is changed by the second class of a label",
    ),
    "labels that are counted otherwise": (
        "mixed_labels = True\ndef losses(self, outputs, labels, progress):\n"
        "    return {'cross_entropy': cross_entropy(outputs.peers, labels) * labels.dim()}",
        "the loss 'cross_entropy' is another one when a sure label is written as probabilities",
    ),
    "a loss without a gradient": (
        "def losses(self, outputs, labels, progress):\n    return {'constant': outputs.peers.detach().mean()}",
        "no loss has a gradient",
    ),
    "losses that remember": (
        "def losses(self, outputs, labels, progress):\n"
        "    self.calls += 1\n    return {'growing': outputs.peers.mean() * self.calls}",
        "the loss 'growing' is another one when it is computed twice",
    ),
    "losses that read the weights": (
        "def losses(self, outputs, labels, progress):\n"
        "    return {'decay': outputs.peers.mean() + self.networks[0].branch.classifier.weight.norm()}",
        "the loss 'decay' depends on the weights, not on the outputs alone",
    ),
    "losses that change the state": (
        "def prepare(self):\n    self.register_buffer('seen', torch.zeros(()))\n"
        "def losses(self, outputs, labels, progress):\n"
        "    self.seen += 1\n    return {'cross_entropy': cross_entropy(outputs.peers, labels)}",
        "losses changes seen",
    ),
    "state that is not stored": (
        "def forward(self, views):\n"
        "    outputs = super().forward(views)\n    outputs.peers = outputs.peers * (1 + 0.1 * self.calls)\n"
        "    return outputs\n"
        "def after_step(self, progress):\n    self.calls += 1",
        "a fresh instance with the same state has another loss 'cross_entropy' at its next step",
    ),
    "weights from another generator": (
        "def prepare(self):\n    self.networks[0].branch.classifier.bias.data[0] = numpy.random.rand()",
        "networks.0.branch.classifier.bias is drawn from something else than torch's generator",
    ),
    "a step that moves what needs no gradient": (
        "def prepare(self):\n    self.centre = nn.Parameter(torch.zeros(()), requires_grad=False)\n"
        "def forward(self, views):\n    self.centre += 1\n    return super().forward(views)",
        "centre needs no gradient and is moved by the step itself",
    ),
    "a start that leaves networks frozen": (
        "def start(self, batches):\n    self.networks[1].requires_grad_(False)",
        "start leaves networks.1.",
    ),
    "a step that leaves eval mode": (
        "def after_step(self, progress):\n    self.networks[1].eval()",
        "networks.1 is left in eval mode",
    ),
    "views of another number": (
        "def prepare(self):\n    self.views = 3\ndef forward(self, views):\n    return super().forward(views[:1])",
        "InputError: views must be [3, B, C, H, W]",
    ),
    "logits of another shape": (
        "def forward(self, views):\n"
        "    outputs = super().forward(views)\n    outputs.ensemble = outputs.peers\n    return outputs",
        "outputs of the stated shapes: Outputs.ensemble is a tensor [2, 6, 5], not logits [6, 5]",
    ),
    "a method without students": (
        "def prepare(self):\n    self.students = ()",
        "is built: students names no predictor",
    ),
    "outputs of another class": (
        "from methods.interface import Outputs as Base\nclass Outputs(Base):\n    pass\n"
        "def forward(self, views):\n    return self.Base(super().forward(views).peers)",
        "outputs of the stated shapes: forward returned a Outputs, not the method's Plugin.Outputs",
    ),
    "a field that is not declared": (
        "def forward(self, views):\n"
        "    outputs = super().forward(views)\n    outputs.middle = outputs.peers.mean(0)\n    return outputs",
        "Outputs.middle is no field of it: is it a @dataclass?",
    ),
    "features of another shape": (
        "def forward(self, views):\n"
        "    outputs = super().forward(views)\n    outputs.features = outputs.peers[0]\n    return outputs",
        "Outputs.features is a tensor [6, 5], not features [2, 6, d]",
    ),
    "a parameter in no group": (
        "def parameter_groups(self):\n    return super().parameter_groups()[:1]",
        "plugin: networks.1.branch.classifier.bias is in none of the parameter_groups",
    ),
    "a parameter in two groups": (
        "def parameter_groups(self):\n    return 2 * super().parameter_groups()",
        "is in parameter_groups twice",
    ),
    "a frozen parameter in a group": (
        "def prepare(self):\n    self.networks[1].branch.classifier.requires_grad_(False)\n"
        "def parameter_groups(self):\n    import methods\n"
        "    return [methods.ParameterGroup(list(self.parameters()))]",
        "networks.1.branch.classifier.weight is in parameter_groups and needs no gradient",
    ),
    "a rate that is no number": (
        "def parameter_groups(self):\n    import methods\n"
        "    rate = lambda epoch, epochs: -1.0 if epoch == 200 else 1.0\n"
        "    return [methods.ParameterGroup(list(self.parameters()), schedule=rate)]",
        "the schedule of a parameter group must be at least 0 (epoch 200 of 300: -1.0)",
    ),
    "a hook that draws from another generator": (
        "def begin_step(self, indices, labels):\n    numpy.random.rand()",
        "a hook or a step draws from numpy.random, which no run seeds",
    ),
    "a hook that reseeds": (
        "def before_update(self, outputs, labels, progress):\n    torch.manual_seed(0)",
        "a step reseeds torch's generator",
    ),
    "a hook that keeps state outside buffers": (
        "def begin_step(self, indices, labels):\n    self.calls += 1\n"
        "def before_update(self, outputs, labels, progress):\n"
        "    for parameter in self.parameters():\n        parameter.grad *= 1 + 0.1 * self.calls",
        "a run goes on from its checkpoint: epoch 1 gives another loss from a checkpoint",
    ),
    "a generator of its own": (
        "def prepare(self):\n    self.source = torch.Generator().manual_seed(0)\n"
        "def before_update(self, outputs, labels, progress):\n"
        "    for parameter in self.parameters():\n"
        "        parameter.grad *= torch.rand((), generator=self.source)",
        "a run goes on from its checkpoint: epoch 1 gives another loss from a checkpoint",
    ),
    "state that a checkpoint cannot hold": (
        "def get_extra_state(self):\n    return lambda: 0\ndef set_extra_state(self, state):\n    pass",
        "a run goes on from its checkpoint: ",
    ),
    "an error": (
        "def losses(self, outputs, labels, progress):\n    return {'wrong': outputs.peers @ labels}",
        "losses: named finite scalars: RuntimeError: ",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_contract_catches(fault: str, tmp_path: Path) -> None:
    body, reason = BROKEN[fault]
    found = first_case(write_plugin(tmp_path, body), tmp_path)
    assert any(reason in line for line in found), found


TENSORS_AS_EXTRA_STATE = """\
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
    assert first_case(write_plugin(tmp_path, TENSORS_AS_EXTRA_STATE), tmp_path) == []
    forgotten = TENSORS_AS_EXTRA_STATE.replace("self.seen = state\n", "pass\n")
    other = tmp_path / "other"
    other.mkdir()
    lines = first_case(write_plugin(other, forgotten), other)
    assert any(line.startswith("state goes on in a fresh instance: ") for line in lines), lines
    assert any("a run goes on from its checkpoint: " in line for line in lines), lines


@pytest.mark.usefixtures("one_family")
def test_a_hyperparameter_that_changes_nothing_is_reported(tmp_path: Path) -> None:
    field = '"weight of the loss")\n        temperature: float = Field(2.0, gt=0, description="of nothing")'
    path = write_plugin(tmp_path, replaced='"weight of the loss")', by=field)
    assert faults(check("plugin", [path])) == [
        "every hyperparameter changes something: temperature changes nothing: neither losses nor updates, state or "
        "predictions"
    ]


@pytest.mark.thorough
@pytest.mark.usefixtures("one_family")
def test_a_hyperparameter_that_acts_beside_another_alone_is_not_reported(tmp_path: Path) -> None:
    field = (
        '"weight of the loss")\n        smooth: bool = Field(False, description="whether labels are smoothed")'
        '\n        share: float = Field(0.1, ge=0, le=1, description="of the smoothing")'
    )
    path = tmp_path / "plugin.py"
    loss = "self.hyperparameters.weight * cross_entropy(outputs.peers, labels)"
    chosen = "self.hyperparameters"
    smoothed = f"{loss} * (1 + {chosen}.share * {chosen}.smooth)"
    path.write_text(PLUGIN.replace('"weight of the loss")', field).replace(loss, smoothed))
    assert faults(check("plugin", [path])) == []


@pytest.mark.usefixtures("one_family")
def test_an_error_is_shown_with_its_line_and_once_for_all_cases(tmp_path: Path) -> None:
    path = write_plugin(tmp_path, "def losses(self, outputs, labels, progress):\n    raise IndexError('too far')")
    (line,) = faults(check("plugin", [path]))
    number = 1 + path.read_text().splitlines().index("        raise IndexError('too far')")
    assert line.startswith(f"losses: named finite scalars: IndexError: too far (plugin.py, line {number}) (defaults, ")
    assert line.endswith("more)")


@pytest.mark.parametrize(
    ("replaced", "by", "reason"),
    [
        ('"plugin"', '"train"', "'train' is a key of the configuration"),
        ('"plugin"', '"my.method"', "'my.method' has more in it than letters, digits, - and _"),
        ('    """Two networks that learn from the labels."""\n', "", "the class has no docstring"),
        (', description="weight of the loss"', "", "weight has no description"),
        ("1.0, ge=0", "-1.0, ge=0", "weight has a default that is refused"),
        (
            '"""One."""',
            "@classmethod\n        def resolve(cls, given, *arguments, **more):\n            return cls()",
            "a hyperparameter that is not there is taken without a word",
        ),
        ("class Hyperparameters(BaseHyperparameters)", "class Hyperparameters", "no subclass of BaseHyperparameters"),
    ],
)
def test_the_contract_catches_a_declaration(replaced: str, by: str, reason: str, tmp_path: Path) -> None:
    path = write_plugin(tmp_path, replaced=replaced, by=by)
    (name,) = methods.available([path]).keys() - methods.available().keys()
    assert any(reason in line for line in faults(check(name, [path])))


def test_hyperparameters_that_json_does_not_give_back_are_caught(tmp_path: Path) -> None:
    field = '"weight of the loss")\n        sizes: tuple[int, int] = Field((1, 2), description="two sizes")'
    path = write_plugin(tmp_path, replaced='"weight of the loss")', by=field)
    assert any("hyperparameters survive storage: refused when" in line for line in first_case(path, tmp_path))


@pytest.mark.thorough
def test_what_holds_for_some_numbers_of_peers_or_backbones_only_is_caught(tmp_path: Path) -> None:
    peers = '        peers: int = Field(2, ge=2, le=3, description="K")\n        weight: float'
    ranged = PLUGIN.replace("        weight: float", peers)
    path = tmp_path / "plugin.py"
    narrow = "        if backbones[0].features != 64:\n            raise RuntimeError('too wide')\n"
    path.write_text(ranged.replace("        self.prepare()", f"{narrow}        self.prepare()"))
    lines = faults(check("plugin", [path]))
    assert any("peers: Input should be less than or equal to 3 (given: 4)" in line for line in lines), lines
    assert any("(peers=3)" in line and "Outputs.peers is a tensor [2, 6, 5]" in line for line in lines), lines
    assert any("RuntimeError: too wide" in line for line in lines)


def test_an_example_that_fails_is_told(tmp_path: Path) -> None:
    body = "@classmethod\ndef example(cls, *arguments):\n    raise OSError('nowhere to write')"
    path = write_plugin(tmp_path, body)
    number = 1 + path.read_text().splitlines().index("        raise OSError('nowhere to write')")
    assert faults(check("plugin", [path])) == [
        f"example: the hyperparameters that it needs: OSError: nowhere to write (plugin.py, line {number})"
    ]


# ---- the command ----


@pytest.fixture
def one_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the larger backbones out, which have tests of their own."""
    monkeypatch.setattr("benchmark.checking.cases.families", tuple)


def bench(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["bench", "check", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.usefixtures("one_family")
def test_bench_check_prints_a_line_a_method(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert bench(monkeypatch, "plugin", "--plugin", str(write_plugin(tmp_path))) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("ok    plugin  (")
    assert line.endswith(" s)")


@pytest.mark.usefixtures("one_family")
def test_bench_check_prints_further_reasons_below_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write_plugin(
        tmp_path,
        "def student(self, name=None):\n    return super().student(name).train()\n"
        "def after_step(self, progress):\n    self.networks[1].eval()",
    )
    assert bench(monkeypatch, "plugin", "--plugin", str(path)) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("FAIL  plugin  student(): equal to its predictor: student(None) is no network in eval mode")
    assert second.startswith("        train and eval mode kept by a step: networks.1 ")


@pytest.mark.usefixtures("one_family")
def test_bench_check_shows_a_broken_plugin_with_its_reason_and_the_others_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = tmp_path / "mine.py"
    broken.write_text("import no_such_module")
    monkeypatch.setattr(registry, "_own", lambda: iter(()))
    arguments = [part for path in (broken, write_plugin(tmp_path)) for part in ("--plugin", str(path))]
    assert bench(monkeypatch, *arguments) == 1
    first, second = sorted(capsys.readouterr().out.splitlines())
    assert first == "FAIL  mine    can be imported: ModuleNotFoundError, line 1: No module named 'no_such_module'"
    assert second.startswith("ok    plugin")


def test_bench_check_answers_an_unknown_name_with_a_near_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(monkeypatch, "okdip") == 2
    assert "unknown method 'okdip', did you mean 'okddip'? (valid: " in capsys.readouterr().err
