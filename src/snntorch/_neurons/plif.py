"""Leaky integrate-and-fire neuron whose decay is learnt and stays between 0 and 1."""

from typing import Any

from torch import Tensor, nn

from .base import SpikingNeuron
from .bounded import logit
from .leaky import Leaky
from .pieces import initial_tensor


class PLIF(SpikingNeuron):
    """Parametric leaky integrate-and-fire neuron: `Leaky` with `beta = sigmoid(w)`, of which it learns w.

    `mem = beta * mem + (1 - beta) * x`, or `beta * mem + x` with `decay_input=False`; spikes and resets as `Leaky`'s.

    Args:
        beta: decay of the membrane potential that training starts from, between 0 and 1; `1 - 1 / tau` of the paper.
        decay_input: whether the input decays too, so that a constant one moves the potential towards itself.
        reset_delay: reset one step after the spike; False resets within the step that spiked.
        **kwargs: as `SpikingNeuron`.

    Attributes:
        w: the parameter, one for the whole layer where beta is a number.
        beta: its sigmoid.

    States: `mem`.

    Raises:
        ValueError: for a beta outside (0, 1).

    Source: Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural
    networks", ICCV 2021. To bound another neuron's decay in the same way: `snntorch.bounded`.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, mem = snn.unroll(snn.PLIF(beta=0.5), torch.full((3, 1), 0.8))
        >>> mem.flatten()
        tensor([0.4000, 0.6000, 0.7000], grad_fn=<...>)
    """

    honours = frozenset()
    states = ("mem",)
    w: Tensor

    def __init__(
        self, beta: float | Tensor = 0.5, decay_input: bool = True, reset_delay: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.w = nn.Parameter(logit("beta", initial_tensor("beta", beta)))
        self.decay_input = decay_input
        self.reset_delay = reset_delay

    @property
    def beta(self) -> Tensor:
        """The decay, `sigmoid(w)`."""
        return self.w.sigmoid()

    @staticmethod
    def step(
        x, mem, *, beta, decay_input, threshold, spike, factor, reset_mechanism, reset_delay, state_quant,
    ):  # fmt: skip
        """One time step, `x, mem -> spk, mem`."""
        x = (1 - beta) * x if decay_input else x
        return Leaky.step(
            x, mem, beta=beta, threshold=threshold, spike=spike, factor=factor, reset_mechanism=reset_mechanism,
            reset_delay=reset_delay, state_quant=state_quant,
        )  # fmt: skip
