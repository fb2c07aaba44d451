"""Reset, detach, and the weak set of live neurons that they reach."""

import copy
import gc
import pickle

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import assert_equal, flat, loop, resting_states, run
from rows import Adaptive, every_step_class

T, B = 6, 3


# -- reset and detach


ALIASES = {
    snn.Leaky: "init_leaky", snn.Lapicque: "init_lapicque", snn.Synaptic: "init_synaptic", snn.Alpha: "init_alpha",
    snn.RLeaky: "init_rleaky", snn.RSynaptic: "init_rsynaptic", snn.SLSTM: "init_slstm",
    snn.SConv2dLSTM: "init_sconv2dlstm",
}  # fmt: skip


@every_step_class
def test_reset_mem_and_its_alias(row):
    neuron, x = row.make(), row.input(T, B)
    for reset in filter(None, ("reset_mem", ALIASES.get(row.cls))):
        fresh = row.make()
        values = getattr(fresh, reset)()
        assert [v.shape for v in flat(values)] == [(0,)] * len(row.states)
        assert isinstance(values, torch.Tensor) == (len(row.states) == 1)
        before = run(row, neuron, x)
        values = flat(getattr(neuron, reset)())
        for name, value in zip(row.states, values, strict=True):
            assert getattr(neuron, name) is value
        assert_equal(values, resting_states(neuron, x[0]))
        assert_equal(run(row, neuron, x), before)


@every_step_class
def test_reset_hidden_and_detach_hidden_reach_every_live_instance_of_the_class(row):
    neurons = [row.make(init_hidden=True) for _ in range(2)]
    other = nn.Sequential(snn.Leaky(0.9, init_hidden=True), Adaptive(0.9, 0.8, init_hidden=True))[
        row.cls in (snn.Leaky, snn.DeltaLeaky)
    ]
    x = row.input(3, B).requires_grad_()
    for neuron in (*neurons, other):
        loop(neuron, x)
    row.cls.detach_hidden()
    for neuron in neurons:
        assert all(not getattr(neuron, name).requires_grad for name in row.states)
        assert any(getattr(neuron, name).any() for name in row.states)
    if not isinstance(other, row.cls):
        assert other.mem.requires_grad
    row.cls.reset_hidden()
    for neuron in neurons:
        assert_equal([getattr(neuron, name) for name in row.states], resting_states(neuron, x[0]))
    assert other.mem.any() or isinstance(other, row.cls)


def test_hidden_states_of_subclasses_are_reset_with_their_base():
    lif, delta, syn = snn.Leaky(0.9, init_hidden=True), snn.DeltaLeaky(1.0, 0.9, init_hidden=True), snn.Synaptic(0.9, 0)
    for neuron in (lif, delta, syn):
        neuron(torch.rand(2, 3))
    snn.LIF.reset_hidden()
    assert not any(state.any() for state in (lif.mem, delta.mem, syn.syn, syn.mem))


def test_detach_and_zeros_work_in_place():
    x = torch.rand(3, requires_grad=True)
    a, b = x * 2, x + 1
    snn.SpikingNeuron.detach(a, b)
    assert not a.requires_grad and not b.requires_grad and a.any()
    snn.SpikingNeuron.zeros(a, b)
    assert not a.any() and not b.any()


def test_detached_training_step_does_not_reach_the_previous_one():
    """Truncated backpropagation: detach_hidden between two backward passes."""
    net = nn.Sequential(nn.Linear(4, 3), snn.RLeaky(0.9, linear_features=3, init_hidden=True))
    for _ in range(2):
        snn.RLeaky.detach_hidden()
        net(torch.rand(2, 4)).sum().backward()


# -- the live instances


def live(cls):
    return [neuron for neuron in snn.SpikingNeuron.instances if isinstance(neuron, cls)]


def test_instances_are_held_weakly():
    class Mine(snn.Leaky):
        pass

    lif = Mine(0.9)
    assert live(Mine) == [lif]
    lif(torch.rand(2, 3))
    del lif
    gc.collect()
    assert live(Mine) == []


def test_copies_and_unpickled_neurons_are_live():
    lif = Unpickled(0.9)
    copies = [lif, copy.deepcopy(lif), pickle.loads(pickle.dumps(lif))]
    assert {id(neuron) for neuron in live(Unpickled)} == {id(neuron) for neuron in copies}


class Unpickled(snn.Leaky):
    """At module level, so that it pickles."""


def test_a_half_built_neuron_is_never_live():
    class Broken(snn.Leaky):
        def __init__(self):
            super().__init__(0.9)
            Broken.seen = live(Broken)
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        Broken()
    assert Broken.seen == [] and live(Broken) == []
    with pytest.raises(ValueError, match="reset_mechanism"):
        snn.Leaky(0.9, reset_mechanism="soft")
    snn.SpikingNeuron.reset_hidden()


def test_instances_can_be_forgotten_as_the_peer_s_tutorials_do():
    lif = snn.Leaky(0.9, init_hidden=True)
    assert lif in snn.SpikingNeuron.instances
    snn.SpikingNeuron.instances = []
    assert snn.SpikingNeuron.instances == snn.Leaky.instances == []
    lif(torch.ones(1, 1))
    snn.Leaky.reset_hidden()
    assert lif.mem == 1  # forgotten
    again = snn.Leaky(0.9)
    assert snn.Leaky.instances == [again]
    snn.SpikingNeuron.init()
    assert snn.SpikingNeuron.instances == []
