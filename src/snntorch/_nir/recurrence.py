"""Weights that take a neuron's spikes back to it: RLeaky and RSynaptic are LIF and CubaLIF in such a loop."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from .._layers.graded_spikes import GradedSpikes
from .._layers.scale import Scale
from .._neurons.leaky import Leaky
from .._neurons.recurrent import RecurrentOneToOne
from .._neurons.rleaky import RLeaky
from .._neurons.rsynaptic import RSynaptic
from .._neurons.synaptic import Synaptic
from .convolution import export_convolution
from .exporting import Context, NIRNode, nir_node
from .graph import Edge, neighbours
from .linear import export_linear


def export_recurrent_weight(layer: Any, context: Context) -> NIRNode:
    """The weight of a recurrent neuron as a node."""
    weight = layer.recurrent
    inner = replace(context, out_shape=context.in_shape)
    if isinstance(weight, nn.Conv2d):
        return export_convolution(weight, inner)
    if isinstance(weight, nn.Linear):
        return export_linear(weight, inner)
    if not isinstance(weight, RecurrentOneToOne):
        raise context.missing(f"recurrent weight of type {type(weight).__name__}")
    V = context.array(weight.V, "V")
    return nir_node("Linear", weight=np.diag(V)) if V.ndim == 1 else nir_node("Scale", scale=V)


def recurrent_pairs(modules: Mapping[str, nn.Module], edges: Sequence[Edge]) -> list[Edge]:
    """Every neuron with the weight that takes its spikes and gives to it, and does nothing else."""
    sources, targets = neighbours(edges, modules)
    pairs: dict[str, str] = {}
    for weight, module in modules.items():
        if (
            isinstance(module, (nn.Linear, nn.Conv2d, Scale, GradedSpikes))
            and len(sources[weight]) == 1
            and targets[weight] == sources[weight]
            and type(neuron := modules.get(sources[weight][0])) in (Leaky, Synaptic)
            and not (neuron.reset_mechanism == "zero" and below_rest(neuron.threshold))  # type: ignore[union-attr, arg-type]
        ):
            pairs.setdefault(sources[weight][0], weight)
    return list(pairs.items())


def below_rest(threshold: torch.Tensor) -> bool:
    """Whether a neuron spikes without input."""
    return bool((threshold < 0).any())


def recurrent(neuron: Any, weight: nn.Module) -> RLeaky | RSynaptic:
    """A `Leaky` or `Synaptic` neuron with its spikes fed back through the weight."""
    settings: dict[str, Any] = {
        name: getattr(neuron, name) for name in ("beta", "threshold", "reset_mechanism", "reset_delay", "init_hidden")
    }
    V = None
    if isinstance(weight, (Scale, GradedSpikes)):
        V = weight.scale if isinstance(weight, Scale) else weight.weights[:, 0]
    elif isinstance(weight, nn.Linear) and weight.bias is None:
        diagonal = weight.weight.diagonal()
        V = diagonal if torch.equal(weight.weight, diagonal.diag()) else None
    if V is not None:
        settings |= {"all_to_all": False, "V": nn.Parameter(V.detach().clone())}
    elif isinstance(weight, nn.Linear):
        settings |= {"linear_features": weight.in_features}
    elif isinstance(weight, nn.Conv2d):
        settings |= {"conv2d_channels": weight.in_channels, "kernel_size": weight.kernel_size}
    both = RSynaptic(alpha=neuron.alpha, **settings) if isinstance(neuron, Synaptic) else RLeaky(**settings)  # type: ignore[arg-type]
    if both.all_to_all:
        both.recurrent = weight
    return both
