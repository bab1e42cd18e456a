"""The contract of every method: one function per clause, which raises a ContractError where it is broken."""

import copy
import dataclasses
import math
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark import training
from benchmark.checking import cases
from benchmark.checking.cases import BATCH_SIZE, PROGRESS, Case, ContractError, Depth, first, require, require_same
from benchmark.configuration import TrainConfig
from methods import Outputs
from methods.errors import InputError, message_of
from methods.objectives import hard_labels, soft_labels

CLAUSES: cases.Clauses = {}

SMOOTHING = 0.2
OWN_SHARE = 0.7
"""Of an image's own label in a mixed one."""


@cases.clause(CLAUSES, "is built", Depth.GATES)
def _is_built(case: Case) -> None:
    try:
        students = getattr(case.fresh, "students", ())
    except InputError as error:
        raise cases.RefusedError if case.may_refuse else ContractError(str(error)) from None
    named = isinstance(students, tuple) and students
    require(named, "students names no predictor (a tuple of their names)")


# ---- outputs and losses ----


@cases.clause(CLAUSES, "outputs of the stated shapes", Depth.GATES)
def _outputs_of_the_stated_shapes(case: Case) -> None:
    method = case.fresh
    # no hook need come first
    outputs = method(case.batch(method.views)[0])
    expected = method.Outputs.__qualname__
    require(isinstance(outputs, method.Outputs), f"forward returned {_kind(outputs)}, not the method's {expected}")
    name = type(outputs).__qualname__
    require(isinstance(outputs, Outputs), f"{name} is no subclass of Outputs")
    # what a method adds to the common fields must be declared, and be tensors, to be kept through training
    declared = {field.name: getattr(outputs, field.name) for field in dataclasses.fields(outputs)}
    undeclared = vars(outputs).keys() - declared
    require(not undeclared, f"{name}.{first(undeclared)} is no field of it: is it a @dataclass?")
    for field, value in declared.items():
        tensor = value is None or isinstance(value, Tensor)
        require(tensor, f"Outputs.{field} is {_kind(value)}, neither a tensor nor None")
    cubic = isinstance(outputs.peers, Tensor) and outputs.peers.dim() == 3
    require(cubic, f"Outputs.peers is no [K, B, C] but {_kind(outputs.peers)}")
    peers = getattr(method.hyperparameters, "peers", len(outputs.peers))
    right = method.views in (1, peers, peers + 1)
    require(right, f"views is {method.views}, neither 1 nor the {peers} peers nor one more")
    one, each = (BATCH_SIZE, case.num_classes), (peers, BATCH_SIZE, case.num_classes)
    for name, shape in {"peers": each, "ensemble": one, "teachers": each, "leader": one, "targets": each}.items():
        if (logits := declared[name]) is not None:
            _require_logits(f"Outputs.{name}", logits, shape)
    features, teachers = outputs.features, outputs.teachers
    pooled = features is None or (features.dim() == 3 and features.shape[:2] == (peers, BATCH_SIZE))
    require(pooled, f"Outputs.features is {_kind(features)}, not features [{peers}, {BATCH_SIZE}, d]")
    require(teachers is None or not teachers.requires_grad, "Outputs.teachers carries a gradient")


@cases.clause(CLAUSES, "losses: named finite scalars", Depth.GATES)
def _losses_named_finite_scalars(case: Case) -> None:
    method = case.fresh
    views, labels = case.batch(method.views)
    outputs = method(views)
    for progress in PROGRESS:
        terms = method.losses(outputs, labels, progress)
        named = isinstance(terms, dict) and bool(terms)
        require(named, f"losses returned {_kind(terms)}, not a dict of named scalars")
        for name, term in terms.items():
            require(isinstance(name, str) and name.strip(), f"a loss has no name (its key: {name!r})")
            scalar = isinstance(term, Tensor) and not term.dim() and term.is_floating_point()
            require(scalar, f"the loss {name!r} is no scalar tensor but {_kind(term)}")
            where = f"epoch {progress.epoch} of {progress.epochs}"
            require(term.isfinite(), f"the loss {name!r} is {term.item()} in {where}")
        require(any(term.requires_grad for term in terms.values()), "no loss has a gradient")


