"""The contract of every method: one function per clause, which raises a ContractError where it is broken."""

import copy
import dataclasses
import math
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.checking.cases import (
    BATCH_SIZE,
    LAST_OF_EPOCH,
    PROGRESS,
    RATES,
    Case,
    ContractError,
    Depth,
    difference,
    distance,
    first,
    predictions,
    prepare,
    snapshot,
    step,
    take_step,
    trainable,
)
from benchmark.configuration import DataConfig, RunConfig, TrainConfig
from benchmark.datasets import Shape, random_dataset
from benchmark.training import Trainer, checkpoints, learning_rate, parameter_groups
from methods import Outputs
from methods.errors import InputError, message_of
from methods.objectives import hard_labels, soft_labels
from methods.plugins import plugin_file_of

Clause = Callable[[Case], None]

CLAUSES: dict[Depth, dict[str, Clause]] = {depth: {} for depth in get_args(Depth)}
"""By how deep a case is checked, each clause by its name; all rely on the gates."""

SMOOTHING = 0.2
OWN_SHARE = 0.7
"""Of an image's own label in a mixed one."""

STEPS_PER_EPOCH = 2
"""Of the runs that the trainer carries out."""


def _clause(name: str, depth: Depth) -> Callable[[Clause], Clause]:
    """Register a clause for a depth and those that include it."""

    def register(check: Clause) -> Clause:
        for deeper in list(CLAUSES)[list(CLAUSES).index(depth) :]:
            CLAUSES[deeper][name] = check
        return check

    return register


# ---- outputs and losses ----


@_clause("outputs of the stated shapes", "gates")
def outputs_of_the_stated_shapes(case: Case) -> None:
    """``forward`` gives logits for ``views`` views, one, one per peer or one more; no hook need come first."""
    method = case.fresh
    outputs = method(case.batch(0, method.views)[0])
    if not isinstance(outputs, method.Outputs):
        raise ContractError(f"forward returned {_kind(outputs)}, not the method's {method.Outputs.__qualname__}")
    name = type(outputs).__qualname__
    if not isinstance(outputs, Outputs):
        raise ContractError(f"{name} is no subclass of Outputs")
    # what a method adds to the common fields must be declared, and be tensors, to be kept through training
    declared = {field.name for field in dataclasses.fields(outputs)}
    if undeclared := vars(outputs).keys() - declared:
        raise ContractError(f"{name}.{first(undeclared)} is no field of it: is it a @dataclass?")
    for field in declared:
        value = getattr(outputs, field)
        if value is not None and not isinstance(value, Tensor):
            raise ContractError(f"Outputs.{field} is {_kind(value)}, neither a tensor nor None")
    if not isinstance(outputs.peers, Tensor) or outputs.peers.dim() != 3:
        raise ContractError(f"Outputs.peers is no [K, B, C] but {_kind(outputs.peers)}")
    peers = getattr(method.hyperparameters, "peers", len(outputs.peers))
    if method.views not in (1, peers, peers + 1):
        raise ContractError(f"views is {method.views}, neither 1 nor the {peers} peers nor one more")
    one, each = (BATCH_SIZE, case.num_classes), (peers, BATCH_SIZE, case.num_classes)
    for name, shape in {"peers": each, "ensemble": one, "teachers": each, "leader": one, "targets": each}.items():
        if (logits := getattr(outputs, name)) is not None:
            _check_logits(f"Outputs.{name}", logits, shape)
    features = outputs.features
    if features is not None and (
        not isinstance(features, Tensor) or features.dim() != 3 or features.shape[:2] != (peers, BATCH_SIZE)
    ):
        raise ContractError(f"Outputs.features is {_kind(features)}, not features [{peers}, {BATCH_SIZE}, d]")
    if outputs.teachers is not None and outputs.teachers.requires_grad:
        raise ContractError("Outputs.teachers carries a gradient")


