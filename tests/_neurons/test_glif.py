"""GLIF: each gate, at its ends, chooses a known neuron."""

import pytest
import torch

import snntorch as snn

F64 = torch.float64
OPEN, SHUT = 1 - 1e-15, 1e-15


def made(**numbers):
    numbers = {name: torch.tensor(value, dtype=F64) for name, value in numbers.items()}
    return snn.GLIF(**numbers, learn=False).double()


def test_of_an_exponential_leak_and_a_hard_reset():
    """With alpha and gamma 1 and beta 0, `mem = tau mem (1 - spk) + x`: Leaky that resets to zero."""
    x = torch.randn(60, 2, 3, dtype=F64) + 0.3
    spk, mem = snn.unroll(made(alpha=OPEN, beta=SHUT, gamma=OPEN, tau=0.75), x)
    expected = snn.unroll(snn.Leaky(0.75, reset_mechanism="zero").double(), x)
    torch.testing.assert_close((spk, mem), expected, rtol=0, atol=1e-10)


def test_of_a_linear_leak_and_a_soft_reset():
    """With alpha and gamma 0, and beta 1, `mem = mem - leak + conductance x - v_reset spk`."""
    x = 2 * torch.rand(40, 1, 1, dtype=F64)
    spk, mem = snn.unroll(made(alpha=SHUT, beta=OPEN, gamma=SHUT, leak=0.1, v_reset=0.9, conductance=0.4), x)
    before = torch.cat((torch.zeros(1, 1, 1, dtype=F64), spk[:-1]))
    torch.testing.assert_close(mem, (0.4 * x - 0.1 - 0.9 * before).cumsum(0))
    assert spk.any()


def test_the_seven_are_learnt_between_0_and_1():
    neuron = snn.GLIF(tau=torch.full((3, 1, 1), 0.25))
    assert len(list(neuron.parameters())) == 7
    optimiser = torch.optim.SGD(neuron.parameters(), 100.0)
    for sign in (1, -1):
        neuron.reset_mem()
        (sign * snn.unroll(neuron, torch.rand(5, 2, 3, 4, 4))[1].sum()).backward()
        optimiser.step()
    for name in ("alpha", "beta", "gamma", "tau", "leak", "v_reset", "conductance"):
        value = getattr(neuron, name)
        assert ((value >= 0) & (value <= 1)).all()
    assert neuron.tau.shape == (3, 1, 1) and (neuron.tau != 0.25).all()


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"gamma must lie between 0.0 and 1.0, got 1"):
        snn.GLIF(gamma=1.0)
    with pytest.raises(ValueError, match="reset_mechanism must be subtract, as gamma chooses, got 'zero'"):
        snn.GLIF(reset_mechanism="zero")
