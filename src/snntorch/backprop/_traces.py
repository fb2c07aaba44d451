"""What weights remember of their past: the traces that forward-mode learning rules carry from step to step."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ._products import Product

Traces = list[Tensor | None]
Jacobian = Sequence[Traces]


def carried(traces: Traces, jacobian: Jacobian, gains: Jacobian, local: Traces) -> Traces:
    """The traces one step later: of each state what of all their traces is left, and what this step adds.

    `new[a] = sum over b of jacobian[a][b] * old[b] + sum over i of gains[a][i] * local[i]`.
    """
    result: Traces = []
    for row, gain in zip(jacobian, gains, strict=True):
        new = None
        for factor, other in chain(zip(row, traces, strict=False), zip(gain, local, strict=True)):
            if factor is not None and other is not None:
                new = factor * other if new is None else new.addcmul_(factor, other)
        result.append(new)
    return result


def gradients_of(y: Tensor, by: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradient of the sum of y by each tensor: for elementwise dependence all its derivatives. None for no dependence.

    The graph is kept.
    """
    live = [b for b in by if b.requires_grad]
    if not live or not y.requires_grad:
        return [None] * len(by)
    found = iter(torch.autograd.grad(y, live, torch.ones_like(y), retain_graph=True, allow_unused=True))
    return [next(found) if b.requires_grad else None for b in by]


class Synapses:
    """Weights in front of a neuron, or inside it, with the trace of what passed through them.

    A learning rule is a subclass: how the trace advances, and what gradient the past gets from credit. A neuron's
    *currents* are what its step takes beside states. Derivatives of its new states come as `jacobian[a][b]`, of new
    state a by old state b, and `gains[a][i]`, of new state a by the i-th tensor of `reads`; each is elementwise, and
    None stands for zero.

    Args:
        number: which of a step's products it is.
        reached: the numbers of the currents that it reaches.
        route: the neuron, counted over samples, that each of the product's elements goes to; empty where they are in
            the same order, None where there is pooling or the like between.
        origin: the parameter of which the weight is made elementwise, as by a mask.

    Attributes:
        refuses: whether a gradient so far asked for what the rule can't give; a tensor, as a look would make the device
            wait. None where it can't be so.
    """

    def __init__(
        self, number: int, reached: Sequence[int], route: Tensor | None = None, origin: Tensor | None = None
    ) -> None:
        self.number, self.reached, self.route, self.origin = number, reached, route, origin
        self.traces: Traces = []
        self.refuses: Tensor | None = None
        self.product: Product

    def begin(self, products: Sequence[Product], currents: Sequence[Tensor]) -> None:
        """Take what this step computed."""
        self.product = products[self.number]
        self.currents = [currents[i] for i in self.reached]

    def moved_to(self, other: "Synapses") -> None:
        """Go on where others are, in a step that computes more than the one before."""
        self.number, self.reached, self.route, self.origin = other.number, other.reached, other.route, other.origin

    @property
    def reads(self) -> Sequence[Tensor]:
        """By what the states' derivatives are wanted: the product, where each of its elements goes to one neuron."""
        return self.currents if self.route is None else [self.product.y]

    def advance(self, jacobian: Jacobian, gains: Jacobian) -> None:
        """Carry the trace over the step that has just run."""
        raise NotImplementedError

    def gradient(self, credit: Sequence[Tensor | None]) -> list[tuple[Tensor, Tensor]]:
        """Tensors that learn, each with its gradient by way of the old states, given the loss's by those (`credit`)."""
        raise NotImplementedError


