import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snntorch import spikegen

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.bool, torch.uint8, torch.int64)

shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
seeds = st.integers(0, 2**31)
few = settings(max_examples=40, deadline=None)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def uniform(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def assert_frequency(spikes, probability):
    """The fraction of spikes lies within five standard deviations of a binomial."""
    sigma = math.sqrt(probability * (1 - probability) / spikes.numel())
    assert abs(spikes.double().mean().item() - probability) < 5 * sigma


# Rate


def test_rate_follows_clamped_gain_and_offset():
    data = torch.tensor([[0.1, 0.4], [0.9, 0.0]])
    spikes = spikegen.rate(data, num_steps=20_000, gain=2, offset=0.05, generator=seeded())
    assert spikes.shape == (20_000, 2, 2)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    for train, value in zip(spikes.flatten(1).T, data.flatten(), strict=True):
        probability = min(2 * value.item() + 0.05, 1)
        if probability == 1:
            assert train.all()
        else:
            assert_frequency(train, probability)


def test_rate_steps_are_independent():
    spikes = spikegen.rate(torch.full((50,), 0.3), num_steps=4000, generator=seeded())
    assert_frequency(spikes[1:] * spikes[:-1], 0.09)
    assert_frequency(spikes[:, 1:] * spikes[:, :-1], 0.09)


@pytest.mark.parametrize("time_var_input", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_rate_keeps_first_steps_silent_and_dtype(time_var_input, dtype):
    data = torch.ones(4, 3, dtype=dtype)
    steps = False if time_var_input else 5
    spikes = spikegen.rate(data, steps, first_spike_time=2, time_var_input=time_var_input)
    assert spikes.dtype == dtype
    assert spikes.shape == ((6, 3) if time_var_input else (5, 4, 3))
    assert not spikes[:2].any()
    assert spikes[2:].all()


def test_rate_applies_gain_and_offset_to_time_varying_data():
    data = torch.tensor([[0.5, 1.0], [1.0, 0.5]])
    spikes = spikegen.rate(data, gain=2, offset=-1, time_var_input=True)
    assert spikes.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_become_the_default_dtype(dtype):
    data = torch.tensor([0, 1]).to(dtype)
    for spikes in (spikegen.rate(data, 1)[0], spikegen.rate_conv(data)):
        assert spikes.dtype == torch.float32
        assert spikes.tolist() == [0, 1]


def test_generator_and_manual_seed_repeat_the_draw():
    data = uniform(100)
    a, b = (spikegen.rate(data, 5, generator=seeded(3)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, spikegen.rate(data, 5, generator=seeded(4)))
    torch.manual_seed(7)
    a = spikegen.rate_conv(data)
    torch.manual_seed(7)
    assert torch.equal(a, spikegen.rate_conv(data))


def test_rate_gradient_is_zero_by_default():
    data = uniform(10).requires_grad_()
    spikegen.rate(data, 5).sum().backward()
    assert data.grad is not None
    assert not data.grad.any()


def test_straight_through_passes_the_gradient_of_the_probability():
    data = torch.tensor([0.1, 0.3, 0.9], requires_grad=True)  # 2 * 0.9 is clamped
    spikes = spikegen.rate(data, 5, gain=2, first_spike_time=1, straight_through=True, generator=seeded())
    assert torch.equal(spikes, spikegen.rate(data, 5, gain=2, first_spike_time=1, generator=seeded()))
    spikes.sum().backward()
    assert data.grad is not None
    assert data.grad.tolist() == [8, 8, 0]  # gain times the four steps that may spike
    data.grad = None
    spikegen.rate_conv(data, straight_through=True).sum().backward()
    assert data.grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "num_steps must be given"),
        ({"num_steps": None}, "num_steps must be given"),
        ({"num_steps": 0}, "num_steps must be given"),
        ({"num_steps": 3, "time_var_input": True}, "num_steps is set by the data"),
        ({"num_steps": -1}, "num_steps must be at least 0, got -1"),
        ({"num_steps": 3, "first_spike_time": -1}, "first_spike_time must be at least 0, got -1"),
        ({"num_steps": 3, "first_spike_time": 3}, "first_spike_time must be less than num_steps = 3, got 3"),
    ],
)
def test_rate_rejects_contradictions(kwargs, message):
    with pytest.raises(ValueError, match=message):
        spikegen.rate(torch.ones(2), **kwargs)


