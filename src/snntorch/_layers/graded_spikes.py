"""Spikes that carry a learned amplitude."""

import torch
from torch import Tensor, nn


class GradedSpikes(nn.Module):
    """Scale each neuron's spikes by a learned factor: `y = w · x`.

    Args:
        size: number of neurons N.
        constant_factor: initial value of every factor; `None` draws each from U(0.5, 1.5).

    Attributes:
        weights: the factors, a parameter of shape `[N, 1]`.

    Example:
        >>> GradedSpikes(3, constant_factor=2.0)(torch.tensor([[0.0, 1.0, 1.0]]))
        tensor([[0., 2., 2.]], grad_fn=<MulBackward0>)
    """

    def __init__(self, size: int, constant_factor: float | None = None):
        super().__init__()
        self.size = size
        if constant_factor is None:
            weights = 0.5 + torch.rand(size, 1)
        else:
            weights = torch.full((size, 1), float(constant_factor))
        self.weights = nn.Parameter(weights)

    def forward(self, input: Tensor) -> Tensor:
        """Scale spikes of shape `[..., N]`, or `[..., N, 1]`; the last dimension is tried first.

        Raises:
            ValueError: neither of the shapes fits.
        """
        if self.size == 1 or input.shape[-1:] == (self.size,):
            return input * self.weights[:, 0]
        if input.shape[-2:] == (self.size, 1):
            return input * self.weights
        raise ValueError(f"input must have shape [..., {self.size}] or [..., {self.size}, 1], got {list(input.shape)}")
