"""Functions that are layers: what `torch.nn.functional` calls with weights and sizes as arguments."""

import itertools
import math
from collections.abc import Callable, Container, Sequence
from typing import Any

from torch import Tensor, nn


def with_weights(layer: Any, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """The layer, made without memory of its own, with these weights."""
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        if bias.numel() != len(weight):
            raise ValueError(f"bias must have {len(weight)} elements, got {bias.numel()}")
        layer.bias = nn.Parameter(bias.reshape(len(weight)))
    return layer


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
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[weight.dim() - 3]
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


def _maximum(kind: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def layer(
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> nn.Module:
        return kind(kernel_size, stride or None, padding, dilation, return_indices, ceil_mode)  # in another order

    return layer


WEIGHTED: dict[str, Callable[..., nn.Module]] = {
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "linear": _linear,
}
MAXIMA: dict[str, Callable[..., nn.Module]] = {
    "adaptive_max_pool1d": nn.AdaptiveMaxPool1d,
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
    "adaptive_max_pool3d": nn.AdaptiveMaxPool3d,
    "max_pool1d": _maximum(nn.MaxPool1d),
    "max_pool2d": _maximum(nn.MaxPool2d),
    "max_pool3d": _maximum(nn.MaxPool3d),
}
AVERAGES: dict[str, Callable[..., nn.Module]] = {
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "adaptive_avg_pool3d": nn.AdaptiveAvgPool3d,
    "avg_pool1d": nn.AvgPool1d,
    "avg_pool2d": nn.AvgPool2d,
    "avg_pool3d": nn.AvgPool3d,
}
FUNCTIONS = WEIGHTED | MAXIMA | AVERAGES  # by the function's name, the layer of its arguments behind the input


def flattened(before: Sequence[int], after: Sequence[int]) -> tuple[int, int] | None:
    """The dimensions whose flattening makes one shape the other; None where nothing does."""
    for start in reversed(range(len(before))):
        for end in range(start + 1, len(before)):
            if (*before[:start], math.prod(before[start : end + 1]), *before[end + 1 :]) == tuple(after):
                return start, end
    return None


def unique(name: str, taken: Container[str]) -> str:
    """The name, with a number behind it where it is taken."""
    candidates = itertools.chain((name,), (f"{name}_{i}" for i in itertools.count(1)))
    return next(candidate for candidate in candidates if candidate not in taken)