@_clause("losses: named finite scalars", "gates")
def losses_named_finite_scalars(case: Case) -> None:
    """``losses`` gives named scalars that can be summed, early and late in a run."""
    method = case.fresh
    views, labels = case.batch(0, method.views)
    outputs = method(views)
    for progress in PROGRESS:
        terms = method.losses(outputs, labels, progress)
        if not isinstance(terms, dict) or not terms:
            raise ContractError(f"losses returned {_kind(terms)}, not a dict of named scalars")
        for name, term in terms.items():
            if not isinstance(name, str) or not name.strip():
                raise ContractError(f"a loss has no name (its key: {name!r})")
            if not isinstance(term, Tensor) or term.dim() or not term.is_floating_point():
                raise ContractError(f"the loss {name!r} is no scalar tensor but {_kind(term)}")
            if not term.isfinite():
                where = f"epoch {progress.epoch} of {progress.epochs}"
                raise ContractError(f"the loss {name!r} is {term.item()} in {where}")
        if not any(term.requires_grad for term in terms.values()):
            raise ContractError("no loss has a gradient")


@_clause("losses: a function of their arguments", "steps")
def losses_a_function_of_their_arguments(case: Case) -> None:
    """``losses`` depends on nothing but its arguments and the hyperparameters, and changes nothing."""
    method, other = case.build().train(), case.build(1).train()
    views, labels = case.batch(0, method.views)
    outputs = method(views)
    before = snapshot(method)
    terms = method.losses(outputs, labels, PROGRESS[0])
    if name := difference(terms, method.losses(outputs, labels, PROGRESS[0])):
        raise ContractError(f"the loss {name!r} is another one when it is computed twice")
    if name := difference(terms, other.losses(outputs, labels, PROGRESS[0])):
        raise ContractError(f"the loss {name!r} depends on the weights, not on the outputs alone")
    if name := difference(before, method.state_dict()):
        raise ContractError(f"losses changes {name}")


@_clause("losses: smoothed and mixed labels", "steps")
def losses_take_probabilities(case: Case) -> None:
    """What a method declares of mixed labels is true; smoothed ones are taken with either. Undeclared: not checked."""
    method = case.fresh
    if method.mixed_labels is None:
        return
    views, labels = case.batch(0, method.views)
    outputs = method(views)

    def losses(given: Tensor) -> dict[str, Tensor]:
        terms = method.losses(outputs, given, PROGRESS[0])
        for name, term in terms.items():
            if not term.isfinite():
                raise ContractError(f"the loss {name!r} of labels as probabilities is {term.item()}")
        return terms

    sure = soft_labels(labels, case.num_classes)
    by_class = losses(labels)
    for name, term in losses(sure).items():
        if name not in by_class or not torch.allclose(term, by_class[name], rtol=1e-4, atol=1e-6):
            raise ContractError(f"the loss {name!r} is another one when a sure label is written as probabilities")
    if not difference(by_class, losses(soft_labels(labels, case.num_classes, SMOOTHING))):
        raise ContractError("no loss is changed by train.label_smoothing: methods.objectives.cross_entropy is")
    if method.mixed_labels:
        mixed = OWN_SHARE * sure + (1 - OWN_SHARE) * sure.roll(1, 0)
        if not difference(losses(hard_labels(mixed)), losses(mixed)):
            raise ContractError("mixed_labels is True, and no loss is changed by the second class of a label")


# ---- what a step trains and changes ----


@_clause("parameter_groups: every trained parameter in one", "essential")
def every_parameter_in_one_group(case: Case) -> None:
    """``parameter_groups`` has each trained parameter once, under a learning rate that is a number in every epoch."""
    try:
        groups = parameter_groups(case.fresh)
        for group in groups:
            for epoch in range(RATES.epochs):
                learning_rate(group, RATES, epoch)
    except InputError as error:
        raise ContractError(str(error)) from None
    again = [[id(own) for own in group.parameters] for group in parameter_groups(case.fresh)]
    if again != [[id(own) for own in group.parameters] for group in groups]:
        raise ContractError("parameter_groups gives other groups the second time")


@_clause("a gradient for every trainable parameter", "essential")
def gradient_for_every_trainable_parameter(case: Case) -> None:
    """Whatever the optimiser is given must be trained by some step, or need no gradient in the first place."""
    if not trainable(case.fresh):
        raise ContractError("no parameter needs a gradient")
    if case.first_steps.infinite:
        raise ContractError(f"the gradient of {case.first_steps.infinite} is not finite")
    if case.first_steps.lacking:
        missing = first(case.first_steps.lacking)
        raise ContractError(f"{missing} gets none: use it in a loss, or turn its requires_grad off")