def test_rate_rejects_wrong_types():
    with pytest.raises(TypeError, match="data must be a tensor, got list"):
        spikegen.rate([0.5], 3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"num_steps must be an integer, got 2\.5"):
        spikegen.rate(torch.ones(2), 2.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="num_steps must be an integer, got True"):
        spikegen.rate(torch.ones(2), True)
    with pytest.raises(ValueError, match="time as its first dimension"):
        spikegen.rate(torch.tensor(0.5), time_var_input=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_bytes_that_were_not_scaled_are_refused(dtype):
    image = torch.tensor([0, 51, 255]).to(dtype)
    with pytest.raises(ValueError, match=r"data holds integers up to 255.* gain=1 / 255"):
        spikegen.rate(image, 5)
    with pytest.raises(ValueError, match=r"data holds integers up to 255.* data / 255"):
        spikegen.rate_conv(image)
    with pytest.raises(ValueError, match=r"data holds integers up to 255.* threshold=255"):
        spikegen.ttfs(image, 5)
    spikes = spikegen.rate(image, 5000, gain=1 / 255, generator=seeded())
    assert not spikes[:, 0].any() and spikes[:, 2].all()
    assert_frequency(spikes[:, 1], 0.2)
    assert spikegen.ttfs(image, 5, tau=1, threshold=255).argmax(0).tolist() == [0, 2, 0]


# Poisson


def test_poisson_fires_at_the_rate_in_hertz():
    spikes = spikegen.poisson(torch.tensor([0.0, 20.0, 400.0]), num_steps=50_000, dt=5e-4, generator=seeded())
    assert not spikes[:, 0].any()
    assert_frequency(spikes[:, 1], 0.01)
    assert_frequency(spikes[:, 2], 0.2)


def test_poisson_trains_of_a_batch_are_independent():
    spikes = spikegen.poisson(torch.full((2,), 300.0), num_steps=50_000, generator=seeded())
    assert_frequency(spikes[:, 0] * spikes[:, 1], 0.09)


def test_poisson_refractory_lowers_the_rate_by_its_renewal_formula():
    p, silence = 0.3, 4
    spikes = spikegen.poisson(torch.full((200,), 300.0), 5000, refractory=silence * 1e-3, generator=seeded())
    assert_frequency(spikes[50:], p / (1 + silence * p))  # renewals vary less than a binomial
    near = spikes.unfold(0, silence + 1, 1).sum(-1)
    assert near.max() == 1


@few
@given(seeds, st.integers(0, 40), st.integers(0, 7), st.floats(0, 1))
def test_poisson_refractory_equals_stepping_through_time(seed, steps, silence, probability):
    rates = torch.full((steps, 3), 1000 * probability, dtype=torch.float64)
    free = spikegen.poisson(rates, time_var_input=True, generator=seeded(seed))
    expected, wait = torch.zeros_like(free), torch.zeros(3)
    for t in range(steps):
        expected[t] = free[t] * (wait <= 0)
        wait = torch.where(expected[t] == 1, float(silence), wait - 1)
    spikes = spikegen.poisson(rates, refractory=silence * 1e-3, time_var_input=True, generator=seeded(seed))
    assert torch.equal(spikes, expected)


@pytest.mark.parametrize(
    ("rates", "kwargs", "message"),
    [
        (-1.0, {}, r"rates must lie in \[0, 1 / dt\] = \[0, 1000\] Hz"),
        (1001.0, {}, "rates must lie in"),
        (math.nan, {}, "rates must be finite"),
        (1.0, {"dt": 0.0}, "dt must be positive, got 0.0"),
        (1.0, {"refractory": -1.0}, "refractory must not be negative"),
    ],
)
def test_poisson_rejects(rates, kwargs, message):
    with pytest.raises(ValueError, match=message):
        spikegen.poisson(torch.tensor([rates]), 3, **kwargs)


# Latency


def test_latency_code_closed_forms():
    data = torch.tensor([0.02, 0.5, 1.0], dtype=torch.float64)
    expected = [2.5 * math.log(x / (x - 0.01)) + 3 for x in data.tolist()]
    times = spikegen.latency_code_log(data, tau=2.5, first_spike_time=3)
    torch.testing.assert_close(times, torch.tensor(expected, dtype=torch.float64))
    times = spikegen.latency_code_linear(data, tau=2.5, first_spike_time=3)
    torch.testing.assert_close(times, 2.5 * (1 - data) + 3)


def test_latency_code_recorded_values():
    data = torch.tensor([0.02, 0.5, 1.0])
    log = spikegen.latency_code_log(data, 5, normalize=True)
    torch.testing.assert_close(log, torch.tensor([4.0, 0.1166, 0.0580]), rtol=0, atol=5e-5)
    linear = spikegen.latency_code_linear(data, 5, normalize=True)
    torch.testing.assert_close(linear, torch.tensor([3.92, 2.0, 0.0]))
    time, below = spikegen.latency_code(torch.tensor([0.0]), first_spike_time=5)
    assert time.item() == pytest.approx(16.507, abs=0.02)
    assert below.tolist() == [True]
    silent = spikegen.latency_code_linear(torch.zeros(1), 100, normalize=True)
    assert silent.round().item() == 98


def test_latency_code_linear_maps_data_above_one_to_the_train():
    times = spikegen.latency_code_linear(torch.tensor([0.2, 1.5, 2.0]), 11, normalize=True)
    torch.testing.assert_close(times, torch.tensor([10.0, 25 / 9, 0.0]))


def test_latency_code_log_is_differentiable():
    data = uniform(6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spikegen.latency_code(x, 9, normalize=True, tau=2)[0], data)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_latency_keeps_dtype_and_stays_finite(linear, interpolate, dtype):
    data = uniform(5, 3, dtype=dtype)
    data[0, 0] = 0
    spikes = spikegen.latency(data, 20, normalize=True, linear=linear, interpolate=interpolate)
    assert spikes.dtype == dtype
    assert spikes.shape == (20, 5, 3)
    assert (spikes.amax(0) == 1).all()
    assert spikegen.latency_code(data)[0].isfinite().all()


def test_latency_in_half_precision_reaches_late_steps():
    data = torch.tensor([0.0, 0.1, 1.0], dtype=torch.float16)
    half = spikegen.latency(data, 5001, normalize=True, linear=True)
    assert (
        half.argmax(0).tolist() == spikegen.latency(data.float(), 5001, normalize=True, linear=True).argmax(0).tolist()
    )


@few
@given(shapes, seeds, st.integers(1, 12), st.integers(0, 5), st.booleans())
def test_latency_gives_every_element_one_spike_and_keeps_order(shape, seed, room, start, linear):
    data = uniform(*shape, seed=seed)
    steps = start + room
    spikes = spikegen.latency(data, steps, first_spike_time=start, normalize=True, linear=linear)
    assert spikes.shape == (steps, *shape)
    assert (spikes.sum(0) == 1).all()
    assert not spikes[:start].any()
    if data.numel():
        times = spikes.argmax(0).flatten()[data.flatten().argsort(descending=True)]
        assert (times.diff() >= 0).all()


def test_latency_normalised_by_sample_does_not_depend_on_the_batch():
    data = uniform(6, 2, 3)
    batch = spikegen.latency(data, 10, normalize="sample")
    for i in range(6):
        assert torch.equal(batch[:, i], spikegen.latency(data[i : i + 1], 10, normalize="sample")[:, 0])
        assert batch[-1, i].any()
    vector = spikegen.latency(data[0, 0], 10, normalize="sample")
    assert torch.equal(vector, spikegen.latency(data[0, 0], 10, normalize=True))


def test_latency_levels_hold_for_any_pair():
    data = torch.tensor([0.0, 1.0])
    for on, off in [(1.25, 0.25), (-1.0, 1.0), (0.0, -1.0), (0.7, 0.1)]:
        levels = spikegen.latency(data, 4, on_target=on, off_target=off, clip=True, linear=True, normalize=True)
        torch.testing.assert_close(levels, torch.tensor([[off, on], [off, off], [off, off], [off, off]]))


def test_latency_clip_removes_spikes_and_their_claim_on_the_train():
    data = torch.tensor([0.0, 0.5, 1.0])
    spikes = spikegen.latency(data, 3, tau=2, clip=True)  # the first would fall in step 23
    assert spikes.sum(0).tolist() == [0, 1, 1]
    assert len(spikegen.latency(data, tau=60, clip=True, bypass=True)) == 2
    ramp = spikegen.latency(data, 5, linear=True, normalize=True, clip=True, interpolate=True, off_target=-1)
    assert (ramp[:, 0] == -1).all()
    assert len(spikegen.latency(torch.zeros(2), clip=True, bypass=True)) == 1


def test_latency_bypass_sets_the_length_or_drops_late_spikes():
    data = torch.tensor([0.0, 1.0])
    assert len(spikegen.latency(data, bypass=True)) == 13
    assert spikegen.latency(data, 5, bypass=True).sum(0).tolist() == [0, 1]
    assert spikegen.latency(torch.zeros(0, 3), 5).shape == (5, 0, 3)


def test_latency_carries_no_gradient():
    assert not spikegen.latency(uniform(3).requires_grad_(), 20).requires_grad


@pytest.mark.parametrize(
    ("data", "kwargs", "message"),
    [
        ([1.5], {"num_steps": 5}, r"data must lie in \[0, 1\]"),
        ([-0.5], {"num_steps": 5}, r"data must lie in \[0, 1\]"),
        ([math.nan], {"num_steps": 5}, "data must be finite"),
        ([0.5], {}, "num_steps must be given unless bypass=True"),
        ([0.0], {"num_steps": 5}, "the last spike falls in step 12, beyond num_steps = 5"),
        ([0.5], {"num_steps": 5, "threshold": 1.5}, r"threshold must lie in \(0, 1\), got 1.5"),
        ([0.5], {"num_steps": 5, "tau": 0}, "tau must be positive, got 0"),
        ([0.5], {"num_steps": 5, "first_spike_time": 5}, "first_spike_time must be less than num_steps = 5"),
        ([0.5], {"num_steps": 5, "first_spike_time": -1}, "first_spike_time must be at least 0"),
        ([0.5], {"bypass": True, "normalize": True}, "num_steps must be given when the code is normalised"),
        ([0.5], {"num_steps": 5, "normalize": "batch"}, 'normalize must be False, True or "sample"'),
        ([0.5], {"num_steps": 5, "interpolate": True, "on_target": -1}, "on_target must not be below"),
    ],
)
def test_latency_rejects(data, kwargs, message):
    with pytest.raises(ValueError, match=message):
        spikegen.latency(torch.tensor(data), **kwargs)


def test_latency_code_rejects_data_on_both_sides_with_a_first_spike_time():
    with pytest.raises(ValueError, match="both above 1 and below 0"):
        spikegen.latency_code(torch.tensor([-1.0, 2.0]), 5, first_spike_time=1)


def test_latency_interpolate_ramps_to_an_exact_peak():
    ramp = spikegen.latency_interpolate(torch.tensor([0.0, 4.0, 5.0, 6.0]), 5)
    assert ramp.T.tolist() == [[1, 0, 0, 0, 0], [0, 0.25, 0.5, 0.75, 1], [0] * 5, [0] * 5]
    times = torch.arange(10)
    ramp = spikegen.latency_interpolate(times, 10, on_target=0.7, off_target=0.1)
    assert torch.equal(ramp.argmax(0), times)
    assert torch.equal(ramp.amax(0), torch.full((10,), 0.7))
    assert torch.equal(times, torch.arange(10))
    with pytest.raises(ValueError, match="num_steps must be given"):
        spikegen.latency_interpolate(times, False)


@few
@given(seeds, st.integers(1, 60), st.integers(0, 5))
def test_latency_decode_inverts_the_linear_code_within_half_a_step(seed, room, start):
    data = uniform(7, seed=seed, dtype=torch.float64).clamp(min=0.01)
    spikes = spikegen.latency(data, start + room, first_spike_time=start, normalize=True, linear=True)
    decoded = spikegen.latency_decode(spikes, first_spike_time=start, normalize=True, linear=True)
    if room == 1:  # one step tells nothing apart
        assert (decoded == 1).all()
    else:
        assert (decoded - data).abs().max() <= 0.5 / (room - 1) + 1e-9


def test_latency_decode_inverts_the_log_code_on_whole_steps():
    steps = torch.arange(1, 40, dtype=torch.float64)
    data = 0.01 / (1 - torch.exp(-steps / 20))
    spikes = spikegen.latency(data, 45, tau=20, first_spike_time=2)
    assert torch.equal(spikes.argmax(0), (steps + 2).long())
    decoded = spikegen.latency_decode(spikes, tau=20, first_spike_time=2)
    torch.testing.assert_close(decoded, data)
    assert spikegen.latency_decode(torch.zeros(4, 2)).tolist() == [0, 0]
    with pytest.raises(ValueError, match="scale of a normalised logarithmic code is lost"):
        spikegen.latency_decode(spikes, normalize=True)


# Time to first spike


@few
@given(seeds, st.integers(1, 40), st.floats(1, 20), st.floats(0.5, 4))
def test_ttfs_round_trip(seed, steps, tau, threshold):
    data = uniform(3, 4, seed=seed, dtype=torch.float64) * threshold
    spikes = spikegen.ttfs(data, steps, tau, threshold)
    decoded = spikegen.ttfs_decode(spikes, tau, threshold)
    fired = data >= threshold * math.exp(-(steps - 1) / tau) * (1 + 1e-12)
    assert torch.equal(spikes.sum(0) == 1, fired)
    assert (decoded <= data)[fired].all()
    assert (data < decoded * math.exp(1 / tau) * (1 + 1e-12))[fired & ~(spikes[0] == 1)].all()
    assert not decoded[~fired].any()
    assert torch.equal(spikegen.ttfs(decoded, steps, tau, threshold), spikes)


def test_ttfs_rejects():
    with pytest.raises(ValueError, match="tau must be positive, got 0"):
        spikegen.ttfs(torch.ones(1), 3, tau=0)
    with pytest.raises(ValueError, match="threshold must be positive, got -1"):
        spikegen.ttfs_decode(torch.ones(3, 1), threshold=-1)


# Phase and burst


@few
@given(seeds, st.integers(1, 16), st.integers(1, 3))
def test_phase_round_trip(seed, period, periods):
    data = torch.cat([uniform(20, seed=seed, dtype=torch.float64), torch.tensor([0.0, 1.0])])
    spikes = spikegen.phase(data, period * periods, period)
    assert torch.equal(spikes[:period].repeat(periods, 1), spikes)
    error = data - spikegen.phase_decode(spikes, period)
    assert error.min() >= 0
    assert error.max() <= 2.0**-period


def test_phase_shows_the_bits_of_a_pixel():
    pixels = torch.arange(256)
    bits = spikegen.phase(pixels / 255, 8)
    weights = 2 ** torch.arange(7, -1, -1)
    assert torch.equal((bits.long() * weights[:, None]).sum(0), pixels)


def test_phase_rejects():
    with pytest.raises(ValueError, match="spikes must last whole periods of 8 steps, got 9"):
        spikegen.phase_decode(torch.ones(9, 1))
    with pytest.raises(ValueError, match="period must be at most 52, got 60"):
        spikegen.phase(torch.ones(1), 60, period=60)
    with pytest.raises(ValueError, match="data must lie in"):
        spikegen.phase(torch.tensor([2.0]), 8)


@few
@given(seeds, st.integers(1, 6), st.integers(1, 4), st.integers(0, 4))
def test_burst_counts_and_intervals_follow_the_equations(seed, max_spikes, min_interval, spread):
    data = uniform(9, seed=seed, dtype=torch.float64)
    max_interval = min_interval + spread
    steps = (max_spikes - 1) * max_interval + 1
    spikes = spikegen.burst(data, steps, max_spikes, min_interval, max_interval)
    for x, train in zip(data.tolist(), spikes.T, strict=True):
        interval = math.ceil(max_interval - spread * x)
        assert train.nonzero().flatten().tolist() == [k * interval for k in range(math.ceil(max_spikes * x))]


def test_burst_rejects_bursts_that_do_not_fit():
    spikegen.burst(torch.ones(1), 17, max_spikes=5, max_interval=4)
    with pytest.raises(ValueError, match="must fit into num_steps = 16"):
        spikegen.burst(torch.ones(1), 16, max_spikes=5, max_interval=4)
    with pytest.raises(ValueError, match=r"must fit into"):
        spikegen.burst(torch.ones(1), 5)
    assert spikegen.burst(torch.ones(1), 1, max_spikes=1).tolist() == [[1]]


# Population


def test_population_closed_form():
    response = spikegen.population(torch.tensor([[0.25]], dtype=torch.float64), 6, low=-1, high=1, overlap=2)
    centres = torch.tensor([-1.25, -0.75, -0.25, 0.25, 0.75, 1.25], dtype=torch.float64)
    expected = torch.exp(-((0.25 - centres) ** 2) / (2 * 0.25**2))
    torch.testing.assert_close(response, expected.view(1, 1, 6))


@few
@given(seeds, st.integers(3, 20), st.floats(-5, 5), st.floats(0.1, 10))
def test_population_round_trip(seed, neurons, low, width):
    data = low + width * uniform(2, 5, seed=seed, dtype=torch.float64)
    response = spikegen.population(data, neurons, low, low + width)
    assert response.shape == (2, 5, neurons)
    assert response.min() >= 0
    assert response.max() <= 1
    decoded = spikegen.population_decode(response, low, low + width)
    assert (decoded - data).abs().max() <= 0.1 * width / (neurons - 2)


def test_population_goes_on_to_any_other_code():
    data = torch.linspace(0.2, 0.8, 7)
    response = spikegen.population(data, 10)
    spikes = spikegen.latency(response, 21, threshold=0.05, linear=True, normalize=True, clip=True)
    decoded = spikegen.population_decode(spikegen.latency_decode(spikes, linear=True, normalize=True))
    assert (decoded - data).abs().max() < 0.01
    counts = spikegen.rate(response, 2000, generator=seeded()).mean(0)
    assert (spikegen.population_decode(counts) - data).abs().max() < 0.02


def test_population_decode_of_silence_is_the_middle_and_trains_on():
    activity = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 3.0]], requires_grad=True)
    decoded = spikegen.population_decode(activity, low=0, high=2)
    assert decoded.tolist() == [1.0, 2.5]
    decoded.square().sum().backward()
    assert activity.grad is not None
    torch.testing.assert_close(activity.grad[1], 2 * 2.5 * (torch.tensor([-1.0, 1.0, 3.0]) - 2.5) / 4)
    assert not activity.grad[0].any()
    silent = spikegen.population_decode(torch.zeros(2, 3), silence=math.nan)
    assert silent.isnan().all()
    assert spikegen.population_decode(torch.zeros(2, 3), silence=0.25).tolist() == [0.25, 0.25]


