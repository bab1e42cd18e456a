"""The contract that every method keeps: one function a clause, which raises a ContractError where it is broken."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.checking.cases import BATCH_SIZE, WHEN, Case, Depth, optimise, prepare, take_step, trainable
from methods import Outputs
from methods.errors import InputError
from methods.interface import Method

State = Mapping[str, Any]


class ContractError(Exception):
    """A method breaks its contract; the message says how."""


def same_weights_from_the_same_seed(case: Case) -> None:
    """Runs of one seed are paired only if all of a method's draws come from torch's generator."""
    if name := _difference(case.build().state_dict(), case.build().state_dict()):
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
    """``forward`` gives logits for ``views`` views, which are one or one a peer."""
    method = case.fresh
    outputs = method(case.batch(0, method.views)[0])
    if not isinstance(outputs, Outputs):
        raise ContractError(f"forward returned {_kind(outputs)}, not Outputs")
    if not isinstance(outputs.peers, Tensor) or outputs.peers.dim() != 3:
        raise ContractError(f"Outputs.peers is no [K, B, C] but {_kind(outputs.peers)}")
    peers = getattr(method.hyperparameters, "peers", len(outputs.peers))
    if method.views not in (1, peers):
        raise ContractError(f"views is {method.views}, neither 1 nor the {peers} peers")
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
    if outputs.teachers is not None and outputs.teachers.requires_grad:
        raise ContractError("Outputs.teachers carries a gradient")


def losses_named_finite_scalars(case: Case) -> None:
    """``losses`` gives named scalars that can be summed, early and late in a run."""
    method = case.fresh
    views, labels = case.batch(0, method.views)
    outputs = method(views)
    for where in WHEN:
        terms = method.losses(outputs, labels, where)
        if not isinstance(terms, dict) or not terms:
            raise ContractError(f"losses returned {_kind(terms)}, not a dict of named scalars")
        for name, term in terms.items():
            if not isinstance(name, str) or not name.strip():
                raise ContractError(f"a loss has no name (its key: {name!r})")
            if not isinstance(term, Tensor) or term.dim() or not term.is_floating_point():
                raise ContractError(f"the loss {name!r} is no scalar tensor but {_kind(term)}")
            if not term.isfinite():
                raise ContractError(f"the loss {name!r} is {term.item()} in epoch {where.epoch} of {where.epochs}")
        if not any(term.requires_grad for term in terms.values()):
            raise ContractError("no loss has a gradient")


def losses_a_function_of_their_arguments(case: Case) -> None:
    """``losses`` depends on nothing but its arguments and the hyperparameters, and changes nothing."""
    method, other = case.build().train(), case.build(1).train()
    views, labels = case.batch(0, method.views)
    outputs = method(views)
    before = _snapshot(method)
    terms = method.losses(outputs, labels, WHEN[0])
    if name := _difference(terms, method.losses(outputs, labels, WHEN[0])):
        raise ContractError(f"the loss {name!r} is another one when it is computed twice")
    if name := _difference(terms, other.losses(outputs, labels, WHEN[0])):
        raise ContractError(f"the loss {name!r} depends on the weights, not on the outputs alone")
    if name := _difference(before, method.state_dict()):
        raise ContractError(f"losses changes {name}")


def gradient_for_every_trainable_parameter(case: Case) -> None:
    """Whatever the optimiser is given must be trained by some step, or need no gradient in the first place."""
    if not trainable(case.fresh):
        raise ContractError("no parameter needs a gradient")
    # the gradients of its last step are still there, and mostly they are all
    missing = trainable(case.trained).keys() - _gradients(case.trained)
    if not missing:
        return
    method = case.build()
    prepare(case, method)
    for number in range(len(WHEN)):
        take_step(case, method, number)
        missing -= _gradients(method)
    if missing:
        raise ContractError(f"{_first(missing)} gets none: use it in a loss, or turn its requires_grad off")


def _gradients(method: Method) -> set[str]:
    gradients = {name: value.grad for name, value in trainable(method).items() if value.grad is not None}
    for name, gradient in gradients.items():
        if not gradient.isfinite().all():
            raise ContractError(f"the gradient of {name} is not finite")
    return set(gradients)


def only_after_step_moves_untrained_parameters(case: Case) -> None:
    """What needs no gradient stays bit for bit through ``forward``, ``losses`` and the optimiser's step."""
    method = case.build()
    trained = set(trainable(method))
    prepare(case, method)
    if set(trainable(method)) != trained:
        raise ContractError(f"start leaves {_first(set(trainable(method)) ^ trained)} with another requires_grad")
    for number in range(2):
        before = _untrained(method)
        optimise(case, method, number)
        if name := _difference(before, _untrained(method)):
            raise ContractError(f"{name} needs no gradient and is moved by the step itself")
        method.after_step(WHEN[number])


