"""Fluctuation-driven initialisation: its moments as closed forms, and what it is for, deep networks that spike."""

import pytest
import torch
from torch import nn

import snntorch as snn
from snntorch import surrogate
from snntorch.functional.init import fluctuation_driven_
from snntorch.metrics import summary

N, RATE = 400, 0.1


def moments(beta, xi, mean, share=1.0, n=N, threshold=1.0):
    """Mean and standard deviation of the weights of a leaky neuron, by the geometric series."""
    total, squares = 1 / (1 - beta), 1 / (1 - beta**2)
    mu = mean / (n * RATE * total)
    return mu, (share * ((threshold - mean) / xi) ** 2 / (n * RATE * (1 - RATE) * squares) - mu**2) ** 0.5


@pytest.mark.parametrize(("neuron", "expected"), [
    (snn.Leaky(0.9), moments(0.9, 2.0, 0.3)),
    (snn.Leaky(0.9, threshold=0.5, init_hidden=True, learn_threshold=True), moments(0.9, 2.0, 0.3, threshold=0.5)),
    (snn.RLeaky(0.7, V=0.4, all_to_all=False), moments(0.7, 2.0, 0.3)),
    (snn.Synaptic(0.0, 0.9), moments(0.9, 2.0, 0.3)),
])  # fmt: skip
def test_moments_of_the_weights(neuron, expected):
    layer = nn.Linear(N, 300)
    out = fluctuation_driven_(layer, neuron, RATE, mean=0.3, xi=2.0, generator=torch.Generator().manual_seed(0))
    mu, sigma = expected
    assert out is layer and not layer.bias.any()
    assert layer.weight.std().item() == pytest.approx(sigma, rel=0.01)
    assert layer.weight.mean().item() == pytest.approx(mu, abs=5 * sigma / (N * 300) ** 0.5)


def test_the_response_of_a_current_is_that_of_two_exponentials():
    a, b = 0.8, 0.9
    k = torch.arange(1000, dtype=torch.float64)
    response = (a ** (k + 1) - b ** (k + 1)) / (a - b)
    layer = fluctuation_driven_(torch.empty(300, N), snn.Synaptic(a, b), RATE)
    expected = (1 / (N * RATE * (1 - RATE) * response.square().sum())) ** 0.5
    assert layer.std().item() == pytest.approx(expected.item(), rel=0.02)


def test_decays_and_thresholds_of_each_neuron_count():
    beta, threshold = torch.tensor([0.0, 0.5, 0.95]), torch.tensor([1.0, 2.0, 1.0])
    layer = fluctuation_driven_(nn.Linear(5000, 3), snn.Leaky(beta, threshold), RATE, share=0.5)
    expected = [moments(b, 1.0, 0.0, 0.5, 5000, u)[1] for b, u in zip(beta.tolist(), threshold.tolist(), strict=True)]
    assert layer.weight.std(1).tolist() == pytest.approx(expected, rel=0.05)
    conv = fluctuation_driven_(nn.Conv2d(40, 3, 5), snn.Leaky(beta.view(3, 1, 1)), RATE)
    expected = [moments(b, 1.0, 0.0, n=1000)[1] for b in beta.tolist()]
    assert conv.weight.flatten(1).std(1).tolist() == pytest.approx(expected, rel=0.1)


def test_the_potential_fluctuates_as_asked():
    torch.manual_seed(0)
    neuron, layer = snn.Leaky(0.9, threshold=1e9, reset_mechanism="none"), nn.Linear(N, 200)
    fluctuation_driven_(layer, snn.Leaky(0.9), RATE, mean=0.2, xi=2.0)
    x = (torch.rand(600, 1, N) < RATE).float()
    mem = snn.unroll(neuron, layer(x), torch.zeros(0))[1][100:, 0]
    assert mem.mean().item() == pytest.approx(0.2, abs=0.06)  # of 200 neurons, whose means differ
    assert mem.var(0).mean().sqrt().item() == pytest.approx(0.4, rel=0.05)


def deep(initialised):
    """A leaky neuron whose potential has its threshold's spread spikes at some 5 % of the steps."""
    torch.manual_seed(0)
    layers = []
    for _ in range(8):
        layers += [nn.Linear(100, 100), snn.Leaky(0.9, init_hidden=True, spike_grad=surrogate.atan())]
        if initialised:
            fluctuation_driven_(layers[-2], layers[-1], RATE if len(layers) == 2 else 0.05)
    return nn.Sequential(*layers)


def test_every_layer_of_a_fresh_deep_network_spikes():
    x = (torch.rand(30, 8, 100, generator=torch.Generator().manual_seed(1)) < RATE).float()
    fresh, plain = (
        [row.firing_rate for row in summary(deep(i), x).layers if row.kind == "Leaky"] for i in (True, False)
    )
    assert len(fresh) == 8 and all(0.03 < rate < 0.15 for rate in fresh)
    assert plain[-1] < 0.001


def test_what_is_wrong_is_named():
    lif, layer = snn.Leaky(0.9), nn.Linear(10, 3)
    for wrong in (0.0, 1.0, -2.0):
        with pytest.raises(ValueError, match=f"rate must lie between 0 and 1, got {wrong}"):
            fluctuation_driven_(layer, lif, wrong)
    with pytest.raises(ValueError, match="xi must be positive and share lie in"):
        fluctuation_driven_(layer, lif, 0.1, xi=0)
    with pytest.raises(ValueError, match="mean must be less than the threshold's distance from rest"):
        fluctuation_driven_(layer, lif, 0.1, mean=1.5)
    with pytest.raises(ValueError, match=r"by 10 inputs of rate .* fluctuates more"):
        fluctuation_driven_(layer, lif, 0.1, mean=0.9, xi=3)
    with pytest.raises(TypeError, match="layer must be a weight"):
        fluctuation_driven_(nn.ReLU(), lif, 0.1)
    with pytest.raises(TypeError, match="neuron must have a membrane potential `mem`, got ReLU"):
        fluctuation_driven_(layer, nn.ReLU(), 0.1)
