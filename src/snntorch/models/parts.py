"""What the networks share: their default neuron, their layers, how weights are drawn, the names of stems."""

from collections.abc import Callable

from torch import nn

import snntorch as snn

Neuron = Callable[[], nn.Module]
Norm = Callable[[int], nn.Module]


def leaky() -> nn.Module:
    """The neurons where none are given."""
    return snn.Leaky(beta=0.5, init_hidden=True)


def unit(
    before: int, after: int, kernel: int, neuron: Neuron, norm: Norm, stride: int = 1, bias: bool = False,
    pools: bool = False,
) -> nn.Sequential:  # fmt: skip
    """A convolution of an odd kernel, a norm, a pooling that halves the image where wanted, and neurons."""
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=bias)
    return nn.Sequential(layer, norm(after), *[nn.MaxPool2d(3, 2, 1)] * pools, neuron())


def draw(net: nn.Module) -> None:
    """Draw the convolutions' weights for networks of many layers (He et al., ICCV 2015)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def check_stem(stem: str) -> None:
    """Raise ValueError for an unknown stem."""
    if stem not in ("cifar", "imagenet"):
        raise ValueError(f"stem must be 'cifar' or 'imagenet', got {stem!r}")
