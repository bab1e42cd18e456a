"""The contract that every method keeps: one function a clause, which raises a ContractError where it is broken."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.checking import hooks, labels as labels_clause, trainer_runs
from benchmark.checking.cases import BATCH_SIZE, WHEN, Case, Depth, predictions, snapshot, take_step, trainable
from benchmark.checking.comparing import ContractError, difference, first, kind
from methods import Outputs
from methods.errors import InputError


def same_weights_from_the_same_seed(case: Case) -> None:
    """Runs of one seed are paired only if all of a method's draws come from torch's generator."""
    if name := difference(case.build().state_dict(), case.build().state_dict()):
        raise ContractError(f"{name} is drawn from something else than torch's generator")


def hyperparameters_survive_storage(case: Case) -> None:
    """A stored run is rebuilt from its hyperparameters as JSON."""
    chosen = case.resolve()
    stored = chosen.model_dump(mode="json")
    try:
        same = case.resolve(stored) == chosen
    except InputError as error:
        raise ContractError(f"refused when they come back from JSON: {error}") from None
    if not same:
        raise ContractError(f"others when they come back from JSON: {stored}")


def outputs_of_the_stated_shapes(case: Case) -> None:
    """``forward`` gives logits for ``views`` views, which are one, one a peer or one more; no hook need come first."""
    method = case.fresh
    outputs = method(case.batch(0, method.views)[0])
    if not isinstance(outputs, method.Outputs):
        raise ContractError(f"forward returned {kind(outputs)}, not the method's {_named(method.Outputs)}")
    _check_fields(outputs)
    if not isinstance(outputs.peers, Tensor) or outputs.peers.dim() != 3:
        raise ContractError(f"Outputs.peers is no [K, B, C] but {kind(outputs.peers)}")
    peers = getattr(method.hyperparameters, "peers", len(outputs.peers))
    if method.views not in (1, peers, peers + 1):
        raise ContractError(f"views is {method.views}, neither 1 nor the {peers} peers nor one more")
    one = (BATCH_SIZE, case.num_classes)
    shapes = {
        "peers": (peers, *one),
        "ensemble": one,
        "teachers": (peers, *one),
        "leader": one,
        "targets": (peers, *one),
    }
    for name, shape in shapes.items():
        logits = getattr(outputs, name)
        if logits is not None:
            _check_logits(f"Outputs.{name}", logits, shape)
    if outputs.features is not None and (
        not isinstance(outputs.features, Tensor)
        or outputs.features.dim() != 3
        or outputs.features.shape[:2] != (peers, BATCH_SIZE)
    ):
        raise ContractError(f"Outputs.features is {kind(outputs.features)}, not features [{peers}, {BATCH_SIZE}, d]")
    if outputs.teachers is not None and outputs.teachers.requires_grad:
        raise ContractError("Outputs.teachers carries a gradient")


def _check_fields(outputs: Outputs) -> None:
    """What a method adds to the common fields must be declared, and be tensors, to be carried through training."""
    if not issubclass(type(outputs), Outputs):
        raise ContractError(f"{_named(type(outputs))} is no subclass of Outputs")
    declared = {field.name for field in dataclasses.fields(outputs)}
    if undeclared := vars(outputs).keys() - declared:
        raise ContractError(f"{_named(type(outputs))}.{first(undeclared)} is no field of it: is it a @dataclass?")
    for name in declared:
        value = getattr(outputs, name)
        if value is not None and not isinstance(value, Tensor):
            raise ContractError(f"Outputs.{name} is {kind(value)}, neither a tensor nor None")


def _named(outputs: type[Outputs]) -> str:
    return outputs.__qualname__


def losses_named_finite_scalars(case: Case) -> None:
    """``losses`` gives named scalars that can be summed, early and late in a run."""
    method = case.fresh
    views, labels = case.batch(0, method.views)
    outputs = method(views)
    for where in WHEN:
        terms = method.losses(outputs, labels, where)
        if not isinstance(terms, dict) or not terms:
            raise ContractError(f"losses returned {kind(terms)}, not a dict of named scalars")
        for name, term in terms.items():
            if not isinstance(name, str) or not name.strip():
                raise ContractError(f"a loss has no name (its key: {name!r})")
            if not isinstance(term, Tensor) or term.dim() or not term.is_floating_point():
                raise ContractError(f"the loss {name!r} is no scalar tensor but {kind(term)}")
            if not term.isfinite():
                raise ContractError(f"the loss {name!r} is {term.item()} in epoch {where.epoch} of {where.epochs}")
        if not any(term.requires_grad for term in terms.values()):
            raise ContractError("no loss has a gradient")


def losses_a_function_of_their_arguments(case: Case) -> None:
    """``losses`` depends on nothing but its arguments and the hyperparameters, and changes nothing."""
    method, other = case.build().train(), case.build(1).train()
    views, labels = case.batch(0, method.views)
    outputs = method(views)
    before = snapshot(method)
    terms = method.losses(outputs, labels, WHEN[0])
    if name := difference(terms, method.losses(outputs, labels, WHEN[0])):
        raise ContractError(f"the loss {name!r} is another one when it is computed twice")
    if name := difference(terms, other.losses(outputs, labels, WHEN[0])):
        raise ContractError(f"the loss {name!r} depends on the weights, not on the outputs alone")
    if name := difference(before, method.state_dict()):
        raise ContractError(f"losses changes {name}")


def gradient_for_every_trainable_parameter(case: Case) -> None:
    """Whatever the optimiser is given must be trained by some step, or need no gradient in the first place."""
    if not trainable(case.fresh):
        raise ContractError("no parameter needs a gradient")
    if case.followed.infinite:
        raise ContractError(f"the gradient of {case.followed.infinite} is not finite")
    if case.followed.lacking:
        missing = first(case.followed.lacking)
        raise ContractError(f"{missing} gets none: use it in a loss, or turn its requires_grad off")


def only_after_step_moves_untrained_parameters(case: Case) -> None:
    """What needs no gradient stays bit for bit through ``forward``, ``losses`` and the optimiser's step."""
    if case.followed.switched:
        raise ContractError(f"start leaves {first(case.followed.switched)} with another requires_grad")
    if case.followed.moved:
        raise ContractError(f"{case.followed.moved} needs no gradient and is moved by the step itself")


