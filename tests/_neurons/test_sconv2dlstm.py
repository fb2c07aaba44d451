"""SConv2dLSTM against its equations, and against SLSTM on one pixel."""

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

import snntorch as snn
from helpers import assert_equal, gradients, loop
from snntorch._time.explain import paths

F64 = torch.float64


@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_one_step_by_its_equations(mechanism):
    neuron = snn.SConv2dLSTM(2, 3, (3, 5), threshold=0.05, reset_mechanism=mechanism).double()
    x = torch.randn(2, 2, 6, 7, dtype=F64)
    syn, mem = 0.3 * torch.randn(2, 2, 3, 6, 7, dtype=F64)
    gates = conv2d(torch.cat((x, mem), 1), neuron.conv.weight, neuron.conv.bias, padding=(1, 2))
    i, f, o, g = gates.split(3, dim=1)
    c = f.sigmoid() * syn + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    r = (mem > 0.05).double()
    expected = {"subtract": h - r * neuron.threshold, "zero": h * (1 - r), "none": h}[mechanism]
    spk, new_syn, new_mem = neuron(x, syn, mem)
    torch.testing.assert_close((new_syn, new_mem), (c, expected))
    assert torch.equal(spk, (expected > neuron.threshold).double()) and spk.any()


def test_on_one_pixel_it_is_slstm():
    """Gates are i, f, o, g here, i, f, g, o in torch's cell."""
    image, cell = snn.SConv2dLSTM(4, 3, 1, threshold=0.1).double(), snn.SLSTM(4, 3, threshold=0.1).double()
    order = torch.cat([torch.arange(3) + 3 * k for k in (0, 1, 3, 2)])
    with torch.no_grad():
        weights = torch.cat((cell.lstm_cell.weight_ih, cell.lstm_cell.weight_hh), 1)[order]
        image.conv.weight.copy_(weights[..., None, None])
        image.conv.bias.copy_((cell.lstm_cell.bias_ih + cell.lstm_cell.bias_hh)[order])
    x = torch.randn(8, 2, 4, dtype=F64)
    found = [out.flatten(2) for out in loop(image, x[..., None, None])]
    torch.testing.assert_close(found, list(loop(cell, x)))


@pytest.mark.parametrize(("option", "pool"), [("max_pool", max_pool2d), ("avg_pool", avg_pool2d)])
@pytest.mark.parametrize("size", [2, (2, 3)])
def test_the_spike_is_of_the_pooled_potential(option, pool, size):
    neuron = snn.SConv2dLSTM(2, 3, 3, threshold=0.02, **{option: size})
    spk, syn, mem = loop(neuron, torch.randn(5, 2, 2, 6, 6))
    assert syn.shape == mem.shape == (5, 2, 3, 6, 6)
    for t in range(5):
        assert torch.equal(spk[t], (pool(mem[t], size) > neuron.threshold).float())
    assert spk.any() and not spk.all()


def sequence(steps=4, height=6):
    return torch.randn(steps, 3, 2, height, 7, dtype=F64).requires_grad_()


