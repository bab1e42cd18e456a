"""How alike the peers' features are, whatever basis each of them has: linear CKA.

For features X ``[N, d]`` and Y ``[N, e]`` of the same images, centred column by column,

``CKA(X, Y) = ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)``,

in 0..1: 1 where one is a rotation or a multiple of the other, near 0 where they have nothing to do with each other and
N is large beside d and e.

Source: Kornblith et al. (2019), "Similarity of Neural Network Representations Revisited", equations 3 and 5 with linear
kernels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations

import torch
from torch import Tensor, nn

from methods import Method

ROUNDING = 1e-12
"""Share of a sum of products that is left over where the features are the same for all images."""

MOST_FEATURES = 8192
"""Of all peers together: their products take half a gigabyte then, and no score is worth a run that ends for memory."""


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

    @property
    def counted(self) -> int:
        """How many images were counted."""
        return self._images

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

        def keeper(peer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
                found[peer] = arguments[0]

            return keep

        hooks = [own.register_forward_pre_hook(keeper(peer)) for peer, own in enumerate(self._classifiers)]
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()

    def add(self, read: Mapping[int, Tensor]) -> None:
        """Count a batch: what :meth:`watching` found when the method predicted it."""
        features = [read[peer] for peer in sorted(read)]
        self._wide |= sum(own.flatten(1).shape[1] for own in features) > MOST_FEATURES
        if features and not self._wide and len(features) == len(self._classifiers):
            self._similarity.add(features)

    def scores(self) -> dict[str, Tensor]:
        """Return ``cka/peers`` as ``[1]``; nothing if there is none."""
        return {"cka/peers": self._similarity.mean()[None]} if self._similarity.counted else {}
