"""One run: an epoch of training and its evaluation at a time."""

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import methods
from benchmark.augmentation import Augmentation, Normalisation
from benchmark.config import RunConfig
from benchmark.datasets import Dataset, LabelledImages
from benchmark.evaluation import evaluate
from benchmark.randomness import axis_seed, generator
from methods import Progress
from methods.interface import Batch

Row = dict[str, float]


class DivergedError(RuntimeError):
    """The training loss is no finite number any more."""


def choose_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` means on this machine.

    Raises:
        methods.errors.InputError: If it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise methods.errors.InputError(f"no device {name!r} here: {reason} (valid: auto, cpu, cuda, cuda:N)") from None
    return device


def on_device(part: LabelledImages, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return images and labels as tensors; on the CPU they share the arrays' memory, which nobody writes to."""
    with warnings.catch_warnings():
        # arrays in Ray's object store are read-only
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        # flat first: numpy leaves the stride of an axis of length 1 open, and torch chooses its kernels by strides
        images = torch.from_numpy(part.images.reshape(-1)).view(part.images.shape)
        return images.to(device), torch.from_numpy(part.labels).to(device)


class Trainer:
    """A run in progress: call :meth:`epoch` until :attr:`done`."""

    def __init__(
        self, config: RunConfig, dataset: Dataset, device: torch.device, plugins: Sequence[str | Path] = ()
    ) -> None:
        """Draw the networks, move the data to the device and let the method prepare itself."""
        torch.set_num_threads(config.train.threads)
        self.config = config
        self.dataset = dataset
        self.next_epoch = 0
        self.step = 0
        self.method = _draw_method(config, dataset, plugins).to(device)
        self.normalisation = Normalisation.of(dataset.mean, dataset.std, device)
        images, self.labels = on_device(dataset.train, device)
        self.test_images, self.test_labels = on_device(dataset.test, device)
        self.augmentation = Augmentation(images, self.normalisation, config.data.pad, config.data.flip)
        self.parameters = [parameter for parameter in self.method.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(
            self.parameters,
            lr=config.train.lr,
            momentum=config.train.momentum,
            nesterov=config.train.nesterov,
            weight_decay=config.train.weight_decay,
        )
        self.method.train()
        # whatever a method draws during training comes from an axis of its own
        torch.manual_seed(axis_seed(config.seed, "method"))
        self.method.start(self._endless_batches("start"))

    @property
    def done(self) -> bool:
        """Whether all planned epochs are trained."""
        return self.next_epoch >= self.config.train.epochs

    def epoch(self) -> Row:
        """Train one epoch, evaluate, and return its metrics.

        Returns:
            ``epoch`` (0-based), ``lr``, ``seconds``, ``loss`` and ``loss/<term>`` (means over the images), the scores
            of :func:`benchmark.evaluation.evaluate` and ``student``, the mean top-1 accuracy of the students.

        Raises:
            DivergedError: If the loss is not finite.
        """
        begin = time.perf_counter()
        epoch = self.next_epoch
        lr = self.config.train.lr_at(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        losses = self._train(epoch)
        scores = evaluate(self.method, self.test_images, self.test_labels, self.normalisation)
        self.next_epoch += 1
        students = [scores[f"top1/{name}"] for name in self.method.students]
        timing = {"lr": lr, "seconds": time.perf_counter() - begin}
        return {"epoch": epoch, **timing, **losses, "student": sum(students) / len(students), **scores}

    def save_students(self, folder: Path) -> None:
        """Write each student's weights to ``<folder>/<student>.safetensors``, with what is needed to rebuild it."""
        for name in self.method.students:
            student = self.method.student(name)
            metadata = {
                "student": name,
                "method": self.config.method,
                "backbone": self._backbone_of(name),
                "num_classes": str(len(self.dataset.classes)),
                "in_channels": str(self.dataset.in_channels),
                "image_size": str(self.dataset.image_size),
                "run": self.config.identity,
            }
            shared = self.config.hyperparameters.get("shared_stages")
            if shared is not None:
                metadata["shared_stages"] = str(shared)
            weights = {key: value.contiguous().cpu() for key, value in student.state_dict().items()}
            temporary = folder / f".{name}.safetensors.tmp"
            save_file(weights, temporary, metadata)
            temporary.rename(folder / f"{name}.safetensors")

    def _backbone_of(self, student: str) -> str:
        parts = self.config.backbone.split("+")
        return parts[self.method.students.index(student)] if len(parts) > 1 else parts[0]

    def _train(self, epoch: int) -> Row:
        totals: dict[str, Tensor] = {}
        self.method.train()
        for views, labels in self._batches("order", "augmentation", epoch):
            progress = Progress(epoch, self.step, self.config.train.epochs)
            terms = self.method.losses(self.method(views), labels, progress)
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(torch.stack(list(terms.values())).sum())
            self.optimizer.step()
            self.method.after_step(progress)
            self.step += 1
            for name, term in terms.items():
                weighted = term.detach() * len(labels)
                totals[name] = totals[name] + weighted if name in totals else weighted
        # one transfer an epoch: the device is never waited for in between
        means = (torch.stack(list(totals.values())) / len(self.labels)).tolist()
        losses = {f"loss/{name}": mean for name, mean in zip(totals, means, strict=True)}
        broken = [name for name, mean in losses.items() if not math.isfinite(mean)]
        if broken:
            raise DivergedError(f"epoch {epoch}: {', '.join(broken)} is not finite")
        return {"loss": sum(means), **losses}

    def _batches(self, order_axis: str, view_axis: str, epoch: int) -> Iterator[Batch]:
        seed, size = self.config.seed, self.config.train.batch_size
        device = self.labels.device
        draw = self.augmentation.draw(seed, view_axis, epoch, self.method.views)
        order = torch.randperm(len(self.labels), generator=generator(seed, order_axis, epoch)).to(device)
        for indices in _without_single(order.split(size)):
            yield self.augmentation.views(indices, draw), self.labels[indices]

    def _endless_batches(self, axis: str) -> Iterator[Batch]:
        for epoch in count():
            yield from self._batches(f"{axis}-order", f"{axis}-augmentation", epoch)


def _without_single(batches: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Join a last batch of one image to the one before it: batch statistics of a single value are not defined."""
    if len(batches) > 1 and len(batches[-1]) == 1:
        return (*batches[:-2], torch.cat(batches[-2:]))
    return batches


def _draw_method(config: RunConfig, dataset: Dataset, plugins: Sequence[str | Path]) -> methods.Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(axis_seed(config.seed, "weights"))
        return methods.build(
            config.method,
            backbone=config.backbone,
            num_classes=len(dataset.classes),
            in_channels=dataset.in_channels,
            image_size=dataset.image_size,
            plugins=plugins,
            **config.hyperparameters,
        )
