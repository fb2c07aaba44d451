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
    return with_weights(nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta"), weight, bias)


def _convolution(
    weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> nn.Module:
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[weight.dim() - 3]
    after, before, *sizes = weight.shape
    size: Any = tuple(sizes)
    layer = kind(before * groups, after, size, stride, padding, dilation, groups, bias is not None, device="meta")
    return with_weights(layer, weight, bias)


def _maximum(kind: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def layer(
        kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> nn.Module:  # fmt: skip
        return kind(kernel_size, stride or None, padding, dilation, return_indices, ceil_mode)  # in another order

    return layer


def _of_dims(function: str, kind: str) -> dict[str, Callable[..., nn.Module]]:
    """The layers of one to three dimensions, by their functions' names."""
    return {f"{function}{d}d": getattr(nn, f"{kind}{d}d") for d in (1, 2, 3)}


WEIGHTED = {**dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution), "linear": _linear}
MAXIMA = _of_dims("adaptive_max_pool", "AdaptiveMaxPool") | {
    name: _maximum(kind) for name, kind in _of_dims("max_pool", "MaxPool").items()
}
AVERAGES = _of_dims("adaptive_avg_pool", "AdaptiveAvgPool") | _of_dims("avg_pool", "AvgPool")
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
