"""Flatten, whose dimensions NIR counts without the batch."""

from typing import Any

import numpy as np
from torch import nn

from .exporting import Context, NIRNode, nir_node
from .importing import Node


def export_flatten(layer: Any, context: Context) -> NIRNode:
    """The range of a sample's dimensions."""
    start, end = layer.start_dim % context.rank, layer.end_dim % context.rank
    if end > start and any(start <= d <= end for d in context.ignored):
        raise ValueError(f"layer {context.name!r}: Flatten({layer.start_dim}, {layer.end_dim}) mixes samples")
    before = sum(d < start for d in context.ignored)
    last = -1 if end == context.rank - 1 else end - before
    shape = {"input": np.array(context.in_shape)}
    return nir_node("Flatten", input_type=shape, start_dim=start - before, end_dim=last)


def import_flatten(node: Node) -> nn.Module:
    """A Flatten that leaves the batch alone."""
    (start,), (end,) = (node.integers(name, 1, least=-8) for name in ("start_dim", "end_dim"))
    return nn.Flatten(start + (start >= 0), end + (end >= 0))


EXPORTERS = {nn.Flatten: export_flatten}
IMPORTERS = {"Flatten": import_flatten}
