"""SigmaDelta: change by change what a network of activations computes."""

import pytest
import torch
from torch import nn

import snntorch as snn

F64 = torch.float64


def changes(signal):
    return torch.diff(signal, dim=0, prepend=torch.zeros_like(signal[:1]))


@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_what_was_sent_follows_the_activation(rectify, threshold):
    signal = torch.randn(60, 2, 5, dtype=F64).cumsum(0)
    spk, sigma, sent = snn.unroll(snn.SigmaDelta(threshold, rectify).double(), changes(signal))
    torch.testing.assert_close(sigma, signal)
    torch.testing.assert_close(spk.cumsum(0), sent)
    activation = signal.relu() if rectify else signal
    assert ((activation - sent).abs() <= threshold + 1e-9).all()
    assert threshold == 0 or 0.1 < (spk == 0).double().mean()


def test_a_network_equals_its_relu_network():
    first, second = (nn.Linear(4, 8, bias=False).double(), nn.Linear(8, 3, bias=False).double())
    signal = torch.randn(20, 2, 4, dtype=F64)
    neurons = [snn.SigmaDelta(0.0, init_hidden=True).double() for _ in range(2)]
    net = nn.Sequential(first, neurons[0], second, neurons[1])
    torch.testing.assert_close(snn.unroll(net, changes(signal)).cumsum(0), second(first(signal).relu()).relu())


def test_a_constant_signal_costs_nothing():
    signal = torch.ones(20, 1, 3)
    spk, *_ = snn.unroll(snn.SigmaDelta(0.1), changes(signal))
    assert spk[0].all() and not spk[1:].any()


def test_what_it_refuses():
    with pytest.raises(ValueError, match="reset_mechanism must be none, as SigmaDelta has no reset, got 'zero'"):
        snn.SigmaDelta(reset_mechanism="zero")
    with pytest.raises(ValueError, match="threshold must not be negative, got -1"):
        snn.SigmaDelta(-1)
