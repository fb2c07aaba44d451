"""Which weights reach which neurons, and how, in a net of any form: read off the graph of its first step."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from .._neurons.neurons import SpikingNeuron
from .._time.arguments import leaves, mapped
from ._cell import Cell
from ._products import LAYERS, Product, Products
from ._traces import DenseTraces, PresynapticTraces, Synapses

# Operations by the names of their gradients: those that bring an element somewhere else, times a constant; those that
# go by element; those that keep channels apart.
_MOVING = set(
    "Add Sub Rsub Neg Clone ToCopy Alias View UnsafeView ReshapeAlias Squeeze Unsqueeze Split SplitWithSizes Slice "
    "Chunk Select Unbind T Transpose Permute Flip Roll Cat Stack ConstantPadNd Gate".split()
)
_ELEMENTWISE = set(
    "Add Sub Rsub Mul Div Neg Abs Exp Expm1 Log Log1P Pow Sqrt Rsqrt Reciprocal Sin Cos Where Clone ToCopy Alias Relu "
    "LeakyRelu Elu Gelu Silu Sigmoid Tanh Softplus Hardtanh Hardsigmoid Clamp ClampMin ClampMax Minimum Maximum "
    "Lerp Erf Gate".split()
)
_CHANNELWISE = _ELEMENTWISE | set(
    "View UnsafeView ReshapeAlias Squeeze Unsqueeze NativeDropout MaxPool2DWithIndices MaxPool3DWithIndices AvgPool2D "
    "AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D AdaptiveMaxPool2D AdaptiveMaxPool3D MkldnnMaxPool2D "
    "MkldnnAdaptiveAvgPool2D".split()
)
MOVED, ELEMENTWISE, CHANNELWISE = 1, 2, 4
_KINDS = {MOVED: _MOVING, ELEMENTWISE: _ELEMENTWISE, CHANNELWISE: _CHANNELWISE}
_ANY = MOVED | ELEMENTWISE | CHANNELWISE


class Wiring:
    """A net's neurons, and the weights that learn in front of them and inside them, known when its first step has run.

    Args:
        net: calls its neurons and layers at every step in the same way.
        rule: makes synapses.
        readout_decay: see `Cell`.

    Attributes:
        cells: the neurons that a step calls, in order.
    """

    def __init__(self, net: nn.Module, rule: type[Synapses], readout_decay: float) -> None:
        self.net, self.rule = net, rule
        self.cells: list[Cell] = []
        neurons = [m for m in net.modules() if isinstance(m, SpikingNeuron)]
        if not neurons:
            raise TypeError("net must hold a spiking neuron, got none")
        self.all_cells = [Cell(neuron, readout_decay, self.cells) for neuron in neurons]
        inside = {part for neuron in neurons for part in neuron.modules()}
        outside = [m for m in net.modules() if m not in inside]
        self.layers = [m for m in outside if isinstance(m, LAYERS)]
        # PyTorch's own modules keep nothing of one step for the next.
        self.keeping = [m for m in outside if not type(m).__module__.startswith("torch.")]
        self.names = {id(p): n for n, p in net.named_parameters() if p.requires_grad}
        self.products = Products()
        self.steps, self.calls = 0, []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note what the net computes in each step."""
        with ExitStack() as stack:
            for layer in self.layers:
                stack.enter_context(self.products.around(layer, ("forward",)))
            for cell in self.all_cells:
                stack.enter_context(cell.watched(self.products))
            yield

    def begin(self) -> None:
        """Forget the last step, and cut what modules themselves hand on to the next, as spikes that are fed back."""
        self.products.found.clear()
        self.cells.clear()
        for module in self.keeping:
            for held in (vars(module), module._buffers):
                for name, value in held.items():
                    if any(t.grad_fn is not None for t in leaves(value)):
                        held[name] = mapped(lambda t: t if t.grad_fn is None else t.detach(), value)

    def end(self) -> None:
        """Find what reaches what: after two steps, as the first may feed nothing back, and where others are called."""
        calls = [*[cell.neuron for cell in self.cells], *[product.owner for product in self.products.found]]
        if self.steps < 2 or calls != self.calls:
            self._wire()
        self.steps, self.calls = self.steps + 1, calls

    def _wire(self) -> None:
        if not self.cells:
            raise TypeError("net must call a spiking neuron, got none")
        self.cells[-1].spike_decay = 0.0  # the readout itself
        self.learnt = [self._learnt(product) for product in self.products.found]
        pairs = zip(self.products.found, self.learnt, strict=True)
        self.starts = {product.node: product for product, learnt in pairs if learnt is not None}
        for cell in self.cells:
            self._wire_cell(cell)
        for cell in self.all_cells:
            if cell.synapses and cell not in self.cells:
                raise NotImplementedError(f"net must call the same neurons at every step, but not {cell.neuron}")
        self.starts = {}  # which would keep the step's graph

    def _learnt(self, product: Product) -> tuple[set[int], Tensor | None] | None:
        """The parameters, by `id`, that weight and bias are or are parts of; the one that an elementwise weight is of.

        None where they are anything else.
        """
        parameters: set[int] = set()
        origin = None
        if product.y.grad_fn is not product.node:  # written to since
            return None
        for t in product.learning:
            leaves = {n.variable: kinds for n, kinds in _reached(t).items() if hasattr(n, "variable")}
            if not all(id(leaf) in self.names for leaf in leaves):
                return None
            if not all(kinds & MOVED for kinds in leaves.values()):
                origin = next(iter(leaves))
                elementwise = len(leaves) == 1 and leaves[origin] & ELEMENTWISE and origin.shape == t.shape
                if t is not product.weight or not elementwise:
                    return None
            parameters |= {id(leaf) for leaf in leaves}
        return parameters, origin

    def _wire_cell(self, cell: Cell) -> None:
        name = type(cell.neuron).__name__
        if cell.spike_decay and cell.spk.shape != cell.after[0].shape:
            raise NotImplementedError(f"readout_decay can't filter {name}'s spikes, whose shape is not its states'")
        ends = {t.grad_fn for other in self.cells if other is not cell for t in (other.spk, *other.after)}
        seen = [get_gradient_edge(s).node if s.requires_grad else None for s in cell.seen]
        flows = [_reached(current, self.starts, ends | set(seen)) for current in cell.currents]
        within = [all(flow[node] & ELEMENTWISE for flow in flows if node in flow) for node in seen]
        currents = {get_gradient_edge(c).node for c in cell.currents if c.requires_grad}
        taken = self._taken(_reached(t, ends=currents | ends) for t in (*cell.after, cell.spk))
        if cell.within is None:
            cell.within = within
            cell.keep(taken)
        if not all(within) and self.steps:
            raise NotImplementedError(f"{name} must make the same of its states at every step, before its own step too")
        if stray := [n for i, n in self.names.items() if i in taken]:
            raise NotImplementedError(
                f"{stray[0]} is not elementwise in {name}'s step: it does not broadcast to the states' shape "
                f"{tuple(cell.after[0].shape)}, or it is reached some other way than as the neuron's own"
            )
        weights = {id(s.parameter): s.parameter for s in cell.synapses.values() if isinstance(s, DenseTraces)}
        weights |= {i: p for i, p in self._taken(flows).items() if i in self.names}
        found: dict[Any, Synapses] = {}
        while (more := self._synapses(cell, flows, weights, found)) is not None:
            weights |= more
        if weights and self.rule is PresynapticTraces:
            raise NotImplementedError(
                f"ottt needs weights of Linear and Conv layers with nothing but poolings, activations and the like "
                f"between them and their neuron, but {self.names[next(iter(weights))]} reaches {name} otherwise; "
                "eprop takes it"
            )
        found |= {i: DenseTraces(p) for i, p in weights.items()}
        if lost := cell.synapses.keys() - found.keys():
            layers = " or ".join({str(s.product.owner) for key, s in cell.synapses.items() if key in lost})
            raise NotImplementedError(f"{layers} must reach {name} in the same way at every step")
        for key, old in cell.synapses.items():
            old.moved_to(found[key])
        cell.synapses = found | cell.synapses

    @staticmethod
    def _taken(flows: Iterable[dict[Any, int]]) -> dict[int, Tensor]:
        variables = [node.variable for flow in flows for node in flow if hasattr(node, "variable")]
        return {id(v): v for v in variables}

    def _synapses(
        self, cell: Cell, flows: Sequence[dict[Any, int]], dense: dict[int, Tensor], found: dict[Any, Synapses]
    ) -> dict[int, Tensor] | None:
        """Fill `found`; the parameters of the first product that has to be `dense`, else None."""
        found.clear()
        for number, (product, learnt) in enumerate(zip(self.products.found, self.learnt, strict=True)):
            reached = [i for i, flow in enumerate(flows) if product.node in flow]
            if learnt is None or not learnt[0] or not reached:
                continue
            kinds = _ANY
            for i in reached:
                kinds &= flows[i][product.node]
            synapses = None
            if not learnt[0] & dense.keys():
                synapses = self._follow(number, [cell.currents[i] for i in reached], reached, kinds, learnt[1])
            if synapses is not None:
                key = (frozenset(learnt[0]), synapses.route is None)
                found[(*key, sum(key == other[:2] for other in found))] = synapses
            elif not learnt[0] <= dense.keys():
                return {id(p): p for p in self.net.parameters() if id(p) in learnt[0]}
        return None

    def _follow(
        self, number: int, currents: list[Tensor], reached: list[int], kinds: int, origin: Tensor | None
    ) -> Synapses | None:
        """The synapses of a product that reaches currents by such operations; None where these mix its channels."""
        product = self.products.found[number]
        if not product.is_linear and product.x.dim() != product.weight.dim():
            return None
        route = _places(product.y, currents) if kinds & MOVED else None
        if self.rule is PresynapticTraces:
            if origin is not None or not kinds & (MOVED | CHANNELWISE):
                return None
            return self.rule(number, reached, route if route is not None and not route.numel() else None)
        if route is None and not (kinds & CHANNELWISE and _keeps_channels(product, currents)):
            return None
        return self.rule(number, reached, route, origin)


