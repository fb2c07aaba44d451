"""Record networks of Rockpool as NIR files, with an input and the spikes that Rockpool gives for it.

Run in an environment of its own, in this directory; the files that it writes are tests' data::

    pip install torch==2.13.0 rockpool==3.1.0 nir==1.0.8 nirtorch==2.6
    python record_rockpool.py
"""

import nir
import numpy as np
import torch
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import LIFNeuronTorch, LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import to_nir
from rockpool.parameters import Constant

T, B = 50, 2
COMMON = dict(bias=Constant(0.0), threshold=Constant(1.0), dt=1e-3, max_spikes_per_dt=1)


def lif():
    """Membranes without a synapse."""
    return LIFNeuronTorch(5, tau_mem=Constant(0.01), **COMMON)


def cuba():
    """Membranes behind a synapse."""
    return LIFTorch(5, tau_mem=Constant(0.01), tau_syn=Constant(0.005), **COMMON)


for name, neuron in {"rockpool_lif": lif, "rockpool_cubalif": cuba}.items():
    torch.manual_seed(8)
    net = Sequential(LinearTorch((4, 5), has_bias=False), neuron())
    net[0].weight.data = net[0].weight.data.abs() * 0.3
    x = torch.rand(B, T, 4)
    out, _, _ = net(x)
    graph = to_nir(net, x)
    for node in graph.nodes.values():  # nir writes arrays only
        for parameter, value in vars(node).items():
            if isinstance(value, torch.Tensor):
                setattr(node, parameter, value.numpy())
    nir.write(f"{name}.nir", graph)
    np.savez_compressed(f"{name}.npz", x=x.transpose(0, 1).numpy(), out=out.detach().transpose(0, 1).numpy())
    print(name, {key: type(node).__name__ for key, node in graph.nodes.items()}, "mean output", out.mean().item())
