"""QIF against the closed form of its period."""

import math

import pytest
import torch

import snntorch as snn

F64 = torch.float64


@pytest.mark.parametrize("current", [0.25, 1.0, 4.0])
def test_period_of_the_normal_form(current):
    """dv/dt = v^2 + x takes (atan(theta / s) - atan(r / s)) / s from r to theta, s = sqrt(x)."""
    neuron = snn.QIF(tau=1.0, critical=0.0, v_reset=-50.0, threshold=50.0, time_step=1e-3).double()
    s = math.sqrt(current)
    period = (math.atan(50 / s) - math.atan(-50 / s)) / s
    x = torch.full((1, 1), current, dtype=F64)
    spk, _ = snn.unroll(neuron, x, num_steps=int(12 * period / 1e-3))
    times = spk.flatten().nonzero().flatten()
    assert float((times[1:] - times[:-1]).double().mean()) * 1e-3 == pytest.approx(period, rel=0.02)
    assert period == pytest.approx(math.pi / s, rel=0.1)


@pytest.mark.parametrize(("start", "fires"), [(0.49, False), (0.51, True)])
def test_above_the_critical_potential_it_fires_by_itself(start, fires):
    neuron = snn.QIF().double()
    spk, mem = snn.unroll(neuron, torch.zeros(1, 1, dtype=F64), torch.full((1, 1), start, dtype=F64), num_steps=300)
    assert bool(spk.any()) == fires
    assert abs(float(mem[-1])) < 1e-4  # at rest again


def test_rheobase():
    """The parabola's depth, curvature (critical - rest)^2 / 4."""
    for above, fires in ((-1e-3, False), (1e-3, True)):
        x = torch.full((1, 1), 2.0 * 0.25**2 + above, dtype=F64)
        spk, _ = snn.unroll(snn.QIF(curvature=2.0).double(), x, num_steps=5000)
        assert bool(spk.any()) == fires
