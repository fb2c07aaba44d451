"""Record networks of other libraries as NIR files, with an input and the spikes that those libraries give for it.

Run in an environment of its own, in this directory; the files that it writes are tests' data::

    pip install torch==2.13.0 norse==1.1.0 sinabs==3.1.3 nir==1.0.4 nirtorch==2.0.2
    python record.py
"""

import nir
import norse.torch as norse
import numpy as np
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.nir import to_nir
from torch import nn

T, B = 50, 2


def full(n, value):
    """A parameter per neuron, as norse's export needs them."""
    return torch.full((n,), float(value))


def norse_run(net, x):
    """Spikes or potentials over time of a norse network that threads its state."""
    outputs, state = [], None
    for x_t in x:
        out, state = net(x_t, state)
        outputs.append(out)
    return torch.stack(outputs)


def norse_lif():
    """Box LIF neurons and an LI readout; to_nir gets dt=1, for it writes dt * tau in place of tau."""
    torch.manual_seed(1)
    lif = norse.LIFBoxParameters(tau_mem_inv=1 / torch.linspace(0.005, 0.02, 5), v_th=full(5, 0.3), v_leak=full(5, 0.0))
    li = norse.LIBoxParameters(tau_mem_inv=full(3, 100.0), v_leak=full(3, 0.2))
    net = norse.SequentialState(nn.Linear(4, 5), norse.LIFBoxCell(lif), nn.Linear(5, 3), norse.LIBoxCell(li))
    net[0].weight.data.abs_().mul_(3)
    x = torch.rand(T, B, 4)
    return norse.to_nir(net, x[0, 0], dt=1.0), x, norse_run(net, x)


def norse_if():
    """Integrate-and-fire neurons behind a linear layer."""
    torch.manual_seed(2)
    net = norse.SequentialState(nn.Linear(4, 5), norse.IAFCell(norse.IAFParameters(v_th=full(5, 1.0))))
    x = torch.rand(T, B, 4)
    return norse.to_nir(net, x[0, 0]), x, norse_run(net, x)


def norse_cubalif():
    """Current-based neurons; the file says w_in = 1, while a norse synapse jumps by its input, tau_syn / dt."""
    torch.manual_seed(3)
    p = norse.LIFParameters(
        tau_syn_inv=full(5, 200.0), tau_mem_inv=full(5, 100.0), v_leak=full(5, 0.0), v_th=full(5, 0.4)
    )
    net = norse.SequentialState(nn.Linear(4, 5), norse.LIFCell(p))
    net[0].weight.data.abs_().mul_(2)
    x = torch.rand(T, B, 4)
    return norse.to_nir(net, x[0, 0], dt=1.0), x, norse_run(net, x).to_dense()


def sinabs_run(net, x):
    """Spikes over time; sinabs' layers take the steps of a sample one after another in the batch."""
    with torch.no_grad():
        return net(x.transpose(0, 1).flatten(0, 1)).unflatten(0, (B, T)).transpose(0, 1)


def sinabs_iaf():
    """Integrate-and-fire neurons that reset to zero and spike once a step, in a convolutional network."""
    torch.manual_seed(4)
    zero = dict(batch_size=B, min_v_mem=None, reset_fn=MembraneReset(), spike_fn=SingleSpike)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), sl.IAFSqueeze(**zero), sl.SumPool2d(2), nn.Flatten(), nn.Linear(12, 3),
        sl.IAFSqueeze(**zero),
    )  # fmt: skip
    x = torch.rand(T, B, 2, 4, 4)
    spikes = sinabs_run(net, x)
    graph = to_nir(net, x.transpose(0, 1).flatten(0, 1))
    graph.nodes["0"].input_shape = (4, 4)  # left out by the export, and nir cannot write None
    graph.nodes["3"].input_type = {"input": np.array([3, 2, 2])}
    return graph, x, spikes


def sinabs_lif():
    """Leaky neurons with tau in steps, a decay exp(-1 / tau) and an input weighted by 1 - exp(-1 / tau)."""
    torch.manual_seed(5)
    normed = dict(batch_size=B, min_v_mem=None, norm_input=True)  # what r = 1 in the file means
    zero = dict(reset_fn=MembraneReset(), spike_fn=SingleSpike)
    lif = sl.LIFSqueeze(tau_mem=full(5, 8), spike_threshold=full(5, 0.4), **normed, **zero)
    leak = sl.ExpLeakSqueeze(tau_mem=full(3, 8), **normed)
    net = nn.Sequential(nn.Linear(4, 5), lif, nn.Linear(5, 3), leak)
    net[0].weight.data.abs_().mul_(2)
    x = torch.rand(T, B, 4)
    out = sinabs_run(net, x)
    return to_nir(net, x.transpose(0, 1).flatten(0, 1)), x, out


for name in ("norse_lif", "norse_if", "norse_cubalif", "sinabs_iaf", "sinabs_lif"):
    graph, x, out = globals()[name]()
    nir.write(f"{name}.nir", graph)
    np.savez_compressed(f"{name}.npz", x=x.numpy(), out=out.detach().numpy())
    print(name, {key: type(node).__name__ for key, node in graph.nodes.items()}, "mean output", out.mean().item())
