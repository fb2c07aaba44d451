"""What steps and constructors are written with."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import surrogate


def reset(mem: Tensor, fired: Tensor, threshold: Tensor, reset_mechanism: str) -> Tensor:
    """The membrane potential after the reset of the neurons that `fired` (0 or 1)."""
    if reset_mechanism == "subtract":
        return mem - fired * threshold
    if reset_mechanism == "zero":
        return mem - fired * mem
    return mem


def quantised(state: Tensor, state_quant: Any) -> Tensor:
    """A state on the grid of `state_quant`, where there is one."""
    return state_quant(state).to(state.dtype) if state_quant else state


def graded(spk: Tensor, factor: Tensor | None) -> Tensor:
    """Spikes times the graded factor; None stands for 1."""
    return spk if factor is None else spk * factor


def initial_tensor(name: str, value: Any) -> Tensor:
    """A tensor of our own holding `value`; integers become floating point, NaN raises ValueError naming `name`."""
    tensor = torch.as_tensor(value).detach().clone()
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.get_default_dtype())
    if tensor.device.type != "meta" and bool(tensor.isnan().any()):
        raise ValueError(f"{name} must not be NaN, got {value}")
    return tensor


class WinnerTakesAll:
    """Spikes of the one neuron of each sample whose `mem - threshold` is largest, where it spikes at all."""

    def __init__(self, spike: surrogate.SpikeGrad) -> None:
        self.spike = spike

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes of x, `[B, ...]`, at most one a sample."""
        flat = x.flatten(1)
        winner = torch.zeros_like(flat).scatter(1, flat.argmax(1, keepdim=True), 1)
        return self.spike(x) * winner.view_as(x)


def stack(outputs: Sequence[Any]) -> Any:
    """Stack a list of equal outputs, tensors or (nested) tuples of them, over time."""
    if isinstance(outputs[0], Tensor):
        return torch.stack(list(outputs))
    return tuple(stack([o[i] for o in outputs]) for i in range(len(outputs[0])))
