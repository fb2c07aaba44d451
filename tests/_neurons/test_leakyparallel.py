"""LeakyParallel against its recurrence and torch's RNN."""

import pytest
import torch
from torch import nn

import snntorch as snn

F64 = torch.float64


@pytest.mark.parametrize("beta", [0.7, torch.tensor([0.1, 0.5, 0.9])])
@pytest.mark.parametrize("bias", [True, False])
def test_the_recurrence(beta, bias):
    """h = relu(W x + b + beta h), spikes where h exceeds the threshold, times the graded factor."""
    layer = snn.LeakyParallel(4, 3, beta=beta, bias=bias, threshold=0.5, graded_spikes_factor=2.0).double()
    x = torch.randn(10, 2, 4, dtype=F64)
    rnn, h = layer.rnn, torch.zeros(2, 3, dtype=F64)
    b = rnn.bias_ih_l0 + rnn.bias_hh_l0 if bias else 0
    spk = layer(x)
    for t in range(10):
        h = torch.relu(x[t] @ rnn.weight_ih_l0.T + b + layer.beta * h)
        assert torch.equal(spk[t], 2 * (h > 0.5).double())
    assert spk.any() and not spk.all()


def test_all_to_all_weights_are_torch_s_rnn():
    layer = snn.LeakyParallel(4, 3, weight_hh_enable=True, threshold=0.3)
    rnn = nn.RNN(4, 3, nonlinearity="relu")
    rnn.load_state_dict(layer.rnn.state_dict())
    x = torch.randn(10, 2, 4)
    assert torch.equal(layer(x), (rnn(x)[0] > 0.3).float())
    hidden = layer.rnn.weight_hh_l0
    assert not torch.equal(hidden, hidden.diag().diag())


def test_one_sample_without_a_batch():
    layer, x = snn.LeakyParallel(3, 4, beta=0.9, threshold=0.1), 4 * torch.randn(20, 2, 3)
    assert torch.equal(layer(x[:, 0]), layer(x)[:, 0]) and layer(x[:, 0]).any()


def test_hidden_weights_are_diagonal_and_stay_so():
    """Without beta they are random; training moves the diagonal alone."""
    layer = snn.LeakyParallel(4, 3, learn_beta=True)
    assert "beta" not in layer.state_dict()
    before = layer.rnn.weight_hh_l0.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    layer(torch.rand(10, 2, 4)).sum().backward()
    optimizer.step()
    after = layer.rnn.weight_hh_l0.detach()
    assert torch.equal(after, after.diag().diag()) and torch.equal(before, before.diag().diag())
    assert not torch.equal(after, before)


def test_beta_is_on_the_diagonal_and_frozen_unless_learnt():
    layer = snn.LeakyParallel(4, 3, beta=0.7)
    assert torch.equal(layer.rnn.weight_hh_l0, 0.7 * torch.eye(3)) and not layer.rnn.weight_hh_l0.requires_grad
    assert layer.rnn.weight_ih_l0.requires_grad
    assert snn.LeakyParallel(4, 3, beta=0.7, learn_beta=True).rnn.weight_hh_l0.requires_grad


def test_dropout_drops_in_training_only():
    torch.manual_seed(0)
    layer = snn.LeakyParallel(1, 1000, beta=0.0, bias=False, dropout=0.3, threshold=0.0)
    nn.init.ones_(layer.rnn.weight_ih_l0)
    x = torch.ones(20, 1, 1)
    rate = float(layer(x).detach().mean())
    assert abs(rate - 0.7) < 5 * (0.3 * 0.7 / 20000) ** 0.5  # 5 standard errors of a binomial share
    assert layer.eval()(x).all()


def test_it_is_made_on_a_device_and_in_a_dtype():
    layer = snn.LeakyParallel(4, 3, beta=0.7, device="meta", dtype=F64)
    assert {t.device.type for t in layer.state_dict().values()} == {"meta"}
    assert layer.rnn.weight_hh_l0.dtype == F64
    assert layer(torch.rand(5, 2, 4, dtype=F64, device="meta")).shape == (5, 2, 3)
    assert snn.LeakyParallel(4, 3, dtype=F64)(torch.rand(5, 2, 4, dtype=F64)).dtype == F64


def test_nan_beta_is_named():
    with pytest.raises(ValueError, match="beta must not be NaN"):
        snn.LeakyParallel(4, 3, beta=float("nan"))
