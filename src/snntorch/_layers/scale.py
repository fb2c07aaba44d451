"""An elementwise factor."""

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """`y = scale * x`, elementwise, for neurons of any shape; `GradedSpikes` is its form for a vector of neurons.

    Args:
        scale: a number or a tensor that broadcasts against the input's last dimensions; becomes a parameter.

    Example:
        >>> Scale(torch.tensor([1.0, 2.0]))(torch.ones(1, 2))
        tensor([[1., 2.]], grad_fn=<MulBackward0>)
    """

    def __init__(self, scale: float | Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.as_tensor(scale, dtype=torch.get_default_dtype()).detach().clone())

    def forward(self, input: Tensor) -> Tensor:
        """The scaled input, in its shape."""
        return input * self.scale
