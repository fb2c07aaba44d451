"""What layers that delay share: a line of past inputs, and how all steps read it in one go."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._engine import note, without_autocast
from .._neurons.neurons import SpikingNeuron
from .._neurons.pieces import expands


class Line(SpikingNeuron):
    """A layer whose output is read from its last inputs.

    State: `past`, the last `longest` inputs, newest first, `[longest, B, ...]`. A subclass writes `step`, and `read`,
    which does the same for all steps.
    """

    honours = frozenset()
    states = ("past",)
    batch_dim = 1
    past: Tensor
    longest: int  # delay, in steps
    reads = "takes all steps as one gather"  # for `explain`

    def state_shape(self, input_: Tensor) -> Sequence[int]:
        """One slot per step of the longest delay.

        Raises:
            ValueError: for an input that has not the neurons whose delays there are.
        """
        size, shape = tuple(self.delays.shape), tuple(input_.shape)
        if not expands(size, shape):
            raise ValueError(f"input_ must end in the shape of the delays, {size}, got shape {shape}")
        return (self.longest, *input_.shape)

    @property
    def delays(self) -> Tensor:
        """Of each input."""
        raise NotImplementedError

    def read(self, line: Tensor, steps: int) -> Tensor:
        """The outputs, `[steps, B, ...]`, of a line whose oldest input comes first: step t's is at `longest + t`."""
        raise NotImplementedError

    def over_time(
        self, inputs: Tensor, state: list[Tensor], steps: int, static: bool, wanted: Sequence[bool]
    ) -> tuple[list[Any], list[Tensor]]:
        """All time steps as one read of the whole line; as `SpikingNeuron.over_time`."""
        note(self, "folded", self.reads)
        longest, past = self.longest, state[0]
        sequence = inputs.expand(steps, *inputs.shape) if static else inputs
        line = torch.cat([past.flip(0), sequence.to(past.dtype)])
        course = None
        if wanted[1]:  # views, one of each step
            course = line.unfold(0, longest, 1)[1:].movedim(-1, 1).flip(1) if longest else line[:, None][:, :0]
        out = None
        if wanted[0]:
            with without_autocast(line.device.type):  # as in a step
                out = self.read(line, steps).to(inputs.dtype)
        return [out, course], [line[steps:].flip(0)]


def gathered(line: Tensor, steps: int, ages: Tensor) -> Tensor:
    """Of each step the input that lies `ages` after the line's oldest at that step; of indices that broadcast."""
    start = torch.arange(steps, device=line.device).view(-1, *(1,) * (line.dim() - 1))
    return line.gather(0, (start + ages).expand(steps, *line.shape[1:]))