def test_population_rejects():
    with pytest.raises(ValueError, match="num_neurons must be at least 3, got 2"):
        spikegen.population(torch.ones(1), 2)
    with pytest.raises(ValueError, match="high must be above low, got low = 1, high = 1"):
        spikegen.population(torch.ones(1), 3, low=1, high=1)
    with pytest.raises(ValueError, match="overlap must be positive"):
        spikegen.population(torch.ones(1), 3, overlap=0)


# Codes of change


def test_delta_recorded_values():
    data = torch.tensor([1.0, 2.0, 0.0, 2.0, 2.9])
    assert spikegen.delta(data, 1, off_spike=True).tolist() == [1, 1, -1, 1, 0]
    assert spikegen.delta(data, 1, padding=True, off_spike=True).tolist() == [0, 1, -1, 1, 0]
    assert spikegen.delta(data, 1).tolist() == [1, 1, 0, 1, 0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int64, torch.float16, torch.bfloat16])
def test_delta_does_not_wrap_and_keeps_dtype(dtype):
    data = torch.tensor([[100, 0], [0, 127], [127, 0]]).to(dtype)
    rises = spikegen.delta(data, 50)
    assert rises.dtype == dtype
    assert rises.tolist() == [[1, 0], [0, 1], [1, 0]]
    both = spikegen.delta(data, 50, off_spike=True)
    assert both.dtype == (torch.int8 if dtype == torch.uint8 else dtype)
    assert both.tolist() == [[1, 0], [-1, 1], [1, -1]]
    assert spikegen.delta(torch.tensor([-128, 127], dtype=torch.int8), 1, padding=True).tolist() == [0, 1]


