"""What a synapse remembers of its past: the traces that forward-mode learning rules carry from step to step."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass
class StepDerivatives:
    """Derivatives of a neuron's new states, each elementwise and of the input's shape; None stands for zero.

    Args:
        jacobian: `jacobian[a][b]`, of new state a by old state b.
        gain: `gain[a]`, of new state a by the input current.
    """

    jacobian: list[list[Tensor | None]]
    gain: list[Tensor | None]


Traces = list[Tensor | None]


def carried(traces: Traces, jacobian: Sequence[Sequence[Tensor | None]], sources: Sequence[Tensor | None]) -> Traces:
    """The traces one step later: `new[a] = sum over b of jacobian[a][b] * old[b] + sources[a]`."""
    result: Traces = []
    for row, source in zip(jacobian, sources, strict=True):
        terms = [] if source is None else [source]
        terms += [j * old for j, old in zip(row, traces, strict=False) if j is not None and old is not None]
        result.append(sum(terms[1:], terms[0]) if terms else None)
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
    """A layer of weights in front of a neuron, or inside it, with the trace of what passed through it.

    A learning rule is a subclass: how the trace advances, and what gradient the past gets from credit.

    Attributes:
        refuses: whether the last gradient asked for what the rule can't give; a tensor, as a look would make the device
            wait. None where it can't be so.
    """

    def __init__(self, layer: nn.Module, recurrent: bool = False) -> None:
        self.layer = layer
        self.recurrent = recurrent
        self.parameters = [p for p in layer.parameters() if p.requires_grad]
        if any(p is not layer.weight and p is not layer.bias for p in self.parameters):
            raise NotImplementedError(f"a layer that learns must hold weight and bias alone, got {layer}")
        self.x = self.y = torch.zeros(0)
        self.traces: Traces = []
        self.refuses: Tensor | None = None

    def watch(self) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Hooks that note the layer's input and output, and cut a recurrent layer's from the step before."""
        if self.recurrent:
            yield self.layer.register_forward_pre_hook(lambda layer, args: tuple(x.detach() for x in args))
        yield self.layer.register_forward_hook(self._note)

    def _note(self, layer: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
        self.x, self.y = args[0].detach(), y

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer with other weights."""
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, weight, bias)
        # A class that crops what the convolution returns says so by a method of this name.
        convolve = getattr(self.layer, "convolve", self.layer._conv_forward)
        return convolve(x, weight, bias)  # type: ignore[operator]

    def _is_current(self, current: Tensor) -> bool:
        """Whether the layer's output is the neuron's input, with no pooling or the like between."""
        return self.recurrent or self.y is current

    def advance(self, derivatives: StepDerivatives, current: Tensor) -> None:
        """Carry the trace over the step that has just run; `current` is the neuron's input."""
        raise NotImplementedError

    def gradient(self, credit: Sequence[Tensor | None], current: Tensor) -> list[Tensor]:
        """Gradient of each of `parameters` by way of the old states, given the loss's gradient by those (`credit`)."""
        raise NotImplementedError


class EligibilityTraces(Synapses):
    """One trace a synapse, sample and state of the postsynaptic neuron: `d state / d weight`, exactly.

    Stored as `[K, B, *neurons]`, where row k belongs to the k-th weight of each neuron's (or channel's) fan-in; the
    last row to the bias, if there is one.
    """

    def __init__(self, layer: nn.Module, recurrent: bool = False) -> None:
        super().__init__(layer, recurrent)
        if getattr(layer, "groups", 1) != 1:
            raise NotImplementedError(f"eprop takes convolutions with groups=1, got {layer}; ottt takes any")

    def advance(self, derivatives: StepDerivatives, current: Tensor) -> None:
        """`e = J e + gain * dI/dw`."""
        local = self._local(current)
        sources = [None if gain is None else gain * local for gain in derivatives.gain]
        self.traces = carried(self.traces, derivatives.jacobian, sources)

    def _local(self, current: Tensor) -> Tensor:
        """`dI/dw`, broadcastable to `[K, B, *neurons]`: what each weight of the fan-in sees at this step."""
        weight: Tensor = self.layer.weight  # type: ignore[assignment]
        if isinstance(self.layer, nn.Linear):
            rows = self.x.movedim(-1, 0).unsqueeze(-1)
        else:  # the convolution that copies out the k-th element of every patch
            identity = torch.eye(weight[0].numel(), dtype=weight.dtype, device=weight.device)
            patches = self.apply(self.x, identity.view(-1, *weight.shape[1:]), None)
            rows = patches.movedim(1, 0).unsqueeze(2)
        if self.layer.bias is not None:
            rows = torch.cat((rows, torch.ones_like(rows[:1])))
        if self._is_current(current):
            return rows
        # Push each row through the layers between: the derivative of their vector-Jacobian product by its vector.
        vector = torch.zeros_like(current, requires_grad=True)
        (product,) = torch.autograd.grad(current, self.y, vector, create_graph=True)
        rows = rows.expand(-1, *self.y.shape)
        return torch.autograd.grad(product, vector, rows, is_grads_batched=True)[0]

    def gradient(self, credit: Sequence[Tensor | None], current: Tensor) -> list[Tensor]:
        """Credit times trace, summed over states, samples and positions."""
        weight: Tensor = self.layer.weight  # type: ignore[assignment]
        channels = len(weight)
        positions = 1 if isinstance(self.layer, nn.Linear) else math.prod(current.shape[1:]) // channels
        total = weight.new_zeros(0)
        for c, trace in zip(credit, self.traces, strict=False):
            if c is not None and trace is not None:
                trace = trace.expand(len(trace), *c.shape).reshape(len(trace), -1, channels, positions)
                term = torch.einsum("kmcp,mcp->ck", trace, c.reshape(-1, channels, positions))
                total = total + term if total.numel() else term
        if not total.numel():
            return [torch.zeros_like(p) for p in self.parameters]
        fan_in = weight[0].numel()
        return [total[:, :fan_in].reshape(weight.shape) if p is weight else total[:, -1] for p in self.parameters]


class PresynapticTraces(Synapses):
    """One trace a presynaptic neuron, sample and state: the layer's inputs, filtered as the states filter a current.

    It stands for an eligibility trace wherever every neuron filters alike, with one number for each derivative. That a
    state's trace stands for none does no harm where nothing reads that state.

    Attributes:
        unalike: for each state, whether its trace stands for none.
    """

    def __init__(self, layer: nn.Module, recurrent: bool = False) -> None:
        super().__init__(layer, recurrent)
        self.bias_traces: Traces = []
        self.unalike: Traces = []

    def advance(self, derivatives: StepDerivatives, current: Tensor) -> None:
        """`a = J a + gain * x`, with J and gain as numbers."""
        jacobian = [[self._number(j) for j in row] for row in derivatives.jacobian]
        gain = [self._number(g) for g in derivatives.gain]
        self.traces = carried(self.traces, jacobian, [None if g is None else g * self.x for g in gain])
        self.bias_traces = carried(self.bias_traces, jacobian, gain)
        rows = zip(derivatives.jacobian, derivatives.gain, strict=True)
        self.unalike = [self._differs(row, gain) for row, gain in rows]

    @staticmethod
    def _number(derivative: Tensor | None) -> Tensor | None:
        return None if derivative is None else derivative.flatten()[0]

    def _differs(self, row: Sequence[Tensor | None], gain: Tensor | None) -> Tensor | None:
        """Whether neurons differ in a derivative of a state, or it goes on from one in which they did."""
        found = [(d != self._number(d)).any() for d in (*row, gain) if d is not None]
        before = zip(row, self.unalike, strict=False)
        found += [j.any() & old for j, old in before if j is not None and old is not None]
        return torch.stack(found).any() if found else None

    def gradient(self, credit: Sequence[Tensor | None], current: Tensor) -> list[Tensor]:
        """What the layer's own backward makes of the credit and the trace in place of its input."""
        weight, bias = self.layer.weight, self.layer.bias
        totals, refusing = [torch.zeros_like(p) for p in self.parameters], []
        for c, x, scale, unalike in zip(credit, self.traces, self.bias_traces, self.unalike, strict=False):
            if c is None or x is None or scale is None:
                continue
            if unalike is not None:
                refusing.append(c.any() & unalike)
            if not self._is_current(current):
                (c,) = torch.autograd.grad(current, self.y, c, retain_graph=True)
            terms = torch.autograd.grad(self.apply(x, weight, bias), self.parameters, c)  # type: ignore[arg-type]
            for p, total, term in zip(self.parameters, totals, terms, strict=True):
                total += term * scale if p is bias else term
        self.refuses = torch.stack(refusing).any() if refusing else None
        return totals
