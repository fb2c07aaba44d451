"""The layers that NIR has beside snnTorch's neurons: Delay, Feedback, integrators, Scale, Threshold."""

import copy
import pickle

import pytest
import torch

import snntorch as snn
from snntorch import surrogate, utils
from snntorch._layers.delay import Delay
from snntorch._layers.feedback import Feedback
from snntorch._layers.integrator import LeakyIntegrator, SynapticIntegrator
from snntorch._layers.scale import Scale
from snntorch._layers.threshold import Threshold

MEMORIES = [
    lambda **kw: Delay(torch.tensor([0, 1, 3]), **kw),
    lambda **kw: LeakyIntegrator(torch.tensor([0.2, 0.9, 1.0]), gain=2.0, rest=-0.5, **kw),
    lambda **kw: SynapticIntegrator(0.5, torch.tensor([0.2, 0.9, 1.0]), gain=2.0, rest=-0.5, **kw),
]


@pytest.mark.parametrize("layer", MEMORIES)
def test_unroll_is_the_loop_and_state_is_stored_passed_and_reset(layer):
    x = torch.randn(12, 4, 3, dtype=torch.float64)
    outputs, *states = snn.unroll(layer(), x)
    explicit, state = layer(), ()
    keeping = layer(init_hidden=True)
    for t, x_t in enumerate(x):
        out, *state = explicit(x_t, *state)
        torch.testing.assert_close(out, outputs[t])
        torch.testing.assert_close(state, [s[t] for s in states])
        torch.testing.assert_close(keeping(x_t), outputs[t])
    assert outputs.dtype == torch.float64
    for other in (copy.deepcopy(keeping), pickle.loads(pickle.dumps(keeping))):
        torch.testing.assert_close(other(x[0]), copy.deepcopy(keeping)(x[0]))
    utils.reset(keeping)
    torch.testing.assert_close(snn.unroll(keeping, x), outputs)
    fresh = layer()
    fresh.load_state_dict(explicit.state_dict())


@pytest.mark.parametrize("layer", MEMORIES)
def test_memories_are_differentiable(layer):
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: snn.unroll(layer(), x)[0], (x,))


@pytest.mark.parametrize("steps", [0, 1, 4, 9])
def test_delay_shifts_in_time(steps):
    x = torch.randn(7, 2, 3)
    y, _ = snn.unroll(Delay(steps), x)
    assert torch.equal(y[steps:], x[: max(7 - steps, 0)]) and not y[:steps].any()


def test_delay_by_neuron_of_any_shape():
    steps = torch.tensor([[0, 2], [1, 5]])
    x = torch.randn(8, 3, 2, 2)
    y, _ = snn.unroll(Delay(steps), x)
    for i in range(2):
        for j in range(2):
            d = int(steps[i, j])
            assert torch.equal(y[d:, :, i, j], x[: 8 - d, :, i, j]) and not y[:d, :, i, j].any()


@pytest.mark.parametrize("steps", [-1, 0.5, torch.tensor([1, -2])])
def test_delay_takes_whole_steps(steps):
    with pytest.raises(ValueError, match="steps"):
        Delay(steps)


def test_leaky_integrator_approaches_the_sum_of_a_geometric_series():
    out, mem = snn.unroll(LeakyIntegrator(0.75, gain=0.5, rest=3.0), torch.full((200, 1, 1), 2.0))
    torch.testing.assert_close(mem[-1], torch.tensor([[2 / (1 - 0.75)]]))
    torch.testing.assert_close(out, 0.5 * mem + 3)
    torch.testing.assert_close(mem[:, 0, 0], 8 * (1 - 0.75 ** torch.arange(1.0, 201)))


def test_integrator_without_leak_is_a_cumulative_sum():
    x = torch.randn(50, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(snn.unroll(LeakyIntegrator(1.0), x)[0], x.cumsum(0))


def test_synaptic_integrator_answers_a_pulse_by_a_difference_of_exponentials():
    alpha, beta = torch.tensor([0.8, 0.9], dtype=torch.float64)
    t = torch.arange(40, dtype=torch.float64)
    pulse = (t == 0).double()[:, None, None]
    out, syn, _ = snn.unroll(SynapticIntegrator(alpha, beta), pulse)
    torch.testing.assert_close(syn[:, 0, 0], alpha**t)
    torch.testing.assert_close(out[:, 0, 0], (beta ** (t + 1) - alpha ** (t + 1)) / (beta - alpha))


def test_integrators_learn_their_decay():
    layer = SynapticIntegrator(0.5, 0.5, learn_alpha=True, learn_beta=True)
    snn.unroll(layer, torch.rand(5, 2, 3))[0].sum().backward()
    assert layer.alpha.grad > 0 and layer.beta.grad > 0
    assert not list(LeakyIntegrator(0.5).parameters())


def test_threshold_spikes_above_and_not_at_it():
    x = torch.tensor([[0.5, 0.5, 0.6]], requires_grad=True)
    spk = Threshold(torch.tensor([0.5, 0.4, 0.5]), spike_grad=surrogate.fast_sigmoid(1))(x)
    assert spk.tolist() == [[0, 1, 1]]
    spk.sum().backward()
    torch.testing.assert_close(x.grad, 1 / (1 + torch.tensor([[0.0, 0.1, 0.1]])) ** 2)
    with pytest.raises(TypeError, match="spike_grad"):
        Threshold(spike_grad=surrogate.atan)


def test_scale_learns_its_factors():
    scale, x = Scale(torch.tensor([[1.0, 2.0], [3.0, 4.0]])), torch.randn(5, 2, 2)
    y = scale(x)
    torch.testing.assert_close(y, x * torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    y.sum().backward()
    torch.testing.assert_close(scale.scale.grad, x.sum(0))


def test_feedback_holds_a_value_until_it_is_reset():
    loop, x = Feedback((2, 3), input_dim=1), torch.rand(4, 5)
    assert torch.equal(loop(x), torch.zeros(4, 2, 3))
    value = torch.rand(4, 2, 3)
    assert loop(x, value) is value and torch.equal(loop(x), value)
    with pytest.warns(UserWarning, match="Feedback starts anew"):  # another batch
        assert torch.equal(loop(x[:2]), torch.zeros(2, 2, 3))
    loop(x, value)
    utils.reset(loop)
    assert torch.equal(loop(x), torch.zeros(4, 2, 3))
    assert loop(x[0]).shape == (2, 3)