@_clause("only after_step moves untrained parameters", "steps")
def only_after_step_moves_untrained_parameters(case: Case) -> None:
    """What needs no gradient stays bit for bit through ``forward``, ``losses`` and the optimiser's step."""
    if case.first_steps.switched:
        raise ContractError(f"start leaves {first(case.first_steps.switched)} with another requires_grad")
    if case.first_steps.moved:
        raise ContractError(f"{case.first_steps.moved} needs no gradient and is moved by the step itself")


@_clause("train and eval mode kept by a step", "steps")
def modes_kept_by_a_step(case: Case) -> None:
    """What a method turns to eval mode for its own purposes, it turns back."""
    for name, training in case.first_steps.left.items():
        raise ContractError(f"{name or 'the method'} is left in {'train' if training else 'eval'} mode")


@_clause("random numbers from the run's axis", "steps")
def random_numbers_from_the_runs_axis(case: Case) -> None:
    """Random numbers of a run come from torch's generator, which the run seeds, stores and never finds reseeded."""
    # numpy's legacy generator is what a careless hook would sample from: its state is read, nothing is sampled
    before = {"random": random.getstate(), "numpy.random": repr(np.random.get_state())}
    if torch.equal(*(_generator_after(case, seed) for seed in (1, 2))):
        raise ContractError("a step reseeds torch's generator: the run's seed then means nothing")
    if name := difference(before, {"random": random.getstate(), "numpy.random": repr(np.random.get_state())}):
        raise ContractError(f"a hook or a step samples from {name}, which no run seeds: sample from torch's generator")


def _generator_after(case: Case, seed: int) -> Tensor:
    method = case.build()
    prepare(case, method, seed)
    # a step that is the last of an epoch: whatever there is to do is done after it
    step(case, method, LAST_OF_EPOCH)
    method.after_step(PROGRESS[LAST_OF_EPOCH])
    method.scores()
    return torch.get_rng_state()


# ---- predictors and students ----


@_clause("predict: deterministic, for all students", "essential")
def predictions_deterministic_for_all_students(case: Case) -> None:
    """``predict`` gives the same finite logits again, image by image, for every student, and changes nothing."""
    images = case.images()
    before = snapshot(case.trained)
    once = predictions(case.trained, images)
    if missing := set(case.trained.students) - once.keys():
        raise ContractError(f"predict does not give the student {first(missing)}")
    for name, logits in once.items():
        _check_logits(f"predict's {name}", logits, (BATCH_SIZE, case.num_classes))
    if predictor := difference(once, predictions(case.trained, images)):
        raise ContractError(f"{predictor} predicts something else the second time")
    if changed := difference(before, case.trained.state_dict()):
        raise ContractError(f"predict changes {changed}")
    for name, logits in predictions(case.trained, images[:2]).items():
        if distance(logits, once[name][:2]) > 1e-4:
            raise ContractError(f"{name} predicts an image by the others of its batch")


@_clause("student(): equal to its predictor", "essential")
def students_equal_to_their_predictors(case: Case) -> None:
    """``student`` gives copies that predict what ``predict`` gives under their names."""
    method, images = case.trained, case.images()
    before = snapshot(method)
    predicted = predictions(method, images)
    for name in (None, *method.students):
        student = method.student(name)
        shown = name or method.students[0]
        if not isinstance(student, nn.Module) or any(module.training for module in student.modules()):
            raise ContractError(f"student({name!r}) is no network in eval mode")
        with torch.no_grad():
            apart = distance(student(images), predicted[shown])
            if not apart <= 1e-5:
                raise ContractError(f"student({name!r}) is off predict's {shown} by {apart:.1e} of its largest logit")
            for value in (*student.parameters(), *student.buffers()):
                value.zero_()
        if changed := difference(before, method.state_dict()):
            raise ContractError(f"student({name!r}) is no copy: it shares {changed} with the method")
    try:
        method.student("no such student")
    except InputError:
        return
    raise ContractError("student() takes a name that is not among the students")


# ---- seeds, storage, resuming ----


@_clause("the same weights from the same seed", "steps")
def same_weights_from_the_same_seed(case: Case) -> None:
    """Runs of one seed are paired only if all that a method samples comes from torch's generator."""
    if name := difference(case.build().state_dict(), case.build().state_dict()):
        raise ContractError(f"{name} is initialised from something else than torch's generator")


