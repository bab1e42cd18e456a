"""How long a cell of the published table takes at the measured rates, and in which setting it is cheapest."""

from benchmark.probing.records import Cell, CellTime, Feeding, StepSpeed, Together
from benchmark.probing.subject import Subject
from benchmark.speed.estimate import operations_per_image


def cell(subject: Subject, steps: list[StepSpeed], together: list[Together], feeding: list[Feeding]) -> Cell:
    """Return the cell of the table's own method on its first network, the cheapest setting first.

    Three seeds of E epochs take ``seeds E (N (1/train + 1/augmentation) + M/evaluation) / gain`` seconds for N training
    and M test images, where the gain is that of as many runs side by side as there are seeds, at most. Where another
    network was measured, all of it is multiplied by the networks' operations.

    Args:
        subject: What was measured.
        steps: Of any method and network; those of the table's own method count, on its network if it is there.
        together: Runs side by side; none: one at a time.
        feeding: Of the table's own method; none: neither augmentation nor evaluation is counted.
    """
    method, wanted = subject.methods[0], subject.cell_backbone
    own = [step for step in steps if step.method == method and step.images_per_s is not None]
    measured = {step.backbone for step in own}
    # of several smaller ones the first that was measured
    backbone = wanted if wanted in measured else next((name for name in subject.backbones if name in measured), wanted)
    first = subject.run(method, wanted, subject.precisions[0], "eager")
    epochs, shape = first.train.epochs, subject.shape
    factor = 1.0
    if backbone != wanted:
        other = subject.run(method, backbone, subject.precisions[0], "eager")
        factor = operations_per_image(first, shape).train / operations_per_image(other, shape).train
    beside = next((found for found in feeding if found.method == method), None)
    rest = (
        shape.train / beside.augmentation_images_per_s + shape.test / beside.evaluation_images_per_s if beside else 0.0
    )
    best = max((found for found in together if found.runs <= subject.seeds), key=lambda found: found.gain, default=None)
    times = [
        CellTime(
            precision=step.precision,
            mode=step.mode,
            together=count,
            seconds=subject.seeds * epochs * factor * (shape.train / step.images_per_s.median + rest) / gain,
            scaled=backbone != wanted,
        )
        for step in own
        if step.backbone == backbone and step.images_per_s is not None
        for count, gain in {1: 1.0, **({best.runs: best.gain} if best else {})}.items()
    ]
    times.sort(key=lambda time: time.seconds)
    return Cell(method=method, backbone=wanted, epochs=epochs, seeds=subject.seeds, times=times)
