"""Leaky integrate-and-fire neuron with several spikes a step."""

from typing import Any

from torch import Tensor

from .lif import LIF
from .pieces import fraction, quantised


class IntegerLeaky(LIF):
    """Integer-valued leaky integrate-and-fire neuron: a step may emit up to `levels` spikes.

    ::

        mem = beta * mem + x
        spk = round(clamp(mem / threshold, 0, levels))
        mem = mem - spk * threshold

    The gradient passes the rounding unchanged, and is 0 outside the clamp. To run the trained net on binary spikes,
    spread each step over `levels` of them.

    Args:
        levels: the most spikes in one step.
        threshold: what a spike takes from the membrane potential.

    The other arguments are those of `LIF`. States: `mem`.

    Raises:
        ValueError: for levels that are no positive int.

    Source: Luo et al., "Integer-valued training and spike-driven inference spiking neural network for high-performance
    and energy-efficient object detection", ECCV 2024.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, mem = snn.IntegerLeaky(beta=0.5, levels=4)(torch.tensor([[-1.0, 0.4, 1.7, 9.0]]))
        >>> spk
        tensor([[0., 0., 2., 4.]])
    """

    honours = frozenset()
    states = ("mem",)

    def __init__(
        self,
        beta: float | Tensor,
        levels: int = 4,
        threshold: float | Tensor = 1.0,
        init_hidden: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        state_quant: Any = False,
        output: bool = False,
    ) -> None:
        if not isinstance(levels, int) or levels < 1:
            raise ValueError(f"levels must be a positive int, got {levels!r}")
        super().__init__(
            beta, threshold, init_hidden=init_hidden, learn_beta=learn_beta, learn_threshold=learn_threshold,
            state_quant=state_quant, output=output,
        )  # fmt: skip
        self.levels = levels

    @staticmethod
    def step(x, mem, *, beta, threshold, levels, state_quant):
        """One time step, `x, mem -> spk, mem`."""
        mem = quantised(fraction(beta) * mem + x, state_quant)
        level = (mem / threshold).clamp(0, levels)
        spk = level.round().detach() + (level - level.detach())
        return spk, mem - spk * threshold
