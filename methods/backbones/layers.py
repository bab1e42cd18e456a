"""Layers as more than one family begins with them."""

from torch import nn


def linear_without_offset(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A linear layer whose weights are torch's own initialisation and whose bias is zero."""
    linear = nn.Linear(inputs, outputs, bias)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def narrow_linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A linear layer of weights from N(0, 0.01) and bias zero."""
    linear = nn.Linear(inputs, outputs, bias)
    nn.init.normal_(linear.weight, std=0.01)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def biased_convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, initialised by Kaiming's rule (normal, fan out), its bias zero."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
