"""Parallel spiking neurons against sums over time, and what they see."""

import pickle

import pytest
import torch
from torch import nn

import snntorch as snn

F64 = torch.float64


def test_psn_is_a_matrix_product_over_time():
    x, neuron = torch.randn(6, 3, 2, 4, 4), snn.PSN(6, threshold=0.2)
    with torch.no_grad():
        neuron.threshold.copy_(torch.linspace(-0.5, 0.5, 6))
    h = torch.stack([sum(neuron.weight[t, s] * x[s] for s in range(6)) for t in range(6)])
    assert torch.equal(neuron(x), (h > neuron.threshold.view(6, 1, 1, 1, 1)).float())


def influence(neuron, steps):
    """Of every step, a column, on every other: the gradient of a smooth spike."""
    x = torch.rand(steps, 1, 1, dtype=F64)
    jacobian = torch.autograd.functional.jacobian(lambda x: neuron.double()(x), x)
    return jacobian.reshape(steps, steps) != 0


def test_masked_psn_sees_the_last_steps_alone():
    expected = torch.ones(7, 7).tril() * torch.ones(7, 7).triu(-2)
    assert torch.equal(influence(snn.MaskedPSN(7, order=3, spike_grad=torch.sigmoid), 7), expected.bool())
    half = snn.MaskedPSN(7, order=3, masking=0.5)
    torch.testing.assert_close(half.mixing(7), half.weight * (0.5 + 0.5 * expected))
    half.masking = 0.0
    torch.testing.assert_close(half.mixing(7), half.weight)


def test_sliding_psn_is_a_causal_convolution():
    x, neuron = torch.randn(9, 2, 3, dtype=F64), snn.SlidingPSN(4, threshold=0.1).double()
    assert neuron.weight.tolist() == [1, 0.5, 0.25, 0.125]
    padded = torch.cat((torch.zeros(3, 2, 3, dtype=F64), x)).movedim(0, -1).reshape(6, 1, 12)
    h = nn.functional.conv1d(padded, neuron.weight.flip(0).view(1, 1, 4)).view(2, 3, 9).movedim(-1, 0)
    assert torch.equal(neuron(x), (h > neuron.threshold).double())
    assert torch.equal(neuron(x[:2]), neuron(x)[:2])  # any number of steps, and causal


def test_sliding_psn_with_its_first_weights_is_a_leaky_neuron_without_reset():
    """A long order of `0.5 ** k` is the decay 0.5."""
    x = torch.randn(30, 2, 3, dtype=F64)
    spk, _ = snn.unroll(snn.Leaky(0.5, reset_mechanism="none").double(), x)
    assert torch.equal(snn.SlidingPSN(30).double()(x), spk)


@pytest.mark.parametrize("neuron", [snn.PSN(5), snn.MaskedPSN(5, 2), snn.SlidingPSN(2)], ids=lambda n: type(n).__name__)
def test_they_train_pickle_and_run_in_half_precision(neuron):
    x = torch.randn(5, 2, 3)
    neuron(x).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in neuron.parameters())
    assert torch.equal(pickle.loads(pickle.dumps(neuron))(x), neuron(x))
    assert neuron(x.bfloat16()).dtype == torch.bfloat16
    assert torch.equal(snn.unroll(neuron, x), neuron(x))


def test_sliding_psn_draws_nothing():
    before = torch.get_rng_state()
    snn.SlidingPSN(30)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_they_refuse():
    for neuron in (snn.PSN(5), snn.MaskedPSN(5, 2)):
        for shape in ((4, 2), (5,)):
            with pytest.raises(ValueError, match=r"input_ must be \[5, B, ...\], got shape"):
                neuron(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"input_ must be \[T, B, ...\], got shape \(5,\)"):
        snn.SlidingPSN(2)(torch.zeros(5))
    for order in (0, 1.5):
        with pytest.raises(ValueError, match="order must be a positive int"):
            snn.SlidingPSN(order)
        with pytest.raises(ValueError, match="order must be a positive int"):
            snn.MaskedPSN(4, order)
    with pytest.raises(ValueError, match=r"masking must lie in \[0, 1\], got 2"):
        snn.MaskedPSN(4, 2, masking=2)(torch.zeros(4, 1))
