"""What an epoch takes beside its training steps: augmentation and evaluation."""

import torch

from benchmark.probing.records import Feeding, Precision
from benchmark.probing.subject import Subject
from benchmark.speed.measure import timed, trainer_for, training_step


def feeding(subject: Subject, method: str, backbone: str, precision: Precision) -> Feeding:
    """Measure a method's augmentation and evaluation beside its training step."""
    run = subject.run(method, backbone, precision, "eager")
    trainer = trainer_for(run, subject.shape, str(subject.device))
    device, batch = subject.device, subject.batch_size
    draw = trainer.batches.augmentation.draw(0, "augmentation", 0, trainer.method.views)
    indices = torch.arange(batch, device=device)
    step = training_step(trainer)
    for _ in range(2):
        step()
        trainer.batches.augmentation.views(indices, draw)
    trainer.evaluate()
    training = timed(step, 3, device) / batch
    augmented = timed(lambda: trainer.batches.augmentation.views(indices, draw), 10, device) / batch
    evaluated = timed(trainer.evaluate, 1, device) / len(trainer.test_labels)
    shape = subject.shape
    epoch = shape.train * (training + augmented) + shape.test * evaluated
    return Feeding(
        method=method,
        backbone=backbone,
        augmentation_images_per_s=1 / augmented,
        evaluation_images_per_s=1 / evaluated,
        augmentation_share=shape.train * augmented / epoch,
        evaluation_share=shape.test * evaluated / epoch,
    )