def as_the_loop(neuron, x, *states):
    """Spikes, states and gradients over time are the loop's."""
    with snn.backend("eager"):
        expected = loop(neuron, x, *states)
    found = snn.unroll(neuron, x, *states)
    assert 0 < expected[0].mean() < 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    derived = (gradients(out, x, neuron, *states) for out in (found, expected))
    torch.testing.assert_close(*derived, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        assert_equal(snn.unroll(neuron, x, *states), found)


SIGMOID, CHANNELS = lambda x: torch.sigmoid(9 * x), torch.tensor([-0.05, 0.1, 0.05]).view(3, 1, 1)
POOLED = {
    "max": {"max_pool": 2},
    "average, subtract": {"avg_pool": (3, 2), "reset_mechanism": "subtract", "learn_threshold": True},
    "a threshold for each channel": {"max_pool": (1, 2), "threshold": CHANNELS, "reset_mechanism": "zero"},
    "a threshold for each sample": {"avg_pool": 2, "threshold": CHANNELS[..., None]},
    "a surrogate of one's own": {"avg_pool": 2, "spike_grad": SIGMOID, "reset_mechanism": "subtract"},
    "nothing is pooled": {"max_pool": 1, "spike_grad": SIGMOID, "reset_mechanism": "zero"},
}


@pytest.mark.parametrize("options", POOLED.values(), ids=POOLED)
def test_pooled_over_time_in_one_go(options):
    neuron = snn.SConv2dLSTM(2, 3, 3, **{"threshold": 0.05, **options}).double()
    neuron.graded_spikes_factor = nn.Parameter(torch.tensor(0.7, dtype=F64))
    for steps in (4, 1):
        x = sequence(steps)
        states = 0.3 * torch.randn(2, 3, 3, 6, 7, dtype=F64)
        as_the_loop(neuron, x, *(state.requires_grad_() for state in states))
        with snn.backend("auto"):
            assert [path.path for path in paths(neuron, x, *states)] == ["fused cpu"]


@pytest.mark.parametrize("steps", [[4, 1, 3], [1, 2, 1]])
def test_pooled_of_different_lengths(steps):
    """Each sample as it is alone, in states as well."""
    neuron = snn.SConv2dLSTM(2, 3, 3, threshold=0.05, max_pool=2, init_hidden=True, output=True).double()
    x = sequence()
    found, mem = snn.unroll(neuron, x, lengths=torch.tensor(steps)), neuron.mem
    for b, last in enumerate(steps):
        neuron.reset_mem()
        alone = snn.unroll(neuron, x[:last, b : b + 1])
        torch.testing.assert_close([out[:last, b : b + 1] for out in found], list(alone), rtol=0, atol=1e-12)
        torch.testing.assert_close(mem[b], neuron.mem[0], rtol=0, atol=1e-12)
        assert alone[0].any() and not found[0][last:, b].any()


def drawn(x):
    return (x > 0.1 * torch.rand_like(x)).to(x)


class OtherPool(snn.SConv2dLSTM):
    """Pools otherwise, by something that is not known to take every image by itself."""

    pool = property(lambda self: lambda mem: mem.flatten(2).cummax(-1)[0].mean(0, keepdim=True))


class OtherStep(snn.SConv2dLSTM):
    """Gives other spikes than those of the potential that it returns."""

    @staticmethod
    def step(*driven_and_states, **rest):
        spk, syn, mem = snn.SConv2dLSTM.step(*driven_and_states, **rest)
        return 1 - spk, syn, mem


@pytest.mark.parametrize("neuron", [
    OtherPool(2, 3, 3, threshold=0.1), OtherStep(2, 3, 3, threshold=0.05, max_pool=2),
    snn.SConv2dLSTM(2, 3, 3, threshold=0.05, max_pool=2, spike_grad=drawn),
], ids=["another pooling", "another step", "chance"])  # fmt: skip
def test_what_may_not_be_pooled_in_one_go_steps(neuron):
    neuron.double()
    x, results = sequence(), []
    for call in (loop, snn.unroll):
        torch.manual_seed(0)
        results.append(call(neuron, x, torch.zeros(0), torch.zeros(0)))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    with snn.backend("auto"):
        assert [path.path for path in paths(neuron, x, *[torch.zeros(0)] * 2)] == ["stepped"]


def test_both_poolings_are_an_error():
    with pytest.raises(ValueError, match="max_pool or avg_pool, not both; got 2 and 3"):
        snn.SConv2dLSTM(2, 3, 3, max_pool=2, avg_pool=3)


@pytest.mark.parametrize("size", [1, 2, 3, 4, (2, 5)])
def test_every_kernel_size_keeps_the_shape(size):
    neuron = snn.SConv2dLSTM(2, 3, size, bias=False)
    assert neuron(torch.rand(1, 2, 6, 7))[2].shape == (1, 3, 6, 7)
    assert [n for n, _ in neuron.named_parameters()] == ["conv.weight"]
    assert neuron.reset_mechanism == "none"
