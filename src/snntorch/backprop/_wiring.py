"""Which layers learn in front of which neurons, in a net of any form: read off the graph of a step."""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .._neurons.neurons import SpikingNeuron
from .._time.arguments import fill, hollow
from .._time.held import aside
from ._cell import Cell, recurrent_layer
from ._traces import WEIGHTED, Synapses

# Operations that keep channels apart, by the names of their gradients.
_CHANNELWISE = set(
    "Add Sub Rsub Mul Div Neg Abs Exp Pow Where Clone ToCopy Alias View UnsafeView ReshapeAlias Squeeze Unsqueeze "
    "Relu LeakyRelu Elu Gelu Silu Sigmoid Tanh Softplus Hardtanh Clamp ClampMin ClampMax NativeDropout "
    "MaxPool2DWithIndices MaxPool3DWithIndices AvgPool2D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D "
    "AdaptiveMaxPool2D AdaptiveMaxPool3D MkldnnMaxPool2D MkldnnAdaptiveAvgPool2D".split()
)


def called_layers(net: nn.Module, x: Tensor) -> list[nn.Module]:
    """The neurons and the layers of weights that a step calls, in order; the step leaves no trace."""
    neurons = [m for m in net.modules() if isinstance(m, SpikingNeuron)]
    inside = {part for neuron in neurons for part in neuron.modules()}.difference(neurons)
    called: list[nn.Module] = []

    def note(layer: nn.Module, args: tuple) -> None:
        if layer in called and (isinstance(layer, SpikingNeuron) or _learns(layer)):
            raise ValueError(f"every layer must occur once in net, {type(layer).__name__} occurs again")
        if isinstance(layer, SpikingNeuron):
            recurrent_layer(layer)  # which refuses what can't be followed
        called.append(layer)

    watched = [m for m in net.modules() if isinstance(m, (SpikingNeuron, *WEIGHTED)) and m not in inside]
    handles = [layer.register_forward_pre_hook(note) for layer in watched]
    devices = [x.device] if x.is_cuda else []
    try:
        with aside(net), torch.random.fork_rng(devices), torch.no_grad():
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    return called


class Wiring:
    """The layers that learn in front of the neurons of a net, found when its first step has run.

    Args:
        net: calls its neurons and layers at every step in the same way.
        layers: what it calls, see `called_layers`.
        rule: makes synapses.
        readout_decay: see `Cell`.
    """

    def __init__(self, net: nn.Module, layers: list[nn.Module], rule: type[Synapses], readout_decay: float) -> None:
        self.net, self.rule = net, rule
        neurons = [layer for layer in layers if isinstance(layer, SpikingNeuron)]
        if not neurons:
            raise TypeError("net must call a spiking neuron, got none")
        self.cells: dict[nn.Module, Cell] = {
            neuron: Cell(neuron, [rule(w, True) for w in recurrent_layer(neuron)], readout_decay) for neuron in neurons
        }
        self.cells[neurons[-1]].spike_decay = 0.0  # the readout itself
        self.layers = [layer for layer in layers if isinstance(layer, WEIGHTED) and _learns(layer)]
        self.calls: dict[nn.Module, tuple[Tensor, Tensor, Any]] = {}
        self.found: list[Synapses] | None = None

    def watch(self) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Hooks that note what layers take and give, and on the net, which tell when a step begins and ends."""
        for layer in self.layers:
            yield layer.register_forward_hook(self._note)
        yield self.net.register_forward_pre_hook(lambda *_: self.cut())
        yield self.net.register_forward_hook(lambda *_: self._tell())

    def _note(self, layer: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
        self.calls[layer] = args[0].detach(), y, y.grad_fn

    def cut(self) -> None:
        """Cut what modules themselves hand on from one step to the next, as spikes that are fed back."""
        inside = {part for neuron in self.cells for part in neuron.modules()}
        for module in self.net.modules():
            for held in (vars(module), module._buffers) if module not in inside else ():
                for name, value in held.items():
                    tensors: list[Tensor] = []
                    template = hollow(value, tensors, lambda t: t.grad_fn is not None)
                    if tensors:
                        held[name] = fill(template, [t.detach() for t in tensors])
        self.calls.clear()

    def _tell(self) -> None:
        """Tell the synapses what went through them in a step."""
        if self.found is None:
            self.found = [synapses for cell in self.cells.values() for synapses in self._in_front_of(cell)]
        for synapses in self.found:
            if synapses.layer not in self.calls:
                raise NotImplementedError(f"net must call the same layers at every step, but not {synapses.layer}")
            synapses.x, synapses.y, _ = self.calls[synapses.layer]

    def _in_front_of(self, cell: Cell) -> Iterator[Synapses]:
        name = type(cell.neuron).__name__
        starts = {node: layer for layer, (_, _, node) in self.calls.items()}
        ends = {t.grad_fn for other in self.cells.values() for t in (other.spk, *other.after)}
        learnt = {id(p): n for n, p in self.net.named_parameters() if p.requires_grad}
        known: dict[Any, set[nn.Module]] = {None: set()}

        def before(node: Any) -> set[nn.Module]:
            if node not in known:
                if node in starts:
                    return {starts[node]}
                if node in ends:
                    return set()
                if id(getattr(node, "variable", None)) in learnt:
                    raise NotImplementedError(
                        f"in front of a neuron only Linear and Conv layers can learn, but "
                        f"{learnt[id(node.variable)]} reaches {name}"
                    )
                known[node] = found = set().union(*(before(n) for n, _ in node.next_functions))
                if found and re.sub(r"Backward\d*$", "", node.name()) not in _CHANNELWISE:
                    layer = next(iter(found))
                    raise NotImplementedError(f"{node.name()} may not stand between {layer} and its neuron, {name}")
            return known[node]

        found = before(cell.input.grad_fn)
        for layer in [layer for layer in self.layers if layer in found]:
            _, y, node = self.calls[layer]
            if y.grad_fn is not node:
                raise NotImplementedError(f"what {layer} gives may not be written to before it reaches {name}")
            channels, size = layer.weight.shape[0], cell.input[0].numel()  # type: ignore[union-attr]
            if len(y) != len(cell.input) or size % channels or (isinstance(layer, nn.Linear) and size != y[0].numel()):
                raise NotImplementedError(
                    f"{layer} gives shape {tuple(y.shape)}, whose channels are not those of {name}'s input "
                    f"{tuple(cell.input.shape)}"
                )
            synapses = self.rule(layer)
            cell.learning.append(synapses)
            yield synapses


def _learns(layer: nn.Module) -> bool:
    return any(p.requires_grad for p in layer.parameters())
