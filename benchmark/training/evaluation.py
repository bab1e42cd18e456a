"""How well each predictor of a method does on labelled images; diagnostics of why it is better or worse.

Which predictors are peers, teachers or the ensemble the method declares (:meth:`methods.Method.roles`). The i-th
teacher belongs to the i-th peer; a single one belongs to every peer. What a method does not have is left out.

All of it is computed on softmax probabilities (temperature 1), as means over the images:

- ``ece/<predictor>``: expected calibration error, 15 bins of equal width, in 0..1
- ``worst_class/<predictor>``: accuracy in percent on the class on which it is lowest; of the logits alone
- ``class_top1/<index>``, where asked for: accuracy in percent on each class, mean over the students; likewise
- ``distance/peers``: Euclidean distance between the probabilities of two peers, mean over all pairs
- ``kl/peers``: Kullback-Leibler divergence between two peers in nats, mean over all ordered pairs
- ``disagreement/peers``: images in percent on which two peers' first classes differ, mean over all pairs
- the same with ``/teachers`` among the teachers and ``/teacher-peer`` between teacher and peer, there with
  ``KL(teacher || peer)``

- ``cka/peers``: linear CKA of the peers' features, :class:`FeatureSimilarity`
- ``gradient/<term>``, ``gradient_share/<term>``: see :func:`gradient_scores`

Distance and divergence go to 0 where peers become copies of each other: homogenisation. The distance is what OKDDip
calls diversity: Chen et al. (2020), "Online Knowledge Distillation with Diverse Peers", section 4.4.
"""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from itertools import combinations, islice, permutations
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.datasets import Images
from benchmark.training.batches import Normalisation
from methods import Method
from methods.metrics import Role

BATCH_SIZE = 500

BINS = 15

ROUNDING = 1e-12
"""Share of a sum of products that is left over where the features are the same for all images."""

MOST_FEATURES = 8192
"""Of all peers together: their products take half a gigabyte then, and no score is worth a run that ends for memory."""

Floats = npt.NDArray[np.float32]


@torch.no_grad()
def evaluate(
    method: Method,
    images: Images,
    labels: Tensor,
    normalisation: Normalisation,
    diagnose: bool = False,
    by_class_of: Sequence[str] = (),
) -> dict[str, float]:
    """Return the scores of every predictor, in eval mode, over all uint8 images ``[N, C, H, W]``, labels ``[N]``.

    They are ``top1/<predictor>`` and ``top5/<predictor>`` in percent, ``nll/<predictor>`` in nats; ``gain/ensemble``
    and ``gain/teachers``, what ensemble and teachers (their mean) are better than the peers' mean by, in points. With
    ``diagnose`` the diagnostics of this module too, and the mean accuracy of the predictors ``by_class_of`` on each
    class.
    """
    totals: dict[str, Tensor] = {}
    roles = method.roles()
    similarity = PeerSimilarity(method)
    with similarity.watching() if diagnose else nullcontext():
        for batch, predictions in _batches(method, images, normalisation):
            sums = {f"/{name}": _sums(logits, labels[batch]) for name, logits in predictions.items()}
            if diagnose:
                sums |= batch_sums(predictions, labels[batch], roles)
                similarity.add_read()
            totals = {name: totals[name] + value if name in totals else value for name, value in sums.items()}
    if similarity.images:
        totals["cka/peers"] = similarity.mean()[None]
    # one transfer for all scores: this is the only point of an epoch that waits for the device
    numbers = iter(torch.cat(list(totals.values())).tolist())
    host = {name: list(islice(numbers, len(value))) for name, value in totals.items()}
    scores: dict[str, float] = {}
    predictors = [name.removeprefix("/") for name in host if name.startswith("/")]
    for name in predictors:
        top1, top5, nll = (value / len(labels) for value in host.pop(f"/{name}"))
        scores |= {f"top1/{name}": 100 * top1, f"top5/{name}": 100 * top5, f"nll/{name}": nll}
    peers, teachers, ensembles = (
        [scores[f"top1/{name}"] for name in named(role, roles, predictors)] for role in ("peer", "teacher", "ensemble")
    )
    for name, own in (("gain/ensemble", ensembles[:1]), ("gain/teachers", teachers)):
        if own and peers:
            scores[name] = sum(own) / len(own) - sum(peers) / len(peers)
    return scores | summary(host, len(labels), by_class_of)


@torch.no_grad()
def predicted(method: Method, images: Images, normalisation: Normalisation) -> dict[str, Floats]:
    """Return the logits ``[N, C]`` of every predictor, in eval mode, on all uint8 images ``[N, C, H, W]``."""
    parts: dict[str, list[Tensor]] = {}
    for _, predictions in _batches(method, images, normalisation):
        for name, logits in predictions.items():
            parts.setdefault(name, []).append(logits.float().cpu())
    return {name: torch.cat(logits).numpy() for name, logits in parts.items()}


