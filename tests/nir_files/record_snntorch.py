"""Record networks of the published snnTorch as NIR files, with inputs and their spikes.

Run in an environment of its own, in this directory; the files that it writes are tests' data::

    pip install torch==2.13.0 snntorch==1.0.0 nir==1.0.8 nirtorch==2.6
    python record_snntorch.py
"""

import copy

import nir
import numpy as np
import torch
from torch import nn

import snntorch as snn
from snntorch.export_nir import export_to_nir

zero = dict(reset_mechanism="zero", reset_delay=False, init_hidden=True)
# RSynaptic(reset_delay=False) fails; without a decay there is nothing to reset
no_decay = dict(beta=torch.zeros(5), reset_mechanism="none", init_hidden=True)


def full(size, value):
    return torch.full((size,), value)  # the export needs arrays


def layers():
    recurrent = snn.RLeaky(0.8, linear_features=5, **zero)
    recurrent.beta, recurrent.threshold = torch.linspace(0.5, 0.9, 5), full(5, 0.8)
    net = nn.Sequential(
        nn.Linear(4, 6), snn.Leaky(torch.rand(6), threshold=full(6, 0.6), **zero),
        nn.Linear(6, 5), recurrent,
        nn.Linear(5, 3, bias=False), snn.Synaptic(torch.rand(3), torch.rand(3), threshold=full(3, 0.3), **zero),
    )  # fmt: skip
    net[0].weight.mul_(3)
    net[2].weight.mul_(3)
    net[4].weight.abs_()
    return net


def behind_a_layer(recurrent):
    net = nn.Sequential(nn.Linear(4, 5), recurrent)
    net[0].weight.mul_(3)
    return net


decays, weights = torch.linspace(0.3, 0.8, 5), torch.linspace(-0.9, 0.9, 5)
shared = dict(threshold=full(5, 0.7))
one_to_one = dict(V=weights, all_to_all=False, **shared)


def rleaky_one_to_one():
    return behind_a_layer(snn.RLeaky(decays, **one_to_one, **zero))


def rsynaptic():
    return behind_a_layer(snn.RSynaptic(decays, linear_features=5, **shared, **no_decay))


def rsynaptic_one_to_one():
    return behind_a_layer(snn.RSynaptic(decays, **one_to_one, **no_decay))


def record(name, make):
    torch.manual_seed(7)
    with torch.no_grad():
        net = make()
    x = torch.rand(50, 2, 4)
    graph = export_to_nir(copy.deepcopy(net), x[0], ignore_dims=[0])  # it leaves states behind
    out = torch.stack([net(now) for now in x]).detach()
    nir.write(f"{name}.nir", graph)
    np.savez_compressed(f"{name}.npz", x=x.numpy(), out=out.numpy())
    print(name, {key: type(node).__name__ for key, node in graph.nodes.items()}, "mean output", out.mean((0, 1)))


record("snntorch_1", layers)
record("snntorch_1_rleaky_one", rleaky_one_to_one)
record("snntorch_1_rsynaptic", rsynaptic)
record("snntorch_1_rsynaptic_one", rsynaptic_one_to_one)
