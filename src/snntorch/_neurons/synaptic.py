"""Second-order leaky integrate-and-fire neuron."""

from typing import Any

from torch import Tensor

from ..surrogate import SpikeGrad
from .emission import spiked
from .lif import LIF
from .pieces import fraction, graded, quantised, reset, reset_times


class Synaptic(LIF):
    """Second-order integrate-and-fire neuron: a synaptic current feeds the membrane.

    With `r = 1` where the previous `mem > threshold`, else 0::

        syn = alpha * syn + x
        m   = beta * mem + syn
        subtract: mem = m - r * threshold     zero: mem = m - r * m     none: mem = m
        spk = S(mem - threshold)

    Args:
        alpha: decay of the synaptic current per step, clamped to [0, 1] where it is used.
        learn_alpha: make alpha a parameter.
        reset_delay: reset one step after the spike; False resets within the step that spiked.

    The other arguments are those of `LIF`. States: `syn, mem`.

    Source: Eshraghian et al., "Training spiking neural networks using lessons from deep learning", Proceedings of the
    IEEE 111(9), 2023.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, syn, mem = snn.Synaptic(alpha=0.9, beta=0.8)(torch.tensor([[0.5, 1.5]]))
        >>> spk
        tensor([[0., 1.]])
    """

    states = ("syn", "mem")
    init_synaptic = LIF.init_states
    syn: Tensor

    def __init__(
        self,
        alpha: float | Tensor,
        beta: float | Tensor,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_alpha: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
        reset_delay: bool = True,
    ) -> None:
        super().__init__(
            beta, threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_beta, learn_threshold,
            reset_mechanism, state_quant, output,
        )  # fmt: skip
        self.register_value("alpha", alpha, learn=learn_alpha)
        self.reset_delay = reset_delay

    @staticmethod
    def step(x, syn, mem, *, alpha, beta, threshold, spike, factor, reset_mechanism, reset_delay, state_quant):
        """One time step, `x, syn, mem -> spk, syn, mem`."""
        late, now = reset_times(reset_mechanism, reset_delay)
        fired = spiked(mem, threshold, spike, late)
        syn = fraction(alpha) * syn + x
        mem = reset(fraction(beta) * mem + syn, fired, threshold, late)
        syn, mem = quantised(syn, state_quant), quantised(mem, state_quant)
        spk = spike(mem - threshold)
        mem = reset(mem, spk, threshold, now)
        return graded(spk, factor), syn, mem
