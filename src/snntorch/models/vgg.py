"""Spiking VGG networks."""

import torch
from torch import Tensor, nn

import snntorch as snn

from .parts import Neuron, Norm, check_stem, draw, leaky, unit

# Convolutions of each of the five stages, of 64, 128, 256, 512 and 512 channels, between which images are halved.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class SpikingVGG(nn.Module):
    """VGG network of spiking neurons, one time step `[B, C, H, W] -> [B, classes]`.

    Args:
        depth: number of layers with weights, 11, 13, 16 or 19.
        stem: `"imagenet"`, with two hidden linear layers of 4096 behind 7 by 7 pixels, or `"cifar"`, with one linear
            layer behind one pixel.
        dropout: of the hidden linear layers, one mask a sequence.

    The other arguments are those of `SEWResNet`.

    Raises:
        ValueError: for another depth or stem.

    Source: Sengupta, Ye, Wang, Liu and Roy, "Going deeper in spiking neural networks: VGG and residual architectures",
    Frontiers in Neuroscience 13, 2019; after Simonyan and Zisserman, ICLR 2015.

    Example:
        >>> import snntorch as snn, torch
        >>> net = snn.models.SpikingVGG(11, num_classes=10, stem="cifar")
        >>> snn.unroll(net, torch.rand(2, 3, 32, 32), num_steps=4).mean(0).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int = 16,
        num_classes: int = 1000,
        stem: str = "imagenet",
        in_channels: int = 3,
        neuron: Neuron = leaky,
        norm: Norm = snn.SequenceBatchNorm2d,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_stem(stem)
        if depth not in STAGES:
            raise ValueError(f"depth must be one of {', '.join(map(str, STAGES))}, got {depth!r}")
        layers: list[nn.Module] = []
        before = in_channels
        for channels, count in zip((64, 128, 256, 512, 512), STAGES[depth], strict=True):
            for _ in range(count):
                layers += unit(before, channels, 3, neuron, norm, bias=True)
                before = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        if stem == "cifar":
            self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Linear(before, num_classes))
        else:
            hidden = (nn.Linear(before * 49, 4096), neuron(), snn.SequenceDropout(dropout))
            last = (nn.Linear(4096, 4096), neuron(), snn.SequenceDropout(dropout), nn.Linear(4096, num_classes))
            self.pool, self.head = nn.AdaptiveAvgPool2d(7), nn.Sequential(*hidden, *last)
        draw(self)

    def forward(self, x: Tensor) -> Tensor:
        """One time step: the class scores, whose mean over time is the network's answer."""
        return self.head(torch.flatten(self.pool(self.features(x)), 1))
