"""torchvision's automatic augmentation, erasing, mixup and CutMix, for a batch at a time and without a wait for it."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import CutMix, MixUp, RandAugment, TrivialAugmentWide, functional
from torchvision.tv_tensors import Video

from benchmark.datasets import uploaded
from benchmark.training.initialisation import seeded_by

PolicyName = Literal["randaugment", "trivialaugment"]

_MOVING = ("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
_BY_VALUE = ("Brightness", "Posterize", "Solarize")
_BLENDING = ("Color", "Contrast", "Sharpness")
_ORDER = (*_MOVING, *_BY_VALUE, *_BLENDING, "AutoContrast", "Equalize")
_TOGETHER = (len(_MOVING), len(_BY_VALUE), 1, 1, 1, 1, 1)
"""How many neighbours in that order are carried out together."""


class Policy:
    """One of torchvision's policies at its defaults: two operations at strength 9 of 0..30, or one at any strength.

    A change is an operation at a strength; a number stands for it, its place among all :attr:`changes`. Where a change
    moves pixels to, or which value it gives a pixel, torchvision is asked once, and is looked up from then on.
    """

    def __init__(self, name: PolicyName, height: int, width: int, device: torch.device) -> None:
        """Ask for all changes; some strengths are measured by the images' sides in pixels."""
        self._transform = {"randaugment": RandAugment, "trivialaugment": TrivialAugmentWide}[name]()
        any_strength = isinstance(self._transform, TrivialAugmentWide)
        self._layers = 1 if any_strength else self._transform.num_ops
        self._bins = self._transform.num_magnitude_bins
        space = self._transform._AUGMENTATION_SPACE
        self._operations = torch.tensor([_ORDER.index(operation) for operation in space])
        self._signed = torch.tensor([signed for _, signed in space.values()])
        chosen = slice(None) if any_strength else slice(self._transform.magnitude, self._transform.magnitude + 1)
        # of each operation: every strength, and every strength once more, with the other sign if it has one
        self.changes: list[tuple[str, float]] = []
        for operation in _ORDER:
            magnitudes, signed = space[operation]
            values = magnitudes(self._bins, height, width)
            strengths = (torch.zeros(self._bins) if values is None else values)[chosen].tolist()
            for sign in (1.0, -1.0 if signed else 1.0):
                self.changes += [(operation, sign * strength) for strength in strengths]
        self._each = len(self.changes) // len(_ORDER)
        places = torch.arange(1, height * width + 1, dtype=torch.float32).view(1, height, width)
        self._moves = self._asked(_MOVING, places).int().to(device)
        self._values = self._asked(_BY_VALUE, torch.arange(256, dtype=torch.uint8).view(1, 1, 256)).to(device)
        factors = [1.0 + strength for operation, strength in self.changes if operation in _BLENDING]
        self._factors = torch.tensor(factors, dtype=torch.float64).view(-1, 1, 1, 1).to(device)
        # thirteen times torchvision's, whose sums are exact in tf32 too
        self._blur = torch.ones(1, 1, 3, 3)
        self._blur[..., 1, 1] = 5
        self._blur = self._blur.to(device)

    def sample(self, source: torch.Generator, count: int) -> Tensor:
        """Return the changes ``[n, L]`` of n images; torchvision samples operation, strength and sign likewise."""
        operations = torch.randint(len(self._operations), (count, self._layers), generator=source)
        bins = torch.randint(self._bins, (count, self._layers), generator=source)
        turned = (torch.rand(count, self._layers, generator=source) <= 0.5) & self._signed[operations]
        strengths = self._each // 2
        return self._operations[operations] * self._each + turned * strengths + bins % strengths

    def __call__(self, images: Tensor, changes: Tensor) -> Tensor:
        """Return changed uint8 images ``[n, C, H, W]`` for changes ``[n, L]``, which are in the host's memory."""
        for layer in changes.unbind(1):
            own, order = layer.sort(stable=True)
            counts = torch.bincount(own // self._each, minlength=len(_ORDER)).split(_TOGETHER)
            lengths = [int(count.sum()) for count in counts]
            order, back, own = uploaded(torch.stack((order, order.argsort(), own)), images.device)
            parts = zip(range(len(_TOGETHER)), images[order].split(lengths), own.split(lengths), strict=True)
            images = torch.cat([self._changed(*part) for part in parts])[back]
        return images

    def _changed(self, part: int, images: Tensor, changes: Tensor) -> Tensor:
        """Return images that operations of one part change."""
        if not len(images):
            return images
        if part == 0:
            # place 0 is what comes in from outside
            padded, places = F.pad(images.flatten(2), (1, 0)), self._moves[changes].long()
            return padded.gather(2, places[:, None].expand(-1, images.shape[1], -1)).view_as(images)
        if part == 1:
            values = self._values[changes - len(_MOVING) * self._each]
            return values.gather(1, images.flatten(1).long()).view_as(images)
        if part > 1 + len(_BLENDING):
            changed: Tensor = (functional.autocontrast, functional.equalize)[part - 2 - len(_BLENDING)](images)
            return changed
        factors = self._factors[changes - (len(_MOVING) + len(_BY_VALUE)) * self._each]
        return (_saturated, _contrasted, self._sharpened)[part - 2](images, factors)

    def _sharpened(self, images: Tensor, factors: Tensor) -> Tensor:
        if min(images.shape[-2:]) <= 2:
            return images
        sharpened = images.double()
        inside = sharpened[..., 1:-1, 1:-1]
        rows = images.flatten(0, 1).unsqueeze(1).float()
        blurred = F.conv2d(rows, self._blur).div_(13).round_().view_as(inside).double()
        inside.addcmul_(blurred - inside, (1.0 - factors).float().double())
        return sharpened.float().clamp_(0, 255).to(torch.uint8)

    def _asked(self, operations: Sequence[str], image: Tensor) -> Tensor:
        """Return what all changes by some operations make of an image ``[1, h, w]``: ``[changes, h w]``."""
        # the one function of torchvision's that all its policies share
        apply, given = self._transform._apply_image_or_video_transform, self._transform
        chosen = [change for change in self.changes if change[0] in operations]
        changed = [apply(image, *change, interpolation=given.interpolation, fill=given._fill) for change in chosen]
        return torch.stack([own.flatten() for own in changed])


def _saturated(images: Tensor, factors: Tensor) -> Tensor:
    return images if images.shape[1] == 1 else _blended(images, functional.rgb_to_grayscale(images), factors)


def _contrasted(images: Tensor, factors: Tensor) -> Tensor:
    grey = functional.rgb_to_grayscale(images).float()
    return _blended(images, grey.mean((1, 2, 3), keepdim=True), factors)


def _blended(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    """Return ``f x + (1 - f) y``, its sum rounded once to float32, as torchvision has it for one factor."""
    # one rounding is what its vector instructions do; the pixels that do not fill a vector it rounds twice
    weighted = (images * factors.float()).double()
    blended = torch.addcmul(weighted, others.double(), (1.0 - factors).float().double())
    return blended.float().clamp_(0, 255).to(torch.uint8)


class Mixing:
    """Mixes a batch with itself, shifted by one: one share for all its images and views.

    With a share ``l ~ Beta(a, a)`` and an image's neighbour x' of label y': mixup has ``l x + (1 - l) x'``, CutMix has
    a rectangle of about ``1 - l`` of the area from x' (its true share is what counts); both ``l y + (1 - l) y'``.

    Source: Zhang et al. (2018), "mixup: Beyond Empirical Risk Minimization"; Yun et al. (2019), "CutMix:
    Regularization Strategy to Train Strong Classifiers with Localizable Features"; as torchvision has them.
    """

    def __init__(self, kind: Literal["mixup", "cutmix"], alpha: float, classes: int) -> None:
        self.transform = {"mixup": MixUp, "cutmix": CutMix}[kind](alpha=alpha, num_classes=classes)

    def __call__(self, views: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Return mixed views ``[V, B, C, H, W]``, channels-last, and labels ``[B]`` as probabilities ``[B, C]``."""
        # the views of an image are to torchvision what the frames of a film are: they are mixed alike
        with seeded_by(seed):
            film, mixed = self.transform(Video(views.transpose(0, 1)), labels)
        together = film.as_subclass(Tensor).transpose(0, 1)
        return together.movedim(-3, -1).contiguous().movedim(-1, -3), mixed
