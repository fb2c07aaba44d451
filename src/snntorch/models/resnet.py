"""Spike-element-wise residual networks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import snntorch as snn

from .parts import Neuron, Norm, check_stem, draw, leaky, unit

CONNECTIONS = ("add", "and", "iand")


class SEWBlock(nn.Module):
    """Two convolutions, each with norm and neuron, joined spike by spike with the input: `y = g(A(x), x)`.

    `g = A + x` (`"add"`), `A x` (`"and"`) or `(1 - A) x` (`"iand"`).
    """

    def __init__(self, before: int, channels: int, stride: int, connection: str, neuron: Neuron, norm: Norm) -> None:
        super().__init__()
        self.connection = connection
        self.first = unit(before, channels, 3, neuron, norm, stride)
        self.second = unit(channels, channels, 3, neuron, norm)
        same = stride == 1 and before == channels
        self.shortcut = nn.Identity() if same else unit(before, channels, 1, neuron, norm, stride)

    def forward(self, x: Tensor) -> Tensor:
        """One time step, `[B, before, H, W] -> [B, channels, H / stride, W / stride]`."""
        made, x = self.second(self.first(x)), self.shortcut(x)
        if self.connection == "add":
            return made + x
        return made * x if self.connection == "and" else (1 - made) * x


class SEWResNet(nn.Module):
    """Residual network whose blocks join spikes with spikes (SEW-ResNet), one time step `[B, C, H, W] -> [B, classes]`.

    Args:
        blocks: number of blocks in each of the four stages, of 64, 128, 256 and 512 channels.
        num_classes: number of outputs.
        stem: `"imagenet"`, a convolution of 7 with stride 2 and a pooling; or `"cifar"`, a convolution of 3.
        in_channels: channels of the input.
        connection: how a block's spikes join its input, `"add"`, `"and"` or `"iand"`.
        neuron: makes a neuron that keeps its states, `init_hidden=True`.
        norm: makes a norm of so many channels. The default normalises over time and batch, for which `snntorch.unroll`
            gives it whole sequences; `nn.BatchNorm2d` trains in a loop too.

    Raises:
        ValueError: for another stem or connection.

    Source: Fang, Yu, Chen, Huang, Masquelier and Tian, "Deep residual learning in spiking neural networks", NeurIPS
    2021.

    Example:
        >>> import snntorch as snn, torch
        >>> net = snn.models.sew_resnet18(num_classes=10, stem="cifar")
        >>> snn.unroll(net, torch.rand(2, 3, 16, 16), num_steps=4).mean(0).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        blocks: Sequence[int],
        num_classes: int = 1000,
        stem: str = "imagenet",
        in_channels: int = 3,
        connection: str = "add",
        neuron: Neuron = leaky,
        norm: Norm = snn.SequenceBatchNorm2d,
    ) -> None:
        super().__init__()
        check_stem(stem)
        if connection not in CONNECTIONS:
            raise ValueError(f"connection must be one of {', '.join(CONNECTIONS)}, got {connection!r}")
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.stem = unit(in_channels, 64, kernel, neuron, norm, stride)
        if stem == "imagenet":
            self.stem.append(nn.MaxPool2d(3, 2, 1))
        stages, before = [], 64
        for k, count in enumerate(blocks):
            channels = 64 * 2**k
            for n in range(count):
                stages.append(SEWBlock(before, channels, 2 if k and not n else 1, connection, neuron, norm))
                before = channels
        self.blocks = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(before, num_classes)
        draw(self)

    def forward(self, x: Tensor) -> Tensor:
        """One time step: the class scores, whose mean over time is the network's answer."""
        return self.head(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


def sew_resnet18(num_classes: int = 1000, stem: str = "imagenet", **kwargs: object) -> SEWResNet:
    """`SEWResNet` of 18 layers, with 11.7 million parameters for 1000 classes; the arguments are its.

    Example:
        >>> import snntorch as snn, torch
        >>> with torch.device("meta"):  # shapes without numbers
        ...     net = snn.models.sew_resnet18()
        >>> f"{sum(p.numel() for p in net.parameters()) / 1e6:.1f} million"
        '11.7 million'
    """
    return SEWResNet((2, 2, 2, 2), num_classes, stem, **kwargs)  # type: ignore[arg-type]


def sew_resnet34(num_classes: int = 1000, stem: str = "imagenet", **kwargs: object) -> SEWResNet:
    """`SEWResNet` of 34 layers, with 21.8 million parameters for 1000 classes; the arguments are its.

    Example:
        >>> import snntorch as snn
        >>> len(snn.models.sew_resnet34(num_classes=10, stem="cifar").blocks)
        16
    """
    return SEWResNet((3, 4, 6, 3), num_classes, stem, **kwargs)  # type: ignore[arg-type]
