"""Average and sum pooling."""

from typing import Any

import numpy as np
from torch import nn

from .exporting import Context, NIRNode, nir_node
from .importing import Node


def export_pool(layer: Any, context: Context) -> NIRNode:
    """AvgPool2d, or SumPool2d where the divisor is 1."""
    kernel, stride, padding = (
        np.array(value if isinstance(value, tuple) else (value, value))
        for value in (layer.kernel_size, layer.stride, layer.padding)
    )
    if layer.ceil_mode or (padding.any() and not layer.count_include_pad and layer.divisor_override is None):
        raise context.missing("pooling with ceil_mode or count_include_pad=False")
    if layer.divisor_override not in (None, 1, kernel.prod()):
        raise context.missing(f"pooling with divisor_override={layer.divisor_override}")
    kind = "SumPool2d" if layer.divisor_override == 1 else "AvgPool2d"
    return context.typed(nir_node(kind, kernel_size=kernel, stride=stride, padding=padding))


def export_adaptive_pool(layer: Any, context: Context) -> NIRNode:
    """The AvgPool2d that it is for the sample's size; one whose windows overlap unevenly is none."""
    if any(before % after for before, after in zip(context.in_shape[-2:], context.out_shape[-2:], strict=True)):
        raise context.missing(f"adaptive pooling of {context.in_shape[-2:]} to {context.out_shape[-2:]}")
    window = np.array(context.in_shape[-2:]) // np.array(context.out_shape[-2:])
    return context.typed(nir_node("AvgPool2d", kernel_size=window, stride=window, padding=np.array([0, 0])))


def import_pool(node: Node) -> nn.Module:
    """An AvgPool2d, for sums with the divisor 1."""
    kernel, stride, padding = (node.integers(n, 2, m) for n, m in (("kernel_size", 1), ("stride", 1), ("padding", 0)))
    divisor = 1 if node.kind == "SumPool2d" else None
    return nn.AvgPool2d(kernel, stride, padding, divisor_override=divisor)  # type: ignore[arg-type]


EXPORTERS = {nn.AvgPool2d: export_pool, nn.AdaptiveAvgPool2d: export_adaptive_pool}
IMPORTERS = {"AvgPool2d": import_pool, "SumPool2d": import_pool}
