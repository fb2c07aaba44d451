"""The network of layers that a graph became.

Its forward calls submodules and adds tensors, nothing else. It is code that torch.fx writes, with the submodules' names
in it: names from a file become identifiers first.
"""

import keyword
import re
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

import torch
from torch import fx, nn

from .._layers.feedback import Feedback
from .._layers.named_states import GetStates, SetStates
from .._layers.threshold import Threshold
from .._neurons.neurons import SpikingNeuron
from .graph import Edge, closing_edges, neighbours
from .importing import Node


def identifiers(names: Sequence[str]) -> dict[str, str]:
    """A name for each node that a submodule can bear.

    Letters, digits and underscores of ASCII, no keyword, no attribute of a module, not private, unique, not long.
    """
    chosen: dict[str, str] = {}
    taken = {"set_states", "get_states"}
    counts: dict[str, int] = {}
    for name in names:
        stem = re.sub(r"\W", "_", name, flags=re.ASCII)[:200]
        if not stem or stem.startswith("_"):
            stem = f"node{stem}"
        if keyword.iskeyword(stem) or hasattr(_EMPTY, stem):
            stem += "_"
        identifier = stem
        while identifier in taken:
            counts[stem] = counts.get(stem, 0) + 1
            identifier = f"{stem}_{counts[stem]}"
        chosen[name] = identifier
        taken.add(identifier)
    return chosen


_EMPTY = fx.GraphModule(nn.Module(), fx.Graph())


def wired(nodes: Mapping[str, Node], edges: Sequence[Edge], modules: Mapping[str, nn.Module]) -> fx.GraphModule:
    """The network of these modules: nodes in the order of their inputs, several inputs of a node summed.

    A ValueError for a node without an input, or a loop without a neuron.
    """
    source, sink = (next(name for name, node in nodes.items() if node.kind == kind) for kind in ("Input", "Output"))
    sources, targets = neighbours(edges, nodes)
    if silent := [name for name in nodes if not sources[name] and name != source]:
        raise ValueError(f"node {silent[0]!r} has no input")
    neurons = {name for name, module in modules.items() if isinstance(module, (SpikingNeuron, Threshold))}
    closing = closing_edges(source, neurons, targets)
    loops = {a: f"{a}.previous" for a, _ in sorted(closing)}
    identifier = identifiers([*modules, *loops.values()])
    input_dim = nodes[source].array("shape").size
    children: dict[str, nn.Module] = {identifier[name]: module for name, module in modules.items()}
    for name, loop in loops.items():
        children[identifier[loop]] = Feedback(_output_shape(nodes[name]), input_dim)
    stateful = {name: module for name, module in children.items() if isinstance(module, SpikingNeuron)}
    children |= {"set_states": SetStates(stateful), "get_states": GetStates(stateful)}

    network = fx.Graph()

    def call(module: str, *args: Any) -> fx.Node:
        return network.create_node("call_module", module, args, {}, name="value")  # not named by the file

    values: dict[str, Any] = {source: network.placeholder("input")}
    call("set_states", network.placeholder("state", default_value=None))
    previous = {a: call(identifier[loop], values[source]) for a, loop in loops.items()}
    needed = {name: [a for a in sources[name] if (a, name) not in closing] for name in nodes}
    for name in TopologicalSorter(needed).static_order():
        if name == source:
            continue
        parts = [previous[a] if (a, name) in closing else values[a] for a in sources[name]]
        total = parts[0]
        for part in parts[1:]:
            total = network.call_function(torch.add, (total, part))
        values[name] = call(identifier[name], total) if name in modules else total
    for name, loop in loops.items():
        call(identifier[loop], values[source], values[name])
    network.output((values[sink], call("get_states")))
    network.lint()
    result = fx.GraphModule(children, network, class_name="NIRNetwork")  # type: ignore[arg-type]
    result.meta["names"] = {name: identifier[name] for name in modules}
    return result


def _output_shape(node: Node) -> tuple[int, ...]:
    """The shape of one sample's output of a neuron, which is that of its parameters."""
    name = next(n for n in ("v_threshold", "threshold", "delay", "v_leak", "r") if node.values.get(n) is not None)
    if not (shape := node.array(name, infinite=True).shape):
        raise node.missing("a node that closes a loop must have parameters of the shape of its output")
    return shape
