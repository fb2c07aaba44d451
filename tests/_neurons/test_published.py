"""Subclasses that override the methods of snnTorch 1.0.0's neurons, against what their bodies say."""

import copy
import pickle

import pytest
import torch

import snntorch as snn
from helpers import assert_equal, loop, start
from rows import STEP_ROWS, rows
from snntorch import utils
from snntorch._time.explain import paths

SUPPORTED = {
    snn.Leaky, snn.Lapicque, snn.Synaptic, snn.Alpha, snn.RLeaky, snn.RSynaptic, snn.SLSTM, snn.SConv2dLSTM,
}  # fmt: skip
NAMES = ("fire", "mem_reset", "state_function", "_base_state_function", "_base_sub", "_base_zero", "_base_int")


def overriding(cls, *names):
    """A subclass that overrides methods by others that call them and note it."""

    def method(name):
        def called(self, *args):
            self.called.add(name)
            return getattr(super(sub, self), name)(*args)

        return called

    sub = type("Sub", (cls,), {"called": set(), **{name: method(name) for name in names}})
    return sub


@rows([r for r in STEP_ROWS if r.cls in SUPPORTED])
def test_methods_that_call_those_they_override_change_nothing(row):
    """The published methods, composed as there, are the step: in float64, spikes and states; and each is called."""
    neuron = row.make(torch.float64)
    sub = copy.deepcopy(neuron)
    sub.__class__ = overriding(row.cls, *NAMES)
    x = row.input(6, 3, torch.float64)
    torch.testing.assert_close(loop(sub, x, *start(row, sub)), loop(neuron, x, *start(row, neuron)), rtol=0, atol=1e-12)
    reset = {"subtract": "_base_sub", "zero": "_base_zero", "none": "_base_int"}[neuron.reset_mechanism]
    inhibits = {"fire"} if not neuron.inhibition else set()
    delays = {"mem_reset"}
    assert sub.called == {"state_function", "_base_state_function", reset} | inhibits | delays


class Linear(snn.Leaky):
    """Decays by a constant, never below rest."""

    def _base_state_function(self, input_):
        return (self.mem - self.beta + input_).clamp(min=0)


class Noted(snn.Leaky):
    """Its spikes are 2."""

    def fire(self, mem):
        return 2 * super().fire(mem)


class Lazy(snn.Leaky):
    """Resets only what is far above the threshold."""

    def mem_reset(self, mem):
        return (mem > 2 * self.threshold).to(mem.dtype).detach()


class Halved(snn.Synaptic):
    """Loses half the threshold."""

    def _base_sub(self, input_):
        syn, mem = self._base_state_function(input_)
        return syn, mem - self.reset * self.threshold / 2


class Chosen(snn.Leaky):
    """Sets the state function as an attribute."""

    def __init__(self, beta):
        super().__init__(beta)
        self.state_function = self._base_int


def by_hand(cls, x):
    """Spikes and potentials of these classes by their documentation: beta 1/2, threshold 1."""
    mem, syn, spks, mems = torch.zeros_like(x[0]), torch.zeros_like(x[0]), [], []
    for now in x:
        r = (mem > (2 if cls is Lazy else 1)).to(mem)
        if cls is Linear:
            mem = (mem - 0.5 + now).clamp(min=0) - r
        elif cls is Halved:
            syn = 0.5 * syn + now
            mem = 0.5 * mem + syn - r / 2
        else:
            mem = 0.5 * mem + now - (0 if cls is Chosen else r)
        spks.append((2 if cls is Noted else 1) * (mem > 1).to(mem))
        mems.append(mem)
    return torch.stack(spks), torch.stack(mems)


