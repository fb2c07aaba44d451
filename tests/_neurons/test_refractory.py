"""Refractory periods: intervals as closed forms, by hand against the neuron's own step, copies and what is refused."""

import copy
import pickle

import pytest
import torch

import snntorch as snn
from helpers import assert_equal, loop


def intervals(spk):
    return spk.flatten().nonzero().flatten().diff().unique().tolist()


@pytest.mark.parametrize("period", [0, 1, 4])
@pytest.mark.parametrize(("make", "x"), [
    (lambda: snn.Leaky(1.0, reset_mechanism="zero", init_hidden=True), 0.3),  # the fourth step is above 1
    (lambda: snn.Leaky(0.9, reset_mechanism="zero", reset_delay=False, init_hidden=True), 0.2),
    (lambda: snn.Lapicque(0.8, reset_mechanism="zero", init_hidden=True), 8.0),
    (lambda: snn.QIF(init_hidden=True), 3.0),
    (lambda: snn.EIF(init_hidden=True), 1500.0),
], ids=["late", "now", "Lapicque", "QIF", "EIF"])  # fmt: skip
def test_the_interval_between_spikes_is_that_of_the_neuron_and_the_period(make, x, period):
    drive = torch.full((1, 1), x)
    plain = intervals(snn.unroll(make(), drive, num_steps=200))
    assert len(plain) == 1
    assert intervals(snn.unroll(snn.refractory(make(), period), drive, num_steps=200)) == [plain[0] + period]


def test_step_by_step_it_is_the_neuron_s_own_step_and_a_counter():
    torch.manual_seed(0)
    plain = snn.Synaptic(0.8, 0.9, reset_mechanism="zero")
    neuron = snn.refractory(copy.deepcopy(plain), 3)
    x, waiting = torch.randn(60, 2, 5).double() + 0.3, torch.zeros(2, 5)
    state = [torch.zeros(2, 5, dtype=torch.float64)] * 2
    spk, *_, courses = snn.unroll(neuron.double(), x, *[torch.zeros(0)] * 3)
    plain.double()
    for t in range(60):
        fired, syn, mem = plain(x[t], *state)
        fired, mem = torch.where(waiting > 0, 0.0, fired), torch.where(waiting > 0, state[1], mem)
        waiting = torch.where(waiting > 0, waiting - 1, 3 * fired)
        state = [syn, mem]
        assert torch.equal(spk[t], fired) and torch.equal(courses[t], waiting.double())
    assert spk.any() and courses.max() == 3
    assert_equal((neuron.syn, neuron.mem), tuple(state))


def test_periods_of_each_neuron_and_recurrent_spikes():
    period = torch.tensor([0, 1, 2, 5])
    neuron = snn.refractory(snn.RLeaky(1.0, linear_features=4, init_hidden=True), period)
    torch.nn.init.constant_(neuron.recurrent.weight, 0.0)
    torch.nn.init.constant_(neuron.recurrent.bias, 0.0)
    spk = snn.unroll(neuron, torch.full((1, 4), 1.1), num_steps=61)[:, 0]
    assert [intervals(spk[:, k]) for k in range(4)] == [[1], [2], [3], [6]]
    assert torch.equal(neuron.spk[0], spk[-1])  # nothing feeds back while it rests


def test_gradients_are_those_of_the_loop_and_it_fuses():
    torch.manual_seed(0)
    neuron = snn.refractory(snn.ALIF(0.9, 0.8, init_hidden=True, learn_beta=True, learn_rho=True), 2).double()
    other = copy.deepcopy(neuron)
    x = torch.randn(30, 3, 4, dtype=torch.float64) + 0.5
    with snn.backend("fused"):
        found = snn.unroll(neuron, x)
    with snn.backend("eager"):
        expected = loop(other, x)
    assert torch.equal(found, expected) and found.any()
    grads = [torch.autograd.grad((out * x).sum(), n.parameters()) for n, out in ((neuron, found), (other, expected))]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-10)


class Own(snn.Leaky):
    """A user's: its step is Leaky's with another drive."""

    @staticmethod
    def step(x, mem, *, beta, threshold, spike):
        mem = beta * mem + 2 * x
        spk = spike(mem - threshold)
        return spk, mem - spk * threshold


def test_copies_checkpoints_and_bounded_decays():
    x = torch.rand(20, 2, 3)
    for make in (
        lambda: snn.Leaky(0.9, learn_beta=True, init_hidden=True),
        lambda: Own(0.9, learn_beta=True, init_hidden=True),
    ):
        first, second = snn.bounded(snn.refractory(make(), 2)), snn.refractory(snn.bounded(make()), 2)
        out = snn.unroll(first, x)
        torch.testing.assert_close(snn.unroll(second, x), out)
        assert isinstance(first, type(make())) and type(first).__name__ == type(make()).__name__
        for neuron in (first, second):
            for copied in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
                assert copied.states == ("mem", "waiting") and copied in snn.SpikingNeuron.instances
                copied.reset_mem()
                assert torch.equal(snn.unroll(copied, x), out)
        neuron = snn.refractory(snn.bounded(make()), 7)
        neuron.load_state_dict(second.state_dict())
        assert torch.equal(snn.unroll(neuron, x), out)
        first.refractory_steps.fill_(0)
        first.reset_mem()
        torch.testing.assert_close(snn.unroll(first, x), snn.unroll(snn.bounded(make()), x))


def test_what_can_t_rest_is_refused():
    for wrong in (-1, 1.5):
        with pytest.raises(ValueError, match=f"steps must be whole numbers, none of them negative, got {wrong}"):
            snn.refractory(snn.Leaky(0.9), wrong)
    for neuron in (torch.nn.ReLU(), snn.StateLeaky(0.9, 3), snn.PSN(4), snn.Delay(2), snn.SigmaDelta()):
        with pytest.raises(TypeError, match="neuron must be one of single steps, with a membrane potential"):
            snn.refractory(neuron, 1)
    with pytest.raises(TypeError, match="has a refractory period already"):
        snn.refractory(snn.refractory(snn.Leaky(0.9), 1), 1)
    with pytest.raises(TypeError, match="resets late, by what a spike function that is no step emitted"):
        snn.refractory(snn.Leaky(0.9, spike_grad=torch.sigmoid), 1)
    snn.refractory(snn.Leaky(0.9, spike_grad=torch.sigmoid, reset_delay=False), 1)
