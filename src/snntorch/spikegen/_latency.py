"""Latency codes: the larger the value, the earlier its one spike."""

from typing import Literal

import torch
from torch import Tensor

from ._checks import at_least_float32, floating, given_steps, over_time, positive, real, whole, within_unit
from ._spike_times import NEVER, emit

Normalize = bool | Literal["sample"]


def latency(
    data: Tensor,
    num_steps: int | None = False,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    on_target: float = 1,
    off_target: float = 0,
    clip: bool = False,
    normalize: Normalize = False,
    linear: bool = False,
    interpolate: bool = False,
    bypass: bool = False,
    epsilon: float = 1e-7,
) -> Tensor:
    """One spike an element, in step round(t), with t from `latency_code`.

    Args:
        data: values in [0, 1], `[B, ...]`.
        num_steps: length T of the train; may be left out with `bypass=True`: then the last spike ends the train.
        threshold: charge θ at which the neuron fires; lower values are raised to it, or removed by `clip`.
        tau: time constant τ in steps.
        first_spike_time: first step f in which a spike may fall.
        on_target: level of a spike.
        off_target: level elsewhere.
        clip: give elements below the threshold no spike.
        normalize: stretch the times so that the last falls in step T-1. "sample" does so for each sample of
            the first dimension (a vector is one sample), so that a train does not depend on its batch.
        linear: times linear in the data, instead of those of a charging capacitor.
        interpolate: ramp up to each spike; see `latency_interpolate`.
        bypass: drop spikes beyond the last step instead of raising.
        epsilon: ε, which keeps the time of elements below the threshold finite.

    Returns:
        `[T, B, ...]` in the data's floating dtype.

    Raises:
        ValueError: if data lie outside [0, 1], the last spike falls beyond the last step, `num_steps` is
            missing, or as in `latency_code`.

    Example:
        >>> latency(torch.tensor([0.02, 0.5, 1.0]), num_steps=5, normalize=True, linear=True)
        tensor([[0., 0., 1.],
                [0., 0., 0.],
                [0., 1., 0.],
                [0., 0., 0.],
                [1., 0., 0.]])
    """
    values = within_unit(floating(data))
    times = _times(values.detach(), num_steps, threshold, tau, first_spike_time, normalize, linear, epsilon)
    if clip:
        times = times.masked_fill(values < threshold, NEVER)
    return emit(times, num_steps, on_target, off_target, interpolate, bypass).to(values.dtype)


def latency_code(
    data: Tensor,
    num_steps: int | None = False,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    normalize: Normalize = False,
    linear: bool = False,
    epsilon: float = 1e-7,
) -> tuple[Tensor, Tensor]:
    """Spike times of the latency code, and which elements lie below the threshold.

    Args:
        data: any shape, read as the input current of a neuron.
        num_steps: length T of the train; needed to normalise.
        threshold: θ, in (0, 1).
        tau: time constant τ in steps.
        first_spike_time: f, added to every time.
        normalize: stretch the times so that the last is T-1; see `latency`.
        linear: `latency_code_linear` instead of `latency_code_log`.
        epsilon: ε of the logarithmic code.

    Returns:
        Times in steps, not rounded, in the data's floating dtype; and a boolean tensor, data < θ.

    Raises:
        ValueError: if θ is not in (0, 1), τ not positive, f negative or beyond the last step, f is given for
            data with values both above 1 and below 0, or `num_steps` is negative or missing with `normalize`.

    Example:
        >>> latency_code(torch.tensor([0.0]), first_spike_time=5)
        (tensor([16.5...]), tensor([True]))
    """
    values = floating(data)
    times = _times(values, num_steps, threshold, tau, first_spike_time, normalize, linear, epsilon)
    return times.to(values.dtype), values < threshold


def latency_code_log(
    data: Tensor,
    num_steps: int | None = False,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    normalize: Normalize = False,
    epsilon: float = 1e-7,
) -> Tensor:
    """Times at which a leaky capacitor charges to θ: t = τ ln(x / (x - θ)) + f, with x = max(data, θ + ε).

    With `normalize`, t = (t - f) (T - 1 - f) / max(t - f) + f. Values up to θ so fire late, at about τ ln(θ / ε), and
    not never. Arguments, errors and the times are those of `latency_code`.

    Example:
        >>> latency_code_log(torch.tensor([0.02, 0.5, 1.0]), num_steps=5, normalize=True)
        tensor([4.0000, 0.1166, 0.0580])
    """
    return latency_code(data, num_steps, threshold, tau, first_spike_time, normalize, False, epsilon)[0]


