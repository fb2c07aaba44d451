"""Count what a network does while it runs: activations, synaptic operations, membrane updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from .._neurons.neurons import SpikingNeuron
from ..functional.probe._recorder import is_neuron
from .energy import Energy, EnergyModel
from .static import CONNECTIONS


@dataclass
class LayerCount:
    """Totals of one layer, over all its calls.

    Attributes:
        macs: effective operations of the calls with a real-valued input.
        acs: effective operations of the calls whose input holds -1, 0 and 1 alone.
        dense: operations if no input and no weight were zero.
        activations: elements of its outputs, where it is an activation.
        nonzero: how many of them were not zero.
        membrane_updates: how often a membrane potential changed.

    Example:
        >>> import torch
        >>> from snntorch.metrics import Workload
        >>> net = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
        >>> workload = Workload(net)
        >>> with workload.batch(1):
        ...     _ = net(torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
        >>> workload.layers["0"].acs, workload.layers["0"].dense
        (4, 8)
    """

    macs: int = 0
    acs: int = 0
    dense: int = 0
    activations: int = 0
    nonzero: int = 0
    membrane_updates: int = 0


def is_activation(module: nn.Module) -> bool:
    """What NeuroBench takes for an activation, and neurons that take a whole sequence."""
    return isinstance(module, SpikingNeuron | nn.ReLU | nn.Sigmoid) or is_neuron(module)


def _operations(layer: Any, weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Counts the pairs of an input and a weight that meet in the layer, where neither is zero.

    The count is linear in the batch and in the output channels, so both are summed first: one small product in place of
    a second forward. Integers up to 2**53 are exact in it.
    """
    weight = (weight != 0).double()
    if isinstance(layer, nn.Linear):
        fan_out = weight.sum(0)
        return lambda x: ((x != 0).double().reshape(-1, x.shape[-1]).sum(0) * fan_out).sum().long()
    kernel = weight.unflatten(0, (layer.groups, -1)).sum(1)
    kind = type_before_parametrizations(layer)
    plain = object.__new__(kind)  # runs the layer's own forward, which may pad or crop, on this kernel
    plain.__dict__.update(layer.__dict__, _parameters={"weight": kernel, "bias": None})
    inputs = 1 - weight.dim()  # dimensions of one sample

    def count(x: Tensor) -> Tensor:
        found: Tensor = plain.forward((x != 0).double().reshape(-1, *x.shape[inputs:]).sum(0)[None])
        return found.sum().long()

    return count


def _per_sample(kind: str, doc: str) -> Any:
    """A metric: the layers' totals of a kind, per sample."""

    def get(self: Workload) -> float:
        if not self.samples:
            raise ValueError("nothing was counted yet: run the network inside batch(samples)")
        return sum(getattr(layer, kind) for layer in self.layers.values()) / self.samples

    return property(get, doc=doc)


class Workload:
    """NeuroBench's metrics of a network that runs: activation sparsity, synaptic operations, membrane updates.

    Run each batch inside `batch`, in any way: in a loop over time, by `snn.unroll` (which calls every layer
    once a step where hooks watch it, so the numbers are the loop's), or in the network's own forward. Totals build up
    over batches. Definitions (Yik et al., "The NeuroBench framework for benchmarking neuromorphic computing algorithms
    and systems", Nature Communications 16, 2025), with what may surprise in them:

    - Synaptic operations are those of Linear and Conv layers (also inside recurrent neurons), per sample, summed over
      steps: pairs of a nonzero input and a nonzero weight. Biases and padding count nothing.
    - They are ACs where the input of a call, of the whole batch in one step, holds -1, 0 and 1 alone, else MACs: so a
      black-and-white image is "spiking", spikes behind an average pooling are not, and one real-valued sample turns
      the operations of all that share its batch into MACs.
    - Nothing is kept but counts, so that a sequence may come in chunks, all of them in one `batch`: their totals are
      those of the whole sequence.
    - Activation sparsity is the share of zeros in the outputs of neurons, and of every `nn.ReLU` and `nn.Sigmoid`.
    - A membrane update is a potential that differs before and after a call. In the first call of a batch every neuron
      counts, so a sequence cut into two batches counts more, and a neuron that takes the whole sequence in one call
      counts once. Neurons without a `mem` count none.

    NeuroBench sums in float32, which is exact up to 2**24 operations a call; here all sums are exact.

    Args:
        net: the network, or a single layer.

    Attributes:
        layers: a `LayerCount` for each counted layer, by its name in `net.named_modules()`.
        samples: how many samples ran.

    Raises:
        ValueError: the network has nothing to count.

    Example:
        >>> import snntorch as snn, torch
        >>> net = nn.Sequential(nn.Linear(3, 4), snn.Leaky(beta=0.9, init_hidden=True))
        >>> workload = Workload(net)
        >>> with workload.batch(samples=2):
        ...     spikes = snn.unroll(net, torch.ones(10, 2, 3))
        >>> workload.acs, workload.macs, workload.dense, workload.membrane_updates
        (120.0, 0.0, 120.0, 40.0)
    """

    def __init__(self, net: nn.Module) -> None:
        modules = dict(net.named_modules())
        self._connections = {name: module for name, module in modules.items() if isinstance(module, CONNECTIONS)}
        self._activations = {name: module for name, module in modules.items() if is_activation(module)}
        if not self._connections and not self._activations:
            raise ValueError(f"net has no Linear or Conv layer and no activation to count: {type(net).__name__}")
        named = self._connections | self._activations
        self.layers = {name: LayerCount() for name in modules if name in named}
        self.samples = 0
        self._weights = {
            name: module
            for name, module in modules.items()
            if any(p.dim() > 1 for p in module.parameters(recurse=False)) and name not in self._connections
        }
        self._called: set[str] = set()

    @contextmanager
    def batch(self, samples: int) -> Iterator[Workload]:
        """Count what runs in this `with` block as one batch.

        Args:
            samples: how many samples the batch holds. Their number divides the totals.

        Raises:
            ValueError: `samples` is not a positive integer.
        """
        if not isinstance(samples, int) or samples < 1:
            raise ValueError(f"samples must be a positive int, got {samples!r}")
        with ExitStack() as hooks:
            for name, module in self._connections.items():
                operations = _operations(module, module.weight.detach())  # type: ignore[union-attr,operator]
                dense = _operations(module, torch.ones_like(module.weight))  # type: ignore[arg-type]
                hooks.enter_context(module.register_forward_hook(partial(self._connect, name, operations, dense)))
            before: dict[str, list[Tensor]] = {name: [] for name in self._activations}
            for name, module in self._activations.items():
                hooks.enter_context(module.register_forward_pre_hook(partial(self._look, before[name])))
                hooks.enter_context(module.register_forward_hook(partial(self._activate, name, before[name])))
            try:
                yield self
            finally:
                for layer in self.layers.values():
                    vars(layer).update({kind: int(count) for kind, count in vars(layer).items()})
            self.samples += samples

    @torch.no_grad()
    def _connect(
        self, name: str, operations: Callable, dense: Callable, module: nn.Module, args: tuple, output: Any
    ) -> None:
        # Tensors until the batch is over: a look at a value would stop what runs together over time.
        x, count = args[0].detach(), self.layers[name]
        spiking = ((x == 0) | (x.abs() == 1)).all()
        effective: Any = operations(x)
        count.acs = count.acs + effective * spiking
        count.macs = count.macs + effective * ~spiking
        count.dense = count.dense + dense(torch.ones_like(x))
        self._called.add(name)

    @staticmethod
    def _look(before: list[Tensor], module: nn.Module, args: Any) -> None:
        """Keep the potential before the step; the first of a batch is not compared with."""
        if isinstance(getattr(module, "mem", None), Tensor):
            before.append(module.mem.detach())  # type: ignore[union-attr,arg-type]

    @torch.no_grad()
    def _activate(self, name: str, before: list[Tensor], module: nn.Module, args: Any, output: Any) -> None:
        spikes, count = output[0] if isinstance(output, tuple) else output, self.layers[name]
        count.activations += spikes.numel()
        count.nonzero = count.nonzero + spikes.count_nonzero()
        if before:
            mem, last = module.mem.detach(), before[-1]  # type: ignore[union-attr,operator]
            first = len(before) == 1 or last.shape != mem.shape
            changed: Any = mem.numel() if first else (mem != last).sum()
            count.membrane_updates = count.membrane_updates + changed
            del before[1:]

    # -- the metrics

    @property
    def activation_sparsity(self) -> float:
        """Share of zeros among all activations; 0 where there are none, as in NeuroBench."""
        total = sum(layer.activations for layer in self.layers.values())
        nonzero = sum(layer.nonzero for layer in self.layers.values())
        return (total - nonzero) / total if total else 0.0

    macs: float = _per_sample("macs", "Effective multiply-accumulates per sample.")
    acs: float = _per_sample("acs", "Effective accumulates per sample.")
    dense: float = _per_sample("dense", "Synaptic operations per sample if nothing were zero.")
    membrane_updates: float = _per_sample("membrane_updates", "Membrane updates per sample.")

    @property
    def uncounted(self) -> list[str]:
        """Names of the modules with a weight matrix whose operations are not in the numbers.

        They are of other kinds than Linear and Conv, or something else than their own call used their weight.
        """
        return [*self._weights, *(name for name in self._connections if name not in self._called)]

    def energy(self, model: EnergyModel | None = None) -> Energy:
        """Estimate the energy per sample, in joules.

        Args:
            model: its assumptions; by default those of `EnergyModel`.
        """
        return (model or EnergyModel()).estimate(self.macs, self.acs, self.membrane_updates)
