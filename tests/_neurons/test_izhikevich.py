"""Izhikevich's neuron fires in the patterns of his figure of twenty, by the numbers that he published with it.

Each input is that of his picture; the assertions are what the picture shows.
"""

import itertools

import pytest
import torch

import snntorch as snn

F64 = torch.float64


def spike_times(numbers, start, time_step, duration, current):
    """In milliseconds. `numbers` are a, b, c, d; `current` is a function of the time."""
    a, b, c, d = numbers
    neuron = snn.Izhikevich(a, b, c, d, rest=start, time_step=time_step).double()
    t = torch.arange(0, duration, time_step, dtype=F64)
    spk, _, _ = snn.unroll(neuron, current(t)[:, None])
    return (spk.flatten().nonzero().flatten() * time_step).tolist()


def intervals(times):
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def step(height, since, before=0.0):
    return lambda t: torch.where(t > since, height, before).to(F64)


def pulses(height, *windows, before=0.0):
    def current(t):
        inside = sum((t > low) & (t < high) for low, high in windows)
        return torch.where(inside > 0, height, before).to(F64)

    return current


def test_tonic_spiking():
    times = spike_times((0.02, 0.2, -65, 6), -70, 0.25, 100, step(14.0, 10))
    steady = intervals(times)[2:]
    assert len(times) > 3 and min(times) > 10
    assert max(steady) - min(steady) <= 1


def test_phasic_spiking():
    times = spike_times((0.02, 0.25, -65, 6), -64, 0.25, 200, step(0.5, 20))
    assert len(times) == 1 and 20 < times[0] < 60


def test_tonic_bursting():
    gaps = intervals(spike_times((0.02, 0.2, -50, 2), -70, 0.25, 220, step(15.0, 22)))
    long = [k for k, gap in enumerate(gaps) if gap > 15]
    assert len(long) >= 3  # pauses
    assert all(b - a >= 3 for a, b in itertools.pairwise(long))  # with bursts between them


def test_phasic_bursting():
    times = spike_times((0.02, 0.25, -55, 0.05), -64, 0.2, 200, step(0.6, 20))
    assert len(times) >= 3
    assert max(times) - min(times) < 60 and max(times) < 120


def test_mixed_mode():
    times = spike_times((0.02, 0.2, -55, 4), -70, 0.25, 160, step(10.0, 16))
    gaps = intervals(times)
    assert gaps[0] < 8  # a burst at the onset
    assert len(gaps) > 4 and min(gaps[2:]) > 15  # single spikes then


def test_spike_frequency_adaptation():
    gaps = intervals(spike_times((0.01, 0.2, -65, 8), -70, 0.25, 85, step(30.0, 8.5)))
    assert len(gaps) >= 4
    assert all(later >= earlier for earlier, later in itertools.pairwise(gaps))
    assert gaps[-1] > 1.5 * gaps[0]


def test_spike_latency():
    times = spike_times((0.02, 0.2, -65, 6), -70, 0.2, 100, pulses(7.04, (10, 13)))
    assert len(times) == 1 and times[0] > 13 + 3  # long after the pulse


def test_resonator():
    """Two pulses in the rhythm of the neuron's oscillation make it fire, two in another do not."""
    pairs = pulses(0.65, (40, 44), (60, 64), (280, 284), (320, 324))
    times = spike_times((0.1, 0.26, -60, -1), -62, 0.25, 400, pairs)
    assert len(times) == 1 and 324 < times[0] < 345


def test_class_2_excitability():
    """Under a ramp it begins to fire at some 50 Hz at once, and not slowly."""

    def ramp(t):
        return -0.5 + 0.015 * (t - 30).clamp(min=0)

    gaps = intervals(spike_times((0.2, 0.26, -65, 0), -64, 0.25, 300, ramp))
    assert len(gaps) > 8
    assert gaps[0] < 25 and gaps[-1] > 0.5 * gaps[0]


def test_rebound_spike():
    times = spike_times((0.03, 0.25, -60, 4), -64, 0.2, 200, pulses(-15.0, (20, 25)))
    assert len(times) == 1 and times[0] > 25


def test_rebound_burst():
    times = spike_times((0.03, 0.25, -52, 0), -64, 0.2, 200, pulses(-15.0, (20, 25)))
    assert len(times) >= 4 and times[0] > 25 and max(times) < 120


def test_threshold_variability():
    """The same pulse fires only where an inhibitory one comes before it."""

    def current(t):
        return pulses(1.0, (10, 15), (80, 85))(t) + pulses(-6.0, (70, 75))(t)

    times = spike_times((0.03, 0.25, -60, 4), -64, 0.25, 100, current)
    assert len(times) == 1 and 80 < times[0] < 100


def test_bistability():
    """One pulse switches the firing on, the next one off."""
    times = spike_times((0.1, 0.26, -60, 0), -61, 0.25, 300, pulses(1.24, (37.5, 42.5), (216, 221), before=0.24))
    assert min(times) > 37.5 and len(times) >= 5 and max(times) < 230


@pytest.mark.parametrize("mechanism", ["zero", "subtract", "none"])
def test_resets_by_their_equations(mechanism):
    """From 29 mV, a step that fires."""
    neuron = snn.Izhikevich(reset_mechanism=mechanism).double()
    x, v, u = (torch.full((1, 1), value, dtype=F64) for value in (5.0, 29.0, -14.0))
    spk, mem, recovery = neuron(x, v, u)
    peak = 29 + 0.04 * 29**2 + 5 * 29 + 140 + 14 + 5
    expected = {"zero": -65.0, "subtract": peak - 95.0, "none": peak}[mechanism]
    assert spk.item() == 1
    assert mem.item() == pytest.approx(expected)
    assert recovery.item() == pytest.approx(-14 + 0.02 * (0.2 * peak + 14) + 8)


def test_it_starts_at_rest_with_its_recovery():
    neuron = snn.Izhikevich(b=torch.tensor([0.2, 0.25]), rest=-70.0)
    _, mem, recovery = neuron(torch.zeros(3, 2))
    torch.testing.assert_close(mem[:, 0], torch.full((3,), -70.0))  # its fixed point
    torch.testing.assert_close(recovery[:, 0], torch.full((3,), -14.0))
    assert recovery[0, 1] != recovery[0, 0]
    neuron.reset_mem()
    torch.testing.assert_close(neuron.recovery, torch.tensor([[-14.0, -17.5]]).expand(3, 2))


def test_learn_names_numbers():
    assert dict(snn.Izhikevich(learn="a").named_parameters()).keys() == {"a"}
    with pytest.raises(ValueError, match="learn must name some of a, b, c, d, rest, got e, time_step"):
        snn.Izhikevich(learn=("a", "e", "time_step"))