@cases.clause(CLAUSES, "losses: a function of their arguments", Depth.STEPS)
def _losses_a_function_of_their_arguments(case: Case) -> None:
    method, other = case.build().train(), case.build(1).train()
    views, labels = case.batch(method.views)
    outputs = method(views)
    before = copy.deepcopy(method.state_dict())
    terms, again, others = (own.losses(outputs, labels, PROGRESS[0]) for own in (method, method, other))
    require_same(terms, again, "the loss '{}' is another one when it is computed twice")
    require_same(terms, others, "the loss '{}' depends on the weights, not on the outputs alone")
    require_same(before, method.state_dict(), "losses changes {}")


@cases.clause(CLAUSES, "losses: smoothed and mixed labels", Depth.STEPS)
def _losses_of_probabilities(case: Case) -> None:
    method = case.fresh
    if method.mixed_labels is None:
        return
    views, labels = case.batch(method.views)
    outputs = method(views)

    def losses(given: Tensor) -> dict[str, Tensor]:
        terms = method.losses(outputs, given, PROGRESS[0])
        for name, term in terms.items():
            require(term.isfinite(), f"the loss {name!r} of labels as probabilities is {term.item()}")
        return terms

    sure = soft_labels(labels, case.num_classes)
    by_class = losses(labels)
    for name, term in losses(sure).items():
        alike = name in by_class and torch.allclose(term, by_class[name], rtol=1e-4, atol=1e-6)
        require(alike, f"the loss {name!r} is another one when a sure label is written as probabilities")
    changed = cases.difference(by_class, losses(soft_labels(labels, case.num_classes, SMOOTHING)))
    require(changed, "no loss is changed by train.label_smoothing: methods.objectives.cross_entropy is")
    if method.mixed_labels:
        mixed = OWN_SHARE * sure + (1 - OWN_SHARE) * sure.roll(1, 0)
        changed = cases.difference(losses(hard_labels(mixed)), losses(mixed))
        require(changed, "mixed_labels is True, and no loss is changed by the second class of a label")


# ---- what a step trains and changes ----


@cases.clause(CLAUSES, "parameter_groups: every trained parameter in one", Depth.GATES)
def _every_parameter_in_one_group(case: Case) -> None:
    method, train = case.fresh, TrainConfig(epochs=cases.EPOCHS)
    require(cases.trainable(method), "no parameter needs a gradient")
    try:
        for group in training.parameter_groups(method):
            for epoch in range(train.epochs):
                training.learning_rate(group, train, epoch)
        first, second = ([[*map(id, one.parameters)] for one in method.parameter_groups()] for _ in range(2))
        require(first == second, "parameter_groups gives other groups the second time")
    except InputError as error:
        raise ContractError(str(error)) from None


@cases.clause(CLAUSES, "hyperparameters survive storage", Depth.GATES)
def _hyperparameters_survive_storage(case: Case) -> None:
    chosen = case.resolve()
    stored = chosen.model_dump(mode="json")
    try:
        restored = dataclasses.replace(case, hyperparameters=stored).resolve()
        require(restored == chosen, f"others when they come back from JSON: {stored}")
    except InputError as error:
        raise ContractError(f"refused when they come back from JSON: {error}") from None


@cases.clause(CLAUSES, "a gradient for every trainable parameter", Depth.ESSENTIAL)
def _gradient_for_every_trainable_parameter(case: Case) -> None:
    steps = case.first_steps
    require(not steps.infinite, f"the gradient of {steps.infinite} is not finite")
    missing = first(steps.lacking)
    require(not missing, f"{missing} gets none, or zero: use it in a loss, or turn its requires_grad off")


@cases.clause(CLAUSES, "only after_step moves untrained parameters", Depth.STEPS)
def _only_after_step_moves_untrained_parameters(case: Case) -> None:
    steps = case.first_steps
    require(not steps.switched, f"start leaves {first(steps.switched)} with another requires_grad")
    require(not steps.moved, f"{steps.moved} needs no gradient and is moved by the step itself")


@cases.clause(CLAUSES, "train and eval mode kept by a step", Depth.STEPS)
def _modes_kept_by_a_step(case: Case) -> None:
    for name, mode in case.first_steps.left.items():
        raise ContractError(f"{name or 'the method'} is left in {'train' if mode else 'eval'} mode")


# ---- predictors and students ----


