"""The feedback of recurrent neurons: from all neurons of a layer, or from each to itself."""

import torch
from torch import Tensor, nn

from .neurons import SpikingNeuron, initial_tensor, same_padding


class RecurrentOneToOne(nn.Module):
    """`V * spk`: each neuron feeds back to itself.

    Args:
        V: the weight, a scalar or one per neuron.
    """

    def __init__(self, V: Tensor) -> None:
        super().__init__()
        self.V = V

    def forward(self, spk: Tensor) -> Tensor:
        """Feedback current for the previous spikes."""
        return self.V * spk


def add_recurrence(
    neuron: SpikingNeuron,
    V: float | Tensor,
    all_to_all: bool,
    linear_features: int | None,
    conv2d_channels: int | None,
    kernel_size: int | tuple[int, int] | None,
    learn_recurrent: bool,
) -> None:
    """Give the neuron its `recurrent` module.

    Raises:
        TypeError: for a wrong combination of the arguments.
    """
    name = type(neuron).__name__
    if all_to_all:
        if (linear_features is None) == (conv2d_channels is None):
            raise TypeError(f"{name} with all_to_all=True takes linear_features or conv2d_channels, one of them")
        if (kernel_size is None) != (conv2d_channels is None):
            raise TypeError(f"{name}'s kernel_size goes with conv2d_channels, got {kernel_size} and {conv2d_channels}")
    elif not (linear_features is None and conv2d_channels is None and kernel_size is None):
        raise TypeError(f"{name} with all_to_all=False takes V, and no linear_features, conv2d_channels, kernel_size")
    neuron.all_to_all = all_to_all  # type: ignore[assignment]
    if linear_features is not None:
        neuron.recurrent = nn.Linear(linear_features, linear_features)
    elif conv2d_channels is not None and kernel_size is not None:
        pair, padding = same_padding(kernel_size)
        neuron.recurrent = nn.Conv2d(conv2d_channels, conv2d_channels, pair, padding=padding)
    else:
        value = V if isinstance(V, nn.Parameter) else nn.Parameter(initial_tensor("V", V))
        neuron.recurrent = RecurrentOneToOne(value)
        neuron.V = value
    if not learn_recurrent:
        neuron.recurrent.requires_grad_(False)


def feedback(neuron: SpikingNeuron, input_: Tensor, spk: Tensor) -> Tensor:
    """The input plus what the previous spikes feed back."""
    current = neuron.recurrent(spk)  # type: ignore[operator]
    return input_ + (current if torch.is_autocast_enabled(input_.device.type) is False else current.to(input_.dtype))