def test_delta_bool_empty_and_scalar():
    assert spikegen.delta(torch.tensor([True, False, True]), 1).tolist() == [True, False, True]
    assert spikegen.delta(torch.zeros(0, 3)).shape == (0, 3)
    with pytest.raises(ValueError, match="data must have time as its first dimension"):
        spikegen.delta(torch.tensor(1.0))


def test_delta_decode_restores_a_signal_of_whole_thresholds():
    data = torch.tensor([0.0, 0.5, 1.0, 0.5, 0.5, 0.0])
    assert torch.equal(spikegen.delta_decode(spikegen.delta(data, 0.5, off_spike=True), 0.5), data)
    shifted = spikegen.delta(data + 3, 0.5, padding=True, off_spike=True)
    assert torch.equal(spikegen.delta_decode(shifted, 0.5, start=3), data + 3)


def test_threshold_based_takes_mean_and_deviation_of_each_signal():
    data = uniform(50, 3, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.0], dtype=torch.float64)
    spikes, threshold = spikegen.threshold_based(data, factor=0.5)
    change = data.diff(dim=0)
    expected = change.abs().mean(0) + 0.5 * (change.abs() ** 2).mean(0).sub(change.abs().mean(0) ** 2).sqrt()
    torch.testing.assert_close(threshold, expected)
    assert torch.equal(spikes[1:], (change > expected).double() - (change < -expected).double())
    assert not spikes[0].any()
    assert not spikes[:, 2].any()
    with pytest.raises(ValueError, match="at least two time steps, got 1"):
        spikegen.threshold_based(data[:1])


