"""Balanced resonate-and-fire neuron."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from .equations import Equations
from .pieces import graded, quantised


class BRF(Equations):
    """Balanced resonate-and-fire neuron: it oscillates, and fires at inputs in its rhythm.

    With `mem` and `imag` for the real and the imaginary part of u, and `refractory` for q::

        b = (sqrt(1 - (time_step * omega)^2) - 1) / time_step - damping - q
        u = u + time_step * ((b + i omega) u + x)
        spk = S(Re u - threshold - q)
        q = gamma * q + spk

    Instead of a reset, a spike damps the oscillation and raises the threshold for a while. The first term of b is the
    largest at which the steps do not diverge, so that with `damping=0` an oscillation lasts.

    Args:
        omega: angular frequency; less than `1 / time_step`.
        damping: how much faster than at that largest b an oscillation decays; positive.
        gamma: decay of q per step.
        time_step: length of a step.
        learn: names of those of `omega, damping, gamma` that are parameters.
        reset_mechanism: may only be `"none"`, as there is no reset.
        **kwargs: as `SpikingNeuron`.

    States: `mem, imag, refractory`.

    Raises:
        ValueError: for an omega of `1 / time_step` or more, a negative damping, or a reset mechanism.

    Source: Higuchi et al., "Balanced resonate-and-fire neurons", ICML 2024, where omega starts in U(5, 10) and the
    damping in U(0.1, 1); before it Izhikevich, "Resonate-and-fire neurons", Neural Networks 14, 2001.

    Example:
        >>> import math, snntorch as snn, torch
        >>> pulses = torch.zeros(400, 1, 2)
        >>> pulses[::63, 0, 0] = 40  # every 0.63, the period of omega = 10
        >>> pulses[::40, 0, 1] = 40  # another rhythm
        >>> spk, *_ = snn.unroll(snn.BRF(omega=10.0, damping=0.1), pulses)
        >>> spk.sum(0)
        tensor([[7., 0.]])
    """

    states = ("mem", "imag", "refractory")
    imag: Tensor
    refractory: Tensor
    omega: Tensor
    damping: Tensor

    def __init__(
        self,
        omega: float | Tensor = 10.0,
        damping: float | Tensor = 1.0,
        gamma: float | Tensor = 0.9,
        time_step: float = 0.01,
        learn: Iterable[str] = (),
        reset_mechanism: str = "none",
        **kwargs: Any,
    ) -> None:
        values = {"omega": omega, "damping": damping, "gamma": gamma, "time_step": time_step}
        super().__init__(values, learn, reset_mechanism, **kwargs)
        if self.reset_mechanism != "none":
            raise ValueError(f"reset_mechanism must be none, as BRF has no reset, got {self.reset_mechanism!r}")
        if self.threshold.device.type != "meta":
            if not bool((self.time_step * self.omega.abs() < 1).all()):
                raise ValueError(f"omega must be less than 1 / time_step, got {omega} and {time_step}")
            if not bool((self.damping >= 0).all()):
                raise ValueError(f"damping must not be negative, got {damping}")

    @staticmethod
    def step(
        x, mem, imag, refractory, *, omega, damping, gamma, time_step, threshold, spike, factor, state_quant
    ):  # fmt: skip
        """One time step, `x, mem, imag, refractory -> spk, mem, imag, refractory`."""
        turn = time_step * omega
        b = ((1 - turn * turn).sqrt() - 1) / time_step - damping.abs() - refractory
        real = mem + time_step * (b * mem - omega * imag + x)
        imag = imag + time_step * (omega * mem + b * imag)
        real, imag = quantised(real, state_quant), quantised(imag, state_quant)
        spk = spike(real - threshold - refractory)
        return graded(spk, factor), real, imag, gamma * refractory + spk