@cases.clause(CLAUSES, "predict: deterministic, for all students", Depth.ESSENTIAL)
@torch.no_grad()
def _predictions_deterministic_for_all_students(case: Case) -> None:
    method, images = case.first_steps.method, case.images()
    before = copy.deepcopy(method.state_dict())
    once = method.predict(images)
    missing = first(set(method.students) - once.keys())
    require(not missing, f"predict does not give the student {missing}")
    for name, logits in once.items():
        _require_logits(f"predict's {name}", logits, (BATCH_SIZE, case.num_classes))
    require_same(once, method.predict(images), "{} predicts something else the second time")
    require_same(before, method.state_dict(), "predict changes {}")
    for name, logits in method.predict(images[:2]).items():
        apart = cases.distance(logits, once[name][:2])
        require(not apart > 1e-4, f"{name} predicts an image by the others of its batch")


@cases.clause(CLAUSES, "student(): equal to its predictor", Depth.ESSENTIAL)
@torch.no_grad()
def _students_equal_to_their_predictors(case: Case) -> None:
    method, images = case.first_steps.method, case.images()
    before = copy.deepcopy(method.state_dict())
    predicted = method.predict(images)
    for name in (None, *method.students):
        student, shown = method.student(name), name or method.students[0]
        still = isinstance(student, nn.Module) and not any(module.training for module in student.modules())
        require(still, f"student({name!r}) is no network in eval mode")
        apart = cases.distance(student(images), predicted[shown])
        require(apart <= 1e-5, f"student({name!r}) is off predict's {shown} by {apart:.1e} of its largest logit")
        for value in (*student.parameters(), *student.buffers()):
            value.zero_()
        require_same(before, method.state_dict(), f"student({name!r}) is no copy: it shares {{}} with the method")
    try:
        method.student("no such student")
    except InputError:
        return
    raise ContractError("student() takes a name that is not among the students")


# ---- seeds, storage, resuming ----


@cases.clause(CLAUSES, "random numbers from the run's axis", Depth.STEPS)
def _random_numbers_from_the_runs_axis(case: Case) -> None:
    def others() -> dict[str, Any]:
        # numpy's legacy generator is what a careless hook would sample from: its state is read, nothing is sampled
        return {"random": random.getstate(), "numpy.random": repr(np.random.get_state())}

    def generator_after(seed: int) -> Tensor:
        case.trainer(epochs=1, seed=seed).epoch()
        return torch.get_rng_state()

    before = others()
    reseeded = torch.equal(generator_after(1), generator_after(2))
    require(not reseeded, "a step reseeds torch's generator: the run's seed then means nothing")
    reason = "a hook or a step samples from {}, which no run seeds: sample from torch's generator"
    require_same(before, others(), reason)


@cases.clause(CLAUSES, "the same weights from the same seed", Depth.STEPS)
def _same_weights_from_the_same_seed(case: Case) -> None:
    one, other = case.build().state_dict(), case.build().state_dict()
    require_same(one, other, "{} is initialised from something else than torch's generator")


@cases.clause(CLAUSES, "a run in bfloat16")
def _computes_in_bfloat16(case: Case) -> None:
    _row_of(case.trainer(epochs=1, precision="bf16"))


@cases.clause(CLAUSES, "a run resumes from its checkpoint", Depth.STEPS)
def _resumes_from_a_checkpoint(case: Case) -> None:
    # each begins with the generator as its own beginning leaves it
    whole = case.trainer(epochs=2)
    _row_of(whole)
    with TemporaryDirectory(prefix="bench-check-") as folder:
        try:
            training.checkpoints.save(Path(folder), whole.state())
            stored = training.checkpoints.load(Path(folder))
        except Exception as error:
            raise ContractError(f"its state is not plain data and tensors: {message_of(error)}") from None
    row = _row_of(whole)
    resumed = case.trainer(epochs=2)
    resumed.load_state(stored or {})
    require_same(row, _row_of(resumed), "epoch 1 gives another {} from a checkpoint")
    reason = "the {} of the run is another one after it was resumed from a checkpoint"
    require_same(whole.state(), resumed.state(), reason)


def _row_of(trainer: training.Trainer) -> dict[str, float]:
    """Train an epoch and return its metrics, without its time."""
    row = {**trainer.epoch(), "seconds": 0.0}
    for name, value in row.items():
        require(math.isfinite(value), f"{name} is {value} in epoch {row['epoch']:g} of a run")
    return row


def _kind(value: Any) -> str:
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _require_logits(name: str, logits: Any, shape: tuple[int, ...]) -> None:
    shaped = isinstance(logits, Tensor) and tuple(logits.shape) == shape
    require(shaped, f"{name} is {_kind(logits)}, not logits {list(shape)}")
    require(logits.isfinite().all(), f"{name} is not finite")
