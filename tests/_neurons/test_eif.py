"""EIF and AdEx: rheobase, rest, and published numbers."""

import math

import pytest
import torch

import snntorch as snn
from helpers import assert_equal

F64 = torch.float64


def constant(neuron, current, steps):
    return snn.unroll(neuron.double(), torch.full((1, 1), current, dtype=F64), num_steps=steps)


@pytest.mark.parametrize(("above", "fires"), [(-3.0, False), (3.0, True)])
def test_rheobase_of_the_exponential_neuron(above, fires):
    """A constant current fires it from `g_L (V_T - E_L - delta_T)` on: there the largest leak is overcome."""
    rheobase = 30 * (-50.4 + 70.6 - 2.0)
    spk, _ = constant(snn.EIF(time_step=0.5), rheobase + above, 20000)
    assert bool(spk.any()) == fires


def test_below_threshold_it_is_a_leaky_integrator():
    """V = E_L + x / g_L (1 - (1 - dt g_L / C)^n): far below V_T there is no upswing."""
    _, mem = constant(snn.EIF(time_step=0.1), 90.0, 100)
    n = torch.arange(1, 101, dtype=F64)
    expected = -70.6 + 3 * (1 - (1 - 0.1 * 30 / 281) ** n)
    torch.testing.assert_close(mem.flatten(), expected, rtol=0, atol=0.01)


def test_small_steps_agree_with_the_integral_of_the_interval():
    """Between spikes time is the integral of C dV / current, from the reset to the threshold."""
    x, dt = 800.0, 0.01
    v = torch.linspace(-70.6, -40.4, 200001, dtype=F64)
    flow = 30 * (2 * ((v + 50.4) / 2).exp() - (v + 70.6)) + x
    period = float(torch.trapezoid(281 / flow, v))
    spk, _ = constant(snn.EIF(time_step=dt), x, int(10 * period / dt))
    times = spk.flatten().nonzero().flatten()
    assert float((times[1:] - times[:-1]).double().mean()) * dt == pytest.approx(period, rel=0.005)


def test_without_adaptation_adex_is_eif():
    x = 2500 * (torch.randn(100, 2, 3, dtype=F64) + 0.3)
    adex, eif = snn.AdEx(a=0.0, b=0.0).double(), snn.EIF().double()
    assert_equal(snn.unroll(adex, x)[:2], snn.unroll(eif, x))


def test_adex_at_rest_under_a_weak_current():
    """V - E_L = x / (g_L + a) and w = a (V - E_L)."""
    _, mem, adaptation = constant(snn.AdEx(), 100.0, 5000)
    assert mem[-1].item() == pytest.approx(-70.6 + 100 / 34, abs=0.01)
    assert adaptation[-1].item() == pytest.approx(4 * 100 / 34, abs=0.05)


def test_adex_adapts():
    """Spikes thin out under the published numbers, each adding b = 0.0805 nA to the adaptation."""
    spk, _, adaptation = constant(snn.AdEx(time_step=0.05), 1000.0, 20000)
    times = spk.flatten().nonzero().flatten()
    gaps = (times[1:] - times[:-1]).tolist()
    assert len(gaps) > 5
    assert gaps[0] < gaps[1] < gaps[2] and gaps[-1] > 2 * gaps[0]
    first = int(times[0])
    jump = float(adaptation[first] - adaptation[first - 1])
    assert jump == pytest.approx(80.5, abs=0.5)


@pytest.mark.parametrize("cls", [snn.EIF, snn.AdEx])
def test_an_upswing_that_is_not_reset_stays_finite(cls):
    out = constant(cls(reset_mechanism="none"), 5000.0, 2000)
    assert all(o.isfinite().all() for o in out)
    assert math.isfinite(float(out[1].max())) and out[0].any()
