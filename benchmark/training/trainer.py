"""One run: an epoch of training and its evaluation at a time."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from benchmark.configuration import RunConfig
from benchmark.datasets import Dataset, Images, on_device, uploaded
from benchmark.store import Predictions, atomic
from benchmark.training.batches import Batches, Normalisation
from benchmark.training.devices import PrecisionConfig, check_settings, records_steps, reset_peak_memory
from benchmark.training.diagnostics import gradient_norms, gradient_scores
from benchmark.training.evaluation import evaluate, evaluating, predicted, predictions_of
from benchmark.training.initialisation import axis_seed, initialise_method
from benchmark.training.recorded import RecordedStep, count_on_the_host
from benchmark.training.steps import (
    StepBatch,
    Terms,
    decayed_groups,
    make_optimizer,
    optimise,
    outputs_and_losses,
    parameter_groups,
    set_rates,
    without_effect,
)
from benchmark.training.students import describe_data
from methods import Outputs, Progress

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

        Args:
            record: Whether steps may be recorded where the configuration has them recorded.
        """
        train = config.train
        reset_peak_memory(device)
        self.arithmetic = PrecisionConfig.of(device, train.precision, train.deterministic)
        check_settings([config], device)
        self.arithmetic.apply(train.threads)
        self.config = config
        self.dataset = dataset
        self.next_epoch = 0
        self.step = 0
        self.layout = torch.channels_last if train.channels_last else torch.contiguous_format
        self.method = initialise_method(config, dataset.shape, plugins).to(device).to(memory_format=self.layout)
        count_on_the_host(self.method)
        # the compiled form shares the method's weights; everything but the training step uses the plain one
        self.forward: Callable[[Tensor], Outputs] = torch.compile(self.method) if train.compile else self.method
        self.normalisation = Normalisation.of(dataset.mean, dataset.std, device)
        self.batches = Batches(config, dataset, self.normalisation, device, self.method.views)
        self.labels = self.batches.labels
        self.test_images, self.test_labels = on_device(dataset.test, device)
        self.parameters = [parameter for parameter in self.method.parameters() if parameter.requires_grad]
        self.groups = decayed_groups(parameter_groups(self.method), train)
        self.optimizer = make_optimizer(self.groups, train)
        self._notes: list[str] = []
        # of a training step without evaluation: the mean of each epoch that was trained here
        self.step_seconds: list[float] = []
        self.recorded = (
            RecordedStep(self.method, self.optimizer, train.batch_size)
            if record and records_steps(train, config.method, self.arithmetic)
            else None
        )
        # who did not ask for recorded steps is not told that there are none
        self._told = self.recorded is not None and train.graph == "auto"
        self.method.train()
        # a method's random numbers during training have a seed of their own
        torch.manual_seed(axis_seed(config.seed, "method"))
        self.method.labels(self.labels)
        self.method.start(self.batches.endless("start"))

    @property
    def done(self) -> bool:
        """Whether all planned epochs are trained."""
        return self.next_epoch >= self.config.train.epochs

    def epoch(self) -> Row:
        """Train one epoch, evaluate, and return its metrics.

        Returns:
            ``epoch`` (0-based), ``lr`` (of its last step), ``seconds``, ``loss`` and ``loss/<term>`` (means over
            the images), ``method/<score>`` of what the method itself records, the scores of
            :func:`benchmark.training.evaluation.evaluate` and ``student``, the mean top-1 accuracy of the students;
            the latter two only in epochs that are evaluated. Of those the last one and every
            ``train.diagnostics_every``-th epoch also have the scores of :mod:`benchmark.training.diagnostics`, and
            ``train_student``, the students' accuracy on training images.

        Raises:
            DivergedError: If the loss or the outputs of a predictor are not finite.
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
                scores |= self._on_training_images() | self._gradients(epoch)
        limit = chance_limit(len(self.dataset.classes), len(self.test_labels))
        if self.done and scores["student"] <= limit < 100:
            self._notes.append(
                f"the students' accuracy after training, {scores['student']:.2f} %, is indistinguishable from guessing "
                f"(at most {limit:.2f} % on {len(self.test_labels)} images)"
            )
        return {"epoch": epoch, "lr": lr, "seconds": time.perf_counter() - begin, **losses, **scores}

    def evaluate(self, diagnose: bool = False) -> Row:
        """Return the scores of every predictor, and the students' mean accuracy as ``student``."""
        by_class_of = self.method.students if self.config.train.class_accuracy else ()
        scores = self._evaluate(self.test_images, self.test_labels, diagnose, by_class_of)
        likelihoods = {name.removeprefix("nll/"): score for name, score in scores.items() if name.startswith("nll/")}
        if broken := [name for name, score in likelihoods.items() if not math.isfinite(score)]:
            raise DivergedError(f"after epoch {self.next_epoch - 1}: the outputs of {', '.join(broken)} are not finite")
        students = [scores[f"top1/{name}"] for name in self.method.students]
        return {"student": sum(students) / len(students), **scores}

    def _evaluate(self, images: Images, labels: Tensor, *how: Any) -> Row:
        with self.arithmetic.autocast():
            return evaluate(self.method, images, labels, self.normalisation, self.layout, *how)

    def _on_training_images(self) -> Row:
        """Return ``train_student``, the students' mean accuracy on training images, without augmentation."""
        count = len(self.labels)
        # spread over all of them: the images of a folder are in the order of its classes
        indices = torch.arange(0, count, max(1, count // TRAINING_SAMPLE))[:TRAINING_SAMPLE]
        where = uploaded(indices, self.labels.device)
        scores = self._evaluate(self.batches.augmentation.pixels(indices, where), self.labels[where])
        return {"train_student": fmean(scores[f"top1/{name}"] for name in self.method.students)}

    def train_step(self, batch: StepBatch, progress: Progress) -> Terms:
        """Take one optimiser step and return the loss terms, detached."""
        terms = self.recorded(self._optimise, batch, progress) if self.recorded else self._optimise(batch, progress)
        self.method.after_step(progress)
        return terms

    def _optimise(self, batch: StepBatch, progress: Progress) -> Terms:
        return optimise(self.method, self.optimizer, batch, progress, self.forward, self.arithmetic.autocast())

    def take_notes(self) -> list[str]:
        """Return what a person should know of the steps so far, once."""
        notes, self._notes = self._notes, []
        if self.recorded is None or self.recorded.refusal is None or self._told:
            return notes
        self._told = True
        return [*notes, f"train.graph: {self.config.method} falls back to the standard step: {self.recorded.refusal}"]

    def check_collapse(self, rows: Sequence[Row]) -> None:
        """Raise a CollapsedError if the last evaluations of a run were all at chance.

        At chance is an accuracy that guessing exceeds once in a thousand times (three standard deviations of
        the share of hits among the scored images). How many in a row is ``train.collapse_epochs``. Where there are so
        few images that guessing may well get all of them right, nothing is said.
        """
        needed = self.config.train.collapse_epochs
        scored = [row for row in rows if "student" in row]
        limit = chance_limit(len(self.dataset.classes), len(self.test_labels))
        if limit < 100 and len(scored) >= needed and all(row["student"] <= limit for row in scored[-needed:]):
            last = scored[-1]["epoch"]
            raise CollapsedError(
                f"at chance (at most {limit:.2f} %) in {needed} evaluations in a row, until epoch {last}"
            )

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
        """Return the logits of every predictor on the scored images, as they are now."""
        with evaluating(self.method), self.arithmetic.autocast():
            logits = predicted(self.method.predict, self.test_images, self.normalisation, self.layout)
        return predictions_of(self.config, self.dataset, logits, self.method.students)

    def save_students(self, folder: Path) -> None:
        """Write each student's weights to ``<folder>/<student>.safetensors``, with what is needed to rebuild it."""
        backbones, shared = self.config.backbone.split("+"), self.config.hyperparameters.get("shared_stages")
        for name in self.method.students:
            student = self.method.student(name)
            weights = {key: value.contiguous().cpu() for key, value in student.state_dict().items()}
            if not all(weight.isfinite().all() for weight in weights.values()):
                raise DivergedError(f"the weights of {name} are not finite")
            metadata = {
                "student": name,
                "method": self.config.method,
                "backbone": backbones[self.method.students.index(name) if len(backbones) > 1 else 0],
                **describe_data(self.dataset),
                "run": self.config.identity,
                **({} if shared is None else {"shared_stages": str(shared)}),
            }
            atomic.write_bytes(folder / f"{name}.safetensors", save(weights, metadata))

    def _train(self, epoch: int) -> Row:
        totals: dict[str, Tensor] = {}
        self.method.train()
        train = self.config.train
        for batch, last in self.batches.of_epoch("order", "augmentation", epoch):
            set_rates(self.optimizer, self.groups, train, epoch, train.warmup_at(self.step, self.batches.per_epoch))
            progress = Progress(epoch, self.step, train.epochs, last)
            terms = self.train_step(batch, progress)
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
        with without_effect(self.method, self.labels.device):
            batch, _ = next(self.batches.of_epoch("diagnostics-order", "diagnostics-augmentation", epoch))
            progress = Progress(epoch, self.step, self.config.train.epochs)
            # not the compiled form, whose graph can be walked only once
            _, terms = outputs_and_losses(self.method, batch, progress, autocast=self.arithmetic.autocast())
            return gradient_scores(gradient_norms(terms, self.parameters))


def chance_limit(classes: int, images: int) -> float:
    """Return the accuracy in percent up to which guessing explains it: three standard deviations above chance."""
    chance = 1 / classes
    return 100 * (chance + 3 * math.sqrt(chance * (1 - chance) / images))
