"""Bytes and zeros of networks whose numbers are known."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import snntorch as snn
from snntorch.metrics import Workload, connection_sparsity, footprint


def test_the_published_speech_commands_network():
    """NeuroBench's SNN baseline: 145,152 synapses, 200 steps, 583,900 bytes."""
    sizes = [20, 256, 256, 256, 35]
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), snn.Leaky(beta=0.9, init_hidden=True)]
    net = nn.Sequential(*layers)
    assert footprint(net) == 583_900
    workload = Workload(net)
    with workload.batch(samples=2), torch.no_grad():
        snn.unroll(net, torch.ones(200, 2, 20))
    assert workload.dense == 145_152 * 200 == 29_030_400
    assert footprint(net) == 583_900  # the states of the run are no buffers


def test_footprint_counts_shared_parameters_once_and_every_dtype():
    layer = nn.Linear(3, 2)
    assert footprint(nn.Sequential(layer, layer)) == 4 * 8
    assert footprint(layer.half()) == 2 * 8
    assert footprint(nn.BatchNorm1d(5)) == 4 * 4 * 5 + 8  # num_batches_tracked is an int64


def test_connection_sparsity_counts_zero_weights_and_no_biases():
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    for p in net.parameters():
        nn.init.zeros_(p)
    assert connection_sparsity(net) == 1.0
    nn.init.ones_(net[0].weight)
    assert connection_sparsity(net) == 12 / 20


def test_connection_sparsity_sees_the_weights_that_the_forward_sees():
    class Mask(nn.Module):
        def forward(self, w):
            return w * torch.tensor([[1.0], [0.0]])

    layer = nn.Linear(3, 2)
    parametrize.register_parametrization(layer, "weight", Mask())
    assert connection_sparsity(layer) == 0.5
    pruned = nn.Linear(10, 10)
    prune.l1_unstructured(pruned, "weight", amount=0.3)
    assert connection_sparsity(pruned) == 0.3


def test_connection_sparsity_of_nothing():
    with pytest.raises(ValueError, match=r"Linear or Conv layer, and ReLU has none"):
        connection_sparsity(nn.ReLU())
