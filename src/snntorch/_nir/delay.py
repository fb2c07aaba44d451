"""Delays by whole steps."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from .._layers.axonaldelay import AxonalDelay
from .._layers.delay import Delay
from .._layers.synapticdelay import SynapticDelay
from .equations import whole_steps
from .exporting import Context, NIRNode, nir_node
from .importing import Node

LONGEST, MOST = 10**6, 10**9  # steps of a delay; values that a layer of delays keeps for one sample


def export_delay(layer: Any, context: Context) -> NIRNode:
    """The delays in seconds; of a Gaussian its middle."""
    steps = context.array(layer.delays.clamp(0, layer.longest), "steps" if isinstance(layer, Delay) else "delay")
    width = getattr(layer, "width", 0)
    if width:
        warnings.warn(
            f"layer {context.name!r}: NIR has sharp delays alone, so that the width {width:g} is left out",
            UserWarning,
            stacklevel=3,
        )
    seconds = (np.rint(steps) if width == 0 else steps) * context.dt
    whole_steps(seconds, context.dt, f"layer {context.name!r}")
    return nir_node("Delay", delay=seconds)


def export_synaptic_delay(layer: Any, context: Context) -> NIRNode:
    """Raises NotImplementedError."""
    raise context.missing("delay of each weight")


def import_delay(node: Node) -> nn.Module:
    """A Delay by the nearest number of steps."""
    seconds = node.array("delay")
    if (seconds < 0).any():
        raise ValueError(f"delay must not be negative, got {seconds.min()}")
    longest = seconds.max(initial=0) / node.dt
    if longest > LONGEST or longest * seconds.size > MOST:
        raise ValueError(
            f"a delay of {longest:g} steps of dt={node.dt:g} for {seconds.size} neurons is too much to keep; import "
            "with a larger dt"
        )
    steps = whole_steps(seconds, node.dt, f"node {node.name!r}")
    return Delay(torch.as_tensor(steps.astype(np.int64)), init_hidden=True)


EXPORTERS = {Delay: export_delay, AxonalDelay: export_delay, SynapticDelay: export_synaptic_delay}
IMPORTERS = {"Delay": import_delay}
