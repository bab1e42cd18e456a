"""What training costs: multiply-adds (MACs) and seconds of a step, an epoch, a run and a plan.

MACs are counted by ``torch.utils.flop_counter``, which counts two operations for each. Seconds are measured on a few
steps of random images, and kept in a results folder's ``pace.json``.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from heapq import heapreplace
from pathlib import Path
from statistics import median

import torch
from pydantic import TypeAdapter, ValidationError
from torch.utils.flop_counter import FlopCounterMode

from benchmark import training
from benchmark.configuration import FieldRole, RunConfig
from benchmark.datasets import Shape, random_dataset
from benchmark.store import atomic, environment
from benchmark.training import PrecisionConfig, StepBatch, Trainer, choose_device
from methods import Method, Progress
from methods.errors import InputError
from methods.plugins import reason_of

FILE = "pace.json"
COUNTED_IMAGES = 4
TIMED_STEPS = 3
RECORDED_WARM_UP_STEPS = 6  # a recorded step is tried out, has its warm-up and is recorded before the first replay
SLOW_STEP_S = 4.0  # a first step, which prepares much that later ones find ready, is the only one if it takes longer
BUDGET_S = 5.0  # for timing a plan's kinds of runs; the others are scaled from those that were timed
IDLE_SHARE = 0.75  # of the time that passes a process has a processor on a machine that does nothing else, at least

SMALL_PIXELS = 16 * 32 * 32
"""Of the batch that is timed on a CPU: an image of a smaller one takes nearly as long as one of the run's own."""


@dataclass(frozen=True)
class ImageCost:
    """What an image costs in training and in evaluation: seconds, or MACs."""

    train: float
    evaluation: float

    def total(self, run: RunConfig, shape: Shape, epochs: int | None = None) -> float:
        """Return what so many epochs of a run cost, with their evaluations; all of them for None."""
        epochs = run.train.epochs if epochs is None else epochs
        evaluations = -(-epochs // run.train.eval_every)
        return self.train * epochs * shape.train + self.evaluation * evaluations * shape.test


MEASURED = TypeAdapter(dict[str, ImageCost])
"""The content of ``pace.json``: seconds by kind of run."""


def count_macs(action: Callable[[], object]) -> float:
    """Return the MACs of an action, backward passes in it included."""
    with FlopCounterMode(display=False) as counter:
        action()
    return float(counter.get_total_flops()) / 2


def macs_per_image(run: RunConfig, shape: Shape, plugins: Sequence[str] = ()) -> ImageCost:
    """Return the MACs of an image, counted without computing anything where the method lets one.

    Raises:
        InputError: If the method takes no training step, with its reason.
    """

    def counted() -> ImageCost:
        method = training.initialise_method(run, shape, plugins)
        images = torch.zeros(method.views, COUNTED_IMAGES, shape.in_channels, shape.image_size, shape.image_size)
        train = _step_macs(method, StepBatch(images, torch.zeros(COUNTED_IMAGES, dtype=torch.int64)), run.train.epochs)
        method.eval()
        with torch.no_grad():
            return ImageCost(train, count_macs(lambda: method.predict(images[0])) / COUNTED_IMAGES)

    try:
        return training.without_values(counted)
    except Exception as error:
        # a plug-in may raise anything; a plan is answered in one line
        raise InputError(f"{run.method} takes no training step: {reason_of(error)}") from None


def _step_macs(method: Method, batch: StepBatch, epochs: int) -> float:
    """Return the MACs per image of a training step, whose gradients are not kept."""
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]

    def step() -> None:
        _, terms = training.outputs_and_losses(method, batch, Progress(0, 0, epochs))
        torch.autograd.grad(torch.stack(list(terms.values())).sum(), trained, allow_unused=True)

    return count_macs(step) / len(batch.labels)