def test_threshold_based_is_inverted_when_changes_are_near_the_threshold():
    data = torch.tensor([2.0, 2.0, 4.0, 4.0, 2.0, 2.0, 4.0])
    spikes, threshold = spikegen.threshold_based(data, factor=0.99)
    assert threshold.item() == pytest.approx(1.99)  # |d| is 0 and 2, as often: mean 1, deviation 1
    assert spikes.tolist() == [0, 0, 1, 0, -1, 0, 1]
    decoded = spikegen.delta_decode(spikes, threshold, start=data[0])
    torch.testing.assert_close(decoded, data, rtol=0, atol=0.0101)
    assert not spikegen.threshold_based(data, factor=1.01)[0].any()


@few
@given(seeds, st.integers(1, 60), st.floats(0.05, 1))
def test_step_forward_tracks_slow_signals_within_the_threshold(seed, steps, threshold):
    data = ((uniform(steps, 2, 3, seed=seed, dtype=torch.float64) * 2 - 1) * threshold).cumsum(0)
    spikes = spikegen.step_forward(data, threshold)
    assert set(spikes.unique().tolist()) <= {-1.0, 0.0, 1.0}
    decoded = spikegen.delta_decode(spikes, threshold, start=data[0])
    assert (decoded - data).abs().max() <= threshold + 1e-9


def test_step_forward_lags_a_jump_by_one_threshold_a_step():
    data = torch.tensor([0.0, 3.5, 3.5, 3.5, 3.5])
    assert spikegen.step_forward(data, 1.0).tolist() == [0, 1, 1, 1, 0]
    each = spikegen.step_forward(data[:, None].expand(5, 2), torch.tensor([1.0, 2.0]))
    assert each.T.tolist() == [[0, 1, 1, 1, 0], [0, 1, 0, 0, 0]]


@few
@given(seeds, st.integers(1, 30), st.integers(1, 8))
def test_moving_window_compares_with_the_mean_of_the_past(seed, steps, window):
    data = uniform(steps, 2, seed=seed, dtype=torch.float64)
    expected = torch.zeros_like(data)
    for t in range(1, steps):
        gap = data[t] - data[max(0, t - window) : t].mean(0)
        expected[t] = (gap > 0.2).double() - (gap < -0.2).double()
    assert torch.equal(spikegen.moving_window(data, 0.2, window), expected)


@few
@given(seeds, st.integers(0, 30), st.integers(1, 8))
def test_moving_window_decode_follows_its_own_mean(seed, steps, window):
    spikes = torch.randint(-1, 2, (steps, 2, 3), generator=seeded(seed)).double()
    signal = spikegen.moving_window_decode(spikes, 0.3, window, start=2.0)
    for t in range(steps):
        mean = signal[max(0, t - window) : t].mean(0) if t else torch.full((2, 3), 2.0, dtype=torch.float64)
        torch.testing.assert_close(signal[t], mean + 0.3 * spikes[t])


def test_moving_window_round_trip_on_a_staircase():
    data = torch.tensor([1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0])
    spikes = spikegen.moving_window(data, 0.9, window=1)
    torch.testing.assert_close(spikegen.moving_window_decode(spikes, 1.0, window=1, start=1.0), data)


@pytest.mark.parametrize("dtype", FLOATS)
def test_codes_of_change_keep_dtype(dtype):
    data = uniform(9, 2, dtype=dtype)
    spikes, threshold = spikegen.threshold_based(data)
    assert {spikes.dtype, threshold.dtype} == {dtype}
    assert spikegen.step_forward(data, 0.1).dtype == dtype
    assert spikegen.delta_decode(spikes, 0.1).dtype == dtype
    assert spikegen.moving_window(data, 0.1, 3).dtype == dtype
    assert spikegen.moving_window_decode(spikes, 0.1, 3).dtype == dtype


@pytest.mark.parametrize("code", [spikegen.step_forward, lambda x, t: spikegen.moving_window(x, t, 2)])
def test_codes_of_change_reject(code):
    with pytest.raises(ValueError, match="threshold must be positive, got 0"):
        code(torch.ones(3), 0)
    with pytest.raises(ValueError, match="threshold must be positive everywhere"):
        code(torch.ones(3, 2), torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="time as its first dimension"):
        code(torch.tensor(1.0), 1)


# Address events


@few
@given(seeds, st.integers(1, 6), shapes)
def test_events_round_trip(seed, steps, shape):
    spikes = torch.randint(-1, 2, (steps, *shape), generator=seeded(seed)).float()
    events = spikegen.to_events(spikes)
    assert (events.time.diff() >= 0).all()
    assert events.address.shape == (len(events.time), len(shape))
    assert torch.equal(spikegen.from_events(events, shape, steps), spikes)
    sparse = spikegen.from_events(events, shape, steps, sparse=True)
    assert sparse.is_sparse
    again = spikegen.to_events(sparse)
    assert all(torch.equal(a, b) for a, b in zip(events, again, strict=True))


def test_from_events_bins_and_counts_in_any_order():
    events = spikegen.Events(
        torch.tensor([2999, 10, 1000, 20]), torch.tensor([[1, 0], [0, 1], [0, 0], [0, 1]]), torch.ones(4)
    )
    train = spikegen.from_events(events, (2, 2), dt=1000)
    assert train.tolist() == [[[0, 2], [0, 0]], [[1, 0], [0, 0]], [[0, 0], [1, 0]]]
    late = spikegen.Events(torch.tensor([2**40 + 1]), torch.tensor([[0]]), torch.ones(1))
    start = spikegen.from_events(late, (1,), dt=2.0**39, sparse=True)
    assert start.shape == (3, 1)
    assert spikegen.from_events(spikegen.to_events(torch.zeros(4, 2)), (2,)).shape == (0, 2)


def structured(**fields):
    """As Tonic gives events, in types of one byte and two."""
    kinds = {"x": "<i2", "y": "<u2", "t": "<i8", "p": "?"}
    events = np.empty(len(fields["t"]), [(name, kinds[name]) for name in fields])
    for name, values in fields.items():
        events[name] = values
    return events


def test_from_events_of_structured_arrays():
    events = structured(x=[0, 2, 2, 1], y=[1, 0, 0, 1], t=[3, 1005, 1009, 2500], p=[1, 0, 0, 1])
    frames = spikegen.from_events(events, (2, 2, 3), dt=1000)
    assert frames.shape == (3, 2, 2, 3) and frames.dtype == torch.float32
    assert frames.nonzero().tolist() == [[0, 1, 1, 0], [1, 0, 0, 2], [2, 1, 1, 1]] and frames[1, 0, 0, 2] == 2
    assert torch.equal(spikegen.from_events(events, (2, 3), dt=1000), frames.sum(1))
    assert torch.equal(spikegen.from_events(events, (3,), dt=1000), frames.sum((1, 2)))
    sparse = spikegen.from_events(events, (2, 2, 3), dt=1000, sparse=True)
    assert sparse.is_sparse and torch.equal(sparse.to_dense(), frames) and sparse.values().numel() == 3
    cochlea = np.array([(5, 0.05, 1), (699, 0.31, 1)], [("x", "i8"), ("t", "f4"), ("p", "i8")])  # of SHD, in seconds
    assert spikegen.from_events(cochlea, (700,), dt=0.1).nonzero().tolist() == [[0, 5], [3, 699]]
    assert spikegen.from_events(events[:0], (3,), dt=1000).shape == (0, 3)
    with pytest.raises(ValueError, match=r"shape \(2, 3\) must have the fields t, x, y, got x, t, p"):
        spikegen.from_events(cochlea, (2, 3))
    with pytest.raises(TypeError, match="events must be Events or a structured array, got ndarray"):
        spikegen.from_events(np.zeros((3, 4)), (3,))


