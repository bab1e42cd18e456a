"""One run: an epoch of training and its evaluation at a time."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from benchmark.configuration import RunConfig
from benchmark.datasets import Dataset, Images, image_digests, on_device, uploaded
from benchmark.store import Predictions, atomic
from benchmark.training import devices, evaluation, initialisation, recorded, steps
from benchmark.training.batches import Batches, Normalisation
from methods import Outputs, Progress
from methods.errors import InputError

Row = dict[str, float]

TRAINING_SAMPLE = 2000
"""Training images, at most, on which the students are scored to see how much they fit what they were trained on."""


class DivergedError(RuntimeError):
    """The training loss, a predictor's outputs or a student's weights are not finite any more."""


class CollapsedError(RuntimeError):
    """The students are no better than chance, and have not been for some time."""


class Trainer:
    """A run in progress: call :meth:`epoch` until :attr:`done`."""

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        device: torch.device,
        plugins: Sequence[str | Path] = (),
        record: bool = True,
    ) -> None:
        """Initialise the networks, move the data to the device and let the method prepare itself.

        Steps are recorded, where the configuration has it so, unless ``record`` is False.
        """
        train = config.train
        devices.reset_peak_memory(device)
        self.arithmetic = devices.PrecisionConfig.of(device, train)
        self.arithmetic.apply(train.threads)
        self.config = config
        self.dataset = dataset
        self.next_epoch = 0
        self.step = 0
        self.normalisation = Normalisation.of(dataset.mean, dataset.std, device, train.channels_last)
        self.method = initialisation.initialise_method(config, dataset.shape, plugins).to(device)
        self.method = self.method.to(memory_format=self.normalisation.layout)
        recorded.count_on_the_host(self.method)
        # the compiled form shares the method's weights; everything but the training step uses the plain one
        self.forward: Callable[[Tensor], Outputs] = torch.compile(self.method) if train.compile else self.method
        self.batches = Batches(config, dataset, self.normalisation, device, self.method.views)
        self.labels = self.batches.labels
        self.test_images, self.test_labels = on_device(dataset.test, device)
        self.chance = chance_limit(len(dataset.classes), len(self.test_labels))
        self.parameters = [parameter for parameter in self.method.parameters() if parameter.requires_grad]
        self.groups = steps.decayed_groups(steps.parameter_groups(self.method), train)
        self.optimizer = steps.make_optimizer(self.groups, train)
        self._notes: list[str] = []
        self._told = False
        # of a training step without evaluation: the mean of each epoch that was trained here
        self.step_seconds: list[float] = []
        self.recorded: recorded.RecordedStep | None = None
        if record and devices.records_steps(train, config.method, self.arithmetic):
            self.recorded = recorded.RecordedStep(self.method, self.optimizer, train.batch_size)
        self.method.train()
        # a method's random numbers during training have a seed of their own
        torch.manual_seed(initialisation.axis_seed(config.seed, "method"))
        self.method.labels(self.labels)
        self.method.start(self.batches.endless("start"))

    @property
    def done(self) -> bool:
        """Whether all planned epochs are trained."""
        return self.next_epoch >= self.config.train.epochs

    def epoch(self) -> Row:
        """Train one epoch, evaluate, and return its metrics.

        They are ``epoch`` (0-based), ``lr`` (of its last step), ``seconds``, ``loss`` and ``loss/<term>`` (means over
        the images), and ``method/<score>`` of what the method itself records. Evaluated epochs have ``student``, the
        students' mean top-1 accuracy, and the scores of :func:`benchmark.training.evaluation.evaluate`; of those the
        last one and every ``train.diagnostics_every``-th epoch also its diagnostics, and ``train_student``, the
        students' accuracy on training images.

        Raises a DivergedError if the loss or the outputs of a predictor are not finite.
        """
        begin, before = time.perf_counter(), self.step
        epoch = self.next_epoch
        losses = self._train(epoch)
        self.step_seconds.append((time.perf_counter() - begin) / (self.step - before))
        lr = self.config.train.lr_at(epoch) * self.config.train.warmup_at(self.step - 1, self.batches.per_epoch)
        self.next_epoch += 1
        scores: Row = {}
        train = self.config.train
        if self.done or self.next_epoch % train.eval_every == 0:
            diagnosed = self.done or (train.diagnostics_every > 0 and self.next_epoch % train.diagnostics_every == 0)
            scores = self.evaluate(diagnosed)
            if diagnosed:
                count = len(self.labels)
                # spread over all of them: the images of a folder are in the order of its classes
                indices = torch.arange(0, count, max(1, count // TRAINING_SAMPLE))[:TRAINING_SAMPLE]
                where = uploaded(indices, self.labels.device)
                own = self._evaluate(self.batches.augmentation.pixels(indices, where), self.labels[where])
                scores["train_student"] = fmean(own[f"top1/{name}"] for name in self.method.students)
                scores |= self._gradients(epoch)
        if self.done and scores["student"] <= self.chance < 100:
            self._notes.append(
                f"the students' accuracy after training, {scores['student']:.2f} %, is indistinguishable from guessing "
                f"(at most {self.chance:.2f} % on {len(self.test_labels)} images)"
            )
        return {"epoch": epoch, "lr": lr, "seconds": time.perf_counter() - begin, **losses, **scores}

    def evaluate(self, diagnose: bool = False) -> Row:
        """Return the scores of every predictor, and the students' mean accuracy as ``student``."""
        by_class_of = self.method.students if self.config.train.class_accuracy else ()
        scores = self._evaluate(self.test_images, self.test_labels, diagnose, by_class_of)
        likelihoods = {name.removeprefix("nll/"): score for name, score in scores.items() if name.startswith("nll/")}
        if broken := [name for name, score in likelihoods.items() if not math.isfinite(score)]:
            raise DivergedError(f"after epoch {self.next_epoch - 1}: the outputs of {', '.join(broken)} are not finite")
        own = [scores[f"top1/{name}"] for name in self.method.students]
        return {"student": sum(own) / len(own), **scores}

    def _evaluate(self, images: Images, labels: Tensor, *how: Any) -> Row:
        with self.arithmetic.autocast():
            return evaluation.evaluate(self.method, images, labels, self.normalisation, *how)

    def train_step(self, batch: steps.StepBatch, progress: Progress) -> steps.Terms:
        """Take one optimiser step, at the learning rates of that point of the run; return the loss terms, detached."""

        def optimise(batch: steps.StepBatch, at: Progress) -> steps.Terms:
            return steps.optimise(self.method, self.optimizer, batch, at, self.forward, self.arithmetic.autocast())

        train = self.config.train
        warmup = train.warmup_at(progress.step, self.batches.per_epoch)
        steps.set_rates(self.optimizer, self.groups, train, progress.epoch, warmup)
        terms = self.recorded(optimise, batch, progress) if self.recorded else optimise(batch, progress)
        self.method.after_step(progress)
        return terms

    def take_notes(self) -> list[str]:
        """Return what a person should know of the steps so far, once."""
        notes, self._notes = self._notes, []
        # who did not ask for recorded steps is not told that there are none
        if not self._told and self.config.train.graph != "auto" and self.recorded and self.recorded.refusal:
            self._told = True
            notes.append(f"train.graph: {self.config.method} falls back to the standard step: {self.recorded.refusal}")
        return notes

    def check_collapse(self, rows: Sequence[Row]) -> None:
        """Raise a CollapsedError if the last ``train.collapse_epochs`` evaluations of a run were all at chance.

        See :func:`chance_limit`. Where guessing may well get all of so few images right, nothing is said.
        """
        needed = self.config.train.collapse_epochs
        scored = [row for row in rows if "student" in row][-needed:]
        if self.chance < 100 and len(scored) == needed and all(row["student"] <= self.chance for row in scored):
            counted = f"in {needed} evaluations in a row, until epoch {scored[-1]['epoch']}"
            raise CollapsedError(f"at chance (at most {self.chance:.2f} %) {counted}")

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on, as plain data and tensors."""
        return {
            "next_epoch": self.next_epoch,
            "step": self.step,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(self.labels.device) if self.labels.is_cuda else None,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from where :meth:`state` was taken: the numbers are those of a run that was never interrupted."""
        self.next_epoch = state["next_epoch"]
        self.step = state["step"]
        self.method.load_state_dict(state["method"])
        # the groups and their rates follow from the configuration: the state is each parameter's own, in their order
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
        torch.set_rng_state(state["random"])
        if self.labels.is_cuda and state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"], self.labels.device)

    def predictions(self) -> Predictions:
        """Return the logits of every predictor on the scored images, as they are now, or raise an InputError."""
        with self.arithmetic.autocast():
            logits = evaluation.predicted(self.method, self.test_images, self.normalisation)
        if broken := [name for name, values in logits.items() if not np.isfinite(values).all()]:
            raise InputError(f"{self.config.label}: the outputs of {', '.join(broken)} are not finite")
        return Predictions(
            run=self.config.identity,
            logits=logits,
            labels=self.dataset.test.labels,
            images=image_digests(self.dataset.test),
            classes=tuple(self.dataset.classes),
            students=tuple(self.method.students),
            split=self.config.split,
        )

    def save_students(self, folder: Path) -> None:
        """Write each student's weights to ``<folder>/<student>.safetensors``, with what is needed to rebuild it."""
        dataset, backbones = self.dataset, self.config.backbone.split("+")
        shared = self.config.hyperparameters.get("shared_stages")
        for name in self.method.students:
            student = self.method.student(name)
            weights = {key: value.contiguous().cpu() for key, value in student.state_dict().items()}
            if not all(weight.isfinite().all() for weight in weights.values()):
                raise DivergedError(f"the weights of {name} are not finite")
            metadata = {
                "student": name,
                "method": self.config.method,
                "backbone": backbones[self.method.students.index(name) if len(backbones) > 1 else 0],
                # what the student needs to be of use without the data
                "num_classes": str(len(dataset.classes)),
                "in_channels": str(dataset.shape.in_channels),
                "image_size": str(dataset.shape.image_size),
                **{key: json.dumps(list(getattr(dataset, key))) for key in ("classes", "mean", "std")},
                "run": self.config.identity,
                **({} if shared is None else {"shared_stages": str(shared)}),
            }
            atomic.write_bytes(folder / f"{name}.safetensors", save(weights, metadata))

    def _train(self, epoch: int) -> Row:
        totals: dict[str, Tensor] = {}
        self.method.train()
        for batch, last in self.batches.of_epoch("order", "augmentation", epoch):
            terms = self.train_step(batch, Progress(epoch, self.step, self.config.train.epochs, last))
            self.step += 1
            for name, term in terms.items():
                weighted = term * len(batch.labels)
                totals[name] = totals[name] + weighted if name in totals else weighted
        # one transfer an epoch: the device is never waited for in between
        means = (torch.stack(list(totals.values())) / len(self.labels)).tolist()
        losses = {f"loss/{name}": mean for name, mean in zip(totals, means, strict=True)}
        if broken := [name for name, mean in losses.items() if not math.isfinite(mean)]:
            raise DivergedError(f"epoch {epoch}: {', '.join(broken)} is not finite")
        own = {f"method/{name}": score for name, score in self.method.scores().items()}
        return {"loss": sum(means), **losses, **own}

    def _gradients(self, epoch: int) -> Row:
        """Return how much each loss term pulls at the weights, on one batch of its own, without effect on the run."""
        with steps.without_effect(self.method, self.labels.device):
            batch, _ = next(self.batches.of_epoch("diagnostics-order", "diagnostics-augmentation", epoch))
            progress = Progress(epoch, self.step, self.config.train.epochs)
            # not the compiled form, whose graph can be walked only once
            _, terms = steps.outputs_and_losses(self.method, batch, progress, autocast=self.arithmetic.autocast())
            return evaluation.gradient_scores(terms, self.parameters)


def chance_limit(classes: int, images: int) -> float:
    """Return the accuracy in percent up to which guessing explains it: three standard deviations above chance."""
    chance = 1 / classes
    return 100 * (chance + 3 * math.sqrt(chance * (1 - chance) / images))