@_clause("hyperparameters survive storage", "steps")
def hyperparameters_survive_storage(case: Case) -> None:
    """A stored run is rebuilt from its hyperparameters as JSON."""
    chosen = case.resolve()
    stored = chosen.model_dump(mode="json")
    try:
        equal = case.resolve(stored) == chosen
    except InputError as error:
        raise ContractError(f"refused when they come back from JSON: {error}") from None
    if not equal:
        raise ContractError(f"others when they come back from JSON: {stored}")


@_clause("state resumes in a fresh instance", "steps")
def state_resumes_in_a_fresh_instance(case: Case) -> None:
    """The state after ``start`` and some steps is all that a run needs to be resumed, bit for bit."""
    steps, fresh = case.first_steps, case.build(1)
    # a run tells it its labels before it loads the state
    fresh.labels(case.labels())
    fresh.load_state_dict(copy.deepcopy(dict(steps.middle)))
    if predictor := difference(steps.predicted, predictions(fresh.eval(), case.images())):
        raise ContractError(f"a fresh instance with the same state predicts another {predictor}")
    fresh.train()
    for number, (losses, state) in steps.later.items():
        if term := difference(losses, take_step(case, fresh, number)):
            raise ContractError(f"a fresh instance with the same state has another loss {term!r} at its next step")
        if name := difference(state, fresh.state_dict()):
            raise ContractError(f"a fresh instance with the same state has another {name} after its next step")


@_clause("a run in bfloat16", "all")
def computes_in_bfloat16(case: Case) -> None:
    """An epoch under autocast, where a step's outputs are of less precision, leaves finite numbers under every name."""
    _train(_trainer(case, epochs=1, precision="bf16"))


@_clause("a run resumes from its checkpoint", "all")
def resumes_from_a_checkpoint(case: Case) -> None:
    """A run that is interrupted between its epochs and resumed from the file gives the same numbers."""
    # each begins with the generator as its own beginning leaves it
    whole = _trainer(case, epochs=2)
    rows = _train(whole)
    interrupted = _trainer(case, epochs=2)
    again = [interrupted.epoch()]
    with TemporaryDirectory(prefix="bench-check-") as folder:
        checkpoints.save(Path(folder), {"trainer": interrupted.state()})
        try:
            stored = checkpoints.load(Path(folder))
        except Exception as error:
            raise ContractError(f"its state is not plain data and tensors: {message_of(error)}") from None
    resumed = _trainer(case, epochs=2)
    resumed.load_state(stored["trainer"] if stored else {})
    again.append(resumed.epoch())
    for ours, theirs in zip(rows, again, strict=True):
        if name := difference(*({**row, "seconds": 0.0} for row in (ours, theirs))):
            when = "a second time" if ours["epoch"] == 0 else "from a checkpoint"
            raise ContractError(f"epoch {ours['epoch']:g} gives another {name} {when}")
    if name := difference(whole.state(), resumed.state()):
        raise ContractError(f"the {name} of the run is another one after it was resumed from a checkpoint")


def _train(trainer: Trainer) -> list[dict[str, float]]:
    rows = []
    while not trainer.done:
        rows.append(trainer.epoch())
        for name, value in rows[-1].items():
            if not math.isfinite(value):
                raise ContractError(f"{name} is {value} in epoch {len(rows) - 1} of a run")
    return rows


def _trainer(case: Case, epochs: int, **train: Any) -> Trainer:
    config = RunConfig(
        method=case.method.name,
        dataset="random",
        backbone=case.backbone,
        seed=0,
        train=TrainConfig(epochs=epochs, batch_size=BATCH_SIZE, lr=0.02, **train),
        data=DataConfig(pad=1),
        hyperparameters=case.resolve().model_dump(mode="json"),
        method_version=case.method.version,
        dataset_checksum="",
    )
    shape = Shape(STEPS_PER_EPOCH * BATCH_SIZE, 2 * BATCH_SIZE, case.num_classes, case.in_channels, case.image_size)
    return Trainer(config, random_dataset(shape), torch.device("cpu"), plugin_file_of(case.method.__module__))


def _kind(value: Any) -> str:
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _check_logits(name: str, logits: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(logits, Tensor) or tuple(logits.shape) != shape:
        raise ContractError(f"{name} is {_kind(logits)}, not logits {list(shape)}")
    if not logits.isfinite().all():
        raise ContractError(f"{name} is not finite")
