"""Trains from the times of their spikes."""

import torch
from torch import Tensor

from ._checks import at_least_float32, finite, floating, given_steps, real, required_steps

NEVER = -1  # the time of an element without a spike


def emit(
    times: Tensor, num_steps: int | None, on_target: float, off_target: float, interpolate: bool, bypass: bool
) -> Tensor:
    """The train `[T, ...]` with a spike in step round(times); negative times are silent.

    Spikes beyond the last step raise, or are dropped by `bypass`, where T may be left for the last of them to tell.
    """
    real(on_target=on_target, off_target=off_target)
    steps = given_steps(num_steps)
    if not steps and not bypass:
        raise ValueError("num_steps must be given unless bypass=True")
    spike_step = times.round()
    last = int(spike_step.max()) if spike_step.numel() else 0
    if not steps:
        steps = max(last, 0) + 1
    elif last >= steps and not bypass:
        raise ValueError(
            f"the last spike falls in step {last}, beyond num_steps = {steps}: raise num_steps, lower tau, "
            "use normalize=True, or bypass=True to drop late spikes"
        )
    if interpolate:
        return latency_interpolate(spike_step, steps, on_target, off_target)
    return _mark(times.new_full((steps, *times.shape), off_target), spike_step, on_target, off_target)


def latency_interpolate(
    spike_time: Tensor, num_steps: int | None, on_target: float = 1, off_target: float = 0
) -> Tensor:
    """Ramp up to a spike in step s = round(spike_time): off + (k / s) (on - off) for k ≤ s, then off.

    A spike in step 0 has no ramp; one outside the train leaves all steps off.

    Args:
        spike_time: times in steps, any shape.
        num_steps: length T of the train.
        on_target: level in the step of the spike.
        off_target: level before the ramp and after the spike.

    Returns:
        `[T, ...]` in the floating dtype of the times.

    Raises:
        ValueError: if `on_target` < `off_target`, or `num_steps` is missing.

    Example:
        >>> latency_interpolate(torch.tensor([0.0, 4.0]), num_steps=5)[:, 1]
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    steps = required_steps(num_steps)
    real(on_target=on_target, off_target=off_target)
    if on_target < off_target:
        raise ValueError(f"on_target must not be below off_target, got {on_target} < {off_target}")
    times = floating(spike_time, "spike_time")
    peak = at_least_float32(times).round()
    step = torch.arange(steps, dtype=peak.dtype, device=peak.device).view(-1, *[1] * peak.dim())
    slope = (on_target - off_target) / peak.clamp(min=1)
    ramp = torch.addcmul(peak.new_tensor(off_target), step, slope)
    ramp.masked_fill_(step >= peak.masked_fill(peak >= steps, 0), off_target)
    return _mark(ramp, peak, on_target, off_target).to(times.dtype)


def rate_interpolate(
    spike_time: Tensor, num_steps: int | None, on_target: float = 1, off_target: float = 0, epsilon: float = 1e-7
) -> Tensor:
    """Ramp up to every spike: linspace(off, on) over the steps since the one before, then off after the last.

    A spike right after another has no ramp. The first ramp starts at step 0.

    Args:
        spike_time: steps of the spikes `[n]`, in any order; those outside the train are ignored.
        num_steps: length T of the train.
        on_target: level in the step of a spike.
        off_target: level at the start of a ramp and after the last spike.
        epsilon: not used; part of the established signature.

    Returns:
        `[T]` in the floating dtype of the times (the default one for integers).

    Raises:
        ValueError: if `num_steps` is missing.

    Example:
        >>> rate_interpolate(torch.tensor([0, 4]), num_steps=5)
        tensor([1.0000, 0.0000, 0.3333, 0.6667, 1.0000])
    """
    steps = required_steps(num_steps)
    real(on_target=on_target, off_target=off_target)
    dtype = spike_time.dtype if spike_time.is_floating_point() else torch.get_default_dtype()
    times = finite(spike_time, "spike_time").long().unique()
    times = times[(times >= 0) & (times < steps)]
    step = torch.arange(steps, device=times.device)
    upcoming = torch.searchsorted(times, step)  # the first spike at or after each step
    edges = torch.cat([times.new_tensor([-1]), times, times.new_tensor([steps])])
    before, peak = edges[upcoming], edges[upcoming + 1]
    progress = torch.where(step == peak, 1.0, (step - before - 1) / (peak - before - 1).clamp(min=1)).to(dtype)
    ramp = torch.lerp(progress.new_tensor(off_target), progress.new_tensor(on_target), progress)
    return torch.where(peak < steps, ramp, off_target)


def _mark(train: Tensor, spike_step: Tensor, on_target: float, off_target: float) -> Tensor:
    """Set `on_target` in the step of each spike that is inside the train, in place."""
    inside = (spike_step >= 0) & (spike_step < len(train))
    level = torch.full_like(spike_step, off_target).masked_fill_(inside, on_target)
    index = spike_step.long().clamp(0, len(train) - 1)  # the others write off_target where it is already
    return train.scatter_(0, index[None], level[None])
