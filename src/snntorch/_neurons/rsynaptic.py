"""Recurrent second-order leaky integrate-and-fire neuron."""

from typing import Any

from torch import Tensor

from ..surrogate import SpikeGrad
from .emission import spiked
from .lif import LIF
from .pieces import fraction, graded, quantised, reset, reset_times
from .recurrent import Recurrent


class RSynaptic(Recurrent, LIF):
    """`Synaptic` whose spikes feed back into the input of the next step.

    With `r = 1` where the previous `mem > threshold`, and W the recurrent weights::

        syn = alpha * syn + x + W(spk)
        m   = beta * mem + syn
        subtract: mem = m - r * threshold     zero: mem = m - r * m     none: mem = m
        spk = S(mem - threshold)

    Args:
        alpha: decay of the synaptic current per step, clamped to [0, 1] where it is used.
        learn_alpha: make alpha a parameter.

    The other arguments, and errors, are those of `RLeaky`. States: `spk, syn, mem`, in calls and in returns.

    Source: Eshraghian et al., "Training spiking neural networks using lessons from deep learning", Proceedings of the
    IEEE 111(9), 2023.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, syn, mem = snn.RSynaptic(alpha=0.9, beta=0.8, V=0.5, all_to_all=False)(torch.full((1, 2), 1.5))
        >>> spk
        tensor([[1., 1.]], grad_fn=<...>)
    """

    states = ("spk", "syn", "mem")
    init_rsynaptic = LIF.init_states
    spk: Tensor
    syn: Tensor

    def __init__(
        self,
        alpha: float | Tensor,
        beta: float | Tensor,
        V: float | Tensor = 1.0,
        all_to_all: bool = True,
        linear_features: int | None = None,
        conv2d_channels: int | None = None,
        kernel_size: int | tuple[int, int] | None = None,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_alpha: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        learn_recurrent: bool = True,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
        reset_delay: bool = True,
    ) -> None:
        super().__init__(
            beta, threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_beta, learn_threshold,
            reset_mechanism, state_quant, output,
        )  # fmt: skip
        self.reset_delay = reset_delay
        self.add_recurrence(V, all_to_all, linear_features, conv2d_channels, kernel_size, learn_recurrent)
        self.register_value("alpha", alpha, learn=learn_alpha)  # after V, as optimisers number the published parameters

    @staticmethod
    def step(x, spk, syn, mem, *, alpha, beta, V, threshold, spike, factor, reset_mechanism, reset_delay, state_quant):
        """One time step, `x, spk, syn, mem -> spk, spk, syn, mem`."""
        late, now = reset_times(reset_mechanism, reset_delay)
        fired = spiked(mem, threshold, spike, late)
        x = x if V is None else x + V * spk
        syn = fraction(alpha) * syn + x
        mem = reset(fraction(beta) * mem + syn, fired, threshold, late)
        syn, mem = quantised(syn, state_quant), quantised(mem, state_quant)
        spk = spike(mem - threshold)
        mem = reset(mem, spk, threshold, now)
        spk = graded(spk, factor)
        return spk, spk, syn, mem
