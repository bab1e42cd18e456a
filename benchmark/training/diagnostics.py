"""Why a method is better or worse: how alike its predictors are, how well calibrated, and what pulls at the weights.

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
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import combinations, permutations
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods import Method
from methods.metrics import Role

BINS = 15

ROUNDING = 1e-12
"""Share of a sum of products that is left over where the features are the same for all images."""

MOST_FEATURES = 8192
"""Of all peers together: their products take half a gigabyte then, and no score is worth a run that ends for memory."""


def pairs(roles: Mapping[str, Role], names: Container[str]) -> dict[str, list[tuple[str, str]]]:
    """Return which predictors are compared, as (reference, other), by what the comparison is called."""
    peers, teachers = (
        [name for name, own in roles.items() if own == role and name in names] for role in ("peer", "teacher")
    )
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
        sums = self._sums.split(self._sizes)
        products = [part.split(self._sizes, dim=1) for part in self._products.split(self._sizes)]

        def centred(one: int, other: int) -> Tensor:
            found: Tensor = products[one][other] - torch.outer(sums[one], sums[other]) / self.images
            return found

        def norm(one: int) -> Tensor:
            # what is but the rounding of products that are not centred is no norm
            own: Tensor = torch.linalg.matrix_norm(centred(one, one))
            return own.where(own > ROUNDING * torch.linalg.matrix_norm(products[one][one]), torch.nan)

        every = range(len(self._sizes))
        norms = [norm(one) for one in every]
        values = [
            centred(one, other).square().sum() / (norms[one] * norms[other]) for one, other in combinations(every, 2)
        ]
        return torch.stack(values).mean()


class PeerSimilarity:
    """The peers' linear CKA on what their classifiers read, found by watching a method predict.

    Which classifier is a peer's the method declares (:meth:`methods.Method.classifiers`). A method whose peers have no
    such classifiers has no such score, nor have peers with more than :data:`MOST_FEATURES` features together.
    """

    def __init__(self, method: Method) -> None:
        own = method.classifiers()
        peers = [name for name, role in method.roles().items() if role == "peer"]
        self._classifiers = [own[name] for name in peers] if len(peers) > 1 and own.keys() >= set(peers) else []
        self._similarity = FeatureSimilarity()
        self._wide = False

    @contextmanager
    def watching(self) -> Iterator[dict[int, Tensor]]:
        """Fill a mapping with the features ``[B, d]`` that each peer's classifier reads, while the context lasts."""
        found: dict[int, Tensor] = {}

        def keep(peer: int, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            found[peer] = arguments[0]

        with ExitStack() as hooks:
            for peer, own in enumerate(self._classifiers):
                hooks.enter_context(own.register_forward_pre_hook(partial(keep, peer)))
            yield found

    def add(self, read: Mapping[int, Tensor]) -> None:
        """Count a batch: what :meth:`watching` found when the method predicted it."""
        features = [read[peer] for peer in sorted(read)]
        self._wide |= sum(own.flatten(1).shape[1] for own in features) > MOST_FEATURES
        if features and not self._wide and len(features) == len(self._classifiers):
            self._similarity.add(features)

    def scores(self) -> dict[str, Tensor]:
        """Return ``cka/peers`` as ``[1]``; nothing if there is none."""
        return {"cka/peers": self._similarity.mean()[None]} if self._similarity.images else {}


def gradient_norms(terms: Mapping[str, Tensor], parameters: Sequence[Tensor]) -> dict[str, float]:
    """Return the Euclidean norm of each term's gradient, 0 for a term that reaches nothing; their graph is kept."""
    norms = []
    for term in terms.values():
        found: Sequence[Tensor | None] = ()
        if term.requires_grad:
            found = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        squares = [gradient.double().square().sum() for gradient in found if gradient is not None]
        norms.append(torch.stack(squares).sum().sqrt() if squares else torch.zeros((), device=term.device).double())
    return dict(zip(terms, torch.stack(norms).tolist(), strict=True))


def gradient_scores(norms: Mapping[str, float]) -> dict[str, float]:
    """Return ``gradient/<term>``, the norms, and ``gradient_share/<term>``, each one's part of their sum in percent."""
    total = math.fsum(norms.values())
    shares = {f"gradient_share/{name}": 100 * norm / total if total > 0 else 0.0 for name, norm in norms.items()}
    return {f"gradient/{name}": norm for name, norm in norms.items()} | shares