def run_cost(trainer: Trainer) -> dict[str, float]:
    """Return what a run took.

    Returns:
        ``parameters`` that are trained and ``student_parameters`` of the deployed (first) student; ``state_mib`` of
        all parameters and buffers, mean teachers and memory banks included;
        ``step_multiply_adds`` and ``student_multiply_adds``, of a training step (forward and backward) and of the
        deployed student, per image; ``step_seconds``, the median over the epochs of the time of a training step
        without evaluation; ``peak_memory_mib`` since the run began: on CUDA of the device's tensors, else of
        this process. A run that ended in an error may lack the counts.
    """
    method, student = trainer.method, trainer.method.student()
    labels = trainer.labels[:COUNTED_IMAGES]
    counts = {}
    # what broke the run may break this too; how the run ended must be told all the same
    # on the device, where the method is: for the meta device it would have to be made once more
    with suppress(Exception), training.without_effect(method, labels.device):
        views = torch.rand((method.views, len(labels), *trainer.test_images.shape[1:]), device=labels.device)
        batch = StepBatch(views, labels, torch.arange(len(labels), device=labels.device))
        step = _step_macs(method.train(), batch, trainer.config.train.epochs)
        with torch.no_grad():
            deployed = count_macs(lambda: student(views[0])) / len(labels)
        counts = {"step_multiply_adds": step, "student_multiply_adds": deployed}
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.parameters),
        "student_parameters": sum(parameter.numel() for parameter in student.parameters()),
        "state_mib": sum(value.nbytes for value in (*method.parameters(), *method.buffers())) / 2**20,
        **counts,
        **({"step_seconds": median(trainer.step_seconds)} if trainer.step_seconds else {}),
        "peak_memory_mib": training.peak_memory(labels.device),
    }


def timed(action: Callable[[], object], times: int, device: torch.device) -> float:
    """Return the mean seconds of an action, with nothing of it left running on the device."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda _: None
    wait(device)
    begin = time.perf_counter()
    for _ in range(times):
        action()
    wait(device)
    return (time.perf_counter() - begin) / times


def timed_alone(action: Callable[[], object], times: int, device: torch.device, threads: int = 1) -> float:
    """Return an action's seconds where nothing else runs: on the CPU its processor time, shared among its threads."""
    begin = time.process_time()
    passed = timed(action, times, device)
    return passed if device.type == "cuda" else min(passed, (time.process_time() - begin) / times / threads)


def trainer_for(run: RunConfig, shape: Shape, device_name: str = "auto", plugins: Sequence[str] = ()) -> Trainer:
    """Return a trainer of a run on a few batches of random images."""
    few = replace(shape, train=4 * run.train.batch_size, test=2 * run.train.batch_size)
    return Trainer(run, random_dataset(few), choose_device(device_name), plugins)


