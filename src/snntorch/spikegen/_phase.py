"""Phase code: the bits of the value, one a step, repeated every period."""

import torch
from torch import Tensor

from ._checks import at_least_float32, floating, over_time, required_steps, whole, within_unit

_DIGITS = 52  # of a float64


def phase(data: Tensor, num_steps: int | None, period: int = 8) -> Tensor:
    """The first binary digits of the data, the most significant first: step t holds digit t mod `period`.

    A spike at phase k has the weight 2^-(1+k). An 8-bit image scaled to [0, 1] gives back its own bits.

    Args:
        data: values in [0, 1], `[B, ...]`; 1 becomes 1 - 2^-period.
        num_steps: length T of the train.
        period: digits K, from 1 to 52.

    Returns:
        `[T, B, ...]` of 0 and 1.

    Raises:
        ValueError: if data lie outside [0, 1], `num_steps` is missing or `period` is out of range.

    Source: Kim, Kim, Huh, Lee, Choi. Deep neural networks with weighted spikes. Neurocomputing 311, 373-386, 2018.

    Example:
        >>> phase(torch.tensor([0.625]), num_steps=6, period=3).flatten()  # 0.625 = 0.101 in binary
        tensor([1., 0., 1., 1., 0., 1.])
    """
    values = within_unit(floating(data))
    steps, period = required_steps(num_steps), whole(period, "period", 1, _DIGITS)
    code = (at_least_float32(values) * 2**period).long().clamp(max=2**period - 1)
    shift = torch.arange(period - 1, -1, -1, device=values.device).view(-1, *[1] * values.dim())
    digits = (code >> shift & 1).to(values.dtype)
    return digits[torch.arange(steps, device=values.device) % period]


def phase_decode(spikes: Tensor, period: int = 8) -> Tensor:
    """Values from the trains of `phase`: the sum of the weights 2^-(1 + t mod K), averaged over periods.

    What comes back is at most 2^-K below the value that was encoded.

    Args:
        spikes: `[T, B, ...]`, T a multiple of the period.
        period: K of the encoder.

    Returns:
        `[B, ...]` in the floating dtype of the spikes.

    Raises:
        ValueError: if T is not a multiple of `period`, or `period` is out of range.

    Example:
        >>> phase_decode(torch.tensor([[1.0], [0.0], [1.0]]), period=3)
        tensor([0.6250])
    """
    trains = floating(over_time(spikes, "spikes"), "spikes")
    period = whole(period, "period", 1, _DIGITS)
    steps = len(trains)
    if steps == 0 or steps % period:
        raise ValueError(f"spikes must last whole periods of {period} steps, got {steps} steps")
    weight = 2.0 ** -(1 + torch.arange(steps, device=trains.device) % period)
    return torch.tensordot(weight.to(trains.dtype), trains, dims=1) * (period / steps)
