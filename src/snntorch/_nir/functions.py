"""Functions that are layers: what `torch.nn.functional` calls with weights and sizes as arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from .linear import with_weights


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    return with_weights(layer, weight.detach(), None if bias is None else bias.detach())


def _convolution(
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> nn.Module:
    kind = nn.Conv1d if weight.dim() == 3 else nn.Conv2d
    sizes: Any = tuple(weight.shape[2:])
    layer = kind(
        weight.shape[1] * groups,
        weight.shape[0],
        sizes,
        stride,
        padding,
        dilation,
        groups,
        bias=bias is not None,
        device="meta",
    )
    return with_weights(layer, weight.detach(), None if bias is None else bias.detach())


# By the function's name, the layer of its arguments behind the input.
FUNCTIONS: dict[str, Callable[..., nn.Module]] = {
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "avg_pool2d": nn.AvgPool2d,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "linear": _linear,
}
