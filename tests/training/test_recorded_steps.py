"""A step that is recorded once and replayed gives the numbers of the plain step, over epochs and smaller batches."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmark.configuration import DataConfig, RunConfig, TrainConfig
from benchmark.datasets import Shape, random_dataset
from benchmark.training import Trainer
from benchmark.training.graph import WARM_UP_STEPS, RecordedStep
from benchmark.training.stepping import Terms
from methods import registry
from methods.errors import InputError

EPOCHS, BATCH = 3, 4
IMAGES = random_dataset(Shape(5 * BATCH + 2, 4, 4, 1, 8))
"""Five whole batches an epoch and a smaller one."""

RECORDED: list[tuple[str, dict[str, Any]]] = [
    ("independent", {}),
    ("dml", {}),
    ("cl", {"rampup_epochs": 2}),
    ("one", {"rampup_epochs": 2}),
    ("ffl", {"rampup_epochs": 2}),
    ("kdcl", {}),
    ("okddip", {"rampup_epochs": 2}),
    ("mcl", {}),
    ("mcl_okd", {}),
    ("pcl", {"rampup_epochs": 2, "ema_warmup": True}),
    ("dkel", {"rampup_epochs": 2, "ema_decay": 0.9}),
    ("switokd", {}),
    ("ahbf", {"rampup_epochs": 2}),
]
NO_CUDA = "no CUDA device: where there is one, python -m pytest tests/training/test_recorded_steps.py"

UNLIKE = [pair for pair in RECORDED if pair[0] in ("cl", "okddip", "mcl_okd", "pcl", "dkel", "switokd", "ahbf")]
"""Those whose steps have a schedule, a memory, a draw or a switch; the others' are like one of them."""
REFUSED = [
    ("okdph", {}, "it reads progress.last_of_epoch in its step"),
    ("okdph", {"fusion_every": "2_batch"}, "it reads progress.last_of_epoch in its step"),
    ("kdcl", {"variant": "general"}, "it reads progress.epoch in its step"),
]


def trainer(method: str, hyperparameters: dict[str, Any], device: str = "cpu", **train: Any) -> Trainer:
    chosen = registry.resolve(
        registry.load(method), {"peers": 2, **hyperparameters} if method != "independent" else {}, ["resnet8"], EPOCHS
    )
    config = RunConfig(
        method=method,
        dataset="random",
        backbone="resnet8",
        seed=0,
        train=TrainConfig(epochs=EPOCHS, batch_size=BATCH, lr=0.05, warmup_epochs=0.5, **train),
        data=DataConfig(pad=1),
        hyperparameters=chosen.model_dump(mode="json"),
        method_version=1,
        dataset_checksum="",
    )
    return Trainer(config, IMAGES, torch.device(device))


class Recorder:
    """Keeps an action and carries it out at each replay, as a graph does, with the tensors it was recorded with."""

    def __init__(self) -> None:
        self.replays = 0

    def __call__(self, action: Callable[[], Terms]) -> tuple[Callable[[], None], Terms]:
        places: Terms = {}

        def replay() -> None:
            self.replays += 1
            for name, term in action().items():
                places.setdefault(name, torch.empty_like(term)).copy_(term)

        return replay, places


def rows(made: Trainer, epochs: int = 2) -> list[dict[str, float]]:
    found = []
    for epoch in range(epochs):
        found.append(made._train(epoch))
        made.next_epoch += 1
    return found


@pytest.mark.parametrize(("method", "hyperparameters"), UNLIKE, ids=[name for name, _ in UNLIKE])
def test_a_replayed_step_gives_the_plain_numbers(method: str, hyperparameters: dict[str, Any]) -> None:
    plain = trainer(method, hyperparameters)
    theirs = rows(plain)
    # made afterwards: a run begins by seeding what its method draws from
    recorded, recorder = trainer(method, hyperparameters), Recorder()
    recorded.recorded = RecordedStep(recorded._plain_step, recorded.method, recorded.optimizer, BATCH, recorder)
    ours = rows(recorded)
    assert recorded.take_notes() == []
    assert recorder.replays == 2 * 5 - WARM_UP_STEPS
    # a mean teacher's moves are rounded otherwise
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, rel=1e-5)
    for mine, other in zip(recorded.method.state_dict().values(), plain.method.state_dict().values(), strict=True):
        if isinstance(mine, torch.Tensor):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("method", "hyperparameters", "reason"), REFUSED)
def test_what_a_replay_would_not_do_again_takes_the_plain_way(
    method: str, hyperparameters: dict[str, Any], reason: str
) -> None:
    plain, recorded = (trainer(method, hyperparameters) for _ in range(2))
    recorded.recorded = RecordedStep(
        recorded._plain_step, recorded.method, recorded.optimizer, BATCH, recorder := Recorder()
    )
    assert rows(recorded) == rows(plain)
    assert recorder.replays == 0
    assert recorded.take_notes() == [f"train.graph: {method} falls back to the standard step: {reason}"]
    assert recorded.take_notes() == []


def test_what_is_counted_on_the_host_is_found() -> None:
    made = trainer("dml", {})
    counting: Any = made.method
    counting.steps = 0

    def step(*given: Any) -> Terms:
        counting.steps += 1
        return made._plain_step(*given)

    made.recorded = RecordedStep(step, made.method, made.optimizer, BATCH, Recorder())
    made._train(0)
    (line,) = made.take_notes()
    assert line.endswith("it keeps steps on the host, and changes it in its step")


def test_a_graph_needs_cuda() -> None:
    with pytest.raises(InputError, match=r"^train.graph needs a CUDA device \(here: cpu\)$"):
        trainer("dml", {}, graph=True)


@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason=NO_CUDA,
)
@pytest.mark.parametrize(("method", "hyperparameters"), RECORDED, ids=[name for name, _ in RECORDED])
def test_a_cuda_graph_gives_the_plain_numbers(method: str, hyperparameters: dict[str, Any]) -> None:
    exact = {"precision": "fp32", "deterministic": True}
    plain = trainer(method, hyperparameters, "cuda", **exact)
    theirs = plain._train(0)
    recorded = trainer(method, hyperparameters, "cuda", graph=True, **exact)
    # rounding grows a hundredfold a step, as in the test of the other fast paths
    ours = recorded._train(0)
    assert recorded.take_notes() == []
    assert ours == pytest.approx(theirs, rel=1e-3)
