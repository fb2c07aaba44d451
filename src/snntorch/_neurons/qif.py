"""Quadratic integrate-and-fire neuron."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .equations import Equations
from .pieces import graded, quantised, reset_to


class QIF(Equations):
    """Quadratic integrate-and-fire neuron: above a critical potential it fires by itself.

    With `mem` for v::

        tau dv/dt = curvature (v - rest) (v - critical) + x
        spk = S(v - threshold);  v = v_reset where spk

    With rest and critical 0, and curvature and tau 1, this is the normal form `dv/dt = v^2 + x`.

    Args:
        tau: time constant, in the unit of the time step.
        rest: potential at rest, which the neuron starts from.
        critical: potential above which it fires without input.
        curvature: of the parabola.
        v_reset: potential after a spike.
        time_step: length of a step.
        threshold: potential at which the upswing is cut and counts as a spike.
        learn: names of those of `tau, rest, critical, curvature, v_reset` that are parameters.
        **kwargs: as `SpikingNeuron`.

    States: `mem`.

    Source: Latham et al., "Intrinsic dynamics in neuronal networks. I. Theory", Journal of Neurophysiology 83(2), 2000.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, mem = snn.unroll(snn.QIF(), torch.full((1, 1), 0.5), num_steps=100)
        >>> spk.sum()
        tensor(5.)
    """

    states = ("mem",)
    resting: Mapping[str, str | float] = {"mem": "rest"}
    rest: Tensor

    def __init__(
        self,
        tau: float | Tensor = 10.0,
        rest: float | Tensor = 0.0,
        critical: float | Tensor = 0.5,
        curvature: float | Tensor = 1.0,
        v_reset: float | Tensor = 0.0,
        time_step: float = 1.0,
        threshold: float | Tensor = 1.0,
        learn: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        values = dict(tau=tau, rest=rest, critical=critical, curvature=curvature, v_reset=v_reset, time_step=time_step)
        super().__init__(values, learn, threshold=threshold, **kwargs)

    @staticmethod
    def step(
        x, mem, *, tau, rest, critical, curvature, v_reset, time_step, threshold, spike, factor, reset_mechanism,
        state_quant,
    ):  # fmt: skip
        """One time step, `x, mem -> spk, mem`."""
        v = torch.minimum(mem, threshold)  # what stays above it, as no spike was allowed, would run away
        mem = v + time_step / tau * (curvature * (v - rest) * (v - critical) + x)
        mem = quantised(mem, state_quant)
        spk = spike(mem - threshold)
        return graded(spk, factor), reset_to(mem, spk, v_reset, threshold, reset_mechanism)
