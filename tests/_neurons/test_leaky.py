"""Leaky against its closed forms."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import snntorch as snn
from helpers import loop

F64 = torch.float64


def constant(value, steps):
    return torch.full((steps, 1, 1), value, dtype=F64)


def spikes(lif, current, steps):
    """Times of the spikes under a constant current."""
    return loop(lif, constant(current, steps))[0].flatten().nonzero().flatten().tolist()


@settings(max_examples=30)
@given(beta=st.floats(0, 0.99), current=st.floats(-2, 2))
def test_subthreshold_response(beta, current):
    """mem[t] = I (1 - beta^(t+1)) / (1 - beta)."""
    lif = snn.Leaky(torch.tensor(beta, dtype=F64), threshold=1e9)
    mem = loop(lif, constant(current, 30))[1].flatten()
    t = torch.arange(1, 31, dtype=F64)
    torch.testing.assert_close(mem, current * (1 - beta**t) / (1 - beta), rtol=1e-12, atol=1e-12)


@settings(max_examples=30)
@given(beta=st.floats(0.01, 0.99), current=st.floats(0.01, 1.5), delay=st.booleans())
def test_inter_spike_interval_under_constant_input(beta, current, delay):
    """From zero, n steps give I (1 - beta^n) / (1 - beta): the interval is the first n for which that exceeds 1."""
    lif = snn.Leaky(torch.tensor(beta, dtype=F64), reset_mechanism="zero", reset_delay=delay)
    times = spikes(lif, current, 60)
    rest = 1 - (1 - beta) / current
    assume(abs(rest) > 1e-9)
    if rest < 0:  # the stationary potential I / (1 - beta) stays below the threshold
        assert times == []
        return
    exact = math.log(rest) / math.log(beta)
    assume(abs(exact - round(exact)) > 1e-9)
    interval = math.floor(exact) + 1
    assert times == list(range(interval - 1, 60, interval))


@settings(max_examples=30)
@given(numerator=st.integers(1, 63), delay=st.booleans())
def test_without_leak_the_spike_count_is_the_integrated_input(numerator, delay):
    """Integrate and fire, threshold subtracted: ceil(I T) - 1 spikes in T steps; dyadic currents are exact."""
    current, steps = numerator / 64, 100
    lif = snn.Leaky(beta=1.0, reset_delay=delay)
    assert len(spikes(lif, current, steps)) == math.ceil(current * steps) - 1


def test_without_reset_it_fires_as_long_as_it_is_above_threshold():
    lif = snn.Leaky(beta=0.5, reset_mechanism="none")
    spk, mem = loop(lif, torch.tensor([4.0, 0, 0, 0, 0]).view(5, 1, 1))
    assert mem.flatten().tolist() == [4, 2, 1, 0.5, 0.25]
    assert spk.flatten().tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("mechanism", "delay", "expected"),
    [
        ("subtract", True, [2.0, 1.0, 0.5]),  # a potential at its threshold does not fire
        ("subtract", False, [1.0, 1.5 - 1, 0.25]),
        ("zero", True, [2.0, 1.0, 0.5]),
        ("zero", False, [0.0, 1.0, 0.5]),
        ("none", True, [2.0, 2.0, 1.0]),
        ("none", False, [2.0, 2.0, 1.0]),
    ],
)
def test_reset_mechanisms_by_hand(mechanism, delay, expected):
    """beta 1/2, threshold 1, input 2, 1, 0."""
    lif = snn.Leaky(beta=0.5, reset_mechanism=mechanism, reset_delay=delay)
    mem = loop(lif, torch.tensor([2.0, 1.0, 0.0]).view(3, 1, 1))[1]
    assert mem.flatten().tolist() == expected


def test_a_spike_needs_more_than_the_threshold():
    spk, _ = snn.Leaky(beta=0.5)(torch.tensor([[1.0, 1.0 + 1e-6, 1.0 - 1e-6]]))
    assert spk.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(("beta", "decay"), [(1.5, 1.0), (-0.5, 0.0), (1, 1.0), (0, 0.0)])
def test_beta_is_clamped(beta, decay):
    _, mem = snn.Leaky(beta=beta)(torch.zeros(1, 1), torch.full((1, 1), 0.5))
    assert mem == decay * 0.5


@pytest.mark.parametrize("delay", [True, False])
def test_graded_spikes_leave_the_dynamics_alone(delay):
    x = torch.rand(20, 2, 3, dtype=F64)
    spk, mem = loop(snn.Leaky(0.9, reset_delay=delay), x)
    graded, same = loop(snn.Leaky(0.9, graded_spikes_factor=2.5, reset_delay=delay), x)
    assert torch.equal(graded, 2.5 * spk) and torch.equal(same, mem) and spk.any()


def test_gradients_through_two_steps():
    """mem_2 = beta x_1 + x_2: dspk_2/dbeta = x_1 s, dspk_2/dthreshold = -s, with s = S'(mem_2 - threshold)."""
    lif = snn.Leaky(torch.tensor(0.5, dtype=F64), learn_beta=True, learn_threshold=True).double()
    x = torch.tensor([0.4, 0.6], dtype=F64).view(2, 1, 1).requires_grad_()
    spk, _ = loop(lif, x)
    spk[1].sum().backward()
    slope = 1 / (1 + (math.pi * (0.5 * 0.4 + 0.6 - 1)) ** 2)  # atan, alpha = 2
    assert float(lif.beta.grad) == pytest.approx(0.4 * slope, rel=1e-12)
    assert float(lif.threshold.grad) == pytest.approx(-slope, rel=1e-12)
    assert x.grad.flatten().tolist() == pytest.approx([0.5 * slope, slope], rel=1e-12)


def test_the_reset_carries_no_gradient():
    """dmem_T/dx_t = beta^(T-t) for subtract, whatever was fired between."""
    lif = snn.Leaky(torch.tensor(0.8, dtype=F64)).double()
    x = torch.full((6, 1, 1), 0.9, dtype=F64, requires_grad=True)
    spk, mem = loop(lif, x)
    assert spk.sum() > 1
    mem[-1].sum().backward()
    torch.testing.assert_close(x.grad.flatten(), 0.8 ** torch.arange(5, -1, -1, dtype=F64))


def test_surrogate_disable_lets_no_gradient_through_the_spike():
    x = torch.rand(3, 2, 2, requires_grad=True)
    spk, mem = loop(snn.Leaky(0.9, surrogate_disable=True), x)
    (grad,) = torch.autograd.grad(spk.sum(), x, retain_graph=True)
    assert not grad.any() and torch.autograd.grad(mem.sum(), x)[0].all()


def test_learnt_integers_become_floating_point():
    lif = snn.Leaky(beta=1, threshold=1, learn_beta=True, learn_threshold=True)
    assert lif.beta.dtype == lif.threshold.dtype == torch.float32
    assert {name for name, _ in lif.named_parameters()} == {"beta", "threshold"}


def test_state_quantisation_rounds_before_firing():
    def thirds(state):
        return (state * 3).round() / 3

    spk, mem = snn.Leaky(0.5, threshold=0.9, state_quant=thirds)(torch.tensor([[0.9, 0.8]]))
    assert spk.tolist() == [[1, 0]]
    torch.testing.assert_close(mem, torch.tensor([[1.0, 2 / 3]]))
