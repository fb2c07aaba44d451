"""Time-to-first-spike code: a threshold falls exponentially until it meets the value."""

import torch
from torch import Tensor

from ._checks import at_least_float32, floating, not_saturated, over_time, positive, required_steps


def ttfs(data: Tensor, num_steps: int | None, tau: float = 6.0, threshold: float = 1.0) -> Tensor:
    """One spike in the first step t at which data ≥ θ(t) = θ exp(-t / τ), or none if the train ends before.

    Args:
        data: any shape; values from θ exp(-(T-1) / τ) to θ are told apart.
        num_steps: length T of the train.
        tau: time constant τ in steps.
        threshold: θ, at step 0.

    Returns:
        `[T, B, ...]` of 0 and 1.

    Raises:
        ValueError: if `num_steps` is missing, `tau` or `threshold` is not positive, or the data hold NaN,
            infinities, or integers above the threshold.

    Source: Rueckauer, Liu. Conversion of analog to spiking neural networks using sparse temporal coding. ISCAS 2018.
    Park, Kim, Na, Yoon. T2FSNN: Deep Spiking Neural Networks with Time-to-first-spike Coding. DAC 2020.

    Example:
        >>> ttfs(torch.tensor([1.0, 0.5, 0.0]), num_steps=3, tau=2.0)
        tensor([[1., 0., 0.],
                [0., 0., 0.],
                [0., 1., 0.]])
    """
    values = floating(data)
    not_saturated(data, threshold, "would fire in step 0: scale them, or for bytes give threshold=255")
    level = _threshold(required_steps(num_steps), tau, threshold, values)
    met = (values >= level.view(-1, *[1] * values.dim())).to(values.dtype)
    return torch.diff(met, dim=0, prepend=torch.zeros_like(met[:1]))


def ttfs_decode(spikes: Tensor, tau: float = 6.0, threshold: float = 1.0) -> Tensor:
    """Values from the train of `ttfs`: x̂ = θ exp(-t / τ), or 0 without a spike; x̂ ≤ x < x̂ exp(1 / τ).

    Args:
        spikes: `[T, B, ...]` of 0 and 1, at most one spike an element.
        tau: τ of the encoder.
        threshold: θ of the encoder.

    Returns:
        `[B, ...]` in the floating dtype of the spikes.

    Raises:
        ValueError: if `tau` or `threshold` is not positive.

    Example:
        >>> ttfs_decode(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), tau=2.0)
        tensor([1.0000, 0.6065])
    """
    trains = floating(over_time(spikes, "spikes"), "spikes")
    return torch.tensordot(_threshold(len(trains), tau, threshold, trains), trains, dims=1)


def _threshold(steps: int, tau: float, threshold: float, like: Tensor) -> Tensor:
    """θ(t), `[T]`, in the dtype in which it is compared."""
    positive(tau=tau, threshold=threshold)
    time = at_least_float32(torch.arange(steps, dtype=like.dtype, device=like.device))
    return (threshold * torch.exp(-time / tau)).to(like.dtype)
