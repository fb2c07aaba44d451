"""Recurrent first-order leaky integrate-and-fire neuron."""

from typing import Any

from torch import Tensor

from ..surrogate import SpikeGrad
from .emission import spiked
from .lif import LIF
from .pieces import fraction, graded, quantised, reset, reset_times
from .recurrent import Recurrent


class RLeaky(Recurrent, LIF):
    """`Leaky` whose spikes feed back into the input of the next step.

    With `r = 1` where the previous `mem > threshold`, and W the recurrent weights::

        f = beta * mem + x + W(spk)
        subtract: mem = f - r * threshold     zero: mem = f - r * f     none: mem = f
        spk = S(mem - threshold)

    Args:
        V: recurrent weight for `all_to_all=False`, a scalar or one per neuron.
        all_to_all: feed back through a linear layer or a convolution; False from each neuron to itself, times V.
        linear_features: number of neurons, for a linear layer.
        conv2d_channels: number of channels, for a convolution that keeps the shape.
        kernel_size: of that convolution.
        learn_recurrent: train the recurrent weights; False freezes them.
        reset_delay: reset one step after the spike; False resets within the step that spiked.

    The other arguments are those of `LIF`. States: `spk, mem`, in calls and in returns.

    Raises:
        TypeError: for a wrong combination of `all_to_all`, `linear_features`, `conv2d_channels`, `kernel_size`.

    Source: Eshraghian et al., "Training spiking neural networks using lessons from deep learning", Proceedings of the
    IEEE 111(9), 2023.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, mem = snn.RLeaky(beta=0.8, V=0.5, all_to_all=False)(torch.full((1, 2), 1.5))
        >>> spk
        tensor([[1., 1.]], grad_fn=<...>)
    """

    states = ("spk", "mem")
    init_rleaky = LIF.init_states
    spk: Tensor

    def __init__(
        self,
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

    @staticmethod
    def step(x, spk, mem, *, beta, V, threshold, spike, factor, reset_mechanism, reset_delay, state_quant):
        """One time step, `x, spk, mem -> spk, spk, mem`."""
        late, now = reset_times(reset_mechanism, reset_delay)
        fired = spiked(mem, threshold, spike, late)
        x = x if V is None else x + V * spk
        mem = reset(fraction(beta) * mem + x, fired, threshold, late)
        mem = quantised(mem, state_quant)
        spk = spike(mem - threshold)
        mem = reset(mem, spk, threshold, now)
        spk = graded(spk, factor)
        return spk, spk, mem
