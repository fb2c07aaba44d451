"""Leaky integrate-and-fire neuron that learns of which kind it is."""

from typing import Any

from torch import Tensor, nn

from .base import SpikingNeuron
from .bounded import between, logit
from .pieces import graded, initial_tensor, quantised

_NUMBERS = ("alpha", "beta", "gamma", "tau", "leak", "v_reset", "conductance")


class GLIF(SpikingNeuron):
    """Gated leaky integrate-and-fire neuron: three gates mix two leaks, two inputs and two resets.

    ::

        mem = (1 - alpha (1 - tau)) (1 - gamma spk) mem - (1 - alpha) leak
              + (1 - beta (1 - conductance)) x - (1 - gamma) v_reset spk
        spk = S(mem - threshold)

    Args:
        alpha: gate from a linear (0) to an exponential leak (1).
        beta: gate from the input as it is (0) to the input times the conductance (1).
        gamma: gate from the reset by subtraction (0) to the reset to zero (1).
        tau: what the exponential leak leaves of the membrane potential.
        leak: what the linear one takes away.
        v_reset: what the reset subtracts.
        conductance: of the input; one for all steps, where the paper has one for each.
        learn: train these seven; False keeps them as they are.
        **kwargs: as `SpikingNeuron`; the reset mechanism may only be `"subtract"`, as the gates choose.

    All seven lie between 0 and 1 and stay there, each being the sigmoid of its parameter, `alpha_logit` and so on. They
    may be numbers or tensors, one per channel in the paper. States: `spk, mem`.

    Raises:
        ValueError: for a number outside (0, 1), or another reset mechanism.

    Source: Yao et al., "GLIF: a unified gated leaky integrate-and-fire neuron for spiking neural networks",
    NeurIPS 2022.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, mem = snn.GLIF(beta=1e-6)(torch.tensor([[0.5, 1.5]]))
        >>> mem
        tensor([[0.4500, 1.4500]], grad_fn=<...>)
    """

    honours = frozenset()
    states = ("spk", "mem")
    spk: Tensor
    alpha, beta, gamma = between("alpha"), between("beta"), between("gamma")
    tau, leak = between("tau"), between("leak")
    v_reset, conductance = between("v_reset"), between("conductance")

    def __init__(
        self,
        alpha: float | Tensor = 0.5,
        beta: float | Tensor = 0.5,
        gamma: float | Tensor = 0.5,
        tau: float | Tensor = 0.5,
        leak: float | Tensor = 0.1,
        v_reset: float | Tensor = 0.5,
        conductance: float | Tensor = 0.5,
        learn: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.reset_mechanism != "subtract":
            raise ValueError(f"reset_mechanism must be subtract, as gamma chooses, got {self.reset_mechanism!r}")
        for name, value in zip(_NUMBERS, (alpha, beta, gamma, tau, leak, v_reset, conductance), strict=True):
            weight = nn.Parameter(logit(name, initial_tensor(name, value)), requires_grad=learn)
            self.register_parameter(f"{name}_logit", weight)

    @staticmethod
    def step(
        x, spk, mem, *, alpha, beta, gamma, tau, leak, v_reset, conductance, threshold, spike, factor, state_quant
    ):  # fmt: skip
        """One time step, `x, spk, mem -> spk, spk, mem`."""
        kept = (1 - alpha * (1 - tau)) * mem * (1 - gamma * spk)
        lost = (1 - alpha) * leak + (1 - gamma) * v_reset * spk
        mem = quantised(kept - lost + (1 - beta * (1 - conductance)) * x, state_quant)
        spk = graded(spike(mem - threshold), factor)
        return spk, spk, mem
