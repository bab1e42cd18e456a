"""How alike the peers' features are, whatever basis each of them has: linear CKA.

For features X ``[N, d]`` and Y ``[N, e]`` of the same images, centred column by column,

``CKA(X, Y) = ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)``,

in 0..1: 1 where one is a rotation or a multiple of the other, near 0 where they have nothing to do with each other and
N is large beside d and e.

Source: Kornblith et al. (2019), "Similarity of Neural Network Representations Revisited", equations 3 and 5 with linear
kernels.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations

import torch
from torch import Tensor, nn

from benchmark.training.diagnostics import members
from methods import Method
from methods.backbones import Branch

ROUNDING = 1e-12
"""Share of a sum of products that is left over where the features are the same for all images."""

MOST_FEATURES = 8192
"""Of all peers together: their products take half a gigabyte then, and no score is worth a run that ends for memory."""

Read = tuple[Tensor, Tensor]
"""Features ``[B, d]`` that a classifier read, and the logits ``[B, C]`` that it gave."""


class FeatureSimilarity:
    """The mean linear CKA over all pairs of several networks, from their features batch by batch, in float64."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._images = 0
        self._sums = torch.empty(0)
        self._products = torch.empty(0)

    def add(self, features: Sequence[Tensor]) -> None:
        """Count a batch.

        Args:
            features: ``[B, d_k]`` of each network, in the same order every time.
        """
        joined = torch.cat([own.flatten(1).double() for own in features], dim=1)
        if not self._images:
            self._sizes = [own.flatten(1).shape[1] for own in features]
            self._sums = joined.new_zeros(joined.shape[1])
            self._products = joined.new_zeros(joined.shape[1], joined.shape[1])
        self._images += len(joined)
        self._sums += joined.sum(0)
        self._products.addmm_(joined.T, joined)

    def mean(self) -> Tensor:
        """Return the mean over all pairs as a scalar; nan where the features of one do not vary."""
        sums = self._sums.split(self._sizes)
        products = [part.split(self._sizes, dim=1) for part in self._products.split(self._sizes)]

        def centred(one: int, other: int) -> Tensor:
            found: Tensor = products[one][other] - torch.outer(sums[one], sums[other]) / self._images
            return found

        every = range(len(self._sizes))
        norms = [_above_rounding(centred(one, one), products[one][one]) for one in every]
        values = [
            centred(one, other).square().sum() / (norms[one] * norms[other]) for one, other in combinations(every, 2)
        ]
        return torch.stack(values).mean()


def _above_rounding(centred: Tensor, raw: Tensor) -> Tensor:
    """Return the Frobenius norm of centred products, or nan where it is but the rounding of those that are not."""
    norm: Tensor = torch.linalg.matrix_norm(centred)
    return norm.where(norm > ROUNDING * torch.linalg.matrix_norm(raw), torch.nan)


def linear_cka(one: Tensor, other: Tensor) -> float:
    """Return the linear CKA of two networks' features ``[N, d]`` and ``[N, e]``."""
    similarity = FeatureSimilarity()
    similarity.add([one, other])
    return float(similarity.mean())


class PeerSimilarity:
    """The peers' linear CKA on what their classifiers read, found by watching a method predict.

    Whose features are whose follows from the logits: a classifier that gave a peer's logits read its features. A method
    whose peers have no classifier of their own that reads features has no such score, nor have peers with more than
    :data:`MOST_FEATURES` features together.
    """

    def __init__(self, method: Method) -> None:
        self._branches = [module for module in method.modules() if isinstance(module, Branch)]
        self._places: list[int] | None = None
        self._similarity = FeatureSimilarity()

    @contextmanager
    def watching(self) -> Iterator[list[Read]]:
        """Fill a list with what each classifier reads and gives, for as long as the context lasts."""
        found: list[Read] = []

        def keep(module: nn.Module, arguments: tuple[Tensor, ...], logits: Tensor) -> None:
            found.append((arguments[0], logits))

        hooks = [branch.classifier.register_forward_hook(keep) for branch in self._branches]
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()

    def add(self, read: Sequence[Read], predictions: Mapping[str, Tensor]) -> None:
        """Count a batch.

        Args:
            read: From :meth:`watching`.
            predictions: Logits ``[B, C]`` by predictor, of the same images.
        """
        if self._places is None:
            # every batch is predicted in the same order: the device is waited for once
            peers = members("peer", predictions)
            places = _places(read, [predictions[name] for name in peers]) if len(peers) > 1 else []
            wide = sum(read[place][0].flatten(1).shape[1] for place in places) > MOST_FEATURES
            self._places = [] if wide else places
        if self._places:
            self._similarity.add([read[place][0] for place in self._places])

    def scores(self) -> dict[str, Tensor]:
        """Return ``cka/peers`` as ``[1]``; nothing if there is none."""
        return {"cka/peers": self._similarity.mean()[None]} if self._places else {}


def _places(read: Sequence[Read], wanted: Sequence[Tensor]) -> list[int]:
    """Return for each of the wanted logits which classifier gave them, each once; nothing if one is not found."""
    places: list[int] = []
    for logits in wanted:
        others = (place for place in range(len(read)) if place not in places)
        place = next((place for place in others if _same(read[place][1], logits)), None)
        if place is None:
            return []
        places.append(place)
    return places


def _same(given: Tensor, logits: Tensor) -> bool:
    return given.dtype == logits.dtype and torch.equal(given, logits)
