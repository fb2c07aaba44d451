"""Adaptive exponential integrate-and-fire neuron."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from .eif import current
from .equations import Equations
from .pieces import graded, quantised, reset_to


class AdEx(Equations):
    """Adaptive exponential integrate-and-fire neuron: `EIF` with a current that adapts it.

    In millivolts, milliseconds, picofarad, nanosiemens and picoampere, with `mem` for V and `adaptation` for w::

        C dV/dt = g_L (delta_T exp((V - V_T) / delta_T) - (V - E_L)) - w + x
        tau_w dw/dt = a (V - E_L) - w
        spk = S(V - threshold);  V = V_reset, w = w + b where spk

    Args:
        a: how the adaptation follows the potential.
        b: what a spike adds to the adaptation.
        tau_w: time constant of the adaptation.
        learn: names of those of `C, g_L, E_L, V_T, delta_T, V_reset, a, b, tau_w` that are parameters.

    The other arguments are those of `EIF`. States: `mem, adaptation`.

    Source: Brette and Gerstner, "Adaptive exponential integrate-and-fire model as an effective description of neuronal
    activity", Journal of Neurophysiology 94(5), 2005, whose numbers are the defaults.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, mem, adaptation = snn.unroll(snn.AdEx(time_step=0.1), torch.full((1, 1), 1000.0), num_steps=2000)
        >>> spk.sum()
        tensor(8.)
    """

    states = ("mem", "adaptation")
    resting: Mapping[str, str | float] = {"mem": "E_L"}
    adaptation: Tensor

    def __init__(
        self,
        C: float | Tensor = 281.0,
        g_L: float | Tensor = 30.0,
        E_L: float | Tensor = -70.6,
        V_T: float | Tensor = -50.4,
        delta_T: float | Tensor = 2.0,
        V_reset: float | Tensor = -70.6,
        a: float | Tensor = 4.0,
        b: float | Tensor = 80.5,
        tau_w: float | Tensor = 144.0,
        time_step: float = 1.0,
        threshold: float | Tensor = -40.4,
        learn: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        values = {"C": C, "g_L": g_L, "E_L": E_L, "V_T": V_T, "delta_T": delta_T, "V_reset": V_reset, "a": a, "b": b,
                  "tau_w": tau_w, "time_step": time_step}  # fmt: skip
        super().__init__(values, learn, threshold=threshold, **kwargs)

    @staticmethod
    def step(
        x, mem, adaptation, *, C, g_L, E_L, V_T, delta_T, V_reset, a, b, tau_w, time_step, threshold, spike, factor,
        reset_mechanism, state_quant,
    ):  # fmt: skip
        """One time step, `x, mem, adaptation -> spk, mem, adaptation`."""
        drive = current(mem, g_L, E_L, V_T, delta_T, threshold) - adaptation + x
        adaptation = adaptation + time_step / tau_w * (a * (mem - E_L) - adaptation)
        mem = mem + time_step / C * drive
        mem, adaptation = quantised(mem, state_quant), quantised(adaptation, state_quant)
        spk = spike(mem - threshold)
        return graded(spk, factor), reset_to(mem, spk, V_reset, threshold, reset_mechanism), adaptation + b * spk
