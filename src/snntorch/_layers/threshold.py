"""A spike wherever the input exceeds a threshold."""

import torch
from torch import Tensor, nn

from ..surrogate import SpikeGrad, resolve


class Threshold(nn.Module):
    """`y = S(x - threshold)`, a neuron without memory.

    Args:
        threshold: a number or a tensor that broadcasts against the input's last dimensions.
        spike_grad: the surrogate gradient, as for `SpikingNeuron`.

    Example:
        >>> Threshold(0.5)(torch.tensor([0.4, 0.5, 0.6]))
        tensor([0., 0., 1.])
    """

    threshold: Tensor

    def __init__(self, threshold: float | Tensor = 1.0, spike_grad: SpikeGrad | str | None = None) -> None:
        super().__init__()
        self.spike_grad = resolve(spike_grad)
        self.register_buffer("threshold", torch.as_tensor(threshold, dtype=torch.get_default_dtype()).detach().clone())

    def forward(self, input: Tensor) -> Tensor:
        """Spikes of the input, in its shape and dtype."""
        return self.spike_grad(input - self.threshold.to(input.dtype))
