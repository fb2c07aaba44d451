"""Max pooling that keeps for the backward pass where the maxima were, and not what they were found in."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from .._engine.private import followed

_SETTINGS = {
    "kernel_size": None, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False,
}  # fmt: skip


def pooled(function: Callable, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """`function(x, ...)`; where that is max pooling over images, its input is not kept.

    PyTorch keeps it, for its shape alone: more than the spikes beside it, and no spikes, so that nothing can be packed.
    The operators are PyTorch's own.
    """
    if function in (torch.max_pool2d, max_pool2d) and _differentiates(x):
        settings = _SETTINGS | dict(zip(_SETTINGS, args, strict=False)) | kwargs
        if not settings.pop("return_indices"):
            return _MaxPool.apply(x, *settings.values())
    return function(x, *args, **kwargs)


def pooled_by(layer: nn.Module, x: Tensor) -> Any:
    """`layer(x)`, likewise."""
    return pooled(max_pool2d, x, **{name: getattr(layer, name) for name in _SETTINGS})


def _differentiates(x: Tensor) -> bool:
    """Whether a gradient is wanted of a tensor of memory, and of nothing that follows operators in other ways."""
    return (
        type(x) is Tensor and x.requires_grad and torch.is_grad_enabled() and x.device.type in ("cpu", "cuda")
        and not (torch.compiler.is_compiling() or followed())
    )  # fmt: skip


class _MaxPool(torch.autograd.Function):
    """Its gradient is an operator with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Any, stride: Any, *settings: Any) -> Tensor:
        ctx.settings = kernel, stride or [], *settings
        ctx.layout = x.shape, x.stride()
        out, indices = torch.ops.aten.max_pool2d_with_indices(x, *ctx.settings)
        ctx.save_for_backward(indices)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (indices,) = grads, ctx.saved_tensors
        like = torch.empty_strided(*ctx.layout, dtype=grad.dtype, device=grad.device)  # no one reads or writes it
        found = torch.ops.aten.max_pool2d_with_indices_backward(grad, like, *ctx.settings, indices)
        return found, *(None for _ in ctx.settings)
