"""SConv2dLSTM against its equations, and against SLSTM on one pixel."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

import snntorch as snn
from helpers import loop

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


def test_both_poolings_are_an_error():
    with pytest.raises(ValueError, match="max_pool or avg_pool, not both; got 2 and 3"):
        snn.SConv2dLSTM(2, 3, 3, max_pool=2, avg_pool=3)


@pytest.mark.parametrize("size", [1, 2, 3, 4, (2, 5)])
def test_every_kernel_size_keeps_the_shape(size):
    neuron = snn.SConv2dLSTM(2, 3, size, bias=False)
    assert neuron(torch.rand(1, 2, 6, 7))[2].shape == (1, 3, 6, 7)
    assert [n for n, _ in neuron.named_parameters()] == ["conv.weight"]
    assert neuron.reset_mechanism == "none"
