"""Burst code: the larger the value, the more spikes and the closer together."""

import torch
from torch import Tensor

from ._checks import at_least_float32, floating, required_steps, whole, within_unit


def burst(
    data: Tensor, num_steps: int | None, max_spikes: int = 5, min_interval: int = 2, max_interval: int | None = None
) -> Tensor:
    """A burst from step 0 on, of N = ⌈N_max x⌉ spikes that are I = ⌈I_max - (I_max - I_min) x⌉ steps apart.

    Args:
        data: values x in [0, 1], `[B, ...]`.
        num_steps: length T of the train.
        max_spikes: N_max, spikes of the value 1.
        min_interval: I_min, steps between the spikes of the value 1.
        max_interval: I_max, steps between the spikes of small values; the longest that fits if None.

    Returns:
        `[T, B, ...]` of 0 and 1.

    Raises:
        ValueError: if data lie outside [0, 1], `num_steps` is missing, an interval is below 1, `max_interval`
            is below `min_interval`, or N_max spikes I_max steps apart do not fit into the train.

    Source: Park, Kim, Choe, Yoon. Fast and Efficient Information Transmission with Burst Spikes in Deep Spiking Neural
    Networks. DAC 2019. Guo, Fouda, Eltawil, Salama. Neural Coding in Spiking Neural Networks: A Comparative Study for
    Robust Neuromorphic Systems. Frontiers in Neuroscience 15:638474, 2021 (the equations).

    Example:
        >>> burst(torch.tensor([0.0, 0.5, 1.0]), num_steps=7, max_spikes=3).T
        tensor([[0., 0., 0., 0., 0., 0., 0.],
                [1., 0., 0., 1., 0., 0., 0.],
                [1., 0., 1., 0., 1., 0., 0.]])
    """
    values = within_unit(floating(data))
    steps = required_steps(num_steps)
    max_spikes = whole(max_spikes, "max_spikes", least=1)
    min_interval = whole(min_interval, "min_interval", least=1)
    if max_interval is None:
        max_interval = (steps - 1) // (max_spikes - 1) if max_spikes > 1 else min_interval
    max_interval = whole(max_interval, "max_interval", least=0)
    if max_interval < min_interval or (max_spikes - 1) * max_interval >= steps:
        raise ValueError(
            f"max_spikes = {max_spikes} at intervals from min_interval = {min_interval} to max_interval = "
            f"{max_interval} must fit into num_steps = {steps}"
        )
    x = at_least_float32(values)
    count = (max_spikes * x).ceil()
    interval = (max_interval - (max_interval - min_interval) * x).ceil()
    step = torch.arange(steps, dtype=x.dtype, device=x.device).view(-1, *[1] * x.dim())
    return ((step % interval == 0) & (step < count * interval)).to(values.dtype)
