"""Exponential integrate-and-fire neuron."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .equations import Equations
from .pieces import graded, quantised, reset_to


def current(mem: Tensor, g_L: Tensor, E_L: Tensor, V_T: Tensor, delta_T: Tensor, threshold: Tensor) -> Tensor:
    """What the leak and the upswing of a spike drive into the membrane."""
    upswing = ((torch.minimum(mem, threshold) - V_T) / delta_T).exp()  # the threshold cuts it: else it overflows
    return g_L * (delta_T * upswing - (mem - E_L))


class EIF(Equations):
    """Exponential integrate-and-fire neuron: the upswing of a spike belongs to its equation.

    In millivolts, milliseconds, picofarad, nanosiemens and picoampere, with `mem` for V::

        C dV/dt = g_L (delta_T exp((V - V_T) / delta_T) - (V - E_L)) + x
        spk = S(V - threshold);  V = V_reset where spk

    Args:
        C: capacitance of the membrane.
        g_L: its leak conductance.
        E_L: potential at rest, which the neuron starts from.
        V_T: potential where the upswing begins: the largest that a constant current holds.
        delta_T: sharpness of the upswing; towards 0 this is a leaky integrate-and-fire neuron.
        V_reset: potential after a spike.
        time_step: length of a step.
        threshold: potential at which the upswing is cut and counts as a spike.
        learn: names of those of `C, g_L, E_L, V_T, delta_T, V_reset` that are parameters.
        **kwargs: as `SpikingNeuron`. A surrogate as wide as the potential's range trains best: `atan(alpha=0.1)`.

    States: `mem`.

    Source: Fourcaud-Trocme et al., "How spike generation mechanisms determine the neuronal response to fluctuating
    inputs", Journal of Neuroscience 23(37), 2003.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, mem = snn.unroll(snn.EIF(time_step=0.1), torch.full((1, 1), 800.0), num_steps=1000)
        >>> spk.sum()
        tensor(5.)
    """

    states = ("mem",)
    resting: Mapping[str, str | float] = {"mem": "E_L"}

    def __init__(
        self,
        C: float | Tensor = 281.0,
        g_L: float | Tensor = 30.0,
        E_L: float | Tensor = -70.6,
        V_T: float | Tensor = -50.4,
        delta_T: float | Tensor = 2.0,
        V_reset: float | Tensor = -70.6,
        time_step: float = 1.0,
        threshold: float | Tensor = -40.4,
        learn: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        values = dict(C=C, g_L=g_L, E_L=E_L, V_T=V_T, delta_T=delta_T, V_reset=V_reset, time_step=time_step)
        super().__init__(values, learn, threshold=threshold, **kwargs)

    @staticmethod
    def step(
        x, mem, *, C, g_L, E_L, V_T, delta_T, V_reset, time_step, threshold, spike, factor, reset_mechanism, state_quant
    ):  # fmt: skip
        """One time step, `x, mem -> spk, mem`."""
        mem = mem + time_step / C * (current(mem, g_L, E_L, V_T, delta_T, threshold) + x)
        mem = quantised(mem, state_quant)
        spk = spike(mem - threshold)
        return graded(spk, factor), reset_to(mem, spk, V_reset, threshold, reset_mechanism)
