"""Izhikevich's neuron."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .equations import Equations
from .pieces import graded, quantised, reset_to


class Izhikevich(Equations):
    """Izhikevich's neuron: four numbers choose among the firing patterns of cortical neurons.

    In millivolts and milliseconds, with `mem` for v and `recovery` for u::

        dv/dt = 0.04 v^2 + 5 v + 140 - u + x
        du/dt = a (b v - u)
        spk = S(v - threshold);  v = c, u = u + d where spk

    Args:
        a: rate of the recovery.
        b: how the recovery depends on the potential.
        c: potential after a spike.
        d: what a spike adds to the recovery.
        rest: potential that the neuron starts from, with the recovery at `b * rest`.
        time_step: length of a step; at most 1, and 0.25 for the published pictures.
        threshold: peak of a spike.
        learn: names of those of `a, b, c, d, rest` that are parameters.
        **kwargs: as `SpikingNeuron`. A surrogate as wide as the potential's range trains best: `atan(alpha=0.1)`.

    States: `mem, recovery`.

    Source: Izhikevich, "Simple model of spiking neurons", IEEE Transactions on Neural Networks 14(6), 2003, and "Which
    model to use for cortical spiking neurons?", 15(5), 2004, for the numbers of twenty patterns.

    Example:
        >>> import snntorch as snn, torch
        >>> neuron = snn.Izhikevich(a=0.02, b=0.2, c=-50, d=2, time_step=0.25)  # tonic bursting
        >>> spk, mem, recovery = snn.unroll(neuron, torch.full((1, 1), 15.0), num_steps=800)
        >>> spk.sum()
        tensor(28.)
    """

    states = ("mem", "recovery")
    resting: Mapping[str, str | float] = {"mem": "rest", "recovery": "resting_recovery"}
    recovery: Tensor
    b: Tensor
    rest: Tensor

    def __init__(
        self,
        a: float | Tensor = 0.02,
        b: float | Tensor = 0.2,
        c: float | Tensor = -65.0,
        d: float | Tensor = 8.0,
        rest: float | Tensor = -65.0,
        time_step: float = 1.0,
        threshold: float | Tensor = 30.0,
        learn: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        values = {"a": a, "b": b, "c": c, "d": d, "rest": rest, "time_step": time_step}
        super().__init__(values, learn, threshold=threshold, **kwargs)

    @property
    def resting_recovery(self) -> Tensor:
        """The recovery that the neuron starts from."""
        return self.b * self.rest

    @staticmethod
    def step(
        x, mem, recovery, *, a, b, c, d, time_step, threshold, spike, factor, reset_mechanism, state_quant
    ):  # fmt: skip
        """One time step, `x, mem, recovery -> spk, mem, recovery`."""
        v = torch.minimum(mem, threshold)  # what stays above it, as no spike was allowed, would run away
        mem = v + time_step * (0.04 * v * v + 5 * v + 140 - recovery + x)
        recovery = recovery + time_step * a * (b * mem - recovery)
        mem, recovery = quantised(mem, state_quant), quantised(recovery, state_quant)
        spk = spike(mem - threshold)
        return graded(spk, factor), reset_to(mem, spk, c, threshold, reset_mechanism), recovery + d * spk