def _reached(tensor: Tensor, starts: dict[Any, Product] | None = None, ends: Iterable[Any] = ()) -> dict[Any, int]:
    """What a tensor was made by, back to the `ends`, and by what kinds of operations alone; behind products by any."""
    starts, kinds_of = starts or {}, {}
    todo: list[tuple[Any, int]] = [(get_gradient_edge(tensor).node, _ANY)] if tensor.requires_grad else []
    while todo:
        node, kinds = todo.pop()
        before = kinds_of.get(node)
        if before is not None:
            kinds &= before
        if node is None or kinds == before:
            continue
        kinds_of[node] = kinds
        if node in starts:
            todo.append((starts[node].before, 0))
        elif node not in ends:
            name = re.sub(r"Backward\d*$", "", node.name())
            kinds &= sum(kind for kind, names in _KINDS.items() if name in names)
            todo += [(n, kinds) for n, _ in node.next_functions]
    return kinds_of


def _places(y: Tensor, currents: list[Tensor]) -> Tensor | None:
    """The neuron, counted over samples, that each element of y goes to; empty for its own, None for several."""
    if len(currents) == 1 and currents[0] is y:
        return y.new_zeros(0)
    neurons = torch.arange(currents[0].numel(), device=y.device)
    route = _marks(y, currents, neurons)
    if route is None:
        return None
    alike = y.shape == currents[0].shape and bool((route.flatten() == neurons).all())
    return route.new_zeros(0) if alike else route.clamp(min=0)


