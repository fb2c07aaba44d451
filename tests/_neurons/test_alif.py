"""ALIF: a threshold that follows the spikes."""

import pytest
import torch

import snntorch as snn
from helpers import assert_equal, loop

F64 = torch.float64


@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_without_strength_it_is_leaky_that_resets_at_once(mechanism):
    x = torch.randn(50, 2, 4, dtype=F64) + 0.3
    alif = snn.ALIF(0.9, rho=0.8, strength=0.0, reset_mechanism=mechanism).double()
    leaky = snn.Leaky(0.9, reset_mechanism=mechanism, reset_delay=False).double()
    assert_equal(snn.unroll(alif, x)[:2], snn.unroll(leaky, x))


def test_adaptation_is_the_exponential_trace_of_the_spikes():
    rho, x = 0.95, torch.rand(60, 1, 3, dtype=F64)
    spk, _, adaptation = loop(snn.ALIF(0.9, rho=torch.tensor(rho, dtype=F64)).double(), x)
    t = torch.arange(60, dtype=F64)
    age = t[:, None] - t
    kernel = torch.where(age >= 0, (1 - rho) * rho**age, torch.zeros_like(age))
    torch.testing.assert_close(adaptation[:, 0], kernel @ spk[:, 0])
    assert spk.any()


def test_steady_firing_balances_the_charge():
    """Without a leak what comes in goes out as thresholds, each of `threshold + strength * rate` on average."""
    x, strength = 0.5, 3.0
    neuron = snn.ALIF(1.0, rho=torch.tensor(0.999, dtype=F64), strength=strength).double()
    spk = snn.unroll(neuron, torch.full((1, 1), x, dtype=F64), num_steps=40000)[0]
    rate = float(spk[20000:].mean())
    assert rate * (1 + strength * rate) == pytest.approx(x, rel=0.01)


def test_gradient_reaches_the_past_through_the_adaptation():
    """With an instantly forgetting membrane only the threshold remembers."""
    x = torch.zeros(30, 1, 1, dtype=F64)
    x[0] = 2.0
    x.requires_grad_()
    _, mem, adaptation = snn.unroll(snn.ALIF(0.0, rho=0.99).double(), x)
    assert mem[-1].item() == 0 and adaptation[-1].item() > 0
    (grad,) = torch.autograd.grad(adaptation[-1].sum(), x)
    assert grad[0].item() != 0
