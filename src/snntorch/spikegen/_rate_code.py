"""The spikes of one neuron that fires at a rate, regularly or at random."""

import torch
from torch import Tensor

from ._checks import finite, real, required_steps, whole


def target_rate_code(
    num_steps: int | None,
    first_spike_time: int = 0,
    rate: float = 1,
    firing_pattern: str = "regular",
    *,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """One spike train of a given rate.

    regular: spikes in steps ⌊f + k / rate⌋, k = 0, 1, …; uniform: as many spikes, each in a step drawn
    uniformly from f … T-1; poisson: a spike with probability `rate` in every step from f on.

    Args:
        num_steps: length T of the train.
        first_spike_time: first step f in which a spike may fall; T leaves no room for any.
        rate: spikes a step, in [0, 1].
        firing_pattern: "regular", "uniform" or "poisson", in any case.
        generator: source of randomness; the default one if None. It must be on the CPU.

    Returns:
        The train, float32 `[T]`, and its spike times, int64. Uniform times are in the order in which they
        were drawn and may repeat; the train holds one spike for all that fall in a step.

    Raises:
        ValueError: if `rate` lies outside [0, 1], `first_spike_time` is negative or beyond T, the pattern is
            unknown, or `num_steps` is missing.

    Example:
        >>> target_rate_code(5, rate=0.3)
        (tensor([1., 0., 0., 1., 0.]), tensor([0, 3]))
    """
    check_rate(rate, "rate")
    pattern = check_pattern(firing_pattern)
    steps = required_steps(num_steps)
    start = whole(first_spike_time, "first_spike_time", least=0)
    check_start(steps, start)
    if pattern == "poisson":
        times = (torch.rand(steps, generator=generator) < rate).nonzero().flatten()
        times = times[times >= start]
    else:
        times = _regular(steps - start, rate)
        if pattern == "uniform":
            times = (torch.rand(len(times), generator=generator) * (steps - start)).long()
        times = times + start
    return torch.zeros(steps, dtype=torch.float32).index_fill_(0, times, 1), times


def rate_interpolate(
    spike_time: Tensor,
    num_steps: int | None,
    on_target: float = 1,
    off_target: float = 0,
    epsilon: float = 1e-7,
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
    real(on_target, "on_target")
    real(off_target, "off_target")
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


def _regular(steps: int, rate: float) -> Tensor:
    """Steps ⌊k / rate⌋ below `steps`. The slack keeps 7 / 0.07, a hair below 100 in floats, at 100."""
    if rate == 0:
        return torch.empty(0, dtype=torch.long)
    spike = torch.arange(int(steps * rate) + 2, dtype=torch.float64)
    times = spike / rate + 1e-6
    return times[times < steps].long()


def check_rate(rate: float, name: str) -> None:
    real(rate, name)
    if not 0 <= rate <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {rate}")


def check_pattern(firing_pattern: str) -> str:
    pattern = firing_pattern.lower()
    if pattern not in ("regular", "uniform", "poisson"):
        raise ValueError(f'firing_pattern must be "regular", "uniform" or "poisson", got {firing_pattern!r}')
    return pattern


def check_start(steps: int, start: int) -> None:
    if start > steps:
        raise ValueError(f"first_spike_time must not exceed num_steps = {steps}, got {start}")
