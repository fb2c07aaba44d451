"""First-order leaky integrate-and-fire neuron."""

from typing import Any

from torch import Tensor

from ..surrogate import SpikeGrad
from .neurons import LIF, graded, quantised, reset


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
            beta=beta,
            threshold=threshold,
            spike_grad=spike_grad,
            surrogate_disable=surrogate_disable,
            init_hidden=init_hidden,
            inhibition=inhibition,
            learn_beta=learn_beta,
            learn_threshold=learn_threshold,
            reset_mechanism=reset_mechanism,
            state_quant=state_quant,
            output=output,
            graded_spikes_factor=graded_spikes_factor,
            learn_graded_spikes_factor=learn_graded_spikes_factor,
        )
        self.reset_delay = reset_delay

    @staticmethod
    def step(x, mem, *, beta, threshold, spike, factor, reset_mechanism, reset_delay, state_quant):
        """One time step, `x, mem -> spk, mem`."""
        fired = (mem > threshold).to(mem.dtype)
        beta = beta.clamp(0, 1)
        if reset_mechanism == "zero":
            mem = beta * reset(mem, fired, threshold, "zero") + x
        else:
            mem = reset(beta * mem + x, fired, threshold, reset_mechanism)
        mem = quantised(mem, state_quant)
        spk = spike(mem - threshold)
        if not reset_delay:
            mem = reset(mem, spk - fired, threshold, reset_mechanism)
        return graded(spk, factor), mem

    def init_leaky(self) -> Tensor:
        """As `reset_mem`."""
        return self.reset_mem()
