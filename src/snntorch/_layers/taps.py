"""Delays between whole steps: how much of the input of each step ago arrives, and how a delay is learnt."""

from typing import Any

import torch
from torch import Tensor


class _Within(torch.autograd.Function):
    """A clamp through which every gradient passes, save that which leads a value further out.

    So a value at its bound, or behind it after a long step, finds back: projected gradient descent.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, low: float, high: float) -> Tensor:
        return value.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        value, ctx.low, ctx.high = inputs
        ctx.save_for_backward(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (value,), (grad,) = ctx.saved_tensors, grads
        further = ((value > ctx.high) & (grad < 0)) | ((value < ctx.low) & (grad > 0))
        return torch.where(further, 0, grad), None, None


def within(delay: Tensor, longest: int) -> Tensor:
    """Delays in `[0, longest]`."""
    bounded: Any = _Within.apply(delay, 0.0, float(longest))
    return bounded


def neighbours(delay: Tensor, longest: int, width: float | None) -> tuple[Tensor, Tensor]:
    """The whole steps below delays in `[0, longest]`, and how much of each delay lies above; with no width rounded."""
    if width is not None:
        return delay.detach().round().long(), torch.zeros_like(delay)
    below = delay.detach().floor().clamp(max=longest - 1)  # the last step's gradient is that of the steps before it
    return below.long(), delay - below


def taps(delay: Tensor, longest: int, width: float | None) -> Tensor:
    """How much of the input k steps ago arrives, `[..., longest + 1]` for delays of shape `[...]`; sums to 1.

    Args:
        delay: in steps, clamped to `[0, longest]`.
        longest: delay that there is.
        width: standard deviation of a Gaussian over the taps; 0 for the nearest step, None for linear interpolation.
    """
    delay = within(delay, longest)[..., None]
    k = torch.arange(longest + 1, device=delay.device)
    if width:
        return (-0.5 * ((k - delay) / width) ** 2).softmax(-1)
    below, share = neighbours(delay, longest, width)
    return torch.where(k == below, 1 - share, 0) + torch.where(k == below + 1, share, 0)


def check_delays(max_delay: int, width: float | None) -> None:
    """Raise ValueError unless the longest delay is a positive int, and the width not negative."""
    if not isinstance(max_delay, int) or max_delay < 1:
        raise ValueError(f"max_delay must be a positive int, got {max_delay!r}")
    if width is not None and not width >= 0:
        raise ValueError(f"width must be None or not negative, got {width!r}")
