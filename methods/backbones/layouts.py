"""How networks lay out what their layers hand on, and how that becomes maps ``[B, C, H, W]`` and back.

Maps stay as they are. Tokens ``[B, N, C]`` become maps ``[B, C, N, 1]``, channels-last maps ``[B, H, W, C]`` are
permuted, and features ``[B, C]`` become maps of one pixel, so that a mean over the pixels means the same for all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor


def same(values: Tensor) -> Tensor:
    """Return maps as they are."""
    return values


def tokens_to_maps(tokens: Tensor) -> Tensor:
    """Return ``[B, N, C]`` as ``[B, C, N, 1]``."""
    return tokens.transpose(1, 2).unsqueeze(3)


def maps_to_tokens(maps: Tensor) -> Tensor:
    """Return ``[B, C, N, 1]`` as ``[B, N, C]``."""
    return maps.squeeze(3).transpose(1, 2)


def channels_to_front(maps: Tensor) -> Tensor:
    """Return ``[B, H, W, C]`` as ``[B, C, H, W]``."""
    return maps.permute(0, 3, 1, 2)


def channels_to_back(maps: Tensor) -> Tensor:
    """Return ``[B, C, H, W]`` as ``[B, H, W, C]``."""
    return maps.permute(0, 2, 3, 1)


def features_to_maps(features: Tensor) -> Tensor:
    """Return ``[B, C]`` as ``[B, C, 1, 1]``."""
    return features.unsqueeze(2).unsqueeze(3)


def maps_to_features(maps: Tensor) -> Tensor:
    """Return ``[B, C, 1, 1]`` as ``[B, C]``."""
    return maps.flatten(1)


def repeat_grey(images: Tensor) -> Tensor:
    """Return grey images ``[B, 1, H, W]`` as colour images ``[B, 3, H, W]`` of three equal channels."""
    return images.expand(-1, 3, -1, -1)


@dataclass(frozen=True)
class Layout:
    """One way to lay out channels and pixels.

    Attributes:
        channel: The axis of the channels.
        to_maps: From this layout to maps ``[B, C, H, W]``.
        from_maps: Back again.
    """

    channel: int
    to_maps: Callable[[Tensor], Tensor]
    from_maps: Callable[[Tensor], Tensor]


FEATURES = Layout(1, features_to_maps, maps_to_features)
TOKENS = Layout(2, tokens_to_maps, maps_to_tokens)
MAPS = Layout(1, same, same)
CHANNELS_LAST = Layout(3, channels_to_front, channels_to_back)


def layout_of(shape: Sequence[int]) -> Layout:
    """Return the layout of a tensor that comes from square images: two equal sides are height and width."""
    match len(shape):
        case 2:
            return FEATURES
        case 3:
            return TOKENS
        case _:
            return CHANNELS_LAST if shape[1] == shape[2] != shape[3] else MAPS
