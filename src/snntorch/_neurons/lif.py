"""The base of leaky integrate-and-fire neurons."""

from typing import Any

from torch import Tensor

from ..surrogate import SpikeGrad
from .base import SpikingNeuron


class LIF(SpikingNeuron):
    """Leaky integrate-and-fire neurons' base: a decay `beta` beside what every neuron has. It has no step.

    Args:
        beta: decay of the membrane potential per step, clamped to [0, 1] where it is used; a number or a tensor that
            broadcasts against the input's last dimensions.
        learn_beta: make beta a parameter.

    The other arguments are `SpikingNeuron`'s.

    Example:
        >>> import snntorch as snn, torch
        >>> class Rectifier(snn.LIF):  # what it receives is never negative
        ...     states = ("mem",)
        ...     @staticmethod
        ...     def step(x, mem, *, beta, threshold, spike):
        ...         mem = beta * mem + torch.relu(x)
        ...         spk = spike(mem - threshold)
        ...         return spk, mem - spk * threshold
        >>> Rectifier(beta=0.5)(torch.tensor([-1.0, 1.5]), torch.zeros(2))
        (tensor([0., 1.]), tensor([0.0000, 0.5000]))
    """

    beta: Tensor

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
    ) -> None:
        super().__init__(
            threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_threshold, reset_mechanism,
            state_quant, output, graded_spikes_factor, learn_graded_spikes_factor,
        )  # fmt: skip
        self.register_value("beta", beta, learn=learn_beta)
