"""Linear, Affine and Scale."""

from typing import Any

from torch import nn

from .._layers.graded_spikes import GradedSpikes
from .._layers.of_functions import with_weights
from .._layers.scale import Scale
from .exporting import Context, NIRNode, as_array, nir_node
from .importing import Node


def export_linear(layer: Any, context: Context) -> NIRNode:
    """The weight as Linear, with a bias as Affine."""
    if len(context.in_shape) > 1:
        raise context.missing(f"Linear along the last of several dimensions, and its input is {context.in_shape}")
    weight = as_array(layer.weight)
    if layer.bias is None:
        return nir_node("Linear", weight=weight)
    return nir_node("Affine", weight=weight, bias=as_array(layer.bias))


def export_scale(layer: Any, context: Context) -> NIRNode:
    """The factor of each neuron."""
    factor = layer.scale if isinstance(layer, Scale) else layer.weights
    if isinstance(layer, GradedSpikes) and (layer.size == 1 or context.in_shape[-1:] == (layer.size,)):
        factor = factor[:, 0]
    return nir_node("Scale", scale=context.array(factor, "scale"))


def import_linear(node: Node) -> nn.Module:
    """A Linear; weights of more dimensions have no counterpart."""
    weight = node.tensor("weight")
    if weight.dim() != 2 or 0 in weight.shape:
        raise node.missing(f"weights must be [out, in] and not empty, got shape {tuple(weight.shape)}")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=node.kind == "Affine", device="meta")
    return with_weights(layer, weight, node.tensor("bias") if node.kind == "Affine" else None)


def import_scale(node: Node) -> nn.Module:
    """GradedSpikes for a vector of neurons, otherwise a Scale."""
    scale = node.tensor("scale")
    if scale.dim() != 1:
        return Scale(scale)
    graded = GradedSpikes(len(scale), constant_factor=1.0)
    graded.weights = nn.Parameter(scale[:, None])
    return graded


EXPORTERS = {nn.Linear: export_linear, GradedSpikes: export_scale, Scale: export_scale}
IMPORTERS = {"Affine": import_linear, "Linear": import_linear, "Scale": import_scale}
