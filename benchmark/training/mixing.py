"""Mixup and CutMix: images of a batch with parts of each other, and labels with the same shares."""

from typing import Literal

from torch import Tensor
from torchvision.transforms.v2 import CutMix, MixUp
from torchvision.tv_tensors import Video

from benchmark.training.augmentation import channels_inside
from benchmark.training.randomness import drawing_from

Kind = Literal["mixup", "cutmix"]


class Mixing:
    """Mixes a batch with itself, shifted by one: one share for all its images and views.

    With a share ``l ~ Beta(a, a)`` and an image's neighbour x' of label y': mixup has ``l x + (1 - l) x'``, CutMix has
    a rectangle of about ``1 - l`` of the area from x' (its true share is what counts); both ``l y + (1 - l) y'``.

    Source: Zhang et al. (2018), "mixup: Beyond Empirical Risk Minimization"; Yun et al. (2019), "CutMix:
    Regularization Strategy to Train Strong Classifiers with Localizable Features"; as torchvision has them.
    """

    def __init__(self, kind: Kind, alpha: float, classes: int) -> None:
        """Make it.

        Args:
            kind: ``mixup`` or ``cutmix``.
            alpha: a, above 0.
            classes: C.
        """
        self.transform = {"mixup": MixUp, "cutmix": CutMix}[kind](alpha=alpha, num_classes=classes)

    def __call__(self, views: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Return mixed views ``[V, B, C, H, W]``, channels-last, and mixed labels as probabilities ``[B, C]``.

        Args:
            views: ``[V, B, C, H, W]``.
            labels: ``[B]``, class indices.
            seed: Of the share and of the rectangle.
        """
        # the views of an image are to torchvision what the frames of a film are: they are mixed alike
        with drawing_from(seed):
            film, mixed = self.transform(Video(views.transpose(0, 1)), labels)
        together = film.as_subclass(Tensor).transpose(0, 1)
        return channels_inside(together).movedim(-1, -3), mixed
