"""A subclass that changes one piece of a neuron, its step taking the other arguments as `**rest`."""

import copy
import pickle

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import assert_equal, loop
from snntorch import surrogate

T, B, N = 20, 3, 4


class Slower(snn.Leaky):
    @staticmethod
    def step(x, mem, *, beta, **rest):
        return snn.Leaky.step(x, mem, beta=(1 + beta) / 2, **rest)


class Rectified(snn.Leaky):
    @staticmethod
    def step(x, mem, **rest):
        return snn.Leaky.step(torch.relu(x), mem, **rest)


class Cautious(snn.Leaky):
    @staticmethod
    def step(x, mem, *, spike, **rest):
        return snn.Leaky.step(x, mem, spike=lambda above: spike(above - 0.5), **rest)


class Rebounding(snn.Leaky):
    @staticmethod
    def step(x, mem, *, reset_mechanism, **rest):
        spk, mem = snn.Leaky.step(x, mem, reset_mechanism="none", **rest)
        return spk, torch.where(spk > 0, -0.5, mem)


def by_hand(kind, x):
    """Spikes and membrane potentials of a neuron with a decay of 0.8 and a threshold of 1."""
    decay, height = (0.9, 1.0) if kind is Slower else (0.8, 1.5 if kind is Cautious else 1.0)
    spike, mem, fired, out = surrogate.atan(), torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for now in x:
        now = torch.relu(now) if kind is Rectified else now
        mem = decay * mem + now - (0 if kind is Rebounding else fired)
        spk = spike(mem - height)
        mem = torch.where(spk > 0, -0.5, mem) if kind is Rebounding else mem
        fired = spk.detach()
        out.append((spk, mem))
    return tuple(map(torch.stack, zip(*out, strict=True)))


def drawn(scale=1.0):
    return (scale * (torch.randn(T, B, N, dtype=torch.float64) + 0.3)).requires_grad_()


@pytest.mark.parametrize("kind", [Slower, Rectified, Cautious, Rebounding])
def test_one_piece_of_a_leaky_neuron_fuses_and_is_what_is_written_by_hand(kind):
    x, neuron = drawn(), kind(torch.tensor(0.8, dtype=torch.float64)).double()
    with snn.backend("fused"):
        found = snn.unroll(neuron, x, *[neuron.reset_mem()])
    expected = by_hand(kind, x)
    assert torch.equal(found[0], expected[0])
    assert 0 < found[0].mean() < 1
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-12)
    weights = torch.linspace(-1, 1.5, x.numel(), dtype=torch.float64).view_as(x)
    grads = [torch.autograd.grad(((spk + mem) * weights).sum(), x)[0] for spk, mem in (found, expected)]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-10)
    neuron.reset_mem()
    assert torch.equal(loop(neuron, x, neuron.reset_mem())[0], expected[0])  # single steps


class Learnt(Slower):
    """A parameter more, and a step that overrides one with `**rest` itself."""

    def __init__(self, beta, gain, **kwargs):
        super().__init__(beta, **kwargs)
        self.register_value("gain", gain, learn=True)

    @staticmethod
    def step(x, mem, *, gain, **rest):
        return Slower.step(gain * x, mem, **rest)


def halved(base):
    """A neuron, whatever its states, that takes half of its input."""

    def step(x, *states, **rest):
        return base.step(0.5 * x, *states, **rest)

    return type(f"Halved{base.__name__}", (base,), {"step": staticmethod(step)})


def test_a_piece_of_a_piece_and_a_parameter_more():
    x = drawn()
    neuron = Learnt(0.8, torch.full((N,), 1.5), init_hidden=True, output=True, learn_beta=True).double()
    with snn.backend("fused"):
        spk, mem = snn.unroll(neuron, x)
    expected = by_hand(Slower, 1.5 * x)
    assert torch.equal(spk, expected[0])
    mem.sum().backward()
    assert neuron.gain.grad.shape == (N,)
    assert neuron.beta.grad.abs() > 0
    state = neuron.state_dict()
    assert {"gain", "beta"} <= state.keys()
    for copied in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        snn.utils.reset(copied)
        assert torch.equal(snn.unroll(copied, x)[0], spk)


@pytest.mark.parametrize(
    ("base", "make", "scale"),
    [
        (snn.Synaptic, lambda cls: cls(0.7, 0.8), 1.0),
        (snn.ALIF, lambda cls: cls(0.8, 0.9), 1.0),
        (snn.Izhikevich, lambda cls: cls(), 60.0),
        (snn.RLeaky, lambda cls: cls(0.8, linear_features=N), 1.0),
    ],
)
def test_every_kind_of_neuron_changes_in_one_piece(base, make, scale):
    torch.manual_seed(1)
    changed = make(halved(base)).double()
    plain = make(base).double()
    plain.load_state_dict(changed.state_dict())
    for neuron in (changed, plain):
        neuron.init_hidden = neuron.output = True
    x = drawn(2 * scale)
    if base is snn.RLeaky:
        plain.recurrent.weight.data *= 0.5  # its spikes come with the input
        plain.recurrent.bias.data *= 0.5
    spk = snn.unroll(changed, x)[0]
    assert_equal(spk, snn.unroll(plain, 0.5 * x)[0])
    assert spk.any()


def test_a_changed_neuron_takes_a_refractory_period():
    x = drawn(2.0)
    neuron = snn.refractory(Rebounding(0.8, init_hidden=True).double(), steps=2)
    with snn.backend("fused"):
        spk = snn.unroll(neuron, x)
    assert spk.sum() > B * N
    assert max(snn.spikegen.to_events(spk.unfold(0, 3, 1).sum(-1)).value) == 1
    with pytest.raises(TypeError, match="resets late, by what a spike function that is no step"):
        snn.refractory(Slower(0.8, spike_grad=nn.Sigmoid()), steps=2)


def test_a_mixin_changes_the_neuron_behind_it():
    class Half:
        @staticmethod
        def step(x, mem, **rest):
            return snn.Leaky.step(0.5 * x, mem, **rest)

    class Both(Half, snn.Leaky):
        pass

    x = drawn(2.0)
    assert torch.equal(snn.unroll(Both(0.8, init_hidden=True).double(), x), by_hand(snn.Leaky, 0.5 * x)[0])
