"""The memory of a loop: an output that arrives one step later."""

from collections.abc import Sequence

from torch import Tensor

from .._neurons.neurons import SpikingNeuron


class Feedback(SpikingNeuron):
    """Holds a signal from one step to the next: a step begins by reading it and ends by writing it.

    State: `value`, `[B, *shape]`, zero before the first write.

    Args:
        shape: shape of the signal of one sample.
        input_dim: number of dimensions of the network's input for one sample, so that its batch shape is known.

    Example:
        >>> import torch
        >>> x, loop = torch.ones(1, 2), Feedback((3,), input_dim=1)
        >>> loop(x), loop(x, torch.ones(1, 3)), loop(x)
        (tensor([[0., 0., 0.]]), tensor([[1., 1., 1.]]), tensor([[1., 1., 1.]]))
    """

    states = ("value",)
    value: Tensor

    def __init__(self, shape: Sequence[int], input_dim: int) -> None:
        super().__init__(init_hidden=True)
        self.shape = tuple(shape)
        self.input_dim = input_dim

    def forward(self, input_: Tensor, value: Tensor | None = None) -> Tensor:
        """Read the last step's value, in the batch shape of the network's `input_`, or write this step's."""
        if value is None:
            shape = (*input_.shape[: input_.dim() - self.input_dim], *self.shape)
            value = self._stored_state("value", input_, shape).to(input_.dtype)
        self._store([value])
        return value