def test_from_events_from_an_offset_to_the_very_end():
    events = structured(x=[0, 1, 0, 1], t=[999, 1000, 2999, 3000])
    with pytest.raises(ValueError, match=r"inside 2 steps of 1000 from 1000 on .*drop=True leaves out others"):
        spikegen.from_events(events, (2,), 2, dt=1000, offset=1000)
    kept = spikegen.from_events(events, (2,), 2, dt=1000, offset=1000, drop=True)
    assert kept.tolist() == [[0, 1], [1, 0]]
    closed = spikegen.from_events(events, (2,), 2, dt=1000, offset=1000, drop=True, closed=True)
    assert closed.tolist() == [[0, 1], [1, 1]]
    assert spikegen.from_events(events, (1,), dt=1000, offset=999, drop=True).tolist() == [[1], [0], [1]]
    half = structured(x=[0], t=[1])
    assert spikegen.from_events(half, (1,), 2, dt=0.5, offset=0.5, closed=True).tolist() == [[0], [1]]


def test_events_carry_gradients_of_their_values():
    spikes = torch.tensor([[0.0, 2.0], [3.0, 0.0]], requires_grad=True)
    train = spikegen.from_events(spikegen.to_events(spikes), (2,), 2)
    (train * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert spikes.grad is not None
    assert spikes.grad.tolist() == [[0, 2], [3, 0]]


@pytest.mark.parametrize(
    ("time", "address", "kwargs", "message"),
    [
        ([5], [[0]], {"num_steps": 5}, "events must lie inside 5 steps of 1"),
        ([-1], [[0]], {}, "events must lie inside"),
        ([0], [[2]], {}, r"addresses inside \(2,\)"),
        ([0], [[0, 0]], {}, r"address \[E, 1\]"),
        ([0], [[0]], {"dt": 0}, "dt must be positive, got 0"),
    ],
)
def test_from_events_rejects(time, address, kwargs, message):
    events = spikegen.Events(torch.tensor(time), torch.tensor(address), torch.ones(1))
    with pytest.raises(ValueError, match=message):
        spikegen.from_events(events, (2,), **kwargs)


# One-hot labels


@few
@given(shapes, seeds, st.integers(1, 9))
def test_one_hot_round_trip(shape, seed, classes):
    labels = torch.randint(classes, shape, generator=seeded(seed))
    hot = spikegen.to_one_hot(labels, classes)
    assert hot.shape == (*shape, classes)
    assert hot.dtype == torch.float32
    assert (hot.sum(-1) == 1).all()
    assert torch.equal(spikegen.from_one_hot(hot), torch.atleast_1d(labels))
    assert torch.equal(spikegen.to_one_hot_inverse(hot), 1 - hot)


def test_one_hot_edges():
    assert spikegen.to_one_hot(torch.tensor([1.9, 0.0]), 2).tolist() == [[0, 1], [1, 0]]
    assert spikegen.to_one_hot(torch.zeros(0), 3).shape == (0, 3)
    assert spikegen.from_one_hot(torch.tensor([0.0, 0.0, 1.0])).tolist() == [2]
    assert spikegen.from_one_hot(torch.eye(3, dtype=torch.bool)[[2, 0]]).tolist() == [2, 0]
    inverse = spikegen.to_one_hot_inverse(torch.tensor([[0, 3]], dtype=torch.int16))
    assert inverse.dtype == torch.int16
    assert inverse.tolist() == [[1, 0]]


@pytest.mark.parametrize("label", [-1, 3])
def test_to_one_hot_rejects_labels_outside(label):
    with pytest.raises(ValueError, match=r"targets must lie in 0 … num_classes - 1 = 2"):
        spikegen.to_one_hot(torch.tensor([0, label]), 3)


# Target rates


def test_targets_rate_without_a_train():
    labels = torch.tensor([2, 0])
    expected = torch.tensor([[-1.0, -1, 0], [0, -1, -1]])
    for steps in (False, 4):
        got = spikegen.targets_rate(labels, 3, steps, on_target=0, off_target=-1)
        assert torch.equal(got, expected)
    delayed = spikegen.targets_rate(labels, 3, 4, first_spike_time=2, on_target=0, off_target=-1)
    assert (delayed[:2] == -1).all()
    assert torch.equal(delayed[2:], expected.expand(2, 2, 3))


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_targets_rate_shares_two_trains(classes):
    labels = torch.tensor([1, 0, 1])
    got = spikegen.targets_rate(
        labels, classes, 6, correct_rate=0.5, incorrect_rate=0.2, on_target=-0.5, off_target=1.5
    )
    assert got.shape == (6, 3, classes)
    correct = torch.tensor([-0.5, 1.5, -0.5, 1.5, -0.5, 1.5])
    incorrect = torch.tensor([-0.5, 1.5, 1.5, 1.5, 1.5, -0.5])
    hot = spikegen.to_one_hot(labels, classes).bool()
    assert (got[:, hot] == correct[:, None]).all()
    assert (got[:, ~hot] == incorrect[:, None]).all()


def test_targets_rate_interpolates_each_train():
    got = spikegen.targets_rate(torch.tensor([0]), 2, 5, correct_rate=0.3, interpolate=True, on_target=2, off_target=1)
    torch.testing.assert_close(got[:, 0, 0], torch.tensor([2.0, 1.0, 1.5, 2.0, 1.0]))
    assert (got[:, 0, 1] == 1).all()


def test_targets_rate_draws_from_the_generator():
    a, b = (
        spikegen.targets_rate(torch.tensor([0]), 2, 50, correct_rate=0.5, firing_pattern="Poisson", generator=seeded(1))
        for _ in range(2)
    )
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"correct_rate": 1.5}, r"correct_rate must lie in \[0, 1\], got 1.5"),
        ({"incorrect_rate": -0.1}, r"incorrect_rate must lie in \[0, 1\]"),
        ({"correct_rate": 0.5}, "num_steps must be given"),
        ({"correct_rate": 0.2, "incorrect_rate": 0.5, "num_steps": 5}, "incorrect_rate must not exceed"),
        ({"firing_pattern": "odd"}, "firing_pattern must be .*'odd'"),
        ({"first_spike_time": 2}, "num_steps must be given"),
        ({"first_spike_time": -1}, "first_spike_time must be at least 0"),
        ({"first_spike_time": 6, "num_steps": 5}, "first_spike_time must not exceed num_steps = 5, got 6"),
    ],
)
def test_targets_rate_rejects(kwargs, message):
    with pytest.raises(ValueError, match=message):
        spikegen.targets_rate(torch.tensor([0]), 2, **kwargs)


