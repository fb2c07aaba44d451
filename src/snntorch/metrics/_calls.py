"""What layers return while a network runs, as counts that do not grow with the number of steps."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .._time.layers import takes_sequence
from ..functional.probe._recorder import Watch
from ..utils import FiringRate


class Calls(Watch):
    """Count the calls of layers, and the spikes of those that are neurons, while a `with` block runs.

    Attributes:
        shapes: of each layer's first output.
        count: of calls of each layer.
        steps: that each neuron took.
        samples: of each neuron.
    """

    def __init__(self, layers: Mapping[str, nn.Module], neurons: Mapping[str, nn.Module]) -> None:
        super().__init__(layers)
        self._neurons = neurons
        self._spikes: dict[str, Tensor] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.count: dict[str, int] = {}
        self.steps: dict[str, int] = {}
        self.samples: dict[str, int] = {}

    def _called(self, name: str, layer: nn.Module, args: Any, output: Any) -> None:
        out = output[0] if isinstance(output, tuple) else output
        self.shapes.setdefault(name, tuple(out.shape))
        self.count[name] = self.count.get(name, 0) + 1
        if name in self._neurons:
            out = out if takes_sequence(layer) else out[None]
            if out.dim() < 2 or not out.numel():
                raise ValueError(f"{name or 'net'} must return filled [B, ...] spikes, got shape {self.shapes[name]}")
            fired = (out != 0).sum((0, 1))
            self._spikes[name] = fired + self._spikes[name] if name in self._spikes else fired
            self.steps[name] = self.steps.get(name, 0) + len(out)
            self.samples[name] = out.shape[1]

    @property
    def rates(self) -> dict[str, FiringRate]:
        """What each neuron's layer fires."""
        return {name: FiringRate.of(n, self.steps[name], self.samples[name]) for name, n in self._spikes.items()}
