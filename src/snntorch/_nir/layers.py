"""The table of layers: who writes which, who reads which node."""

from collections.abc import Callable, Mapping

from torch import nn

from . import convolution, delay, flatten, linear, neurons, pooling, threshold
from .exporting import Exporter, overrides
from .importing import Importer

_FILES = (convolution, delay, flatten, linear, neurons, pooling, threshold)
EXPORTERS: Mapping[type, Exporter] = {kind: f for file in _FILES for kind, f in file.EXPORTERS.items()}
IMPORTERS: Mapping[str, Importer] = {kind: f for file in _FILES for kind, f in file.IMPORTERS.items()}


def finder(own: Mapping[type, Exporter]) -> Callable[[nn.Module], Exporter | None]:
    """A function from a layer to what exports it.

    That is what the user gave for its class or the nearest base, then ours, where the class computes what ours does.
    """

    def find(layer: nn.Module) -> Exporter | None:
        for base in type(layer).__mro__:
            if base in own:
                return own[base]
            if base in EXPORTERS:
                return None if overrides(layer, base) else EXPORTERS[base]
        return None

    return find
