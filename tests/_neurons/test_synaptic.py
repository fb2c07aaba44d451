"""Synaptic against the response of two exponential filters in a row."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import snntorch as snn
from helpers import loop

F64 = torch.float64
decays = st.floats(0.05, 0.95)


def impulse(neuron, steps=40):
    x = torch.zeros(steps, 1, 1, dtype=F64)
    x[0] = 1
    return [out.flatten() for out in loop(neuron, x)]


@settings(max_examples=30)
@given(alpha=decays, beta=decays)
def test_impulse_response_and_its_peak(alpha, beta):
    """syn_n = alpha^n, mem_n = (alpha^(n+1) - beta^(n+1)) / (alpha - beta)."""
    assume(abs(alpha - beta) > 0.01)
    neuron = snn.Synaptic(torch.tensor(alpha, dtype=F64), torch.tensor(beta, dtype=F64), threshold=1e9)
    _, syn, mem = impulse(neuron)
    n = torch.arange(40, dtype=F64)
    torch.testing.assert_close(syn, alpha**n, rtol=1e-11, atol=1e-300)
    torch.testing.assert_close(mem, (alpha ** (n + 1) - beta ** (n + 1)) / (alpha - beta), rtol=1e-9, atol=1e-12)
    peak = math.log(math.log(beta) / math.log(alpha)) / math.log(alpha / beta) - 1
    assert int(mem.argmax()) in {max(0, math.floor(peak)), max(0, math.ceil(peak))}


@pytest.mark.parametrize(
    ("mechanism", "delay", "expected"),
    [
        ("subtract", True, [4.0, 4 / 2 + 2 - 1, 3 / 2 + 1 - 1]),
        ("subtract", False, [3.0, 3 / 2 + 2 - 1, 2.5 / 2 + 1 - 1]),
        ("zero", True, [4.0, 0.0, 1.0]),
        ("zero", False, [0.0, 0.0, 1.0]),
        ("none", True, [4.0, 4.0, 3.0]),
    ],
)
def test_reset_mechanisms_by_hand(mechanism, delay, expected):
    """alpha = beta = 1/2, threshold 1, one input of 4: syn is 4, 2, 1 whatever the reset."""
    neuron = snn.Synaptic(alpha=0.5, beta=0.5, reset_mechanism=mechanism, reset_delay=delay)
    _, syn, mem = loop(neuron, torch.tensor([4.0, 0, 0]).view(3, 1, 1))
    assert syn.flatten().tolist() == [4, 2, 1]
    assert mem.flatten().tolist() == expected


def test_without_synaptic_memory_it_is_leaky():
    x = torch.rand(20, 2, 3, dtype=F64)
    spk, _, mem = loop(snn.Synaptic(alpha=0.0, beta=0.9), x)
    torch.testing.assert_close((spk, mem), loop(snn.Leaky(beta=0.9), x), rtol=0, atol=0)


@pytest.mark.parametrize(("alpha", "clamped"), [(1.5, 1.0), (-0.5, 0.0)])
def test_alpha_is_clamped(alpha, clamped):
    _, syn, _ = snn.Synaptic(alpha=alpha, beta=0.5)(torch.zeros(1, 1), torch.full((1, 1), 0.5), torch.zeros(1, 1))
    assert syn == clamped * 0.5


@pytest.mark.parametrize("make", [snn.Synaptic, lambda *a, **k: snn.RSynaptic(*a, V=0.0, all_to_all=False, **k)])
def test_the_membrane_gets_the_current_before_its_quantisation(make):
    """Both are quantised after the update: a current of 0.6 becomes 1, a potential of 0.7 + 0.6 too."""
    neuron = make(0.6, 0.7, state_quant=torch.round, threshold=9.0)
    _, *_, syn, mem = loop(neuron, torch.tensor([1.0, 0.0]).view(2, 1, 1))
    assert syn.flatten().tolist() == [1, 1]
    assert mem.flatten().tolist() == [1, 1]  # 0.7 + 0.6; from the quantised current it would be 2
