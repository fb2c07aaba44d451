"""DeltaLeaky: spikes on change."""

import pytest
import torch

import snntorch as snn
from helpers import loop


def test_it_spikes_where_the_potential_moved_by_more_than_the_threshold():
    """Without leak the change is the input itself, up or down; nothing is reset."""
    neuron = snn.DeltaLeaky(0.5, beta=1.0)
    x = torch.tensor([0.5, 0.75, -0.75, -0.25, 0.0, 3.0])
    spk, (mem, mem_prev) = loop(neuron, x.view(6, 1, 1), (None, None))
    assert spk.flatten().tolist() == [0, 1, 1, 0, 0, 1]
    assert torch.equal(mem.flatten(), x.cumsum(0))
    assert torch.equal(mem_prev.flatten(), torch.cat((torch.zeros(1), x.cumsum(0)[:-1])))


def test_at_rest_it_is_silent():
    """The change of a leaky integrator under constant input is I beta^t: the last spike comes where it passes 0.1."""
    neuron = snn.DeltaLeaky(0.1, beta=0.8)
    spk, _ = loop(neuron, torch.ones(40, 1, 1), (None, None))
    assert spk.flatten().nonzero().flatten().tolist() == [t for t in range(40) if 0.8**t > 0.1]


def test_delta_threshold_is_in_no_checkpoint_and_the_rest_is_leaky_s():
    neuron = snn.DeltaLeaky(0.5, 0.9, 2.0, learn_beta=True, graded_spikes_factor=3.0)
    assert isinstance(neuron, snn.Leaky)
    assert (neuron.delta_threshold, neuron.threshold, neuron.graded_spikes_factor) == (0.5, 2, 3)
    assert [name for name, _ in neuron.named_parameters()] == ["beta"]
    assert set(neuron.state_dict()) == {"beta", "threshold", "graded_spikes_factor", "reset_mechanism_val"}


@pytest.mark.parametrize("value", [0.25, 2, torch.tensor(0.25), torch.tensor([0.25, 2])])
def test_delta_threshold_may_be_assigned_and_follows_the_module(value):
    neuron = snn.DeltaLeaky(0.5, beta=0.9).double()
    neuron.delta_threshold = value
    x = torch.tensor([[0.4, 1.9]], dtype=torch.float64)
    spk, _ = neuron(x, (None, None))
    assert torch.equal(spk, (x > torch.as_tensor(value)).double())


@pytest.mark.parametrize("given", [(), (torch.zeros(2, 3),), ((None,),), ((None, None, None),)])
def test_without_init_hidden_it_takes_a_pair(given):
    with pytest.raises(TypeError, match=r"mem must be the pair \(mem, mem_prev\)"):
        snn.DeltaLeaky(0.5, beta=0.9)(torch.rand(2, 3), *given)


def test_the_pair_by_name_and_hidden():
    x = torch.rand(2, 3)
    spk, (mem, mem_prev) = snn.DeltaLeaky(0.5, beta=0.9)(x, mem=(torch.ones(2, 3), None))
    torch.testing.assert_close(mem, 0.9 + x)
    assert torch.equal(mem_prev, torch.ones(2, 3)) and torch.equal(spk, ((mem - 1).abs() > 0.5).float())
    hidden = snn.DeltaLeaky(0.5, beta=0.9, init_hidden=True)
    spk, (mem, mem_prev) = hidden(x)  # as published, whether it is asked for or not
    assert torch.equal(spk, (x > 0.5).float()) and torch.equal(mem, x) and not mem_prev.any()
    hidden = snn.DeltaLeaky(0.5, beta=0.9, init_hidden=True, output=False)
    assert torch.equal(hidden(x), (x > 0.5).float()) and torch.equal(hidden.mem, x)


@pytest.mark.parametrize("args", [(), (0.9, 1.0, None, False, True, False, False, False, "subtract", False, False)])
def test_only_output_false_by_name_returns_spikes_alone(args):
    """By position it is what other arguments need before them, in code that takes the states all the same."""
    neuron = snn.DeltaLeaky(0.5, *args) if args else snn.DeltaLeaky(0.5, beta=0.9, init_hidden=True)
    x = torch.rand(4, 2, 3)
    spk, (mem, mem_prev) = snn.unroll(neuron, x)
    assert spk.shape == mem.shape == mem_prev.shape == x.shape and torch.equal(mem_prev[1:], mem[:-1])


def test_what_leaky_heeds_it_heeds():
    """The published one passes over them."""
    x = torch.tensor([[1.0, 2.0]])
    for kwargs, expected in (
        ({"graded_spikes_factor": 3.0}, [3.0, 3.0]),
        ({"state_quant": torch.floor}, [0.0, 1.0]),
    ):
        spk, _ = snn.DeltaLeaky(1.5 if "state_quant" in kwargs else 0.5, beta=1.0, **kwargs)(x, (None, None))
        assert spk.tolist() == [expected]
    _, (mem, _) = snn.DeltaLeaky(0.5, beta=1.5)(x, (torch.ones(1, 2), None))
    assert torch.equal(mem, x + 1)
