"""A plug-in: a network that takes little time, and a method that makes a mistake where it is told to."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from methods import Outputs, Progress
from methods.backbones import Backbone
from methods.objectives import cross_entropy
from methods.peers import PeerHyperparameters, SeparatePeers


def two_layers(name: str, num_classes: int, in_channels: int, image_size: int, more: int = 0) -> Backbone:
    """Return a network of two convolutions."""

    def layer(inputs: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, 8, 3, stride, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(8), nn.ReLU(inplace=True)]

    def last() -> nn.Module:
        return nn.Sequential(*layer(8, 2), *(part for _ in range(more) for part in layer(8, 1)))

    return Backbone(
        name=name,
        stages=[lambda: nn.Sequential(*layer(in_channels, 1)), last],
        channels=[8, 8],
        shared_stages=1,
        classifier=lambda: nn.Linear(8, num_classes),
        linear=nn.Linear,
        num_classes=num_classes,
        deepen=lambda extra: two_layers(name, num_classes, in_channels, image_size, more + extra),
    )


class Mistaken(SeparatePeers):
    """Makes one mistake in its loss."""

    name = "mistaken"
    Hyperparameters = PeerHyperparameters

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: PeerHyperparameters) -> None:
        super().__init__(backbones, hyperparameters, hyperparameters.peers)
        self.mistake: Callable[..., object] = lambda outputs, labels: None

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropy, after the mistake."""
        self.mistake(outputs, labels)
        return {"cross_entropy": cross_entropy(outputs.peers, labels)}
