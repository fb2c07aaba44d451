"""Codes of change: a spike, 1 or -1, where a signal rises or falls by more than a threshold."""

import torch
from torch import Tensor

from ._checks import at_least_float32, finite, floating, over_time, positive, real, whole

_NO_MINUS_ONE = (torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64)


def delta(data: Tensor, threshold: float = 0.1, padding: bool = False, off_spike: bool = False) -> Tensor:
    """Spike 1 where x[t] - x[t-1] ≥ θ, and with `off_spike` also -1 where x[t] - x[t-1] ≤ -θ.

    Args:
        data: signal `[T, ...]`.
        threshold: θ.
        padding: whether the signal holds its first value before it starts, x[-1] = x[0]. Otherwise x[-1] = 0.
        off_spike: whether falls spike too.

    Returns:
        `[T, ...]` in the dtype of the data; int8 if that has no -1 and `off_spike` asks for it.

    Raises:
        ValueError: if data have no time dimension.

    Example:
        >>> delta(torch.tensor([1.0, 2.0, 0.0, 2.0, 2.9]), threshold=1, off_spike=True)
        tensor([ 1.,  1., -1.,  1.,  0.])
    """
    signal = finite(over_time(data), "data").detach()
    real(threshold=threshold)
    if not signal.is_floating_point():  # differences would wrap
        signal = signal.to(torch.int16 if signal.element_size() == 1 else torch.int64)
    change = torch.empty_like(signal, memory_format=torch.contiguous_format)
    torch.sub(signal[1:], signal[:-1], out=change[1:])
    change[:1] = 0 if padding else signal[:1]
    if not off_spike:
        return change.ge_(threshold).to(data.dtype)
    rises = change >= threshold
    signed = torch.int8 if data.dtype in _NO_MINUS_ONE else data.dtype
    return change.le_(-threshold).neg_().add_(rises).to(signed)  # in place, as fresh memory takes longer than sums


