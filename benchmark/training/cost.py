"""What a run takes: weights, operations, memory."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.training.devices import peak_memory
from benchmark.training.gradients import without_a_trace
from benchmark.training.stepping import StepBatch, outputs_and_losses
from benchmark.training.trainer import Trainer
from methods import Progress

COUNTED_IMAGES = 4


def cost(trainer: Trainer) -> dict[str, float]:
    """Return what a run takes.

    Returns:
        ``parameters`` that are trained and ``student_parameters`` of the deployed (first) student; ``state_mib`` of
        all parameters and buffers, mean teachers and memory banks included;
        ``step_multiply_adds`` and ``student_multiply_adds``, of a training step (forward and backward) and of the
        deployed student, per image, by ``torch.utils.flop_counter``; ``peak_memory_mib`` since the run began: on CUDA
        of the device's tensors, else of this process. A run that ended in an error may lack the counts.
    """
    student = trainer.method.student()
    return {
        **_weights(trainer, student),
        **_operations(trainer, student),
        "peak_memory_mib": peak_memory(trainer.labels.device),
    }


def _weights(trainer: Trainer, student: nn.Module) -> dict[str, float]:
    # mean teachers and memory banks are held beside what is trained
    state = (*trainer.method.parameters(), *trainer.method.buffers())
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.parameters),
        "student_parameters": sum(parameter.numel() for parameter in student.parameters()),
        "state_mib": sum(value.nbytes for value in state) / 2**20,
    }


def _operations(trainer: Trainer, student: nn.Module) -> dict[str, float]:
    try:
        device = trainer.labels.device
        return without_a_trace(trainer.method, device, lambda: _counted(trainer, student))
    except Exception:
        # what broke the run may break this too; how the run ended must be told all the same
        return {}


def _counted(trainer: Trainer, student: nn.Module) -> dict[str, float]:
    # on the device, where the method is: for the meta device it would have to be made once more
    method = trainer.method.train()
    labels = trainer.labels[:COUNTED_IMAGES]
    indices = torch.arange(len(labels), device=labels.device)
    shape = (method.views, len(labels), *trainer.test_images.shape[1:])
    views = torch.rand(shape, device=labels.device)
    with FlopCounterMode(display=False) as step:
        progress = Progress(0, 0, trainer.config.train.epochs)
        _, terms = outputs_and_losses(method, StepBatch(views, labels, indices), progress)
        torch.autograd.grad(torch.stack(list(terms.values())).sum(), trainer.parameters, allow_unused=True)
    with FlopCounterMode(display=False) as deployed, torch.no_grad():
        student(views[0])
    return {
        "step_multiply_adds": step.get_total_flops() / 2 / len(labels),
        "student_multiply_adds": deployed.get_total_flops() / 2 / len(labels),
    }