def modes_kept_by_a_step(case: Case) -> None:
    """What a method turns to eval mode for its own purposes, it turns back."""
    for name, training in case.followed.left.items():
        raise ContractError(f"{name or 'the method'} is left in {'train' if training else 'eval'} mode")


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
        if _distance(logits, once[name][:2]) > 1e-4:
            raise ContractError(f"{name} predicts an image by the others of its batch")


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
            distance = _distance(student(images), predicted[shown])
            if not distance <= 1e-5:
                raise ContractError(
                    f"student({name!r}) is off predict's {shown} by {distance:.1e} of its largest logit"
                )
            for value in (*student.parameters(), *student.buffers()):
                value.zero_()
        if changed := difference(before, method.state_dict()):
            raise ContractError(f"student({name!r}) is no copy: it shares {changed} with the method")
    try:
        method.student("no such student")
    except InputError:
        return
    raise ContractError("student() takes a name that is not among the students")


def state_goes_on_in_a_fresh_instance(case: Case) -> None:
    """The state after ``start`` and some steps is all that a run needs to go on, bit for bit."""
    fresh = case.build(1)
    # a run lets it know its labels before it loads the state
    fresh.labels(case.labels())
    fresh.load_state_dict(copy.deepcopy(case.followed.middle))
    if predictor := difference(case.followed.predicted, predictions(fresh.eval(), case.images())):
        raise ContractError(f"a fresh instance with the same state predicts another {predictor}")
    fresh.train()
    for number, (losses, state) in case.followed.later.items():
        if term := difference(losses, take_step(case, fresh, number)):
            raise ContractError(f"a fresh instance with the same state has another loss {term!r} at its next step")
        if name := difference(state, fresh.state_dict()):
            raise ContractError(f"a fresh instance with the same state has another {name} after its next step")


_GATES: Mapping[str, Callable[[Case], None]] = {
    "outputs of the stated shapes": outputs_of_the_stated_shapes,
    "losses: named finite scalars": losses_named_finite_scalars,
}

_ESSENTIAL = {
    **_GATES,
    "a gradient for every trainable parameter": gradient_for_every_trainable_parameter,
    "predict: deterministic, for all students": predictions_deterministic_for_all_students,
    "student(): equal to its predictor": students_equal_to_their_predictors,
    "parameter_groups: every trained parameter in one": hooks.every_parameter_in_one_group,
}

_STEPS = {
    **_ESSENTIAL,
    "the same weights from the same seed": same_weights_from_the_same_seed,
    "hyperparameters survive storage": hyperparameters_survive_storage,
    "losses: a function of their arguments": losses_a_function_of_their_arguments,
    "losses: smoothed and mixed labels": labels_clause.losses_take_probabilities,
    "only after_step moves untrained parameters": only_after_step_moves_untrained_parameters,
    "train and eval mode kept by a step": modes_kept_by_a_step,
    "state goes on in a fresh instance": state_goes_on_in_a_fresh_instance,
    "random numbers from the run's axis": hooks.draws_from_the_runs_axis_alone,
}

CLAUSES: Mapping[Depth, Mapping[str, Callable[[Case], None]]] = {
    "gates": _GATES,
    "essential": _ESSENTIAL,
    "steps": _STEPS,
    "all": {
        **_STEPS,
        "a run in bfloat16": trainer_runs.computes_in_bfloat16,
        "a run goes on from its checkpoint": trainer_runs.goes_on_from_a_checkpoint,
    },
}
"""By how deep a case is checked; each clause relies on the gates."""


def _distance(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30)).item()


def _check_logits(name: str, logits: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(logits, Tensor) or tuple(logits.shape) != shape:
        raise ContractError(f"{name} is {kind(logits)}, not logits {list(shape)}")
    if not logits.isfinite().all():
        raise ContractError(f"{name} is not finite")
