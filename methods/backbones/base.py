"""What a backbone is: stages in order and a classifier, each initialised whenever it is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from methods.errors import InputError


@dataclass(frozen=True)
class Backbone:
    """An architecture for one image shape and number of classes; its methods initialise new weights at every call.

    Attributes:
        name: As on the command line.
        stages: Factories of the parts in order, the input convolution with the first stage being the first.
        channels: Output channels after each of the stages.
        shared_stages: How many stages peers share in the published branch networks.
        classifier: Factory of the map from pooled features ``[B, d]`` to logits ``[B, C]``.
        linear: Factory of further linear layers, initialised as this family does: (inputs, outputs, bias).
        num_classes: C.
        in_channels: Channels of the images.
        image_size: Side of the square images in pixels.
        deepen: The architecture with so many more blocks, layers or convolutions in its last stage, at least one; None
            if it has no deeper form.
    """

    name: str
    stages: Sequence[Callable[[], nn.Module]]
    channels: Sequence[int]
    shared_stages: int
    classifier: Callable[[], nn.Module]
    linear: Callable[[int, int, bool], nn.Linear]
    num_classes: int
    in_channels: int = 3
    image_size: int = 32
    deepen: Callable[[int], "Backbone"] | None = None

    @property
    def features(self) -> int:
        """The number d of pooled features that the classifier reads."""
        return self.channels[-1]

    def split(self, shared_stages: int | None = None) -> int:
        """Return how many stages are shared: the published number for None.

        Raises:
            InputError: Unless at least one stage is shared and one left to the branch.
        """
        split = self.shared_stages if shared_stages is None else shared_stages
        if not 1 <= split < len(self.stages):
            raise InputError(f"shared_stages of {self.name} must be in 1..{len(self.stages) - 1} (given: {split})")
        return split

    def stem(self, shared_stages: int | None = None) -> nn.Sequential:
        """Initialise the shared part: images ``[B, C_in, H, W]`` to maps ``[B, channels[split - 1], h, w]``."""
        return nn.Sequential(*(stage() for stage in self.stages[: self.split(shared_stages)]))

    def branch(self, shared_stages: int | None = None) -> "Branch":
        """Initialise the part that each peer has for itself: the stem's maps to features and logits."""
        return Branch([stage() for stage in self.stages[self.split(shared_stages) :]], self.classifier())

    def network(self, shared_stages: int | None = None) -> "Network":
        """Initialise a whole network; the number of shared stages decides its weights' names alone."""
        return Network(self.stem(shared_stages), self.branch(shared_stages))

    def deeper(self, extra: int) -> "Backbone":
        """Return the architecture with ``extra`` more blocks, layers or convolutions in its last stage.

        The earlier stages are the same, so that branches of different depth may share them.

        Raises:
            InputError: If ``extra`` is negative, or the architecture has no deeper form.
        """
        if extra < 0:
            raise InputError(f"{self.name} can be made deeper by 0 or more (given: {extra})")
        if extra == 0:
            return self
        if self.deepen is None:
            raise InputError(f"{self.name} has no deeper form, which branches of different depth need")
        return replace(self.deepen(extra), in_channels=self.in_channels, image_size=self.image_size)


class Branch(nn.Module):
    """The last stages, global average pooling and the classifier."""

    def __init__(self, stages: Sequence[nn.Module], classifier: nn.Module) -> None:
        super().__init__()
        self.stages = nn.Sequential(*stages)
        self.classifier = classifier

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return pooled features ``[B, d]`` and logits ``[B, C]`` for the stem's maps ``[B, c, h, w]``."""
        return self.read(self.maps(maps))

    def maps(self, maps: Tensor) -> Tensor:
        """Return the last stage's maps ``[B, d, h', w']`` for the stem's maps ``[B, c, h, w]``."""
        last: Tensor = self.stages(maps)
        return last

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return pooled features ``[B, d]`` and logits ``[B, C]`` for the last stage's maps ``[B, d, h', w']``."""
        features = maps.mean((2, 3))
        return features, self.classifier(features)


class Network(nn.Module):
    """A stem and a branch as one classifier: images to logits."""

    def __init__(self, stem: nn.Module, branch: Branch) -> None:
        super().__init__()
        self.stem = stem
        self.branch = branch

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return pooled features ``[B, d]`` and logits ``[B, C]``."""
        features, logits = self.branch(self.stem(images))
        return features, logits

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[B, C]`` for images ``[B, C_in, H, W]``."""
        return self.features_and_logits(images)[1]