def _batches(
    method: Method, images: Images, normalisation: Normalisation
) -> Iterator[tuple[slice, Mapping[str, Tensor]]]:
    """Yield which images a batch has, and the logits of every predictor for them; the method is in eval mode."""
    training = method.training
    method.eval()
    try:
        for start in range(0, images.shape[0], BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            yield batch, method.predict(normalisation.of_images(images[batch]))
    finally:
        method.train(training)


def _sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sums over the batch of: in the first, in the first five, and negative log-likelihood."""
    logits = logits.double()
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    nll = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([ranked[:, 0].sum(), ranked.any(1).sum(), nll])


# ---- diagnostics ----


def named(role: Role, roles: Mapping[str, Role], names: Container[str]) -> list[str]:
    """Return those of some predictors that have a role."""
    return [name for name, own in roles.items() if own == role and name in names]


def pairs(roles: Mapping[str, Role], names: Container[str]) -> dict[str, list[tuple[str, str]]]:
    """Return which predictors are compared, as (reference, other), by what the comparison is called."""
    peers, teachers = named("peer", roles, names), named("teacher", roles, names)
    taught = [(teachers[0], peer) for peer in peers] if len(teachers) == 1 else list(zip(teachers, peers, strict=False))
    compared = {
        "peers": list(permutations(peers, 2)),
        "teachers": list(permutations(teachers, 2)),
        "teacher-peer": taught,
    }
    return {name: found for name, found in compared.items() if found}


def batch_sums(predictions: Mapping[str, Tensor], labels: Tensor, roles: Mapping[str, Role]) -> dict[str, Tensor]:
    """Return sums over a batch, labels ``[B]`` and logits ``[B, C]``, of which :func:`summary` makes scores."""
    logs = {name: F.log_softmax(logits.double(), dim=1) for name, logits in predictions.items()}
    sums = {f"ece/{name}": calibration_sums(log.exp(), labels) for name, log in logs.items()}
    # of each class: its images [C], and by predictor how many of them it got right
    classes = next(iter(predictions.values())).shape[1]
    member = (labels[:, None] == torch.arange(classes, device=labels.device)).double()
    sums["counts"] = member.sum(0)
    # a matrix product instead of scattered additions, as below
    sums |= {f"hits/{name}": (own.argmax(1) == labels).double() @ member for name, own in predictions.items()}
    for what, compared in pairs(roles, predictions).items():
        each = [_difference(logs[reference], logs[other]) for reference, other in compared]
        sums[what] = torch.stack(each).mean(0)
    return sums


def summary(sums: Mapping[str, Sequence[float]], images: int, by_class_of: Sequence[str] = ()) -> dict[str, float]:
    """Return the scores of all images from the added sums of :func:`batch_sums`, brought to the host.

    Of ``by_class_of``, usually the students, the mean accuracy on each class is given too.
    """
    counts = sums.get("counts", ())
    there = [index for index, count in enumerate(counts) if count]
    shares = {
        name.removeprefix("hits/"): {index: 100 * hits[index] / counts[index] for index in there}
        for name, hits in sums.items()
        if name.startswith("hits/")
    }
    scores = {f"worst_class/{name}": min(own.values()) for name, own in shares.items()}
    if shares and by_class_of:
        scores |= {f"class_top1/{index}": fmean(shares[name][index] for name in by_class_of) for index in there}
    for name, values in sums.items():
        kind = name.partition("/")[0]
        if kind == "ece":
            # sum_b |sum over the bin of (confidence - hit)| / N, the mean gap weighted by the bins' sizes
            scores[name] = sum(map(abs, values)) / images
        elif kind == "cka":
            (scores[name],) = values
        elif kind not in ("hits", "counts"):
            distance, kl, disagreement = (value / images for value in values)
            scores |= {f"distance/{name}": distance, f"kl/{name}": kl, f"disagreement/{name}": 100 * disagreement}
    return scores


def calibration_sums(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return for every bin of confidence the sum of ``confidence - hit`` over the batch: ``[B, C] -> [16]``.

    The bins are torchmetrics': a confidence on a boundary belongs to the upper bin, and exactly 1 has one of its own.
    """
    confidence, predicted = probabilities.max(1)
    boundaries = torch.linspace(0, 1, BINS + 1, dtype=probabilities.dtype, device=probabilities.device)
    bins = torch.bucketize(confidence, boundaries, right=True) - 1
    # a matrix product instead of scattered additions, whose order and so whose last bits CUDA leaves open
    member = (bins[None] == torch.arange(BINS + 1, device=bins.device)[:, None]).to(probabilities.dtype)
    return member @ (confidence - (predicted == labels).to(probabilities.dtype))


def _difference(reference: Tensor, other: Tensor) -> Tensor:
    """Return the sums over the batch of distance, ``KL(reference || other)`` and disagreement of log probabilities."""
    probabilities, others = reference.exp(), other.exp()
    distance = (probabilities - others).norm(dim=1).sum()
    kl = (probabilities * (reference - other)).sum()
    disagreement = (reference.argmax(1) != other.argmax(1)).sum()
    return torch.stack([distance, kl, disagreement.to(distance.dtype)])


class FeatureSimilarity:
    """The mean linear CKA over all pairs of several networks, from their features batch by batch, in float64.

    For features X ``[N, d]`` and Y ``[N, e]`` of the same images, centred column by column,
    ``CKA(X, Y) = ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)``, in 0..1: 1 where one is a rotation or a multiple of the
    other, near 0 where they have nothing to do with each other and N is large beside d and e.

    Source: Kornblith et al. (2019), "Similarity of Neural Network Representations Revisited", equations 3 and 5 with
    linear kernels.
    """

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self.images = 0  # that were counted
        self._sums = torch.empty(0)
        self._products = torch.empty(0)

    def add(self, features: Sequence[Tensor]) -> None:
        """Count a batch: ``[B, d_k]`` of each network, in the same order every time."""
        joined = torch.cat([own.flatten(1).double() for own in features], dim=1)
        if not self.images:
            self._sizes = [own.flatten(1).shape[1] for own in features]
            self._sums = joined.new_zeros(joined.shape[1])
            self._products = joined.new_zeros(joined.shape[1], joined.shape[1])
        self.images += len(joined)
        self._sums += joined.sum(0)
        self._products.addmm_(joined.T, joined)

    def mean(self) -> Tensor:
        """Return the mean over all pairs as a scalar; nan where the features of one do not vary."""
        products = self._products - torch.outer(self._sums, self._sums) / self.images

        def of(matrix: Tensor, one: int, other: int) -> Tensor:
            block: Tensor = matrix.split(self._sizes)[one].split(self._sizes, dim=1)[other]
            return block.contiguous()

        def norm(one: int) -> Tensor:
            # what is but the rounding of products that are not centred is no norm
            own, whole = (torch.linalg.matrix_norm(of(matrix, one, one)) for matrix in (products, self._products))
            found: Tensor = own.where(own > ROUNDING * whole, torch.nan)
            return found

        every = range(len(self._sizes))
        norms = [norm(one) for one in every]
        peers = combinations(every, 2)
        values = [of(products, *pair).square().sum() / (norms[pair[0]] * norms[pair[1]]) for pair in peers]
        return torch.stack(values).mean()


class PeerSimilarity(FeatureSimilarity):
    """The peers' linear CKA on what their classifiers read, found by watching a method predict.

    Which classifier is a peer's the method declares (:meth:`methods.Method.classifiers`). A method whose peers have no
    such classifiers has no such score, nor have peers with more than :data:`MOST_FEATURES` features together.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        own, roles = method.classifiers(), method.roles()
        peers = named("peer", roles, roles)
        self._classifiers = [own[name] for name in peers] if len(peers) > 1 and own.keys() >= set(peers) else []
        self._read: dict[int, Tensor] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the features ``[B, d]`` that each peer's classifier reads, while the context lasts."""

        def keep(peer: int, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            self._read[peer] = arguments[0]

        with ExitStack() as hooks:
            for peer, own in enumerate(self._classifiers):
                hooks.enter_context(own.register_forward_pre_hook(partial(keep, peer)))
            yield

    def add_read(self) -> None:
        """Count a batch: what was read when the method predicted it."""
        features = [self._read.pop(peer) for peer in sorted(self._read)]
        narrow = sum(own.flatten(1).shape[1] for own in features) <= MOST_FEATURES
        if features and narrow and len(features) == len(self._classifiers):
            self.add(features)


def gradient_scores(terms: Mapping[str, Tensor], parameters: Sequence[Tensor]) -> dict[str, float]:
    """Return ``gradient/<term>``, the Euclidean norm of each term's gradient, and ``gradient_share/<term>``.

    The norm is 0 for a term that reaches nothing; a share is a norm's part of their sum in percent. The terms' graph
    is kept.
    """
    norms = []
    for term in terms.values():
        found: Sequence[Tensor | None] = ()
        if term.requires_grad:
            found = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        squares = [gradient.double().square().sum() for gradient in found if gradient is not None]
        norms.append(torch.stack(squares).sum().sqrt() if squares else torch.zeros((), device=term.device).double())
    lengths = torch.stack(norms).tolist()
    total = math.fsum(lengths)
    scores = {f"gradient/{name}": norm for name, norm in zip(terms, lengths, strict=True)}
    shares = [100 * norm / total if total > 0 else 0.0 for norm in lengths]
    return scores | {f"gradient_share/{name}": share for name, share in zip(terms, shares, strict=True)}