class EligibilityTraces(Synapses):
    """One trace a synapse, sample and state of the postsynaptic neuron: `d state / d weight`, exactly.

    Stored as `[K, *y]`, or `[K, B, *neurons]` where there is pooling or the like between, where row k belongs to the
    k-th weight of each channel's fan-in; the last row to the bias, if there is one.
    """

    def advance(self, jacobian: Jacobian, gains: Jacobian) -> None:
        """`e = J e + gain * dI/dw`."""
        rows = self._rows()
        local: Traces = [rows] if self.route is not None else [self._pushed(rows, current) for current in self.currents]
        self.traces = carried(self.traces, [[self._spread(j) for j in row] for row in jacobian], gains, local)

    def _spread(self, values: Tensor | None) -> Tensor | None:
        """The neurons' values, at the elements of the product that go to them."""
        if values is None or values.dim() == 0 or self.route is None or not self.route.numel():
            return values
        return values.reshape(-1)[self.route]

    def _rows(self) -> Tensor:
        """`dy/dw`, broadcastable to `[K, *y]`: what each weight of the fan-in sees at this step."""
        product, rows = self.product, []
        weight = product.weight
        if weight.requires_grad:
            if product.is_linear:
                rows.append(product.x.movedim(-1, 0).unsqueeze(-1))
            else:  # the convolution that copies out the k-th element of every patch
                size, groups = weight[0].numel(), product.x.shape[1] // weight.shape[1]
                identity = torch.eye(size, dtype=weight.dtype, device=weight.device).view(size, *weight.shape[1:])
                patches = product.again(product.x, identity.repeat(groups, *[1] * (weight.dim() - 1)))
                row = patches.unflatten(1, (groups, size)).movedim(2, 0)
                rows.append(row if groups == 1 else row.repeat_interleave(len(weight) // groups, 2))
            if self.origin is not None:
                (slope,) = torch.autograd.grad(weight, self.origin, torch.ones_like(weight), retain_graph=True)
                shape = [1] * product.y.dim()
                shape[-1 if product.is_linear else 1] = len(weight)
                rows[0] = rows[0] * slope.flatten(1).t().reshape(-1, *shape)
        if product.bias is not None and product.bias.requires_grad:
            rows.append(torch.ones_like(rows[0][:1]) if rows else product.y.new_ones((1,) * (product.y.dim() + 1)))
        return torch.cat(rows)

    def _pushed(self, rows: Tensor, current: Tensor) -> Tensor:
        """Each row through the layers between: the derivative of their vector-Jacobian product by its vector."""
        y = self.product.y
        vector = torch.zeros_like(current, requires_grad=True)
        (product,) = torch.autograd.grad(current, y, vector, create_graph=True)
        return torch.autograd.grad(product, vector, rows.expand(-1, *y.shape), is_grads_batched=True)[0]

    def gradient(self, credit: Sequence[Tensor | None]) -> list[tuple[Tensor, Tensor]]:
        """Credit times trace, summed over states, samples and positions."""
        weight, channels = self.product.weight, len(self.product.weight)
        terms = []
        for c, trace in zip(map(self._spread, credit), self.traces, strict=False):
            if c is not None and trace is not None:
                positions = 1 if self.product.is_linear else c[0].numel() // channels
                trace = trace.expand(len(trace), *c.shape).reshape(len(trace), -1, channels, positions)
                terms.append((trace * c.reshape(-1, channels, positions)).sum((1, 3)).t())  # faster than einsum
        total = _sum(terms)
        if total is None:
            return []
        of_weight = weight if self.origin is None else self.origin
        return [
            (of_weight, total[:, : weight[0].numel()].reshape(t.shape)) if t is weight else (t, total[:, -1])
            for t in self.product.learning
        ]


class DenseTraces(Synapses):
    """One trace a weight, neuron, sample and state, `[B * neurons, weights]`, however a current depends on it."""

    def __init__(self, parameter: Tensor) -> None:
        super().__init__(-1, ())
        self.parameter = parameter

    def begin(self, products: Sequence[Product], currents: Sequence[Tensor]) -> None:
        """Take what this step computed."""
        self.currents = [current for current in currents if current.requires_grad]

    def advance(self, jacobian: Jacobian, gains: Jacobian) -> None:
        """`e = J e + gain * dI/dw`."""
        local = [self._derivatives(current) for current in self.currents]
        self.traces = carried(self.traces, _columns(jacobian), _columns(gains), local)

    def _derivatives(self, current: Tensor) -> Tensor | None:
        size = current.numel()
        each = torch.eye(size, dtype=current.dtype, device=current.device).view(size, *current.shape)
        (found,) = torch.autograd.grad(
            current, self.parameter, each, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        return None if found is None else found.reshape(size, -1)

    def gradient(self, credit: Sequence[Tensor | None]) -> list[tuple[Tensor, Tensor]]:
        """Credit times trace, summed over states, samples and neurons."""
        pairs = zip(credit, self.traces, strict=False)
        total = _sum([c.flatten() @ trace for c, trace in pairs if c is not None and trace is not None])
        return [] if total is None else [(self.parameter, total.view(self.parameter.shape))]


class PresynapticTraces(Synapses):
    """One trace a presynaptic neuron, sample and state: the product's inputs, filtered as states filter a current.

    It stands for an eligibility trace wherever every neuron filters alike, with one number for each derivative. That a
    state's trace stands for none does no harm where nothing reads that state.

    Attributes:
        unalike: for each state, whether its trace stands for none.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.bias_traces: Traces = []
        self.unalike: Traces = []

    def advance(self, jacobian: Jacobian, gains: Jacobian) -> None:
        """`a = J a + gain * x`, with J and gain as numbers."""
        numbers = [[_number(j) for j in row] for row in jacobian]
        gain = [next((_number(g) for g in row if g is not None), None) for row in gains]
        by_one = [[g] for g in gain]
        self.traces = carried(self.traces, numbers, by_one, [self.product.x])
        self.bias_traces = carried(self.bias_traces, numbers, by_one, [self.product.x.new_ones(())])
        self.unalike = [self._differs(*rows) for rows in zip(jacobian, gains, gain, strict=True)]

    def _differs(self, row: Traces, gains: Traces, gain: Tensor | None) -> Tensor | None:
        """Whether neurons differ in a derivative of a state, or it goes on from one in which they did."""
        found = [(d != _number(d)).any() for d in row if d is not None]
        if gain is not None:  # a current that a state does not read may not bring this product
            found += [torch.ones_like(gain, dtype=torch.bool) if g is None else (g != gain).any() for g in gains]
        before = zip(row, self.unalike, strict=False)
        found += [j.any() & old for j, old in before if j is not None and old is not None]
        return torch.stack(found).any() if found else None

    def gradient(self, credit: Sequence[Tensor | None]) -> list[tuple[Tensor, Tensor]]:
        """What the product's own backward makes of the credit and the trace in place of its input."""
        product = self.product
        learning, refusing = product.learning, []
        totals: dict[int, list[Tensor]] = {}
        for c, x, scale, unalike in zip(credit, self.traces, self.bias_traces, self.unalike, strict=False):
            if c is None or x is None or scale is None:
                continue
            if unalike is not None:
                refusing.append(c.any() & unalike)
            if self.route is None:
                (c,) = torch.autograd.grad(self.currents, product.y, [c] * len(self.currents), retain_graph=True)
            again = product.again(x.to(product.x.dtype), product.weight, product.bias)
            terms = torch.autograd.grad(again, learning, c.view_as(again).to(again.dtype))
            for t, term in zip(learning, terms, strict=True):
                totals.setdefault(id(t), []).append(term * scale if t is product.bias else term)
        pairs = [(t, _sum(totals.get(id(t), []))) for t in learning]
        refusing += [self.refuses] if self.refuses is not None else []
        self.refuses = torch.stack(refusing).any() if refusing else None
        return [(t, total) for t, total in pairs if total is not None]


def _columns(rows: Jacobian) -> list[Traces]:
    return [[None if d is None else d.reshape(-1, 1) for d in row] for row in rows]


def _sum(terms: Sequence[Tensor]) -> Tensor | None:
    return sum(terms[1:], terms[0]) if terms else None


def _number(derivative: Tensor | None) -> Tensor | None:
    return None if derivative is None else derivative.flatten()[0]