def test_target_rate_code_regular():
    assert spikegen.target_rate_code(5, rate=0.3)[1].tolist() == [0, 3]
    train, times = spikegen.target_rate_code(30, rate=0.3)
    assert times.tolist() == [0, 3, 6, 10, 13, 16, 20, 23, 26]
    assert torch.equal(train.nonzero().flatten(), times)
    assert spikegen.target_rate_code(120, rate=0.07)[1].tolist() == [0, 14, 28, 42, 57, 71, 85, 100, 114]
    assert spikegen.target_rate_code(10, 4, 0.5)[1].tolist() == [4, 6, 8]


@few
@given(st.integers(1, 50), st.integers(0, 50), st.floats(0, 1), seeds)
def test_target_rate_code_patterns(steps, start, rate, seed):
    start = min(start, steps)
    regular = spikegen.target_rate_code(steps, start, rate)
    uniform_ = spikegen.target_rate_code(steps, start, rate, "uniform", generator=seeded(seed))
    poisson = spikegen.target_rate_code(steps, start, rate, "poisson", generator=seeded(seed))
    assert len(uniform_[1]) == len(regular[1])
    for train, times in (regular, uniform_, poisson):
        assert train.dtype == torch.float32
        assert times.dtype == torch.int64
        assert train.shape == (steps,)
        assert torch.equal(train.nonzero().flatten(), times.unique())
        assert ((times >= start) & (times < steps)).all()


def test_target_rate_code_statistics_and_errors():
    poisson, _ = spikegen.target_rate_code(20_000, 0, 0.3, "poisson", generator=seeded())
    assert_frequency(poisson, 0.3)
    _, times = spikegen.target_rate_code(20_000, 0, 0.3, "uniform", generator=seeded())
    assert_frequency((times < 10_000).float(), 0.5)
    with pytest.raises(ValueError, match="firing_pattern must be"):
        spikegen.target_rate_code(5, firing_pattern="odd")
    with pytest.raises(ValueError, match=r"rate must lie in \[0, 1\], got 2"):
        spikegen.target_rate_code(5, rate=2)


def test_rate_interpolate_ramps_between_spikes():
    ramp = spikegen.rate_interpolate
    torch.testing.assert_close(ramp(torch.tensor([0, 4]), 5), torch.tensor([1, 0, 1 / 3, 2 / 3, 1]))
    torch.testing.assert_close(ramp(torch.tensor([4]), 5), torch.tensor([0, 0.25, 0.5, 0.75, 1]))
    assert ramp(torch.tensor([3, 2, 2]), 5).tolist() == [0, 0.5, 1, 1, 0]
    assert ramp(torch.tensor([], dtype=torch.int64), 3, 1, 0.5).tolist() == [0.5] * 3
    assert ramp(torch.tensor([-1, 7]), 3).tolist() == [0] * 3
    assert ramp(torch.tensor([1]), 3, 0.5, 0.5).tolist() == [0.5] * 3
    assert ramp(torch.tensor([2]), 4, on_target=-1, off_target=1).tolist() == [1, 0, -1, 1]


# Target latencies


@pytest.mark.parametrize("kwargs", [{}, {"normalize": True}, {"linear": True}, {"tau": 3}, {"interpolate": True}])
@pytest.mark.parametrize("steps", [4, 30])
def test_targets_latency_correct_first_incorrect_last(kwargs, steps):
    labels = torch.tensor([0, 2])
    train = spikegen.targets_latency(labels, 3, steps, **kwargs)
    assert train.shape == (steps, 2, 3)
    assert train.dtype == torch.float32
    hot = spikegen.to_one_hot(labels, 3).bool()
    assert (train[:, hot].argmax(0) == 0).all()
    assert (train[:, ~hot].argmax(0) == steps - 1).all()


def test_targets_latency_options():
    label = torch.tensor([1])
    clipped = spikegen.targets_latency(label, 2, 5, first_spike_time=2, clip=True, on_target=0.5, off_target=-1)
    assert clipped[:, 0].T.tolist() == [[-1] * 5, [-1, -1, 0.5, -1, -1]]
    assert spikegen.targets_latency(torch.tensor([0]), 1, 5, normalize=True).flatten().tolist() == [
        1,
        0,
        0,
        0,
        0,
    ]
    assert spikegen.targets_latency(label, 2, bypass=True)[:, 0].argmax(0).tolist() == [12, 0]
    assert spikegen.targets_latency(label, 2, 5, tau=1000, bypass=True)[:, 0].sum(0).tolist() == [1, 0]
    with pytest.raises(ValueError, match="beyond num_steps = 5"):
        spikegen.targets_latency(label, 2, 5, tau=1000)
    with pytest.raises(ValueError, match="num_steps must be given"):
        spikegen.targets_latency(label, 2)


# Dispatch


def test_targets_convert_forwards_every_option():
    labels = torch.tensor([1, 0])
    for options in (
        {"num_steps": 6, "correct_rate": 0.5, "incorrect_rate": 0.2, "interpolate": True},
        {"num_steps": 6, "first_spike_time": 2, "on_target": 3, "off_target": 1},
        {"num_steps": 40, "correct_rate": 0.5, "firing_pattern": "uniform"},
    ):
        torch.manual_seed(0)
        expected = spikegen.targets_rate(labels, 3, **options)
        torch.manual_seed(0)
        assert torch.equal(spikegen.targets_convert(labels, 3, "rate", **options), expected)
    for options in (
        {"num_steps": 6, "on_target": 3, "off_target": 1, "interpolate": True},
        {"num_steps": 9, "first_spike_time": 2, "clip": True, "threshold": 0.3, "tau": 3},
        {"bypass": True, "epsilon": 1e-3},
        {"num_steps": 9, "normalize": True, "linear": True},
    ):
        expected = spikegen.targets_latency(labels, 3, **options)
        assert torch.equal(spikegen.targets_convert(labels, 3, "latency", **options), expected)
    with pytest.raises(ValueError, match=r'code must be "rate" or "latency", got \'phase\''):
        spikegen.targets_convert(labels, 3, "phase")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_results_stay_on_the_device():
    data = uniform(4, 3).cuda()
    labels = torch.tensor([0, 2], device="cuda")
    on_device = {
        "rate": spikegen.rate(data, 5),
        "poisson": spikegen.poisson(data, 5, refractory=2e-3),
        "latency": spikegen.latency(data, 20, interpolate=True),
        "latency_decode": spikegen.latency_decode(spikegen.latency(data, 20)),
        "ttfs": spikegen.ttfs_decode(spikegen.ttfs(data, 9)),
        "phase": spikegen.phase_decode(spikegen.phase(data, 8)),
        "burst": spikegen.burst(data, 20),
        "population": spikegen.population_decode(spikegen.population(data, 5)),
        "delta": spikegen.delta(data),
        "step_forward": spikegen.step_forward(data, 0.1),
        "moving_window": spikegen.moving_window_decode(spikegen.moving_window(data, 0.1, 2), 0.1, 2),
        "threshold_based": spikegen.threshold_based(data)[0],
        "events": spikegen.from_events(spikegen.to_events(data), (3,), 4),
        "targets_rate": spikegen.targets_rate(labels, 3, 5, correct_rate=0.5, interpolate=True),
        "targets_latency": spikegen.targets_latency(labels, 3, 5),
        "rate_interpolate": spikegen.rate_interpolate(labels, 5),
    }
    assert {name: result.device.type for name, result in on_device.items()} == dict.fromkeys(on_device, "cuda")


