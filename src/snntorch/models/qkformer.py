"""A hierarchical spiking transformer: fewer and wider tokens from stage to stage."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

import snntorch as snn

from .parts import Neuron, Norm, check_stem, leaky, unit
from .spikformer import Encoder, QKAttention, SpikingSelfAttention


class PatchEmbedding(nn.Module):
    """Convolutions to tokens with a spiking shortcut beside the last two of them (SPEDS): `y = A(x) + S(norm(W x))`."""

    def __init__(self, convolutions: Sequence[nn.Module], shortcut: nn.Module) -> None:
        super().__init__()
        self.convolutions, self.shortcut = nn.Sequential(*convolutions), shortcut

    def forward(self, x: Tensor) -> Tensor:
        """One time step, `[B, before, H, W] -> [B, after, H / stride, W / stride]`."""
        return self.convolutions(x) + self.shortcut(x)


class QKFormer(nn.Module):
    """Hierarchical spiking transformer (QKFormer), one time step `[B, C, H, W] -> [B, classes]`.

    Three stages of `dim / 4`, `dim / 2` and `dim` features, the first two with Q-K attention of tokens, the last with
    spiking self-attention. Each starts with convolutions, which split the image or halve the sides of the tokens' grid.

    Args:
        dim: features of a token in the last stage, a multiple of 8.
        depths: number of encoders of each stage.
        heads: of each attention.
        mlp_ratio: hidden features of an encoder's layers, in its tokens' features.
        stem: `"imagenet"`, whose tokens are 4 by 4 pixels at first, or `"cifar"`, one pixel.

    The other arguments are those of `SEWResNet`.

    Raises:
        ValueError: for another stem, or where dim is no multiple of 8, or a stage's features none of heads.

    Source: Zhou et al., "QKFormer: hierarchical spiking transformer using Q-K attention", NeurIPS 2024. The default is
    its HST-10-512, of 29.08 million parameters; dim 384 has 16.47 and dim 768 64.96. For CIFAR-100 it is
    `QKFormer(100, 384, (1, 1, 2), stem="cifar")`, of 6.74.

    Example:
        >>> import snntorch as snn, torch
        >>> net = snn.models.QKFormer(num_classes=10, dim=32, depths=(1, 1, 1), heads=4, stem="cifar")
        >>> snn.unroll(net, torch.rand(2, 3, 16, 16), num_steps=4).mean(0).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 1000,
        dim: int = 512,
        depths: Sequence[int] = (1, 2, 7),
        heads: int = 8,
        mlp_ratio: float = 4.0,
        in_channels: int = 3,
        stem: str = "imagenet",
        neuron: Neuron = leaky,
        norm: Norm = snn.SequenceBatchNorm2d,
    ) -> None:
        super().__init__()
        check_stem(stem)
        if dim % 8:
            raise ValueError(f"dim must be a multiple of 8, got {dim}")
        large = stem == "imagenet"

        def convolution(before: int, after: int, halves: bool = False) -> nn.Module:
            return unit(before, after, 3, neuron, norm, pools=halves)

        def embedding(before: int, after: int, halves: bool, convolutions: Sequence[nn.Module]) -> nn.Module:
            return PatchEmbedding(convolutions, unit(before, after, 1, neuron, norm, 2 if halves else 1))

        quarter, half = dim // 4, dim // 2
        first = [convolution(dim // 8, quarter, large), *([convolution(quarter, quarter)] if large else [])]
        layers: list[nn.Module] = [
            convolution(in_channels, dim // 8, large),
            embedding(dim // 8, quarter, large, first),
        ]
        tokens, whole = partial(QKAttention, bias=False), partial(SpikingSelfAttention, bias=False)
        for size, depth, attention in zip((quarter, half, dim), depths, (tokens, tokens, whole), strict=True):
            if size > quarter:
                pair = [convolution(size // 2, size, large), convolution(size, size, not large)]
                layers.append(embedding(size // 2, size, True, pair))
            hidden = int(size * mlp_ratio)
            layers += [Encoder(size, attention(size, heads, neuron, norm), hidden, neuron, norm) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """One time step: the class scores, whose mean over time is the network's answer."""
        return self.head(torch.mean(self.layers(x), (2, 3)))
