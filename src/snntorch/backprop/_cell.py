"""A net's neurons with their synapses, run so that what a step's learning needs can be read off them."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .._neurons.neurons import SpikingNeuron
from .._neurons.noisyleaky import NoisyLeaky
from .._neurons.recurrent import RecurrentOneToOne
from ._traces import (
    WEIGHTED,
    StepDerivatives,
    Synapses,
    Traces,
    carried,
    gradients_of,
)

# Layers that keep channels apart, so that they may stand between weights and their neuron.
_CHANNELWISE = (
    nn.Identity, nn.Flatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus,
)  # fmt: skip


class Cell:
    """A neuron of the net, run so that the derivatives of one step can be read off it.

    Its old states are leaves of the step's graph; so are copies of its learnable parameters, one value an element.
    With `spike_decay`, the filtered spikes `f = spike_decay * f + spk` count as one more state.
    """

    def __init__(self, neuron: SpikingNeuron, synapses: list[Synapses], spike_decay: float) -> None:
        self.neuron = neuron
        self.synapses = synapses
        self.learning = [s for s in synapses if s.parameters]  # a recurrent layer may be frozen
        self.spike_decay = spike_decay
        weights = {id(p) for s in synapses if s.recurrent for p in s.parameters}
        self.parameters = {n: p for n, p in neuron.named_parameters() if p.requires_grad and id(p) not in weights}
        self.traces: dict[str, Traces] = {}
        self.before: list[Tensor] = []

    def watch(self) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Hooks that put leaves in the place of the neuron's input, states and parameters, and read what it makes."""
        yield self.neuron.register_forward_pre_hook(self._begin, with_kwargs=True)
        yield self.neuron.register_forward_hook(self._end, always_call=True)

    def _begin(self, neuron: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if len(args) != 1 or kwargs:
            raise NotImplementedError(
                f"{type(neuron).__name__} is called with states, but traces follow those that it keeps itself; give it "
                "init_hidden=True"
            )
        (x,) = args
        self.input = x if x.requires_grad else x.detach().requires_grad_()
        if tuple(self.neuron.state_shape(x)) != tuple(x.shape):
            raise NotImplementedError(f"{type(self.neuron).__name__} is not elementwise: its states have another shape")
        # What it starts from may depend on its parameters, so that the first step begins with nothing.
        old = self._old(x) if self.before else [torch.zeros(0, device=x.device) for _ in self.neuron.states]
        for name, state in zip(self.neuron.states, old, strict=True):
            setattr(self.neuron, name, state)
        self.before = old
        self.copies: dict[str, Tensor] = {name: self._copy(name, p, x) for name, p in self.parameters.items()}
        self._let_hold(self.copies)
        return (self.input,), {}

    def _end(self, neuron: nn.Module, args: tuple, out: Any) -> None:
        self._let_hold(self.parameters)
        if out is not None:  # else an error is on its way
            self.spk = out if isinstance(out, Tensor) else out[0]
            self.after = [getattr(self.neuron, name) for name in self.neuron.states]

    def _let_hold(self, parameters: Mapping[str, Tensor]) -> None:
        for name, parameter in parameters.items():
            holder, _, own = name.rpartition(".")
            setattr(self.neuron.get_submodule(holder), own, parameter)

    def _old(self, x: Tensor) -> list[Tensor]:
        states = [self.neuron._stored_state(name, x, x.shape) for name in self.neuron.states]
        return [s.detach().requires_grad_() for s in states]

    def _copy(self, name: str, parameter: Tensor, x: Tensor) -> nn.Parameter:
        try:
            return nn.Parameter(parameter.detach().expand(x.shape).clone())
        except RuntimeError:
            raise NotImplementedError(
                f"{type(self.neuron).__name__}.{name} of shape {tuple(parameter.shape)} is not elementwise: it does "
                f"not broadcast to the input's shape {tuple(x.shape)}"
            ) from None

    @property
    def leaves(self) -> list[Tensor]:
        """What the loss of this step is to be differentiated by: old states, parameters, and the spikes if filtered."""
        return [*self.before, *self.copies.values(), *[self.spk] * bool(self.spike_decay)]

    def learn(self, gradients: list[Tensor | None]) -> Iterator[tuple[Tensor, Tensor]]:
        """Parameters and their gradients from this step's loss, given its gradients by the `leaves`."""
        count = len(self.before)
        credit = gradients[:count]
        if self.spike_decay and (by_spike := gradients[-1]) is not None:
            credit = [*credit, self.spike_decay * by_spike]
        direct = gradients[count : count + len(self.parameters)]
        for (name, parameter), gradient in zip(self.parameters.items(), direct, strict=True):
            terms = [] if gradient is None else [gradient]
            past = zip(credit, self.traces.get(name, []), strict=False)
            terms += [c * e for c, e in past if c is not None and e is not None]
            yield from ((parameter, term.sum_to_size(parameter.shape)) for term in terms)
        for synapses in self.learning:
            yield from zip(synapses.parameters, synapses.gradient(credit, self.input), strict=True)

    def advance(self) -> None:
        """Carry all traces over this step."""
        by = [self.input, *self.before, *self.copies.values()]
        count = len(self.before)
        rows = [gradients_of(new, by) for new in (*self.after, self.spk)]
        # A state that nothing reads a step later, such as the spikes that recurrent weights were cut from, needs no
        # trace; the first step does not tell. The spikes' row counts as one more state where they are filtered.
        first = not any(old.requires_grad for old in self.before)
        read = [first or any(row[1 + b] is not None for row in rows) for b in range(count)] + [bool(self.spike_decay)]
        rows = [row if used else [None] * len(by) for row, used in zip(rows, read, strict=True)]
        jacobian = [[*row[1 : 1 + count], None] for row in rows]
        if self.spike_decay:
            jacobian[-1][-1] = self.input.new_full((), self.spike_decay)
        derivatives = StepDerivatives(jacobian, [row[0] for row in rows])
        for synapses in self.learning:
            synapses.advance(derivatives, self.input)
        for i, name in enumerate(self.parameters):
            sources = [row[1 + count + i] for row in rows]
            self.traces[name] = carried(self.traces.get(name, []), jacobian, sources)


def layers_of(net: nn.Module) -> list[nn.Module] | None:
    """The layers of a row of layers, in the order in which data passes them; None for a net of another form."""
    if isinstance(net, nn.Sequential) and type(net).forward is nn.Sequential.forward:
        parts = [layers_of(child) for child in net]
        return None if None in parts else [layer for part in parts for layer in part or ()]
    return (
        [net]
        if isinstance(net, SpikingNeuron) or not any(isinstance(m, SpikingNeuron) for m in net.modules())
        else None
    )


def cells_of(layers: list[nn.Module], rule: type[Synapses], readout_decay: float) -> dict[nn.Module, Cell]:
    """Each neuron with the weights in front of it and inside it."""
    cells: dict[nn.Module, Cell] = {}
    segment: list[nn.Module] = []  # the layers since the last neuron
    for i, layer in enumerate(layers):
        if layer in layers[:i] and (isinstance(layer, SpikingNeuron) or list(layer.parameters())):
            raise ValueError(f"every layer must occur once in net, {type(layer).__name__} occurs again")
        if isinstance(layer, SpikingNeuron):
            synapses = [rule(w) for w in _learning_layer(segment)] + [rule(w, True) for w in recurrent_layer(layer)]
            cells[layer] = Cell(layer, synapses, readout_decay)
            segment = []
        else:
            segment.append(layer)
    if not cells:
        raise TypeError("net must hold a spiking neuron, got none")
    cells[next(reversed(cells))].spike_decay = 0.0  # the readout itself
    return cells


def _learning_layer(segment: list[nn.Module]) -> list[nn.Module]:
    """The one layer of weights that learns, of those in front of a neuron."""
    learning = [layer for layer in segment if any(p.requires_grad for p in layer.parameters())]
    for layer in learning:
        if type(layer) not in WEIGHTED:
            raise NotImplementedError(f"in front of a neuron only Linear and Conv layers can learn, got {layer}")
    if len(learning) > 1:
        raise NotImplementedError(f"in front of a neuron only one layer can learn, got {learning[0]}, {learning[1]}")
    if learning:
        for layer in segment[segment.index(learning[0]) + 1 :]:
            if type(layer) not in _CHANNELWISE or getattr(layer, "inplace", False):
                raise NotImplementedError(f"{layer} may not stand between a layer that learns and its neuron")
    return learning


def recurrent_layer(neuron: SpikingNeuron) -> list[nn.Module]:
    """The weights inside a recurrent neuron that learn."""
    name = type(neuron).__name__
    if neuron.takes_sequence or type(neuron).forward is not SpikingNeuron.forward:
        raise NotImplementedError(f"{name} does not run step by step")
    if neuron.overrides:
        raise NotImplementedError(f"{name} overrides {', '.join(neuron.overrides)}, but traces follow its step")
    overridden = [n for n in ("project", "drive") if getattr(type(neuron), n, 0) is not getattr(SpikingNeuron, n, 0)]
    recurrent = getattr(neuron, "recurrent", None)
    elementwise = isinstance(recurrent, RecurrentOneToOne) or isinstance(neuron, NoisyLeaky)
    if not overridden or (overridden == ["drive"] and elementwise):
        return []
    if overridden != ["drive"] or not isinstance(recurrent, WEIGHTED):
        raise NotImplementedError(f"{name} mixes its input and states by other weights than a recurrent Linear or Conv")
    return [recurrent]
