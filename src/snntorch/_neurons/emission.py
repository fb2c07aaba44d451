"""The reset follows the spike: what a neuron emitted is what its next step resets by.

Of a surrogate, `S = H(x)`, the membrane potential tells what was emitted. Of any other spike function it may not: that
may draw random numbers. So what such a one emitted is remembered beside the membrane potential that it belongs to.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._engine.private import Draws
from ..surrogate import LearnableWidth, SpikeGrad, Surrogate, SurrogateFunction
from .pieces import WinnerTakesAll


def is_step(spike: SpikeGrad) -> bool:
    """Whether a spike function is `H(x)`, so that there is a spike where the potential is above its threshold."""
    if isinstance(spike, Surrogate):
        return spike.is_step
    if isinstance(spike, LearnableWidth):
        return is_step(spike.surrogate)
    function = getattr(spike, "__self__", None)  # of `ATan.apply`
    return isinstance(function, type) and getattr(function, "forward", None) is SurrogateFunction.forward


def unremembered(spike: SpikeGrad, x: Tensor) -> Tensor:
    """The spikes of a potential of which nobody knows what it emitted: nothing, where chance decides."""
    if torch.compiler.is_compiling() or not isinstance(x, Tensor):
        return spike(x).detach()
    drawn: list[bool] = []
    with Draws(lambda: drawn.append(True)):
        spk = spike(x).detach()
    return torch.zeros_like(spk) if drawn else spk


class Emitting:
    """A spike function of `mem - threshold` that remembers what it emitted.

    Args:
        spike: that function.
        before: what was emitted at the membrane potential of the first step, where that is known.
    """

    def __init__(self, spike: SpikeGrad, before: Tensor | None = None) -> None:
        self.spike, self.before = spike, before
        self.emitted: Tensor | None = None

    @property
    def __self__(self) -> Any:
        """Of the `apply` of an `autograd.Function` its class, by which a tracer knows it."""
        return getattr(self.spike, "__self__", None)

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes of x."""
        spk = self.spike(x)
        if isinstance(spk, Tensor):  # no tracer's symbol
            self.emitted = spk.detach()
        return spk

    def at(self, mem: Tensor, threshold: Tensor) -> Tensor:
        """What was emitted at this potential, the one of the last call."""
        last = self.before if self.emitted is None else self.emitted
        if isinstance(mem, Tensor) and last is not None and last.shape == mem.shape:
            return last.to(mem.dtype)
        return unremembered(self.spike, mem - threshold)


def spiked(mem: Tensor, threshold: Tensor, spike: SpikeGrad, reset_mechanism: str) -> Tensor:
    """What the step before emitted, without gradient; not looked for where nothing is reset by it."""
    if reset_mechanism == "none":
        return torch.zeros_like(mem)
    if isinstance(spike, WinnerTakesAll):  # those above their threshold that lost are reset as well
        spike = spike.spike
    if isinstance(spike, Emitting):
        return spike.at(mem, threshold)
    return (mem > threshold).to(mem.dtype) if is_step(spike) else spike(mem - threshold).detach()


class Emission(NamedTuple):
    """What a neuron emitted at a membrane potential, which a write in place would turn into another."""

    mem: weakref.ref[Tensor]
    values: Tensor  # the same memory, without the graph that made it
    version: int
    spk: Tensor

    @classmethod
    def of(cls, mem: Tensor, spk: Tensor) -> "Emission":
        """What was emitted now."""
        return cls(weakref.ref(mem), mem.detach(), _version(mem), spk.detach())

    def at(self, mem: Tensor) -> Tensor | None:
        """The spikes, where they belong to this potential or to what it is a detached view of."""
        try:
            same = mem is self.mem() or mem.is_set_to(self.values)
        except RuntimeError:  # of another level of `torch.func.vmap`
            return None
        return self.spk if same and _version(mem) == self.version else None


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def listen(neuron: Any, state: Sequence[Tensor], arguments: dict[str, Any]) -> Emitting | None:
    """Let the spike function among a step's arguments remember what it emits; None where the potential tells."""
    if is_step(neuron.spike_grad) or "mem" not in neuron.states or "spike" not in arguments:
        return None
    emitting = Emitting(neuron.spike_grad, emitted(neuron, state[neuron.states.index("mem")]))
    arguments["spike"] = WinnerTakesAll(emitting) if neuron.inhibition else emitting
    return emitting


def emitted(neuron: Any, mem: Tensor) -> Tensor | None:
    """What the neuron emitted at this potential, where it remembers."""
    emission: Emission | None = neuron._emission
    return None if emission is None or torch.compiler.is_compiling() else emission.at(mem)


def remember(neuron: Any, state: Sequence[Tensor], emitting: Emitting | None) -> None:
    """Let the neuron remember what a step emitted that led to these states."""
    if emitting is not None and not torch.compiler.is_compiling():
        mem, spk = state[neuron.states.index("mem")], emitting.emitted
        neuron._emission = None if spk is None else Emission.of(mem, spk)