# What no code takes: NaN, infinities, complex numbers

_x, _t = torch.tensor([[0.2, 0.8], [0.9, 0.1]]), torch.tensor([0, 1])
# name: arguments by which the call is right
CALLS = {
    "rate": {"data": _x, "num_steps": 3, "gain": 1.0, "offset": 0.0},
    "rate_conv": {"data": _x},
    "poisson": {"rates": _x, "num_steps": 3, "dt": 1e-3, "refractory": 0.0},
    "latency": {"data": _x, "num_steps": 20, "threshold": 0.01, "tau": 1.0, "on_target": 1.0, "off_target": 0.0,
                "epsilon": 1e-7},
    "latency_code": {"data": _x, "threshold": 0.01, "tau": 1.0, "epsilon": 1e-7},
    "latency_code_log": {"data": _x, "threshold": 0.01, "tau": 1.0, "epsilon": 1e-7},
    "latency_code_linear": {"data": _x, "threshold": 0.01, "tau": 1.0},
    "latency_interpolate": {"spike_time": _x, "num_steps": 5, "on_target": 1.0, "off_target": 0.0},
    "latency_decode": {"spikes": _x, "threshold": 0.01, "tau": 1.0},
    "ttfs": {"data": _x, "num_steps": 5, "tau": 6.0, "threshold": 1.0},
    "ttfs_decode": {"spikes": _x, "tau": 6.0, "threshold": 1.0},
    "phase": {"data": _x, "num_steps": 8},
    "phase_decode": {"spikes": _x, "period": 2},
    "burst": {"data": _x, "num_steps": 20},
    "population": {"data": _x, "num_neurons": 4, "low": 0.0, "high": 1.0, "overlap": 1.5},
    "population_decode": {"activity": torch.rand(2, 4), "low": 0.0, "high": 1.0},
    "delta": {"data": _x, "threshold": 0.1},
    "delta_decode": {"spikes": _x, "threshold": 0.1, "start": 0.0},
    "threshold_based": {"data": _x, "factor": 1.0},
    "step_forward": {"data": _x, "threshold": 0.1},
    "moving_window": {"data": _x, "threshold": 0.1, "window": 2},
    "moving_window_decode": {"spikes": _x, "threshold": 0.1, "window": 2, "start": 0.0},
    "to_events": {"spikes": _x},
    "to_one_hot": {"targets": _t, "num_classes": 3},
    "to_one_hot_inverse": {"one_hot": _x},
    "from_one_hot": {"one_hot": _x},
    "targets_convert": {"targets": _t, "num_classes": 3, "on_target": 1.0, "off_target": 0.0},
    "targets_rate": {"targets": _t, "num_classes": 3, "num_steps": 5, "correct_rate": 0.5, "incorrect_rate": 0.1,
                     "on_target": 1.0, "off_target": 0.0},
    "target_rate_code": {"num_steps": 5, "rate": 0.5},
    "rate_interpolate": {"spike_time": _t, "num_steps": 5, "on_target": 1.0, "off_target": 0.0},
    "targets_latency": {"targets": _t, "num_classes": 3, "num_steps": 20, "threshold": 0.01, "tau": 1.0,
                        "on_target": 1.0, "off_target": 0.0, "epsilon": 1e-7},
}  # fmt: skip
HOSTILE = [
    (name, argument)
    for name, arguments in CALLS.items()
    for argument, value in arguments.items()
    if isinstance(value, torch.Tensor | float)
]


def test_every_code_is_asked_for_hostile_inputs():
    assert {*CALLS, "Events", "from_events"} == {name for name in vars(spikegen) if not name.startswith("_")}
    for name, arguments in CALLS.items():
        getattr(spikegen, name)(**arguments)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1j])
@pytest.mark.parametrize(("name", "argument"), HOSTILE)
def test_codes_name_the_argument_that_is_not_a_finite_number(name, argument, bad):
    arguments = CALLS[name]
    value = arguments[argument]
    if isinstance(value, torch.Tensor):
        value = value.to(torch.complex64 if bad == 1j else torch.float32, copy=True)
        value.view(-1)[1:2] = bad  # one among others
    else:
        value = bad
    with pytest.raises((ValueError, TypeError), match=rf"^{argument} must "):
        getattr(spikegen, name)(**{**arguments, argument: value})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_infinities_are_found_in_every_dtype(dtype):
    with pytest.raises(ValueError, match=r"data must be finite, got values from 0\.0 to inf"):
        spikegen.rate(torch.tensor([0, math.inf], dtype=dtype), 3)


@pytest.mark.parametrize("part", ["time", "address", "value"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1j])
def test_from_events_names_the_part_that_is_not_finite(part, bad):
    events = spikegen.Events(torch.tensor([0.0]), torch.tensor([[1.0]]), torch.tensor([1.0]))
    hostile = torch.full_like(getattr(events, part), bad, dtype=torch.complex64 if bad == 1j else torch.float32)
    with pytest.raises((ValueError, TypeError), match=rf"^events\.{part} must "):
        spikegen.from_events(events._replace(**{part: hostile}), (3,))


def test_where_values_cannot_be_looked_at_codes_run_as_before():
    data = torch.rand(3, 4)
    assert spikegen.rate(data.to("meta"), 5).shape == (5, 3, 4)
    assert torch.func.vmap(lambda x: spikegen.rate_conv(x), randomness="different")(data).shape == (3, 4)
    compiled = torch.compile(lambda x: spikegen.rate(x, 5), fullgraph=True, backend="eager")
    assert compiled(data).shape == (5, 3, 4)
