"""A spike above a threshold, without memory; and what all spikes have in common."""

from typing import Any

import torch
from torch import nn

from .._layers.threshold import Threshold
from ..surrogate import Surrogate
from .equations import KEY
from .exporting import Context, NIRNode, nir_node
from .importing import Node


def check_spike(layer: Any, context: Context) -> None:
    """Spikes must be the Heaviside step; every surrogate of ours is, a user's callable is tried."""
    x = torch.linspace(-2, 2, 101)
    with torch.no_grad():
        known = isinstance(layer.spike_grad, Surrogate)
        if not known and not torch.equal(layer.spike_grad(x.to(layer.threshold)), (x > 0).to(layer.threshold)):
            raise context.missing("spikes other than 1 above the threshold and 0 below it, as spike_grad gives here")


def surrogate_name(layer: Any) -> dict[str, str]:
    """The surrogate's name for the reader, without addresses of Python objects."""
    spike = layer.spike_grad
    plain = isinstance(spike, Surrogate) and all(isinstance(p, (int, float)) for p in spike.parameters)
    inner = spike.function if isinstance(spike, Surrogate) else spike
    return {"spike_grad": repr(spike) if plain else getattr(inner, "__name__", type(inner).__name__)}


def threshold_node(layer: Any, context: Context) -> NIRNode:
    """A node for the layer's threshold, which may be a neuron's."""
    threshold = context.array(layer.threshold, "threshold")
    return nir_node("Threshold", threshold=threshold, metadata={KEY: surrogate_name(layer)})


def export_threshold(layer: Any, context: Context) -> NIRNode:
    """The threshold of each neuron."""
    check_spike(layer, context)
    return threshold_node(layer, context)


def import_threshold(node: Node) -> nn.Module:
    """A Threshold."""
    return Threshold(node.tensor("threshold"))


EXPORTERS = {Threshold: export_threshold}
IMPORTERS = {"Threshold": import_threshold}
