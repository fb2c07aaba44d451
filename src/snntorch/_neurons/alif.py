"""Leaky integrate-and-fire neuron with an adaptive threshold."""

from typing import Any

from torch import Tensor

from .lif import LIF
from .pieces import fraction, graded, quantised, reset


class ALIF(LIF):
    """Adaptive leaky integrate-and-fire neuron: its spikes raise its threshold, which falls back slowly.

    With the threshold `theta = threshold + strength * adaptation`, which `reset` subtracts::

        mem = beta * mem + x
        spk = S(mem - theta)
        mem = reset(mem) where spk
        adaptation = rho * adaptation + (1 - rho) * spk

    Args:
        rho: decay of the adaptation per step, clamped to [0, 1]; `exp(-time_step / tau_adaptation)`.
        strength: by how much steady firing at every step raises the threshold.
        learn_rho: make rho a parameter.
        learn_strength: make the strength a parameter.

    The other arguments are those of `LIF`. The reset is made in the step that spiked, as `Leaky`'s with
    `reset_delay=False`, which this is with `strength=0`. States: `mem, adaptation`.

    Source: Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS 2018.

    Example:
        >>> import snntorch as snn, torch
        >>> neuron = snn.ALIF(beta=0.9, rho=0.95, strength=4.0)
        >>> spk, mem, adaptation = snn.unroll(neuron, torch.full((40, 1), 0.5))
        >>> spk[:20].sum() > spk[20:].sum()
        tensor(True)
    """

    honours = frozenset()
    states = ("mem", "adaptation")
    adaptation: Tensor
    rho: Tensor
    strength: Tensor

    def __init__(
        self,
        beta: float | Tensor,
        rho: float | Tensor,
        strength: float | Tensor = 1.8,
        learn_beta: bool = False,
        learn_rho: bool = False,
        learn_strength: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(beta, learn_beta=learn_beta, **kwargs)
        self.register_value("rho", rho, learn=learn_rho)
        self.register_value("strength", strength, learn=learn_strength)

    @staticmethod
    def step(x, mem, adaptation, *, beta, rho, strength, threshold, spike, factor, reset_mechanism, state_quant):
        """One time step, `x, mem, adaptation -> spk, mem, adaptation`."""
        rho, theta = fraction(rho), threshold + strength * adaptation
        mem = quantised(fraction(beta) * mem + x, state_quant)
        spk = spike(mem - theta)
        adaptation = quantised(rho * adaptation + (1 - rho) * spk, state_quant)
        return graded(spk, factor), reset(mem, spk, theta, reset_mechanism), adaptation
