"""PLIF, and bounded parameters of others."""

import copy
import math
import pickle

import pytest
import torch

import snntorch as snn
from helpers import assert_equal, loop

F64 = torch.float64


def test_constant_input_charges_towards_itself():
    """mem_n = x (1 - beta^n), and w starts at -ln(tau - 1), as in the paper."""
    tau = 4.0
    neuron = snn.PLIF(beta=1 - 1 / tau, threshold=10.0).double()
    assert neuron.w.item() == pytest.approx(-math.log(1 / (tau - 1)), rel=1e-6)
    _, mem = loop(neuron, torch.full((20, 1, 1), 3.0, dtype=F64))
    n = torch.arange(1, 21, dtype=F64)
    torch.testing.assert_close(mem.flatten().detach(), 3.0 * (1 - 0.75**n), rtol=0, atol=1e-6)


def test_with_the_whole_input_it_is_leaky():
    x = torch.randn(40, 2, 3, dtype=F64) + 0.3
    plif = snn.PLIF(0.8, decay_input=False).double()
    leaky = snn.Leaky(plif.beta.detach()).double()
    assert_equal([o.detach() for o in snn.unroll(plif, x)], list(snn.unroll(leaky, x)))


@pytest.mark.parametrize("beta", [0.0, 1.0, 1.5, torch.tensor([0.5, -0.1])])
def test_beta_outside_its_bounds_is_an_error(beta):
    with pytest.raises(ValueError, match=r"beta must lie between 0.0 and 1.0"):
        snn.PLIF(beta)


def train(neuron, steps=200):
    """By an optimiser that wants a larger beta, whatever it is."""
    optimiser = torch.optim.Adam(neuron.parameters(), 0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        neuron.reset_mem()
        (-snn.unroll(neuron, torch.full((5, 1, 1), 0.1))[1].sum()).backward()
        optimiser.step()


def test_training_never_leaves_the_bounds_and_comes_back():
    """A clamped beta goes beyond 1, where it has no gradient; a bounded one moves on."""
    neurons = snn.PLIF(0.5, decay_input=False), snn.bounded(snn.Leaky(0.5, learn_beta=True))
    for neuron in neurons:
        train(neuron)
        assert 0.9 < neuron.beta.item() < 1
        neuron.reset_mem()
        snn.unroll(neuron, torch.full((5, 1, 1), 0.1))[1].sum().backward()
        (weight,) = neuron.parameters()
        assert weight.grad != 0
    clamped = snn.Leaky(0.5, learn_beta=True)
    train(clamped)
    assert clamped.beta.item() > 1


def test_bounded_parameters_of_any_neuron():
    x = torch.rand(8, 2, 3)
    plain = snn.Synaptic(torch.tensor([0.2, 0.5, 0.7]), 0.9, learn_alpha=True, learn_beta=True, learn_threshold=True)
    neuron = snn.bounded(snn.bounded(copy.deepcopy(plain), "alpha"), "threshold", 0.5, 2.0)
    torch.testing.assert_close(snn.unroll(neuron, x), snn.unroll(plain, x))
    with torch.no_grad():
        neuron.threshold_logit.fill_(-100.0)
    assert neuron.threshold == 0.5
    neuron.threshold = torch.tensor(1.5)
    torch.testing.assert_close(neuron.threshold.detach(), torch.tensor(1.5))
    other = snn.bounded(snn.bounded(copy.deepcopy(plain), "alpha"), "threshold", 0.5, 2.0)
    other.load_state_dict(neuron.state_dict())
    for each in (neuron, other):
        each.reset_mem()
    assert_equal(snn.unroll(other, x), snn.unroll(neuron, x))
    other.reset_mem()
    for copied in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert isinstance(copied, snn.Synaptic) and copied in snn.SpikingNeuron.instances
        copied.reset_mem()
        assert_equal(snn.unroll(copied, x), snn.unroll(other, x))
        other.reset_mem()
        assert {n for n, _ in copied.named_parameters()} == {"alpha_logit", "beta", "threshold_logit"}
    with pytest.raises(ValueError, match=r"threshold must lie between 0.5 and 2.0, got 3"):
        neuron.threshold = torch.tensor(3.0)


def test_bounded_neurons_fuse_compile_and_carry_states_through_copies():
    neuron = snn.bounded(snn.Leaky(0.5, learn_beta=True))
    x = torch.rand(4, 2, 3)
    with snn.backend("fused"):
        out = snn.unroll(neuron, x)
    copied = copy.deepcopy(neuron)  # after a forward pass
    assert_equal(copied.mem, neuron.mem.detach())
    neuron.reset_mem()
    compiled = torch.compile(lambda x: snn.unroll(neuron, x), backend="aot_eager", fullgraph=True)
    assert_equal(compiled(x), out)


def test_bounded_names_what_is_wrong():
    with pytest.raises(ValueError, match="name must be one of Leaky's parameters, got 'beta'; learn_beta=True"):
        snn.bounded(snn.Leaky(0.5))
    with pytest.raises(ValueError, match="low must be less than high, got 1 and 0"):
        snn.bounded(snn.Leaky(0.5, learn_beta=True), "beta", 1, 0)
    with pytest.raises(ValueError, match=r"beta must lie between 0.0 and 1.0, got"):
        snn.bounded(snn.Leaky(1.0, learn_beta=True))
