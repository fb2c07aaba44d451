"""Resistances inside the weights: a graph that means the same to readers who take `r` for 1."""

from typing import Any

import numpy as np

from .equations import integrator_gain
from .exporting import nir_node
from .graph import Edge


def fold_gains(nodes: dict[str, Any], edges: list[Edge], dt: float) -> list[Edge]:
    """Make every `r` one, in place: the weights before it are multiplied by it, or a Scale is put in between.

    Returns:
        The edges, with those to and from the Scales.
    """
    for name, node in list(nodes.items()):
        if not hasattr(node, "r"):
            continue
        r = integrator_gain(node.r, dt) if type(node).__name__ in ("IF", "I") else node.r
        node.r = np.ones_like(r)
        if (r == 1).all():
            continue
        sources = [a for a, b in edges if b == name]
        alone = {a for a in sources if [b for x, b in edges if x == a] == [name]}
        others = [a for a in sources if a not in alone or not _scaled(nodes[a], r)]
        if others:
            scale = f"{name}.gain"
            nodes[scale] = nir_node("Scale", scale=r)
            edges = [(a, scale) if b == name and a in others else (a, b) for a, b in edges] + [(scale, name)]
    return edges


def _scaled(node: Any, r: np.ndarray) -> bool:
    """Whether the node's weights could take the factor; then they have."""
    kind = type(node).__name__
    if kind == "Scale":
        node.scale = node.scale * r
        return True
    if kind not in ("Linear", "Affine", "Conv1d", "Conv2d"):
        return False
    of_channel = r.reshape(len(r), -1)
    if (of_channel != of_channel[:, :1]).any():
        return False  # a convolution has one weight for all places
    factor = of_channel[:, 0]
    node.weight = (node.weight * factor.reshape(-1, *[1] * (node.weight.ndim - 1))).astype(node.weight.dtype)
    if hasattr(node, "bias"):
        node.bias = (node.bias * factor).astype(node.bias.dtype)
    return True
