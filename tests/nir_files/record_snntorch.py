"""Record a network of the published snnTorch as a NIR file, with an input and its spikes.

Run in an environment of its own, in this directory; the files that it writes are tests' data::

    pip install torch==2.13.0 snntorch==1.0.0 nir==1.0.8 nirtorch==2.6
    python record_snntorch.py
"""

import nir
import numpy as np
import torch
from torch import nn

import snntorch as snn
from snntorch import utils
from snntorch.export_nir import export_to_nir

torch.manual_seed(7)
zero = dict(reset_mechanism="zero", reset_delay=False, init_hidden=True)
recurrent = snn.RLeaky(0.8, linear_features=5, **zero)
recurrent.beta, recurrent.threshold = torch.linspace(0.5, 0.9, 5), torch.full((5,), 0.8)  # its export needs arrays
net = nn.Sequential(
    nn.Linear(4, 6), snn.Leaky(torch.rand(6), threshold=torch.full((6,), 0.6), **zero),
    nn.Linear(6, 5), recurrent,
    nn.Linear(5, 3, bias=False), snn.Synaptic(torch.rand(3), torch.rand(3), threshold=torch.full((3,), 0.3), **zero),
)  # fmt: skip
with torch.no_grad():
    net[0].weight.mul_(3)
    net[2].weight.mul_(3)
    net[4].weight.abs_()
x = torch.rand(50, 2, 4)
graph = export_to_nir(net, x[0], ignore_dims=[0])
utils.reset(net)
out = torch.stack([net(x_t) for x_t in x]).detach()
nir.write("snntorch_1.nir", graph)
np.savez_compressed("snntorch_1.npz", x=x.numpy(), out=out.numpy())
print({key: type(node).__name__ for key, node in graph.nodes.items()}, "mean output", out.mean((0, 1)))
