"""Max pooling that keeps for the backward pass where the maxima were, and not what they were found in."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from .._engine.private import followed

_SETTINGS = {
    "kernel_size": None, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False,
}  # fmt: skip
_PIECE, _OF_GPU = 1 << 18, 1 << 26  # elements of a piece; a GPU waits for small ones to be launched
_FEW = 4  # channels, fewer than which are not worth the way


def pooled(function: Callable, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """`function(x, ...)`; where that is max pooling over images, its input is not kept.

    PyTorch keeps it, for its shape alone: more than the spikes beside it, and no spikes, so that nothing can be packed.
    The operators are PyTorch's own.
    """
    if function in (torch.max_pool2d, max_pool2d) and _differentiates(x):
        settings = _SETTINGS | dict(zip(_SETTINGS, args, strict=False)) | kwargs
        if not settings.pop("return_indices") and x.dim() == 4:
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


_take = torch.ops.aten.max_pool2d_with_indices
_give = torch.ops.aten.max_pool2d_with_indices_backward


class _MaxPool(torch.autograd.Function):
    """PyTorch's operators, a piece at a time, since they tell the place of a maximum in eight bytes.

    Kept is the place in its window, as the distance from where that begins: a byte for most.

    Its gradient is an operator with a gradient of its own.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Any, stride: Any, *settings: Any) -> Tensor:
        ctx.settings = settings = kernel, stride or [], *settings
        ctx.layout = x.shape, x.stride()
        first, *rest = pieces = _pieces(x)
        out, indices = _maxima(x[first], *settings)
        ctx.corners, span = _windows(x.shape[-1], out.shape[-2:], *settings, device=x.device)
        dtype = next((d for d in (torch.uint8, torch.int16, torch.int32) if span <= torch.iinfo(d).max), torch.int64)
        places = indices.sub_(ctx.corners).to(dtype)
        if rest:
            out, places = (_whole(t, len(x)) for t in (out, places))
        for piece in rest:
            out[piece], indices = _maxima(x[piece], *settings)
            places[piece] = indices.sub_(ctx.corners)
        ctx.pieces = pieces
        ctx.save_for_backward(places)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (places,) = grads, ctx.saved_tensors
        (count, *shape), stride = ctx.layout
        first, *rest = [slice(None)] if torch.is_grad_enabled() else ctx.pieces

        def given(piece: slice) -> tuple[Any, ...]:
            size = len(range(count)[piece])
            like = torch.empty_strided((size, *shape), stride, dtype=grad.dtype, device=grad.device)  # for its shape
            return grad[piece], like, *ctx.settings, places[piece].long().add_(ctx.corners)

        found = _give(*given(first))
        if rest:
            found = _whole(found, count)
        for piece in rest:
            _give.grad_input(*given(piece), grad_input=found[piece])
        return found, *(None for _ in ctx.settings)


def _maxima(x: Tensor, *settings: Any) -> Sequence[Tensor]:
    """The maxima and their places, by PyTorch's operator.

    Where the channels of a pixel lie together it takes several at once: four times as fast, the way there included.
    """
    if x.is_cpu and x.is_contiguous() and x.shape[1] >= _FEW:
        return [t.contiguous() for t in _take(x.contiguous(memory_format=torch.channels_last), *settings)]
    return _take(x, *settings)


def _windows(
    width: int, count: Sequence[int], kernel: Any, stride: Any, padding: Any, dilation: Any, *_: Any,
    device: torch.device,
) -> tuple[Tensor, int]:  # fmt: skip
    """Where each window begins in a plane of that width, and how far a place in it is from there at most."""

    def pair(setting: Any) -> tuple[int, int]:
        return (setting, setting) if isinstance(setting, int) else (setting[0], setting[-1])

    by, before = pair(stride or kernel), pair(padding)
    down, right = (torch.arange(n, device=device) * s - p for n, s, p in zip(count, by, before, strict=True))
    below, beside = ((size - 1) * apart for size, apart in zip(pair(kernel), pair(dilation), strict=True))
    return down[:, None] * width + right, below * width + beside


def _pieces(x: Tensor) -> list[slice]:
    """Samples that make about that many elements."""
    size = max(1, (_PIECE if x.is_cpu else _OF_GPU) * len(x) // x.numel()) if x.numel() else 1
    return [slice(start, start + size) for start in range(0, len(x), size)] or [slice(None)]


def _whole(piece: Tensor, count: int) -> Tensor:
    """A tensor of so many samples that begins with these."""
    whole = piece.new_empty_strided((count, *piece.shape[1:]), piece.stride())
    whole[: len(piece)] = piece
    return whole