def latency_code_linear(
    data: Tensor,
    num_steps: int | None = False,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    normalize: Normalize = False,
) -> Tensor:
    """Times that fall linearly with the data: t = τ (1 - max(data, θ)) + f.

    With `normalize`, τ = T - 1 - f; if data above 1 make times negative, these are mapped linearly to 0 … T-1.
    Arguments, errors and the times are those of `latency_code`.

    Example:
        >>> latency_code_linear(torch.tensor([0.02, 0.5, 1.0]), num_steps=5, normalize=True)
        tensor([3.9200, 2.0000, 0.0000])
    """
    return latency_code(data, num_steps, threshold, tau, first_spike_time, normalize, linear=True)[0]


def latency_decode(
    spikes: Tensor,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    normalize: bool = False,
    linear: bool = False,
) -> Tensor:
    """Values in [0, 1] from the spike times t of `latency`, by inverting its equation.

    Logarithmic: x = θ / (1 - exp(-(t - f) / τ)); linear: x = 1 - (t - f) / τ, with τ = T - 1 - f if
    normalised. Elements without a spike decode to 0. A linear code returns values above θ to within 1 / 2τ.

    Args:
        spikes: `[T, B, ...]` of 0 and 1, at most one spike an element.
        threshold: θ of the encoder.
        tau: τ of the encoder.
        first_spike_time: f of the encoder.
        normalize: whether a linear code was normalised.
        linear: whether the code is linear.

    Returns:
        `[B, ...]` in the floating dtype of the spikes.

    Raises:
        ValueError: for a normalised logarithmic code: its scale depends on the data and is lost; or as `latency_code`.

    Example:
        >>> spikes = latency(torch.tensor([0.1, 0.5, 1.0]), num_steps=11, normalize=True, linear=True)
        >>> latency_decode(spikes, normalize=True, linear=True)
        tensor([0.1000, 0.5000, 1.0000])
    """
    trains = floating(over_time(spikes, "spikes"), "spikes")
    steps, start = _checked(trains, len(trains), threshold, tau, first_spike_time, normalize)
    if normalize and not linear:
        raise ValueError("normalize=True: the scale of a normalised logarithmic code is lost, it cannot be decoded")
    elapsed = (torch.arange(steps, dtype=torch.float64, device=trains.device) - start).clamp(min=0)
    if linear:
        values = 1 - elapsed / (max(steps - 1 - start, 1) if normalize else tau)
    else:
        values = threshold / -torch.expm1(-elapsed / tau)
    return torch.tensordot(values.clamp(0, 1).to(trains.dtype), trains, dims=1)


def _checked(
    data: Tensor, num_steps: int | None, threshold: float, tau: float, first_spike_time: int, normalize: Normalize
) -> tuple[int, int]:
    """The checks of all latency codes; returns T (0 if not given) and f."""
    real(threshold=threshold)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie in (0, 1), got {threshold}")
    positive(tau=tau)
    start = whole(first_spike_time, "first_spike_time", least=0)
    steps = given_steps(num_steps)
    if steps and start >= steps:
        raise ValueError(f"first_spike_time must be less than num_steps = {steps}, got {start}")
    if start and data.numel() and data.max() > 1 and data.min() < 0:
        raise ValueError("data must not go both above 1 and below 0 when first_spike_time is given")
    if normalize not in (False, True, "sample"):
        raise ValueError(f'normalize must be False, True or "sample", got {normalize!r}')
    if normalize and not steps:
        raise ValueError("num_steps must be given when the code is normalised")
    return steps, start


def _times(
    data: Tensor, num_steps: int | None, threshold: float, tau: float, first_spike_time: int, normalize: Normalize,
    linear: bool, epsilon: float,
) -> Tensor:  # fmt: skip
    """Spike times in at least float32: in float16, ε would vanish and steps beyond 2048 merge."""
    steps, start = _checked(data, num_steps, threshold, tau, first_spike_time, normalize)
    real(epsilon=epsilon)
    x = at_least_float32(data)
    if x.numel() == 0:
        return x
    over = tuple(range(1, x.dim())) if normalize == "sample" else tuple(range(x.dim()))
    if linear:
        times = (steps - 1 - start if normalize else tau) * (1 - x.clamp(min=threshold)) + start
        if normalize and bool((times < 0).any()):
            first, last = times.amin(over, keepdim=True), times.amax(over, keepdim=True)
            times = (times - first) / (last - first).clamp(min=epsilon) * (steps - 1)
        return times
    x = x.clamp(min=threshold + epsilon)
    times = tau * torch.log(x / (x - threshold))
    if normalize:
        times = times / times.amax(over, keepdim=True) * (steps - 1 - start)
    return times + start
