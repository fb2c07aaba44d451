"""The loop that defines what a sequence call returns, and what tests ask of its results."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import snntorch as snn
from rows import Row


def assert_equal(found: Any, expected: Any) -> None:
    """Equal to the last bit, whatever the nesting."""
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# -- what a sequence call returns, by definition


def loop(module: Callable, x: Tensor, *states: Any, num_steps: int | None = None) -> Any:
    """Outputs of one call per step, each stacked over time: the definition of `snntorch.unroll`."""
    outputs = []
    for t in range(len(x) if num_steps is None else num_steps):
        out = module(x[t] if num_steps is None else x, *states)
        states = out[-len(states) :] if states else ()
        outputs.append(out)
    return stacked(outputs)


def stacked(outputs: list) -> Any:
    if isinstance(outputs[0], Tensor):
        return torch.stack(outputs)
    return tuple(stacked([out[i] for out in outputs]) for i in range(len(outputs[0])))


def flat(out: Any) -> list[Tensor]:
    """The tensors of a nested tuple."""
    return [out] if isinstance(out, Tensor) else [tensor for part in out for tensor in flat(part)]


def run(row: Row, neuron: Any, x: Tensor, *states: Any) -> Any:
    """All outputs of a row's neuron over `x`, by the loop (or its one call, where it takes a sequence)."""
    return neuron(x) if row.takes_sequence else loop(neuron, x, *(states or start(row, neuron)))


def start(row: Row, neuron: Any) -> tuple:
    """States to pass to the neuron's first call: none where it keeps them itself."""
    return () if getattr(neuron, "init_hidden", True) else row.zeros


def resting_states(neuron: Any, x: Tensor) -> list[Tensor]:
    """The states that a neuron starts from on the input `x` of one step, by their definition: zeros, or as it names."""
    values = [neuron.resting.get(name, 0.0) for name in neuron.states]
    values = [getattr(neuron, value) if isinstance(value, str) else torch.tensor(value) for value in values]
    return [value.detach().to(torch.float32).expand(neuron.state_shape(x)) for value in values]


def gradients(out: Any, x: Tensor, module: torch.nn.Module, *states: Tensor) -> dict[str, Tensor]:
    """Gradients of a fixed weighted sum of all outputs with respect to x, every parameter and the given states."""
    total = sum((torch.linspace(-1, 1.5, o.numel(), dtype=torch.float64).view_as(o).to(o) * o).sum() for o in flat(out))
    wanted = {"x": x, **{f"state {i}": s for i, s in enumerate(states)}}
    wanted |= {n: p for n, p in module.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    return {name: torch.zeros_like(wanted[name]) if g is None else g for name, g in zip(wanted, grads, strict=True)}


class Elements(TorchDispatchMode):
    """Counts the elements of everything that is computed."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.count += tensor.numel()
        return out


class Rooted(snn.SpikingNeuron):
    """The gradient of a root meets infinity, so that steps without a cotangent are taken apart from the others."""

    states = ("mem", "other")

    @staticmethod
    def step(x, mem, other, *, threshold, spike):
        mem = 0.9 * mem + x + other.abs().sqrt()
        return spike(mem - threshold), mem * 0.9, 0.5 * other + mem.square()
