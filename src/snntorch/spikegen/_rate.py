"""Rate codes: a value or a rate sets how probable, or how frequent, spikes are."""

import torch
from torch import Tensor

from ._checks import floating, given_steps, not_saturated, over_time, positive, real, required_steps, whole


def rate(
    data: Tensor,
    num_steps: int | None = False,
    gain: float = 1,
    offset: float = 0,
    first_spike_time: int = 0,
    time_var_input: bool = False,
    *,
    straight_through: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Independent Bernoulli spikes in every step, with probability P = clamp(gain · data + offset, 0, 1).

    Args:
        data: `[B, ...]`, held for `num_steps` steps; or `[T, ...]` with `time_var_input=True`.
        num_steps: length T of the train; only for static data.
        gain: factor on the data.
        offset: added after the gain.
        first_spike_time: steps at the start without spikes. They are part of the T steps of static data and
            are put before time-varying data.
        time_var_input: whether the data vary over time.
        straight_through: pass ∂P/∂data back as the gradient (Bengio et al. 2013). Otherwise the gradient is zero.
        generator: source of randomness; the default one of the device if None.

    Returns:
        `[T, B, ...]`, or `[first_spike_time + T, ...]` for time-varying data, of 0 and 1.

    Raises:
        ValueError: unless exactly one of `num_steps` and `time_var_input` is given; if `first_spike_time` is
            negative or beyond the last step; if the data hold NaN or infinities, or integers above 1 that no
            gain scales: `gain=1 / 255` is for the bytes of an image.
        TypeError: if the data are complex or no tensor.

    Source: Bengio, Léonard, Courville. Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation. arXiv:1308.3432, 2013.

    Example:
        >>> rate(torch.tensor([0.0, 1.0]), num_steps=3, first_spike_time=1)
        tensor([[0., 0.],
                [0., 1.],
                [0., 1.]])
    """
    steps = given_steps(num_steps)
    silent = whole(first_spike_time, "first_spike_time", least=0)
    if time_var_input and steps:
        raise ValueError("num_steps is set by the data when time_var_input=True: give one of the two")
    if not time_var_input and not steps:
        raise ValueError("num_steps must be given unless the data vary over time (time_var_input=True)")
    if steps and silent >= steps:
        raise ValueError(f"first_spike_time must be less than num_steps = {steps}, got {silent}")

    real(gain=gain, offset=offset)
    values = floating(data)
    if isinstance(gain, int | float) and gain == 1:
        not_saturated(data, 1, "would fire in every step: scale them, for bytes by gain=1 / 255")
    probability = (values * gain).add_(offset).clamp_(0, 1)
    if time_var_input:
        spikes = _draw(over_time(probability), straight_through, generator)
        return torch.cat([spikes.new_zeros(silent, *spikes.shape[1:]), spikes]) if silent else spikes
    spikes = _draw(probability.expand(steps, *probability.shape), straight_through, generator)
    spikes[:silent] = 0
    return spikes


def rate_conv(data: Tensor, *, straight_through: bool = False, generator: torch.Generator | None = None) -> Tensor:
    """One Bernoulli draw an element, with probability P = clamp(data, 0, 1).

    Args:
        data: probabilities of any shape.
        straight_through: pass ∂P/∂data back as the gradient; see `rate`.
        generator: source of randomness; the default one of the device if None.

    Returns:
        0 and 1 in the shape of the data.

    Raises:
        ValueError: if the data hold NaN or infinities, or integers above 1.
        TypeError: if the data are complex or no tensor.

    Example:
        >>> rate_conv(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
        tensor([0., 0., 1., 1.])
    """
    probability = floating(data).clamp(0, 1)
    not_saturated(data, 1, "would fire always: scale them, for bytes by data / 255")
    return _draw(probability, straight_through, generator)


def poisson(
    rates: Tensor,
    num_steps: int | None = False,
    dt: float = 1e-3,
    refractory: float = 0.0,
    time_var_input: bool = False,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Poisson spike trains from firing rates in Hz, independent for every element.

    A step holds a spike with probability P = rates · dt, unless one came in the r = refractory / dt steps before it
    (Dayan & Abbott 2001, section 1.4). A neuron with a refractory period so fires with probability P / (1 + r·P).

    Args:
        rates: firing rates in Hz, `[B, ...]`; or `[T, ...]` with `time_var_input=True`.
        num_steps: length T of the train; only for constant rates.
        dt: duration of a step in seconds.
        refractory: silence after each spike in seconds, rounded to whole steps.
        time_var_input: whether the rates vary over time.
        generator: source of randomness; the default one of the device if None.

    Returns:
        `[T, B, ...]`, or `[T, ...]` for time-varying rates, of 0 and 1.

    Raises:
        ValueError: if a rate is negative, NaN or above 1 / dt, `dt` is not positive, `refractory` is
            negative, or unless exactly one of `num_steps` and `time_var_input` is given.

    Source: Dayan, Abbott. Theoretical Neuroscience. MIT Press, 2001.

    Example:
        >>> spikes = poisson(torch.full((4,), 200.0), num_steps=1000, refractory=2e-3)
        >>> spikes.shape
        torch.Size([1000, 4])
        >>> bool((spikes[1:] * spikes[:-1] == 0).all())  # never two in a row
        True
    """
    positive(dt=dt)
    real(refractory=refractory)
    if refractory < 0:
        raise ValueError(f"refractory must not be negative, got {refractory}")
    probability = floating(rates, "rates") * dt
    if not bool(((probability >= 0) & (probability <= 1)).all()):
        raise ValueError(f"rates must lie in [0, 1 / dt] = [0, {1 / dt:g}] Hz, got values outside or NaN")
    spikes = rate(probability, num_steps, time_var_input=time_var_input, generator=generator)
    silence = round(refractory / dt)
    return spikes * _thin(spikes != 0, silence) if silence else spikes


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
    check_rates(rate=rate)
    pattern = check_pattern(firing_pattern)
    steps = required_steps(num_steps)
    start = whole(first_spike_time, "first_spike_time", least=0)
    if start > steps:
        raise ValueError(f"first_spike_time must not exceed num_steps = {steps}, got {start}")
    if pattern == "poisson":
        times = (torch.rand(steps, generator=generator) < rate).nonzero().flatten()
        times = times[times >= start]
    else:
        times = _regular(steps - start, rate)
        if pattern == "uniform":
            times = (torch.rand(len(times), generator=generator) * (steps - start)).long()
        times = times + start
    return torch.zeros(steps, dtype=torch.float32).index_fill_(0, times, 1), times


def _regular(steps: int, rate: float) -> Tensor:
    """Steps ⌊k / rate⌋ below `steps`. The slack keeps 7 / 0.07, a hair below 100 in floats, at 100."""
    if rate == 0:
        return torch.empty(0, dtype=torch.long)
    spike = torch.arange(int(steps * rate) + 2, dtype=torch.float64)
    times = spike / rate + 1e-6
    return times[times < steps].long()


def check_rates(**rates: float) -> None:
    real(**rates)
    for name, rate in rates.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {rate}")


def check_pattern(firing_pattern: str) -> str:
    pattern = firing_pattern.lower()
    if pattern not in ("regular", "uniform", "poisson"):
        raise ValueError(f'firing_pattern must be "regular", "uniform" or "poisson", got {firing_pattern!r}')
    return pattern


def _draw(probability: Tensor, straight_through: bool, generator: torch.Generator | None) -> Tensor:
    spikes = torch.bernoulli(probability, generator=generator)
    # The term is zero, and its gradient is that of the probability.
    return spikes + (probability - probability.detach()) if straight_through else spikes


def _thin(candidates: Tensor, silence: int) -> Tensor:
    """Keep the candidates `[T, ...]` that come more than `silence` steps after the last one kept.

    All trains are laid end to end, with `silence` empty steps between them. Each candidate points to the one
    that would follow it, also into the next train; the kept ones are the path from the first. Doubling the
    pointers walks it in logarithmically many rounds, without a loop over time.
    """
    trains = candidates.movedim(0, -1)
    line = torch.nn.functional.pad(trains, (0, silence))
    events = line.flatten().nonzero().flatten()
    end = len(events)
    jump = torch.searchsorted(events, torch.cat([events + silence + 1, events.new_tensor([line.numel()])]))
    kept = torch.zeros(end + 1, dtype=torch.bool, device=line.device)
    kept[0] = True
    for _ in range(end.bit_length()):
        kept.scatter_(0, torch.where(kept, jump, end), True)
        jump = jump[jump]
    thinned = torch.zeros_like(line.flatten()).index_fill_(0, events[kept[:end]], True)
    return thinned.view(line.shape)[..., : len(candidates)].movedim(-1, 0)