@pytest.mark.parametrize("cls", [Linear, Noted, Lazy, Halved, Chosen])
@pytest.mark.parametrize("run", [loop, snn.unroll], ids=["loop", "unroll"])
def test_overrides_take_effect(cls, run):
    neuron = cls(0.5, 0.5) if cls is Halved else cls(0.5)
    x = torch.randn(12, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    neuron.double()
    spk, *_, mem = run(neuron, x, *(torch.zeros(3, 4, dtype=torch.float64) for _ in neuron.states))
    assert_equal((spk, mem), by_hand(cls, x))
    for other in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        other.reset_mem()
        assert_equal(run(other, x, *(torch.zeros(3, 4, dtype=torch.float64) for _ in neuron.states))[0], spk)


def test_a_method_given_to_one_neuron_takes_effect():
    lif = snn.Leaky(0.5)
    lif.fire = lambda mem: torch.full_like(mem, 7)
    assert lif(torch.ones(2))[0].tolist() == [7, 7]
    assert snn.unroll(lif, torch.ones(1, 2))[0].tolist() == [[7, 7]]
    assert snn.Leaky(0.5)(torch.ones(2))[0].tolist() == [0, 0]


def test_it_is_said_why_they_step():
    (path,) = paths(Noted(0.5), torch.rand(3, 2))
    assert (path.path, path.reason) == ("stepped", "Noted overrides fire")
    with snn.backend("fused"), pytest.raises(RuntimeError, match="Noted overrides fire"):
        Noted(0.5)(torch.rand(2))


def test_attributes_that_overrides_read():
    seen = []

    class Reads(snn.RSynaptic):
        def _base_state_function(self, input_):
            seen.append((self.reset, self.spk, self.syn, self.mem))
            return super()._base_state_function(input_)

    neuron = Reads(0.5, 0.5, V=0.0, all_to_all=False)
    spk, syn, mem = neuron(torch.tensor([4.0, 0.0]))
    neuron(torch.zeros(2), spk, syn, mem)
    assert [t.tolist() for t in seen[1]] == [[1, 0], [1, 0], [4, 0], [4, 0]]


def test_reset_mem_of_the_users_own_is_called():
    class Resting(snn.Leaky):
        def reset_mem(self):
            self.mem = torch.full_like(self.mem, 0.25)
            return self.mem

    neuron = Resting(0.5, init_hidden=True)
    for reset in (neuron.reset_mem, neuron.init_leaky, lambda: utils.reset(neuron), Resting.reset_hidden):
        neuron(torch.ones(2))
        reset()
        assert neuron.mem.tolist() == [0.25, 0.25]


def test_a_forward_of_the_users_own_made_of_the_methods():
    """As published neurons are written, with a state of its own."""

    class Own(snn.LIF):
        def __init__(self, beta):
            super().__init__(beta)
            self._init_mem()
            self.state_function = self._base_sub

        def _init_mem(self):
            self.register_buffer("mem", torch.zeros(0), False)

        def reset_mem(self):
            self.mem = torch.zeros_like(self.mem)
            return self.mem

        def _base_state_function(self, input_):
            return self.beta * self.mem + input_

        def _base_sub(self, input_):
            return self._base_state_function(input_) - self.reset * self.threshold

        def forward(self, input_, mem=None):
            if mem is not None:
                self.mem = mem
            if self.mem.shape != input_.shape:
                self.mem = torch.zeros_like(input_)
            self.reset = self.mem_reset(self.mem)
            self.mem = self.state_function(input_)
            return self.fire(self.mem), self.mem

    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)) + 1
    assert_equal(loop(Own(0.5), x, torch.zeros(4)), loop(snn.Leaky(0.5), x, torch.zeros(4)))
    assert_equal(snn.unroll(Own(0.5), x, torch.zeros(4)), loop(snn.Leaky(0.5), x, torch.zeros(4)))


def test_further_states_registered_as_there():
    class Traced(snn.Leaky):
        def _init_mem(self):
            self.register_buffer("mem", torch.zeros(0), False)
            self.register_buffer("trace", torch.zeros(3), False)

        def fire(self, mem):
            spk = super().fire(mem)
            self.trace = self.trace + spk
            return spk

    neuron = Traced(1.0, init_hidden=True)
    assert set(neuron.state_dict()) == set(snn.Leaky(1.0).state_dict())
    neuron(torch.full((3,), 2.0))
    assert neuron.mem.tolist() == [2, 2, 2] and neuron.trace.tolist() == [1, 1, 1]


def test_of_neurons_over_sequences_what_they_call():
    class Doubled(snn.StateLeaky):
        def fire(self, mem):
            return 2 * super().fire(mem)

    x = torch.rand(4, 2, 3) * 2
    spk, mem = Doubled(0.5, 3)(x)
    assert_equal((spk / 2, mem), snn.StateLeaky(0.5, 3)(x))
    assert set(spk.unique().tolist()) == {0, 2}


def _fire(self, mem):
    return mem


class Stepping(snn.SpikingNeuron):
    states = ("mem",)

    @staticmethod
    def step(x, mem, *, threshold, spike):
        return spike(mem + x - threshold), mem + x


@pytest.mark.parametrize(
    ("cls", "name", "why"),
    [
        (snn.DeltaLeaky, "fire", "DeltaLeaky does not call that"),
        (snn.StateLeaky, "mem_reset", "StateLeaky does not call that"),
        (snn.Synaptic, "_base_state_reset_zero", "Synaptic does not call that"),
        (Stepping, "fire", "its own step runs"),
    ],
)
def test_what_nothing_would_call_is_refused_when_the_class_is_made(cls, name, why):
    with pytest.raises(TypeError, match=f"Sub overrides {name} in vain: {why}"):
        type("Sub", (cls,), {name: _fire})
    type("Sub", (cls,), {name: _fire, "forward": _fire})  # which may call it
