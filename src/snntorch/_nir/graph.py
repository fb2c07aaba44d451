"""A graph as it came, from a file or from nir, as nodes and edges without subgraphs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from .equations import DT, KEY, check_dt
from .file import read_file
from .importing import Node

if TYPE_CHECKING:
    import nir

Edge = tuple[str, str]
DEPTH, NODES = 32, 10**5  # subgraphs inside subgraphs, nodes in all
PORT = "Port"  # where a subgraph begins or ends: a wire


def as_dict(graph: nir.NIRGraph | str | os.PathLike) -> Mapping[str, Any]:
    """A graph, which is not changed, as nested dicts; a TypeError for something else than a graph or a path."""
    if isinstance(graph, (str, os.PathLike)):
        return read_file(graph)
    import nir

    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(f"graph must be a nir.NIRGraph or the path of one, got {type(graph).__name__}")
    return _node_dict(graph)


def _node_dict(node: Any) -> Mapping[str, Any]:
    values = {"type": type(node).__name__, **vars(node)}
    for name, port in (("Input", "input_type"), ("Output", "output_type")):
        if values["type"] == name and isinstance(kinds := values.get(port), Mapping):
            values["shape"] = next(iter(kinds.values()), None)
    return values


def flat(graph: Mapping[str, Any], dt: float | None) -> tuple[dict[str, Node], list[Edge]]:
    """Nodes and edges with every subgraph's put in its place, named "subgraph.node".

    A ValueError for a graph that does not hold together or is too large; several inputs or outputs are not implemented.
    """
    if graph.get("type") != "NIRGraph":
        raise ValueError(f"a graph must have the type 'NIRGraph', got {graph.get('type')!r}")
    whole = _Flat(check_dt(noted(graph).get("dt", DT) if dt is None else dt))
    whole.add(graph, "", 0)
    edges = past_ports([name for name, node in whole.nodes.items() if node.kind == PORT], whole.edges)
    left = {name for edge in edges for name in edge}
    return {name: node for name, node in whole.nodes.items() if node.kind != PORT or name in left}, edges


class _Flat:
    """Nodes and edges of graphs inside graphs; the Input and Output of an inner one are ports."""

    def __init__(self, dt: float) -> None:
        self.dt = dt
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []

    def add(self, graph: Mapping[str, Any], prefix: str, depth: int) -> tuple[str, str]:
        """Add a graph; the names of its input and output."""
        where = f"subgraph {prefix[:-1]!r}" if prefix else "the graph"
        inside = graph.get("nodes")
        if not isinstance(inside, Mapping) or depth > DEPTH:
            raise ValueError(f"{where} has no nodes, or lies more than {DEPTH} deep")
        entries: dict[str, str] = {}
        exits: dict[str, str] = {}
        ends: dict[str, list[str]] = {"Input": [], "Output": []}
        for name, found in inside.items():
            values = found if isinstance(found, Mapping) else _node_dict(found)
            full, kind = f"{prefix}{name}", values.get("type")
            if not isinstance(kind, str):
                raise ValueError(f"node {full!r} has no type")
            entries[name] = exits[name] = full
            if kind == "NIRGraph":
                entries[name], exits[name] = self.add(values, f"{full}.", depth + 1)
                continue
            if kind in ends:
                ends[kind].append(full)
                kind = PORT if prefix else kind
            if full in self.nodes or len(self.nodes) >= NODES:
                raise ValueError(f"the graph has two nodes {full!r}, or more than {NODES} nodes")
            self.nodes[full] = Node(full, kind, values, noted(values), self.dt)
        self.connect(graph.get("edges"), entries, exits, where)
        return _only(ends["Input"], "Input", where), _only(ends["Output"], "Output", where)

    def connect(self, edges: Any, entries: dict[str, str], exits: dict[str, str], where: str) -> None:
        """Add the edges of one graph."""
        seen: set[Edge] = set()
        for edge in edges if isinstance(edges, Sequence) else ():
            a, b = (name.decode() if isinstance(name, bytes) else name for name in edge)
            if a not in exits or b not in entries:
                unknown = b if a in exits else a
                raise ValueError(f"{where} has the edge {a!r} -> {b!r}, but no node {unknown!r}")
            if (a, b) in seen:
                raise ValueError(f"{where} has the edge {a!r} -> {b!r} twice")
            seen.add((a, b))
            self.edges.append((exits[a], entries[b]))


def _only(names: Sequence[str], kind: str, where: str) -> str:
    """The one name."""
    if not names:
        raise ValueError(f"{where} has no {kind} node")
    if len(names) > 1:
        some = ", ".join(map(repr, names[:5]))
        raise NotImplementedError(f"{where} has several {kind} nodes, {some}; one is supported")
    return names[0]


def neighbours(edges: Sequence[Edge], nodes: Iterable[str] = ()) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What gives to each node, and what it gives to."""
    sources: dict[str, list[str]] = {name: [] for name in chain(nodes, *edges)}
    targets: dict[str, list[str]] = {name: [] for name in sources}
    for a, b in edges:
        targets[a].append(b)
        sources[b].append(a)
    return sources, targets


def past_ports(ports: Sequence[str], edges: Sequence[Edge]) -> list[Edge]:
    """Edges without the ports that hand a signal on; one where several meet and several leave stays, as their sum."""
    into, out = neighbours(edges)
    for port in ports:
        before, after = into.get(port, []), out.get(port, [])
        if port in before or not before or not after or min(len(before), len(after)) > 1:
            continue
        for a in before:
            at = out[a].index(port)
            out[a][at : at + 1] = after
        for b in after:
            at = into[b].index(port)
            into[b][at : at + 1] = before
        del into[port], out[port]
    return [(a, b) for b in into for a in into[b]]


def closing_edges(start: str, neurons: Collection[str], targets: Mapping[str, Sequence[str]]) -> set[Edge]:
    """The edges that close loops: each leads away from the last neuron of its loop and carries its last step's output.

    A ValueError for a loop without a neuron, whose signals would depend on themselves.
    """
    closing: set[Edge] = set()
    done: set[str] = set()
    for root in (start, *targets):
        if root in done:
            continue
        path, places, branches = [root], {root: 0}, [iter(targets[root])]
        while path:
            for target in branches[-1]:
                if target in done or (path[-1], target) in closing:
                    continue
                if target in places:
                    loop = path[places[target] :]
                    last = max((i for i, name in enumerate(loop) if name in neurons), default=None)
                    if last is None:
                        some = " -> ".join(map(repr, loop[:10]))
                        raise ValueError(f"the loop {some} holds no neuron, so its signals depend on themselves")
                    closing.add((loop[last], loop[(last + 1) % len(loop)]))
                    for name in loop[last + 1 :]:  # the walk goes on from there
                        path.pop()
                        branches.pop()
                        del places[name]
                else:
                    places[target] = len(path)
                    path.append(target)
                    branches.append(iter(targets[target]))
                break
            else:
                done.add(path[-1])
                del places[path.pop()]
                branches.pop()
    return closing


def noted(node: Mapping[str, Any]) -> dict[str, Any]:
    """What snnTorch's export noted in the metadata: numbers and texts, which come back from a file in several forms."""
    metadata = node.get("metadata")
    found = metadata.get(KEY) if isinstance(metadata, Mapping) else None
    result: dict[str, Any] = {}
    for name, value in (found if isinstance(found, Mapping) else {}).items():
        if isinstance(value, (np.ndarray, np.generic)) and value.size == 1:
            value = value.item()
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, (str, bool, int, float)):
            result[name] = value
    return result
