"""The reset follows the spike, whatever makes it, within the step where asked for; decays train at their bounds."""

import copy

import pytest
import torch

import snntorch as snn
from helpers import assert_equal, loop
from snntorch import surrogate

F64 = torch.float64
DELAYED = {
    "Leaky": lambda **kw: snn.Leaky(1.0, **kw),
    "Synaptic": lambda **kw: snn.Synaptic(0.0, 1.0, **kw),
    "RLeaky": lambda **kw: snn.RLeaky(1.0, V=0.0, all_to_all=False, **kw),
    "RSynaptic": lambda **kw: snn.RSynaptic(0.0, 1.0, V=0.0, all_to_all=False, **kw),
}


def at_least(x):
    return (x >= 0).to(x.dtype)


def band(x):
    return (x.abs() <= 0.25).to(x.dtype)


def in_place(x):
    """Nothing that the engine traces."""
    spk = torch.zeros_like(x)
    spk[x >= 0] = 1
    return spk


def chance(x):
    return torch.bernoulli(torch.sigmoid(4 * x))


class AtLeast(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad


@pytest.fixture(params=["auto", "eager"])
def backend(request):
    with snn.backend(request.param):
        yield


OWN = [at_least, in_place, AtLeast.apply]


@pytest.mark.parametrize("spike", OWN, ids=["traced", "opaque", "Function"])
@pytest.mark.parametrize("run", [loop, snn.unroll], ids=["loop", "unroll"])
def test_a_spike_at_the_threshold_resets(spike, run, backend):
    """beta 1, input 1/2, threshold 1: the potential is 1/2, 1, and the reset takes the 1 back to 1/2, for ever."""
    lif = snn.Leaky(1.0, spike_grad=spike, init_hidden=True, output=True)
    spk, mem = run(lif, torch.full((6, 1, 1), 0.5))
    assert spk.flatten().tolist() == [0, 1, 0, 1, 0, 1]
    assert mem.flatten().tolist() == [0.5, 1] * 3


@pytest.mark.parametrize("spike", [at_least, band, in_place])
@pytest.mark.parametrize("mechanism", ["subtract", "zero"])
@pytest.mark.parametrize("make", DELAYED.values(), ids=list(DELAYED))
def test_the_next_step_resets_those_that_spiked(make, mechanism, spike, backend):
    neuron = make(spike_grad=spike, reset_mechanism=mechanism)
    x = torch.randint(-3, 6, (30, 4, 5), generator=torch.Generator().manual_seed(0)) / 4
    spk, *_, mem = loop(neuron, x, *neuron_states(neuron))
    for t in range(1, 30):
        if mechanism == "subtract":
            expected = mem[t - 1] + x[t] - spk[t - 1]
        elif type(neuron) is snn.Leaky:
            expected = mem[t - 1] * (1 - spk[t - 1]) + x[t]
        else:
            expected = (mem[t - 1] + x[t]) * (1 - spk[t - 1])
        assert_equal(mem[t], expected)
    assert 0 < spk.mean() < 1
    assert_equal(snn.unroll(copy.deepcopy(neuron), x, *neuron_states(neuron))[0], spk)


def neuron_states(neuron):
    return tuple(torch.zeros(4, 5) for _ in neuron.states)


@pytest.mark.parametrize("run", [loop, snn.unroll], ids=["loop", "unroll"])
@pytest.mark.parametrize("hidden", [True, False])
def test_chance_resets_what_it_emitted(run, hidden, backend):
    """From the first step on; also between two calls, through detached states."""
    lif = snn.Leaky(1.0, spike_grad=chance, init_hidden=hidden, output=True)
    x = torch.rand(20, 64)
    state = () if hidden else (torch.zeros(64),)
    spks, mems = [], []
    for part in x.split(5):
        spk, mem = run(lif, part, *state)
        if hidden:
            lif.detach_mem()
        else:
            state = (mem[-1].detach() if run is snn.unroll else lif.mem.detach(),)
        spks.append(spk)
        mems.append(mem)
    if run is snn.unroll and not hidden:  # a row of the course is another tensor than what the neuron returned
        spks, mems, x = spks[:1], mems[:1], x[:5]
    spk, mem = torch.cat(spks), torch.cat(mems)
    assert 0.1 < spk.mean() < 0.9
    torch.testing.assert_close(mem, x.cumsum(0) - spk.cumsum(0) + spk)


def test_two_streams_through_one_neuron_of_chance_do_not_mix():
    lif = snn.Leaky(1.0, spike_grad=chance)
    a, b = torch.zeros(64), torch.zeros(64)
    for _ in range(3):
        before = a
        _, a = lif(torch.ones(64), a)
        _, b = lif(torch.ones(64), b)
    assert not torch.equal(before, a)


def test_a_potential_written_in_place_is_another_one():
    lif = snn.Leaky(1.0, spike_grad=in_place)
    spk, mem = lif(torch.ones(3))
    assert spk.tolist() == [1, 1, 1]
    mem[1:] = 0
    assert lif(torch.zeros(3), mem)[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "spike",
    [
        surrogate.atan(),
        surrogate.ATan.apply,
        surrogate.learnable_width(surrogate.atan(), 0.5),
        surrogate.custom_surrogate(lambda x, grad, spk: grad),
    ],
    ids=["surrogate", "class", "LearnableWidth", "custom_surrogate"],
)
def test_surrogates_reset_what_is_above_the_threshold(spike):
    """A potential of exactly 1 neither spikes nor is reset."""
    spk, mem = loop(snn.Leaky(1.0, spike_grad=spike), torch.full((4, 1, 1), 0.5), torch.zeros(1, 1))
    assert spk.flatten().tolist() == [0, 0, 1, 0]
    assert mem.flatten().tolist() == [0.5, 1, 1.5, 1]


# -- within the step


@pytest.mark.parametrize("make", DELAYED.values(), ids=list(DELAYED))
@pytest.mark.parametrize("run", [loop, snn.unroll], ids=["loop", "unroll"])
def test_without_delay_a_large_input_is_taken_down_step_by_step(make, run, backend):
    neuron = make(reset_delay=False).double()
    spk, *_, mem = run(
        neuron,
        torch.tensor([2.7, 0, 0, 0], dtype=F64).view(4, 1, 1),
        *(torch.zeros(1, 1, dtype=F64) for _ in neuron.states),
    )
    assert spk.flatten().tolist() == [1, 1, 0, 0]
    torch.testing.assert_close(mem.flatten(), torch.tensor([1.7, 0.7, 0.7, 0.7], dtype=F64))


def test_without_delay_the_reset_carries_the_gradient_of_the_spike():
    """mem = m - S(m - 1) with m = x: dmem/dx = 1 - S'(x - 1), S' of a straight-through estimator 1."""
    x = torch.tensor([1.5], requires_grad=True)
    spike = surrogate.straight_through_estimator()
    _, mem = snn.Leaky(0.9, spike_grad=spike, reset_delay=False, graded_spikes_factor=3.0)(x)
    assert mem.item() == 0.5
    mem.backward()
    assert x.grad.item() == 0


# -- decays at their bounds


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize(
    "make",
    [
        lambda v: snn.Leaky(v, learn_beta=True),
        lambda v: snn.Leaky(v, learn_beta=True, reset_mechanism="zero"),
        lambda v: snn.Synaptic(0.5, v, learn_beta=True),
        lambda v: snn.Synaptic(v, 0.5, learn_alpha=True),
        lambda v: snn.RLeaky(v, learn_beta=True, all_to_all=False),
        lambda v: snn.RSynaptic(v, 0.5, learn_alpha=True, all_to_all=False),
        lambda v: snn.DeltaLeaky(beta=v, learn_beta=True, init_hidden=True, output=True),
    ],
)
def test_a_decay_trains_at_its_bounds(make, value, backend):
    """Right to 1e-6 as one further in; a gradient of 0 or half of it would be that of some version of torch's clamp."""
    grads = []
    for v in (value, abs(value - 1e-7)):
        neuron = make(torch.tensor(v, dtype=F64))
        neuron.threshold = torch.tensor(1e9, dtype=F64)
        x = torch.linspace(0.1, 0.5, 5, dtype=F64).view(5, 1, 1)
        out = snn.unroll(neuron, x)
        mem = out[-1][0] if isinstance(out[-1], tuple) else out[-1]
        grads.append(torch.autograd.grad(mem.sum(), [p for p in neuron.parameters() if p.numel()], allow_unused=True))
    for at, near in zip(*grads, strict=True):
        if near is not None:
            torch.testing.assert_close(at, near, rtol=1e-5, atol=1e-6)
    assert any(g is not None and g.abs() > 1e-3 for g in grads[0])


def test_a_decay_outside_its_bounds_gets_no_gradient(backend):
    lif = snn.Leaky(1.5, learn_beta=True, threshold=1e9)
    snn.unroll(lif, torch.ones(3, 1, 1))[1].sum().backward()
    assert lif.beta.grad.item() == 0
