"""The maximum of spike trains."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._engine import note
from .._neurons.neurons import SpikingNeuron


class SpikeMax(SpikingNeuron):
    """Max pooling of spikes: a gate that passes those of the neuron that has fired most.

    Of `total`, what each input has summed up to, the output is what its maximum has grown by::

        total <- total + x,     y = pool(total) - pool(total before)

    From spikes come spikes: one passes where it takes its neuron into the lead. Over any time the outputs sum up to the
    largest of the inputs' sums, which an ordinary max pooling of spikes exceeds. State: `total`, in the input's shape.

    Args:
        pool: the max pooling.

    Source: the gates of Rueckauer et al., "Conversion of continuous-valued deep networks to efficient event-driven
    networks for image classification", Frontiers in Neuroscience 11:682, 2017, by counts.

    Example:
        >>> gate = SpikeMax(nn.MaxPool1d(2))
        >>> [gate(torch.tensor([[spikes]])).item() for spikes in ([1.0, 0.0], [0.0, 1.0], [0.0, 1.0])]
        [1.0, 0.0, 1.0]
    """

    honours = frozenset()
    states = ("total",)
    total: Tensor

    def __init__(self, pool: nn.Module) -> None:
        super().__init__(init_hidden=True)
        self.pool = pool

    def spike_shape(self, input_: Sequence[int], states: Sequence[Sequence[int]]) -> Sequence[int]:
        """The pooled one."""
        return self.pool(torch.empty(tuple(input_), device="meta")).shape

    @staticmethod
    def step(x, total, *, pool):
        """One time step, `x, total -> y, total`."""
        after = total + x
        return pool(after) - pool(total), after

    def over_time(
        self, inputs: Tensor, state: list[Tensor], steps: int, static: bool, wanted: Sequence[bool]
    ) -> tuple[list[Any], list[Tensor]]:
        """All time steps as one pooling of running sums; as `SpikingNeuron.over_time`."""
        note(self, "folded", "takes all steps as one running sum")
        sequence = inputs.expand(steps, *inputs.shape) if static else inputs
        totals = torch.cat([state[0][None], sequence.to(state[0].dtype)]).cumsum(0)
        course = None
        if wanted[0]:
            course = self.pool(totals.flatten(0, 1)).unflatten(0, totals.shape[:2]).diff(dim=0).to(inputs.dtype)
        return [course, totals[1:] if wanted[1] else None], [totals[-1]]