def threshold_based(data: Tensor, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """Threshold-based representation: spikes where a change is large among the changes of its own signal.

    With `d[t] = x[t] - x[t-1]` and `θ = mean(|d|) + γ std(|d|)` over time: 1 where `d > θ`, -1 where `d < -θ`.

    Args:
        data: signals `[T, ...]`, T ≥ 2; each has a threshold of its own.
        factor: γ, the standard deviations above the mean.

    Returns:
        The spikes `[T, ...]`, of -1, 0 and 1 with none in step 0; and the thresholds θ `[...]`, for `delta_decode`.

    Raises:
        ValueError: if data have fewer than two steps.

    Source: Petro, Kasabov, Kiss. Selection and Optimization of Temporal Spike Encoding Methods for Spiking Neural
    Networks. IEEE Transactions on Neural Networks and Learning Systems 31(2), 358-370, 2020.

    Example:
        >>> spikes, threshold = threshold_based(torch.tensor([0.0, 0.1, 1.1, 1.0, 0.0]), factor=0.0)
        >>> spikes, threshold
        (tensor([ 0.,  0.,  1.,  0., -1.]), tensor(0.5500))
    """
    signal = floating(over_time(data))
    real(factor=factor)
    if len(signal) < 2:
        raise ValueError(f"data must have at least two time steps, got {len(signal)}")
    change = signal.diff(dim=0)
    size = change.abs()
    threshold = size.mean(0) + factor * size.std(0, correction=0)
    spikes = torch.where(size > threshold, change.sign(), 0.0)
    return torch.cat([torch.zeros_like(signal[:1]), spikes]), threshold


def step_forward(data: Tensor, threshold: float | Tensor) -> Tensor:
    """Step-forward code: a baseline b follows the signal in steps of θ, one spike a step.

    Spike 1 and b ← b + θ where x[t] > b + θ, spike -1 and b ← b - θ where x[t] < b - θ. The baseline starts at x[0].
    `delta_decode` returns its course, which stays within θ of every signal that changes by at most θ a step.

    Args:
        data: signals `[T, ...]`.
        threshold: θ, a number, or a tensor that broadcasts with `[...]`.

    Returns:
        `[T, ...]` of -1, 0 and 1, with none in step 0.

    Raises:
        ValueError: if data have no time dimension, or `threshold` is not positive.

    Source: Petro, Kasabov, Kiss 2020; see `threshold_based`.

    Example:
        >>> step_forward(torch.tensor([0.0, 0.3, 0.6, 0.6, 0.1]), threshold=0.25)
        tensor([ 0.,  1.,  1.,  0., -1.])
    """
    signal = floating(over_time(data)).detach()
    positive(threshold=threshold)
    spikes = torch.zeros_like(signal)
    baseline = signal[:1]
    # Each baseline depends on the last spike, so this loop over time is the definition itself.
    for value, spike in zip(signal.split(1), spikes.split(1), strict=True):
        gap = value - baseline
        spike.copy_((gap > threshold).to(spike.dtype) - (gap < -threshold).to(spike.dtype))
        baseline = baseline + spike * threshold
    return spikes


def delta_decode(spikes: Tensor, threshold: float | Tensor, start: float | Tensor = 0.0) -> Tensor:
    """Signal from spikes that each stand for a change of θ: x̂[t] = x₀ + θ (s[0] + … + s[t]).

    It inverts `delta` with `off_spike`, `threshold_based` and `step_forward`.

    Args:
        spikes: `[T, ...]` of -1, 0 and 1.
        threshold: θ of the encoder, a number, or a tensor that broadcasts with `[...]`.
        start: x₀, the value before the first spike: x[0] for all but `delta` without padding.

    Returns:
        `[T, ...]` in the floating dtype of the spikes.

    Raises:
        ValueError: if spikes have no time dimension.

    Example:
        >>> delta_decode(torch.tensor([0.0, 1.0, 1.0, 0.0, -1.0]), threshold=0.25)
        tensor([0.0000, 0.2500, 0.5000, 0.5000, 0.2500])
    """
    real(threshold=threshold, start=start)
    return floating(over_time(spikes, "spikes"), "spikes").cumsum(0) * threshold + start


def moving_window(data: Tensor, threshold: float | Tensor, window: int) -> Tensor:
    """Moving-window code: spikes where the signal leaves its moving mean by more than θ.

    Spike 1 where x[t] > b[t] + θ and -1 where x[t] < b[t] - θ, with b[t] the mean of the `window` steps
    before t. At the start b[t] is the mean of the t steps there are, and b[0] = x[0].

    Args:
        data: signals `[T, ...]`.
        threshold: θ, a number, or a tensor that broadcasts with `[...]`.
        window: steps that the baseline averages.

    Returns:
        `[T, ...]` of -1, 0 and 1, with none in step 0.

    Raises:
        ValueError: if data have no time dimension, `threshold` is not positive or `window` is less than 1.

    Source: Petro, Kasabov, Kiss 2020; see `threshold_based`.

    Example:
        >>> moving_window(torch.tensor([0.0, 0.1, 1.0, 1.0, 0.0]), threshold=0.3, window=2)
        tensor([ 0.,  0.,  1.,  1., -1.])
    """
    signal = floating(over_time(data)).detach()
    positive(threshold=threshold)
    columns = at_least_float32(signal)[..., None].flatten(1)
    gap = (columns - _past_mean(columns, window) @ columns).view(signal.shape)
    gap[:1] = 0
    return (gap > threshold).to(signal.dtype) - (gap < -threshold).to(signal.dtype)


def moving_window_decode(spikes: Tensor, threshold: float | Tensor, window: int, start: float | Tensor = 0.0) -> Tensor:
    """Signal from the spikes of `moving_window`: x̂[t] = b̂[t] + θ s[t], b̂ the moving mean of x̂ itself.

    Changes too small to spike are lost and add up, as with every code of change but `step_forward`.

    Args:
        spikes: `[T, ...]` of -1, 0 and 1.
        threshold: θ of the encoder.
        window: steps that the baseline averages.
        start: x₀, the value at the first step.

    Returns:
        `[T, ...]` in the floating dtype of the spikes.

    Raises:
        ValueError: if spikes have no time dimension, `threshold` is not positive or `window` is less than 1.

    Example:
        >>> moving_window_decode(torch.tensor([0.0, 0.0, 1.0, 1.0, -1.0]), threshold=0.5, window=2)
        tensor([0.0000, 0.0000, 0.5000, 0.7500, 0.1250])
    """
    trains = floating(over_time(spikes, "spikes"), "spikes")
    positive(threshold=threshold)
    real(start=start)
    jumps = at_least_float32(trains * threshold)[..., None].flatten(1)
    # x̂ = M x̂ + θ s is a unit lower-triangular system: M, the moving mean, looks only back.
    system = torch.eye(len(jumps), dtype=jumps.dtype, device=jumps.device) - _past_mean(jumps, window)
    signal = torch.linalg.solve_triangular(system, jumps, upper=False, unitriangular=True)
    return signal.view(trains.shape).to(trains.dtype) + start


def _past_mean(signal: Tensor, window: int) -> Tensor:
    """The matrix `[T, T]` that averages the `window` steps before each step; its first row is zero."""
    window = whole(window, "window", least=1)
    mask = signal.new_ones(len(signal), len(signal)).tril(-1).triu(-window)
    return mask / mask.sum(1, keepdim=True).clamp(min=1)
