"""TwoCompartment against the powers of its matrix."""

import torch

import snntorch as snn
from helpers import assert_equal

F64 = torch.float64


def test_impulse_response_is_a_power_of_its_matrix():
    """d = p d + q m + x, m = b m + s d (of the new d): M = [[p, q], [s p, b + s q]]."""
    p, q, b, s = 0.9, -0.3, 0.8, 0.4
    numbers = [torch.tensor(v, dtype=F64) for v in (s, q, 0.5, b, p)]
    x = torch.zeros(30, 1, 1, dtype=F64)
    x[0] = 1
    _, dendrite, mem = snn.unroll(snn.TwoCompartment(*numbers, threshold=1e9).double(), x)
    matrix = torch.tensor([[p, q], [s * p, b + s * q]], dtype=F64)
    state = torch.tensor([1.0, s], dtype=F64)
    expected = []
    for _ in range(30):
        expected.append(state)
        state = matrix @ state
    torch.testing.assert_close(torch.stack((dendrite.flatten(), mem.flatten()), 1), torch.stack(expected))


def test_a_spike_resets_both_compartments():
    spk, dendrite, mem = snn.TwoCompartment(to_soma=1.0, feedback=0.25, threshold=0.5)(torch.ones(1, 1))
    assert (spk.item(), dendrite.item(), mem.item()) == (1, 0.75, 0.5)


def test_without_a_way_back_the_dendrite_is_a_synapse():
    x = torch.randn(40, 2, 3, dtype=F64) + 0.3
    neuron = snn.TwoCompartment(1.0, 0.0, 0.0, beta=0.8, beta_dendrite=0.6).double()
    synaptic = snn.Synaptic(alpha=0.6, beta=0.8, reset_delay=False).double()
    assert_equal(snn.unroll(neuron, x), snn.unroll(synaptic, x))
