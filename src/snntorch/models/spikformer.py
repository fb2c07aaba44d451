"""Spiking transformers: attention among spikes, without a softmax."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import snntorch as snn

from .parts import Neuron, Norm, leaky, unit


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, neuron: Neuron, norm: Norm, bias: bool) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim must be a multiple of heads, got {dim} and {heads}")
        self.heads = heads
        self.query, self.key = (unit(dim, dim, 1, neuron, norm, bias=bias) for _ in range(2))
        self.fire, self.out = neuron(), unit(dim, dim, 1, neuron, norm, bias=True)


class SpikingSelfAttention(_Attention):
    """Spiking self-attention (SSA) of tokens `[B, dim, H, W]`, one time step.

    With spikes Q, K and V, each `S(norm(linear(x)))`, in every head::

        y = S(norm(linear(S(scale * Q K^T V))))

    Args:
        dim: features of a token.
        heads: number of heads.
        neuron: makes a neuron that keeps its states, `init_hidden=True`.
        norm: makes a norm of so many channels, as for `SEWResNet`.
        scale: of the product. With a threshold of 1, 0.25 is what the paper's 0.125 is with a threshold of 0.5.
        bias: whether the layers that make Q, K and V have biases.

    Raises:
        ValueError: where dim is no multiple of heads.

    Source: Zhou, Zhu, He, Wang, Yan, Tian and Yuan, "Spikformer: when spiking neural network meets transformer", ICLR
    2023.

    Example:
        >>> import snntorch as snn, torch
        >>> snn.unroll(snn.models.SpikingSelfAttention(8, heads=2), torch.rand(4, 2, 8, 3, 3)).shape
        torch.Size([4, 2, 8, 3, 3])
    """

    def __init__(
        self, dim: int, heads: int, neuron: Neuron = leaky, norm: Norm = snn.SequenceBatchNorm2d, scale: float = 0.25,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(dim, heads, neuron, norm, bias)
        self.scale = scale
        self.value = unit(dim, dim, 1, neuron, norm, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """One time step."""
        query, key, value = (
            made(x).flatten(2).unflatten(1, (self.heads, -1)) for made in (self.query, self.key, self.value)
        )
        weights = torch.matmul(query.transpose(-1, -2), key)  # of each token for each other
        mixed = torch.matmul(value, weights.transpose(-1, -2)) * self.scale
        return self.out(self.fire(mixed.flatten(1, 2).unflatten(2, x.shape[2:])))


class QKAttention(_Attention):
    """Q-K attention of tokens `[B, dim, H, W]`, one time step: linear in the number of tokens, and binary throughout.

    With spikes Q and K, each `S(norm(linear(x)))`, in every head::

        y = S(norm(linear(K * S(sum of Q over the features))))    tokens are let through
        y = S(norm(linear(K * S(sum of Q over the tokens))))      features are let through

    Args:
        over: what is let through, `"token"` or `"channel"`.

    The other arguments are those of `SpikingSelfAttention`.

    Raises:
        ValueError: where dim is no multiple of heads, or for another `over`.

    Source: Zhou et al., "QKFormer: hierarchical spiking transformer using Q-K attention", NeurIPS 2024.

    Example:
        >>> import snntorch as snn, torch
        >>> snn.unroll(snn.models.QKAttention(8, heads=2), torch.rand(4, 2, 8, 3, 3)).shape
        torch.Size([4, 2, 8, 3, 3])
    """

    def __init__(
        self, dim: int, heads: int, neuron: Neuron = leaky, norm: Norm = snn.SequenceBatchNorm2d, over: str = "token",
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(dim, heads, neuron, norm, bias)
        if over not in ("token", "channel"):
            raise ValueError(f"over must be 'token' or 'channel', got {over!r}")
        self.over = over

    def forward(self, x: Tensor) -> Tensor:
        """One time step."""
        query, key = (made(x).flatten(2).unflatten(1, (self.heads, -1)) for made in (self.query, self.key))
        gate = self.fire(query.sum(2 if self.over == "token" else 3, keepdim=True))
        return self.out((key * gate).flatten(1, 2).unflatten(2, x.shape[2:]))


class Encoder(nn.Module):
    """Attention and two layers of each token, each added to what it gets."""

    def __init__(self, dim: int, attention: nn.Module, hidden: int, neuron: Neuron, norm: Norm) -> None:
        super().__init__()
        self.attention = attention
        first, second = (unit(*sizes, 1, neuron, norm, bias=True) for sizes in ((dim, hidden), (hidden, dim)))
        self.mlp = nn.Sequential(first, second)

    def forward(self, x: Tensor) -> Tensor:
        """One time step."""
        x = x + self.attention(x)
        return x + self.mlp(x)


class Spikformer(nn.Module):
    """Spiking transformer for images, one time step `[B, C, H, W] -> [B, classes]`.

    Four convolutions split the image into patches, of 4 by 4 pixels as for CIFAR; a fifth adds where each is.

    Args:
        dim: features of a token, a multiple of 8.
        depth: number of encoders.
        heads: of each attention.
        mlp_ratio: hidden features of an encoder's layers, in dim.
        halved: which of the four convolutions halve the image.
        attention: makes an attention, `attention(dim, heads, neuron, norm)`: `SpikingSelfAttention` or `QKAttention`.

    The other arguments are those of `SEWResNet`.

    Raises:
        ValueError: where dim is no multiple of 8, or of heads.

    Source: Zhou, Zhu, He, Wang, Yan, Tian and Yuan, "Spikformer: when spiking neural network meets transformer", ICLR
    2023. The default is its Spikformer-4-384, of 9.32 million parameters.

    Example:
        >>> import snntorch as snn, torch
        >>> net = snn.models.Spikformer(num_classes=10, dim=32, depth=1, heads=4)
        >>> snn.unroll(net, torch.rand(2, 3, 16, 16), num_steps=4).mean(0).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 10,
        dim: int = 384,
        depth: int = 4,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        in_channels: int = 3,
        halved: tuple[bool, bool, bool, bool] = (False, False, True, True),
        attention: Callable[..., nn.Module] = SpikingSelfAttention,
        neuron: Neuron = leaky,
        norm: Norm = snn.SequenceBatchNorm2d,
    ) -> None:
        super().__init__()
        if dim % 8:
            raise ValueError(f"dim must be a multiple of 8, got {dim}")
        layers: list[nn.Module] = []
        before = in_channels
        for channels, halves in zip((dim // 8, dim // 4, dim // 2, dim), halved, strict=True):
            layers.append(unit(before, channels, 3, neuron, norm, pools=halves))
            before = channels
        self.patches = nn.Sequential(*layers)
        self.positions = unit(dim, dim, 3, neuron, norm)
        hidden = int(dim * mlp_ratio)
        self.encoders = nn.Sequential(
            *(Encoder(dim, attention(dim, heads, neuron, norm), hidden, neuron, norm) for _ in range(depth))
        )
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """One time step: the class scores, whose mean over time is the network's answer."""
        x = self.patches(x)
        return self.head(self.encoders(x + self.positions(x)).mean((2, 3)))
