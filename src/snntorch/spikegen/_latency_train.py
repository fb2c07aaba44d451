"""Trains with one spike for an element, from its time."""

import torch
from torch import Tensor

from ._checks import at_least_float32, floating, real, required_steps


def emit(times: Tensor, steps: int, on_target: float, off_target: float, interpolate: bool, bypass: bool) -> Tensor:
    """The train `[T, ...]` with a spike in step round(times); negative times are silent.

    With 0 steps, T is as long as the last spike needs. Later ones raise, or are dropped by `bypass`.
    """
    real(on_target, "on_target")
    real(off_target, "off_target")
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
    real(on_target, "on_target")
    real(off_target, "off_target")
    if on_target < off_target:
        raise ValueError(f"on_target must not be below off_target, got {on_target} < {off_target}")
    times = floating(spike_time, "spike_time")
    peak = at_least_float32(times).round()
    step = torch.arange(steps, dtype=peak.dtype, device=peak.device).view(-1, *[1] * peak.dim())
    slope = (on_target - off_target) / peak.clamp(min=1)
    ramp = torch.addcmul(peak.new_tensor(off_target), step, slope)
    ramp.masked_fill_(step >= peak.masked_fill(peak >= steps, 0), off_target)
    return _mark(ramp, peak, on_target, off_target).to(times.dtype)


def _mark(train: Tensor, spike_step: Tensor, on_target: float, off_target: float) -> Tensor:
    """Set `on_target` in the step of each spike that is inside the train, in place."""
    inside = (spike_step >= 0) & (spike_step < len(train))
    level = torch.full_like(spike_step, off_target).masked_fill_(inside, on_target)
    index = spike_step.long().clamp(0, len(train) - 1)  # the others write off_target where it is already
    return train.scatter_(0, index[None], level[None])
