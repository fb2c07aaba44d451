"""What steps and constructors are written with."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import surrogate
from .._engine import expands


def reset(mem: Tensor, fired: Tensor, threshold: Tensor, reset_mechanism: str) -> Tensor:
    """The membrane potential after the reset of the neurons that `fired` (0 or 1)."""
    if reset_mechanism == "subtract":
        return mem - fired * threshold
    if reset_mechanism == "zero":
        return mem - fired * mem
    return mem


def reset_to(mem: Tensor, fired: Tensor, value: Tensor, threshold: Tensor, reset_mechanism: str) -> Tensor:
    """As `reset`, of a membrane potential that starts anew from `value` instead of 0."""
    if reset_mechanism == "zero":
        return (1 - fired) * mem + fired * value  # `mem` may be so large that `mem - mem + value` is not value
    return reset(mem, fired, threshold - value, reset_mechanism)


def reset_times(reset_mechanism: str, reset_delay: bool) -> tuple[str, str]:
    """The mechanism of the reset that the last step's spike makes, and of that which this step's makes at once."""
    return (reset_mechanism, "none") if reset_delay else ("none", reset_mechanism)


def fraction(decay: Tensor) -> Tensor:
    """A decay clamped to [0, 1] that trains at 0 and 1 too, where `torch.clamp` does in some versions of torch only."""
    at_most_1 = torch.where(decay > 1, 1.0, decay)
    return torch.where(decay < 0, 0.0, at_most_1)


def quantised(state: Tensor, state_quant: Any) -> Tensor:
    """A state on the grid of `state_quant`, where there is one."""
    return state_quant(state).to(state.dtype) if state_quant else state


def graded(spk: Tensor, factor: Tensor) -> Tensor:
    """Spikes times the graded factor."""
    return spk * factor


def initial_tensor(name: str, value: Any) -> Tensor:
    """A tensor of our own holding `value`; integers become floating point.

    Raises:
        TypeError: for complex numbers, naming `name`.
        ValueError: for NaN, naming `name`.
    """
    tensor = torch.as_tensor(value).detach().clone()
    if tensor.is_complex():
        raise TypeError(f"{name} must be real, got {value}")
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.get_default_dtype())
    if tensor.device.type != "meta" and bool(tensor.isnan().any()):
        raise ValueError(f"{name} must not be NaN, got {value}")
    return tensor


def fitted(name: str, value: Tensor, shape: Sequence[int]) -> Tensor:
    """A number or tensor that broadcasts to the states' shape, adding nothing to it.

    Raises:
        ValueError: where it does not, naming `name`.
    """
    if value.dim() > len(shape) and value.numel() == 1:
        return value.reshape(())
    if not expands(value.shape, shape):
        raise ValueError(
            f"{name} of shape {tuple(value.shape)} does not broadcast to the shape {tuple(shape)} of the states"
        )
    return value


class WinnerTakesAll:
    """Spikes of the one neuron of each sample whose `mem - threshold` is largest, where it spikes at all."""

    def __init__(self, spike: surrogate.SpikeGrad) -> None:
        self.spike = spike

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes of x, `[B, ...]`, at most one a sample."""
        flat = x.flatten(1)
        winner = torch.zeros_like(flat).scatter(1, flat.argmax(1, keepdim=True), 1)
        return self.spike(x) * winner.view_as(x)
