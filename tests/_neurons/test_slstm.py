"""SLSTM against torch's LSTM cell."""

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import loop


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [4, 7])
def test_without_reset_it_is_torch_s_cell(hidden, bias):
    """Also where hidden_size is not input_size: the states persist from step to step."""
    neuron = snn.SLSTM(4, hidden, bias=bias, threshold=0.1).double()
    x = torch.randn(10, 3, 4, dtype=torch.float64)
    h = c = torch.zeros(3, hidden, dtype=torch.float64)
    spk, syn, mem = loop(neuron, x)
    for t in range(10):
        h, c = neuron.lstm_cell(x[t], (h, c))
        torch.testing.assert_close((mem[t], syn[t]), (h, c))
        assert torch.equal(spk[t], (h > 0.1).double())
    assert isinstance(neuron.lstm_cell, nn.LSTMCell) and neuron.mem.shape == (3, hidden)


@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_resets_change_the_potential_and_keep_the_current(mechanism):
    neuron = snn.SLSTM(4, 3, threshold=0.1, reset_mechanism=mechanism).double()
    x = torch.randn(2, 4, dtype=torch.float64)
    syn, mem = torch.randn(2, 2, 3, dtype=torch.float64)
    h, c = neuron.lstm_cell(x, (mem, syn))
    r = (mem > 0.1).double()
    assert r.any() and not r.all()
    _, new_syn, new_mem = neuron(x, syn, mem)
    expected = {"subtract": h - r * neuron.threshold, "zero": h * (1 - r), "none": h}[mechanism]
    torch.testing.assert_close((new_syn, new_mem), (c, expected))


def test_no_reset_is_the_default_and_keys_are_the_cell_s():
    neuron = snn.SLSTM(4, 3)
    assert neuron.reset_mechanism == "none"
    assert {f"lstm_cell.{n}" for n, _ in nn.LSTMCell(4, 3).named_parameters()} == {
        n for n, _ in neuron.named_parameters()
    }
