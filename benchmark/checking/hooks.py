"""Clauses on what a run calls around a step: the optimiser's groups, and where random numbers come from."""

import random

import numpy as np
import torch

from benchmark.checking.cases import LAST_OF_EPOCH, RATES, WHEN, Case, prepare, step
from benchmark.checking.comparing import ContractError
from benchmark.training import learning_rate, parameter_groups
from methods import Method
from methods.errors import InputError


def every_parameter_in_one_group(case: Case) -> None:
    """``parameter_groups`` holds each trained parameter once, under a learning rate that is a number in every epoch."""
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


def draws_from_the_runs_axis_alone(case: Case) -> None:
    """Random numbers of a run come from torch's generator, which the run seeds, keeps and never finds reseeded."""
    # numpy's legacy generator is what a careless hook would draw from: its state is looked at, nothing is drawn
    other = random.getstate(), repr(np.random.get_state())
    ends = [_generator_after(case, case.build(), seed) for seed in (1, 2)]
    if torch.equal(*ends):
        raise ContractError("a step reseeds torch's generator: the run's seed then means nothing")
    for name, before, after in zip(
        ("random", "numpy.random"), other, (random.getstate(), repr(np.random.get_state())), strict=True
    ):
        if before != after:
            raise ContractError(f"a hook or a step draws from {name}, which no run seeds: draw from torch's generator")


def _generator_after(case: Case, method: Method, seed: int) -> torch.Tensor:
    prepare(case, method, seed)
    # a step that is the last of an epoch: whatever there is to do is done after it
    step(case, method, LAST_OF_EPOCH)
    method.after_step(WHEN[LAST_OF_EPOCH])
    method.scores()
    return torch.get_rng_state()