def training_step(trainer: Trainer) -> Callable[[], object]:
    """Return the action of one optimiser step on views that are ready, in the middle of the run."""
    epochs = trainer.config.train.epochs
    return partial(trainer.train_step, preparation(trainer)(), Progress(epochs // 2, 10_000, epochs))


def warm_up(trainer: Trainer, step: Callable[[], object], least: int = 2) -> None:
    """Take the steps that are not to be timed: the first ones, and those until a recorded step is replayed."""
    for _ in range(RECORDED_WARM_UP_STEPS if trainer.recorded is not None else least):
        step()


def preparation(trainer: Trainer) -> Callable[[], StepBatch]:
    """Return the action of making the views and labels of one optimiser step."""
    sampled = trainer.batches.augmentation.sample(0, "augmentation", 0, trainer.method.views)
    indices = torch.arange(trainer.config.train.batch_size)
    return lambda: trainer.batches.prepared(indices, sampled, 0)


def plan_cost(
    runs: Sequence[RunConfig],
    shapes: Mapping[str, Shape],
    folder: Path,
    device_name: str = "auto",
    plugins: Sequence[str] = (),
) -> tuple[list[ImageCost], str]:
    """Return the seconds per image of every run of a plan, and in words what is uncertain about them, if anything.

    A few steps of each distinct kind of run are timed, those first that have most to do. Where the time is up, kinds
    are scaled by their MACs. Seconds that were measured are kept in ``<folder>/pace.json`` and not measured again.

    Raises:
        InputError: If a kind of run takes no step.
    """
    device = choose_device(device_name)
    names = [kind_of(run, shapes[run.dataset], device) for run in runs]
    kinds: dict[str, tuple[RunConfig, Shape]] = {}
    work: Counter[str] = Counter()
    for kind, run in zip(names, runs, strict=True):
        kinds[kind] = run, shapes[run.dataset]
        work[kind] += pixels(*kinds[kind])
    stored: dict[str, ImageCost] = {}
    # a damaged file of seconds is measured anew
    with suppress(OSError, ValidationError):
        stored = MEASURED.validate_json((folder / FILE).read_bytes())
    known = {kind: stored[kind] for kind in kinds if kind in stored}
    remarks: list[str] = []
    begin, spent = time.perf_counter(), time.process_time()
    for kind in sorted(kinds.keys() - known, key=lambda kind: (-work[kind], kind)):
        if known and time.perf_counter() - begin > BUDGET_S:
            break
        known[kind] = time_images(*kinds[kind], device_name, plugins)
    if known.keys() - stored:
        if device.type == "cpu" and time.process_time() - spent < IDLE_SHARE * (time.perf_counter() - begin):
            remarks.append("measured beside other load")
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_text(folder / FILE, MEASURED.dump_json(stored | known, indent=2).decode() + "\n")
    if left := kinds.keys() - known:
        macs = {kind: macs_per_image(run, shape, plugins) for kind, (run, shape) in kinds.items()}
        # a plug-in's predictor may have no MACs at all
        train = median(known[kind].train / (macs[kind].train or 1.0) for kind in known)
        evaluation = median(known[kind].evaluation / (macs[kind].evaluation or 1.0) for kind in known)
        known |= {kind: ImageCost(train * macs[kind].train, evaluation * macs[kind].evaluation) for kind in left}
        remarks.append(f"{len(left)} of {len(kinds)} kinds scaled by their multiply-adds")
    return [known[name] for name in names], ", ".join(remarks)


def time_images(run: RunConfig, shape: Shape, device_name: str = "auto", plugins: Sequence[str] = ()) -> ImageCost:
    """Return a run's seconds per image on a machine that does nothing else.

    Raises:
        InputError: If the run takes no step, with the method's reason.
    """
    if choose_device(device_name).type == "cpu":
        size = min(run.train.batch_size, max(4, SMALL_PIXELS // shape.image_size**2))
        run = run.model_copy(update={"train": run.train.model_copy(update={"batch_size": size, "compile": False})})
    try:
        trainer = trainer_for(run, shape, device_name, plugins)
        device, threads, step = trainer.arithmetic.device, run.train.threads, training_step(trainer)
        train = timed_alone(step, 1, device, threads)
        if train < SLOW_STEP_S:
            warm_up(trainer, step, 0)
            train = timed_alone(step, TIMED_STEPS, device, threads)
        views = timed_alone(preparation(trainer), TIMED_STEPS, device, threads)
        evaluation = timed_alone(trainer.evaluate, 1, device, threads)
    except Exception as error:
        # a plug-in may raise anything; a plan is answered in one line
        raise InputError(f"{run.method} takes no training step: {reason_of(error)}") from None
    return ImageCost((train + views) / run.train.batch_size, evaluation / len(trainer.test_labels))


def kind_of(run: RunConfig, shape: Shape, device: torch.device) -> str:
    """Return what decides the seconds that a run's images take, as one word."""
    arithmetic = {"batch_size", "threads", "precision", "deterministic", "channels_last", "compile"}
    train = run.train.model_dump(include=arithmetic | {"optimizer", "label_smoothing"})
    images = run.data.model_dump(include=run.data.of_role(FieldRole.AUGMENTATION))
    shown = (shape.num_classes, shape.in_channels, shape.image_size, images)
    hardware = environment.device_name(str(device))
    cuda = device.type == "cuda"
    recorded = cuda and training.records_steps(run.train, run.method, PrecisionConfig.of(device, run.train))
    parts = (run.method, run.backbone, run.hyperparameters, train, recorded, shown, hardware, torch.__version__)
    return f"{run.method} {run.backbone} {sha256(repr(parts).encode()).hexdigest()[:16]}"


def side_by_side(seconds: Iterable[float], places: int) -> float:
    """Return how long runs take when each of so many places takes the next run as soon as it is free."""
    free = [0.0] * places
    for run in seconds:
        heapreplace(free, free[0] + run)
    return max(free)


def pixels(run: RunConfig, shape: Shape) -> int:
    """Return the pixels of all images that a run is trained on, each counted in every epoch."""
    return run.train.epochs * shape.train * shape.image_size**2
