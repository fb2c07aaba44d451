"""Target trains: what the output neurons should do, given the labels."""

import torch
from torch import Tensor

from ._checks import given_steps, real, whole
from ._latency import Normalize, latency_code
from ._one_hot import to_one_hot
from ._rate import check_pattern, check_rates, target_rate_code
from ._spike_times import NEVER, emit, rate_interpolate


def targets_convert(
    targets: Tensor,
    num_classes: int,
    code: str = "rate",
    num_steps: int | None = False,
    first_spike_time: int = 0,
    correct_rate: float = 1,
    incorrect_rate: float = 0,
    on_target: float = 1,
    off_target: float = 0,
    firing_pattern: str = "regular",
    interpolate: bool = False,
    epsilon: float = 1e-7,
    threshold: float = 0.01,
    tau: float = 1,
    clip: bool = False,
    normalize: Normalize = False,
    linear: bool = False,
    bypass: bool = False,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Target trains of either code: `targets_rate` for "rate", `targets_latency` for "latency".

    The other arguments are those of these two; what the one that `code` names does not take is not used.

    Returns:
        As the function that `code` names.

    Raises:
        ValueError: if `code` is unknown, or as that function.

    Example:
        >>> targets_convert(torch.tensor([1]), num_classes=3, code="rate")
        tensor([[0., 1., 0.]])
    """
    if code == "rate":
        return targets_rate(
            targets, num_classes, num_steps, first_spike_time, correct_rate, incorrect_rate, on_target, off_target,
            firing_pattern, interpolate, epsilon, generator=generator,
        )  # fmt: skip
    if code == "latency":
        return targets_latency(
            targets, num_classes, num_steps, first_spike_time, on_target, off_target, interpolate, threshold, tau, clip,
            normalize, linear, epsilon, bypass,
        )  # fmt: skip
    raise ValueError(f'code must be "rate" or "latency", got {code!r}')


def targets_rate(
    targets: Tensor,
    num_classes: int,
    num_steps: int | None = False,
    first_spike_time: int = 0,
    correct_rate: float = 1,
    incorrect_rate: float = 0,
    on_target: float = 1,
    off_target: float = 0,
    firing_pattern: str = "regular",
    interpolate: bool = False,
    epsilon: float = 1e-7,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Trains of one rate for the correct class and of another for the rest, from `target_rate_code`.

    The two trains are drawn once and shared by the whole batch. The default rates, 1 and 0, need no train:
    without a `first_spike_time` the result has no time dimension, whatever `num_steps`.

    Args:
        targets: labels `[B]`.
        num_classes: C.
        num_steps: length T of the trains; not needed for the default rates.
        first_spike_time: first step in which a spike may fall.
        correct_rate: spikes a step of the correct class, in [0, 1].
        incorrect_rate: spikes a step of the other classes, in [0, `correct_rate`].
        on_target: level of a spike.
        off_target: level elsewhere.
        firing_pattern: "regular", "uniform" or "poisson", in any case.
        interpolate: ramp up to each spike, by `rate_interpolate`; not used with the default rates.
        epsilon: not used; part of the established signature.
        generator: source of randomness; the default one if None. It must be on the CPU.

    Returns:
        float32 `[B, C]` for rates 1 and 0 from step 0 on, otherwise `[T, B, C]`.

    Raises:
        ValueError: if a rate lies outside its range, the pattern is unknown, `first_spike_time` is negative
            or beyond `num_steps`, or `num_steps` is needed and missing.

    Example:
        >>> targets_rate(torch.tensor([1]), num_classes=2, num_steps=4, correct_rate=0.5)[:, 0]
        tensor([[0., 1.],
                [0., 0.],
                [0., 1.],
                [0., 0.]])
    """
    check_rates(correct_rate=correct_rate, incorrect_rate=incorrect_rate)
    if incorrect_rate > correct_rate:
        raise ValueError(f"incorrect_rate must not exceed correct_rate, got {incorrect_rate} > {correct_rate}")
    pattern = check_pattern(firing_pattern)
    start = whole(first_spike_time, "first_spike_time", least=0)
    correct = to_one_hot(targets, num_classes) != 0

    if correct_rate == 1 and incorrect_rate == 0:
        if start == 0:
            return _levels(correct, on_target, off_target)
        pattern, interpolate = "regular", False

    def shared_train(rate: float) -> Tensor:
        spikes, times = target_rate_code(num_steps, start, rate, pattern, generator=generator)
        if interpolate:
            levels = rate_interpolate(times, num_steps, on_target, off_target)
        else:
            levels = _levels(spikes != 0, on_target, off_target)
        return levels.to(correct.device, torch.float32).view(-1, *[1] * correct.dim())

    return torch.where(correct, shared_train(correct_rate), shared_train(incorrect_rate))


def targets_latency(
    targets: Tensor,
    num_classes: int,
    num_steps: int | None = False,
    first_spike_time: int = 0,
    on_target: float = 1,
    off_target: float = 0,
    interpolate: bool = False,
    threshold: float = 0.01,
    tau: float = 1,
    clip: bool = False,
    normalize: Normalize = False,
    linear: bool = False,
    epsilon: float = 1e-7,
    bypass: bool = False,
) -> Tensor:
    """The correct class fires first, at the latency of the value 1; the others fire in the last step, T-1.

    Args:
        targets: labels `[B]`.
        num_classes: C.
        num_steps: length T of the trains; with `bypass=True` it may be left out: then the latency of the
            value 0 ends the trains.
        first_spike_time: first step f in which a spike may fall.
        on_target: level of a spike.
        off_target: level elsewhere.
        interpolate: ramp up to each spike; see `latency_interpolate`.
        threshold: θ of `latency_code`.
        tau: τ of `latency_code`.
        clip: give the incorrect classes no spike.
        normalize: stretch the latency of 0 to T-1, so that the correct class fires at about f whatever τ.
        linear: linear instead of logarithmic latencies.
        epsilon: ε of `latency_code`.
        bypass: drop a spike beyond the last step instead of raising.

    Returns:
        float32 `[T, B, C]`.

    Raises:
        ValueError: if `num_steps` is missing, the spike of the correct class falls beyond the last step, or
            as `to_one_hot` and `latency_code`.

    Example:
        >>> targets_latency(torch.tensor([0]), num_classes=2, num_steps=4)[:, 0]
        tensor([[1., 0.],
                [0., 0.],
                [0., 0.],
                [0., 1.]])
    """
    correct = to_one_hot(targets, num_classes) != 0
    values = torch.tensor([0.0, 1.0], dtype=torch.float32)
    times, _ = latency_code(values, num_steps, threshold, tau, first_spike_time, normalize, linear, epsilon)
    late, early = times.tolist()
    if clip:
        late = NEVER
    elif steps := given_steps(num_steps):
        late = steps - 1.0
    return emit(_levels(correct, early, late), num_steps, on_target, off_target, interpolate, bypass)


def _levels(mask: Tensor, on: float, off: float) -> Tensor:
    """`on` where the mask holds and `off` elsewhere, in float32, exact for any pair of levels."""
    real(on_target=on, off_target=off)
    return torch.full_like(mask, off, dtype=torch.float32).masked_fill_(mask, on)
