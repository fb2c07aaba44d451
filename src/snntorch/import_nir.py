"""Networks from the Neuromorphic Intermediate Representation (NIR). The equations stand in `snntorch._nir`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import fx, nn

from . import surrogate
from ._layers.threshold import Threshold
from ._neurons.neurons import SpikingNeuron
from ._nir.graph import PORT, as_dict, flat
from ._nir.importing import Importer, Node
from ._nir.layers import IMPORTERS
from ._nir.network import wired
from ._nir.recurrence import recurrent, recurrent_pairs

if TYPE_CHECKING:
    import nir


def import_from_nir(
    graph: nir.NIRGraph | str | os.PathLike,
    dt: float | None = None,
    spike_grad: surrogate.SpikeGrad | str | None = None,
    importers: Mapping[str, Importer] | None = None,
) -> fx.GraphModule:
    """Build a network from a NIR graph.

    The network runs one time step a call, `net(x, state=None) -> (out, state)`. The neurons keep their states
    (`init_hidden=True`): successive calls go on where the last one ended, `utils.reset(net)` starts anew. The returned
    `state` maps the neurons' names to the tuples of their states; a `state` that is passed replaces what they keep, and
    a neuron that it leaves out starts from zero. Modules are named by their nodes, with all but letters, digits and
    underscores replaced by "_"; `net.meta["names"]` maps the nodes' names to the modules'.

    LIF and CubaLIF become `Leaky` and `Synaptic`, inside a loop with one weight `RLeaky` and `RSynaptic` (which take
    the spikes of the last step), IF a `Leaky` that does not leak; they reset to zero in the step of the spike, unless
    snnTorch's metadata say otherwise. In any other loop, what closes it is the last step's output of its last neuron.
    Parameters take PyTorch's default dtype. A delay that is no multiple of dt is rounded, with a warning.

    A file is data that anyone may have made: its names never become code, it can't refer to other files, and the
    memory that reading it takes is bounded by its size. `nir.read` gives no such promise.

    Args:
        graph: a `nir.NIRGraph`, which is not changed, or the path of a NIR file.
        dt: length of a time step in seconds; None for the dt that snnTorch's export recorded, else 1e-4.
        spike_grad: surrogate gradient of every neuron, as for `SpikingNeuron`; NIR holds none.
        importers: for types of nodes, functions from a `Node` to the module that stands for it; they come before
            snnTorch's own. `node.array(name)` and `node.tensor(name)` are its parameters, checked; `node.dt` the step.

    Raises:
        ValueError: for a file that can't be read, time constants below dt, gains that are not positive, parameters that
            are missing, not finite or do not fit, loops without a neuron, edges without a node, nodes without an input.
        NotImplementedError: for a reset potential other than the leak potential, several inputs or outputs, and nodes
            or settings that have no counterpart.

    Source: Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
    brain-inspired computing", Nature Communications 15, 2024.

    Example:
        >>> import nir, numpy as np, snntorch as snn, torch
        >>> lif = nir.LIF(tau=np.full(3, 0.01), r=np.full(3, 10.0), v_leak=np.zeros(3), v_threshold=np.ones(3))
        >>> net = snn.import_nir.import_from_nir(nir.NIRGraph.from_list(nir.Linear(np.ones((3, 2))), lif), dt=1e-3)
        >>> spk, state = snn.unroll(net, torch.ones(4, 1, 2))
        >>> spk[:, 0, 0].detach()
        tensor([1., 1., 1., 1.])
    """
    nodes, edges = flat(as_dict(graph), dt)
    known = {**IMPORTERS, **(importers or {})}
    modules = {name: _module(node, known) for name, node in nodes.items() if node.kind not in ("Input", "Output", PORT)}
    paths: dict[str, str] = {}
    for neuron, weight in recurrent_pairs(modules, edges):
        modules[neuron] = recurrent(modules[neuron], modules.pop(weight))
        edges = [(a, b) for a, b in edges if weight not in (a, b)]
        del nodes[weight]
        paths[weight] = neuron
    if spike_grad is not None:
        for module in modules.values():
            if isinstance(module, (Threshold, SpikingNeuron)):
                module.spike_grad = surrogate.resolve(spike_grad)
    net = wired(nodes, edges, modules)
    names = net.meta["names"]
    names |= {weight: f"{names[neuron]}.recurrent" for weight, neuron in paths.items()}
    return net


def _module(node: Node, importers: Mapping[str, Importer]) -> nn.Module:
    """The module of one node; errors name the node."""
    if node.kind not in importers:
        raise node.missing("it has no counterpart in snntorch; give `importers` one")
    try:
        return importers[node.kind](node)
    except NotImplementedError:
        raise
    except (ValueError, TypeError, RuntimeError, KeyError, ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"node {node.name!r} ({node.kind}): {error}") from error
