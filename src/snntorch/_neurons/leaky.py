"""First-order leaky integrate-and-fire neuron."""

from typing import Any

from torch import Tensor

from ..surrogate import SpikeGrad
from .emission import spiked
from .lif import LIF
from .pieces import fraction, graded, quantised, reset, reset_times


class Leaky(LIF):
    """First-order leaky integrate-and-fire neuron.

    With `r = 1` where the previous `mem > threshold`, else 0::

        subtract:  mem = beta * mem + x - r * threshold
        zero:      mem = beta * (1 - r) * mem + x
        none:      mem = beta * mem + x
        spk = graded_spikes_factor * S(mem - threshold)

    Args:
        reset_delay: reset one step after the spike; False resets within the step that spiked.

    The other arguments are those of `LIF`. States: `mem`.

    Source: Eshraghian et al., "Training spiking neural networks using lessons from deep learning", Proceedings of the
    IEEE 111(9), 2023.

    Example:
        >>> import snntorch as snn, torch
        >>> lif = snn.Leaky(beta=0.5)
        >>> spk, mem = lif(torch.tensor([[0.9, 1.1]]))
        >>> spk
        tensor([[0., 1.]])
    """

    states = ("mem",)
    init_leaky = LIF.init_states

    def __init__(
        self,
        beta: float | Tensor,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
        reset_delay: bool = True,
    ) -> None:
        super().__init__(
            beta, threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_beta, learn_threshold,
            reset_mechanism, state_quant, output, graded_spikes_factor, learn_graded_spikes_factor,
        )  # fmt: skip
        self.reset_delay = reset_delay

    @staticmethod
    def step(x, mem, *, beta, threshold, spike, factor, reset_mechanism, reset_delay, state_quant):
        """One time step, `x, mem -> spk, mem`."""
        late, now = reset_times(reset_mechanism, reset_delay)
        fired = spiked(mem, threshold, spike, late)
        beta = fraction(beta)
        if late == "zero":
            mem = beta * reset(mem, fired, threshold, late) + x
        else:
            mem = reset(beta * mem + x, fired, threshold, late)
        mem = quantised(mem, state_quant)
        spk = spike(mem - threshold)
        return graded(spk, factor), reset(mem, spk, threshold, now)

    def _base_zero(self, input_: Tensor) -> Any:
        self.mem = reset(self.mem, self.reset, self.threshold, "zero")  # the new input is not reset
        return self._base_state_function(input_)