def modes_kept_by_a_step(case: Case) -> None:
    """What a method turns to eval mode for its own purposes, it turns back."""
    method = case.build().train()
    modes = {name: module.training for name, module in method.named_modules()}
    prepare(case, method)
    for number in range(3):
        take_step(case, method, number)
        for name, module in method.named_modules():
            if module.training != modes[name]:
                raise ContractError(f"{name or 'the method'} is left in {'train' if module.training else 'eval'} mode")


def predictions_deterministic_for_all_students(case: Case) -> None:
    """``predict`` gives the same finite logits again, image by image, for every student, and changes nothing."""
    images = case.images()
    before = _snapshot(case.trained)
    first = _predictions(case.trained, images)
    if missing := set(case.trained.students) - first.keys():
        raise ContractError(f"predict does not give the student {_first(missing)}")
    for name, logits in first.items():
        _check_logits(f"predict's {name}", logits, (BATCH_SIZE, case.num_classes))
    if predictor := _difference(first, _predictions(case.trained, images)):
        raise ContractError(f"{predictor} predicts something else the second time")
    if changed := _difference(before, case.trained.state_dict()):
        raise ContractError(f"predict changes {changed}")
    for name, logits in _predictions(case.trained, images[:2]).items():
        if _distance(logits, first[name][:2]) > 1e-4:
            raise ContractError(f"{name} predicts an image by the others of its batch")


def students_equal_to_their_predictors(case: Case) -> None:
    """``student`` gives copies that predict what ``predict`` gives under their names."""
    method, images = case.trained, case.images()
    before = _snapshot(method)
    predicted = _predictions(method, images)
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
        if changed := _difference(before, method.state_dict()):
            raise ContractError(f"student({name!r}) is no copy: it shares {changed} with the method")
    try:
        method.student("no such student")
    except InputError:
        return
    raise ContractError("student() takes a name that is not among the students")


def state_goes_on_in_a_fresh_instance(case: Case) -> None:
    """The state after ``start`` and some steps is all that a run needs to go on, bit for bit."""
    method, fresh = case.build(), case.build(1)
    prepare(case, method)
    for number in range(3):
        take_step(case, method, number)
    fresh.load_state_dict(_snapshot(method))
    images = case.images()
    ours, theirs = (_predictions(part.eval(), images) for part in (method, fresh))
    if predictor := _difference(ours, theirs):
        raise ContractError(f"a fresh instance with the same state predicts another {predictor}")
    for number in range(3, len(WHEN)):
        losses = [take_step(case, part.train(), number) for part in (method, fresh)]
        if term := _difference(*losses):
            raise ContractError(f"a fresh instance with the same state has another loss {term!r} at its next step")
        if name := _difference(method.state_dict(), fresh.state_dict()):
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
}

CLAUSES: Mapping[Depth, Mapping[str, Callable[[Case], None]]] = {
    "gates": _GATES,
    "essential": _ESSENTIAL,
    "all": {
        **_ESSENTIAL,
        "the same weights from the same seed": same_weights_from_the_same_seed,
        "hyperparameters survive storage": hyperparameters_survive_storage,
        "losses: a function of their arguments": losses_a_function_of_their_arguments,
        "only after_step moves untrained parameters": only_after_step_moves_untrained_parameters,
        "train and eval mode kept by a step": modes_kept_by_a_step,
        "state goes on in a fresh instance": state_goes_on_in_a_fresh_instance,
    },
}
"""By how deep a case is checked; each clause relies on the gates."""


def _untrained(method: Method) -> State:
    return {name: value.detach().clone() for name, value in method.named_parameters() if not value.requires_grad}


def _snapshot(method: Method) -> State:
    return copy.deepcopy(method.state_dict())


def _predictions(method: Method, images: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        return method.predict(images)


def _difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """Return the first name under which the values are not the same bit for bit."""
    if ours.keys() != theirs.keys():
        return _first(ours.keys() ^ theirs.keys())
    for name, value in ours.items():
        same = torch.equal(value, theirs[name]) if isinstance(value, Tensor) else value == theirs[name]
        if not same:
            return name
    return None


def _distance(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30)).item()


def _check_logits(name: str, logits: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(logits, Tensor) or tuple(logits.shape) != shape:
        raise ContractError(f"{name} is {_kind(logits)}, not logits {list(shape)}")
    if not logits.isfinite().all():
        raise ContractError(f"{name} is not finite")


def _first(names: set[str]) -> str:
    return f"{min(names)}{f' (and {len(names) - 1} more)' if len(names) > 1 else ''}"


def _kind(value: Any) -> str:
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