def _keeps_channels(product: Product, currents: list[Tensor]) -> bool:
    """Whether a product's channels, the last or second dimension, go to neurons in the same order, each to its own.

    A pooling need not: names do not tell along which dimensions it is.
    """
    y, size = product.y, currents[0][0].numel()
    channels = torch.arange(len(product.weight), device=y.device)
    if size % len(channels):
        return False
    positions = 1 if product.is_linear else size // len(channels)
    found = _marks(
        y, currents, channels.repeat_interleave(positions).repeat(currents[0].numel() // len(channels) // positions)
    )
    own = channels if product.is_linear else channels.view(-1, *[1] * (y.dim() - 2))
    return found is not None and bool(((found == own) | (found < 0)).all())


def _marks(y: Tensor, currents: list[Tensor], marks: Tensor) -> Tensor | None:
    """The mark of the neurons that each element of y goes to; -1 for no neuron, None for several marks.

    Marks go the way back from the neurons, bit by bit, beside a 1.
    """
    bits = torch.arange(max(1, int(marks.max()).bit_length()), device=y.device).view(-1, *[1] * y.dim())
    fields = torch.stack([torch.ones_like(marks), *[marks >> bit & 1 for bit in range(len(bits))]])
    # Currents differ, lest they cancel.
    vectors = [fields.view(-1, *c.shape).to(c.dtype) * (1 + i / 8) for i, c in enumerate(currents)]
    (found,) = torch.autograd.grad(currents, y, vectors, retain_graph=True, is_grads_batched=True)
    one, reaching = found[0], found[1:] != 0
    rounding = 16 * torch.finfo(y.dtype).eps * one.abs()  # of sums that a device makes in no fixed order
    if bool((reaching & ((found[1:] - one).abs() > rounding)).any()):
        return None
    return torch.where(one == 0, -1, (reaching << bits).sum(0))
