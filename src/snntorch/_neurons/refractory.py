"""A refractory period for any neuron: its step, composed with a counter."""

import inspect
from typing import Any, TypeVar

import torch
from torch import Tensor

from .base import SpikingNeuron
from .derived import derived
from .emission import is_step
from .keywords import keywords, steps

Neuron = TypeVar("Neuron", bound=SpikingNeuron)


def refractory(neuron: Neuron, steps: int | Tensor) -> Neuron:
    """Let a neuron rest for some steps after each spike.

    With `step` for the neuron's own, and `waiting`, one more state and the last of them, the steps to be waited::

        spk, *states = step(x, *states_before)
        where waiting > 0:  spk = 0, mem = mem_before, waiting = waiting - 1
        elsewhere:          waiting = steps where it spiked, else 0

    The membrane potential stands still meanwhile; synaptic currents, adaptation and other states go on. Between two
    spikes of a constant input there are therefore `steps` more than without. A reset of the next step
    (`reset_delay=True`) is made when the neuron wakes.

    Args:
        neuron: one of ours or yours, with a state `mem`; it is changed, and starts anew.
        steps: the period, a number of steps or a tensor that broadcasts against the input's last dimensions.

    Returns:
        The neuron, which now takes and returns `waiting` behind its other states.

    Raises:
        TypeError: for what is no neuron of single steps with a membrane potential of its own; one that has a period
            already; or one that resets late by what a spike function of its own emitted.
        ValueError: for steps that are no whole numbers, or negative.

    Source: Gerstner et al., "Neuronal dynamics", chapter 1, Cambridge University Press, 2014.

    Example:
        >>> import snntorch as snn, torch
        >>> neuron = snn.refractory(snn.Leaky(beta=1, init_hidden=True), steps=2)
        >>> snn.unroll(neuron, torch.full((9, 1), 1.1)).flatten()
        tensor([1., 0., 0., 1., 0., 0., 1., 0., 0.])
    """
    _check(neuron)
    period = torch.as_tensor(steps)
    if not bool((period >= 0).all()) or bool((period != period.round()).any()):
        raise ValueError(f"steps must be whole numbers, none of them negative, got {steps}")
    neuron.__class__ = derived(type(neuron), _with_period)
    neuron.register_value("refractory_steps", period)
    neuron.waiting = torch.zeros(0)
    neuron.reset_mem()
    return neuron


def _check(neuron: Any) -> None:
    name = type(neuron).__name__
    plain = isinstance(neuron, SpikingNeuron) and type(neuron).forward is SpikingNeuron.forward
    if not plain or "mem" not in neuron.states or neuron.overrides or getattr(neuron, "pool", None):
        raise TypeError(f"neuron must be one of single steps, with a membrane potential of its own, got {name}")
    if "waiting" in neuron.states:
        raise TypeError(f"this {name} has a refractory period already: set its refractory_steps")
    late = any("spiked" in step.__code__.co_names for step in steps(type(neuron))) and neuron.reset_delay
    if late and neuron.reset_mechanism != "none" and not is_step(neuron.spike_grad):
        raise TypeError(f"this {name} resets late, by what a spike function that is no step emitted before it waited")


def _with_period(cls: Any) -> dict[str, Any]:
    """The attributes of the class that rests."""
    inner, count = cls.step, len(cls.states)
    held = tuple(cls.states.index(name) for name in getattr(cls, "held_while_refractory", ("mem",)))
    feeds_back = cls.states[0] == "spk"

    def step(*values, refractory_steps, **arguments):
        *values, waiting = values
        before, waits = values[len(values) - count :], waiting > 0
        spk, *after = inner(*values, **arguments)
        after = list(after)  # a tuple to torch.compile before 2.13
        spk = torch.where(waits, 0.0, spk)
        for k in held:
            after[k] = torch.where(waits, before[k], after[k])
        if feeds_back:
            after[0] = torch.where(waits, 0.0, after[0])
        return spk, *after, torch.where(waits, waiting - 1, torch.where(spk != 0, refractory_steps, 0.0))

    parameters = inspect.signature(inner).parameters.values()
    own = [p for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    named = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in (*keywords(cls), "refractory_steps")]
    step.__signature__ = inspect.Signature([*own, *named])  # type: ignore[attr-defined]
    made: dict[str, Any] = {"states": (*cls.states, "waiting"), "step": staticmethod(step)}
    if cls.drive is not SpikingNeuron.drive:
        made["drive"] = lambda self, projected, *states: cls.drive(self, projected, *states[:count])
    return made
