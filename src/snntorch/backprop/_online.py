"""Learning forward in time: e-prop and OTTT, whose memory does not grow with the number of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .._neurons.neurons import SpikingNeuron
from .._neurons.recurrent import RecurrentOneToOne
from ..utils import detach, reset
from ._feedback import Broadcast, RandomFeedback
from ._traces import (
    WEIGHTED,
    EligibilityTraces,
    PresynapticTraces,
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


class _Cell:
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

    def __call__(self, x: Tensor) -> Any:
        self.input = x if x.requires_grad else x.detach().requires_grad_()
        if tuple(self.neuron.state_shape(x)) != tuple(x.shape):
            raise NotImplementedError(f"{type(self.neuron).__name__} is not elementwise: its states have another shape")
        for name in self.neuron.states:
            state = self.neuron._stored_state(name, x, x.shape)
            setattr(self.neuron, name, state.detach().requires_grad_())
        self.before = [getattr(self.neuron, name) for name in self.neuron.states]
        self.copies: dict[str, Tensor] = {name: self._copy(name, p, x) for name, p in self.parameters.items()}
        out = functional_call(self.neuron, self.copies, (self.input,)) if self.copies else self.neuron(self.input)
        self.spk = out if isinstance(out, Tensor) else out[0]
        self.after = [getattr(self.neuron, name) for name in self.neuron.states]
        return out

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
        # trace. The spikes' row counts as one more state where they are filtered.
        read = [any(row[1 + b] is not None for row in rows) for b in range(count)] + [bool(self.spike_decay)]
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


def eprop(
    net: nn.Module,
    data: Iterable[Tensor],
    targets: Any,
    criterion: Callable[[Any, Any], Tensor],
    *,
    num_steps: int | None = None,
    time_var_targets: bool = False,
    readout_decay: float = 0.0,
    feedback: RandomFeedback | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> Tensor:
    r"""Gradients by e-prop: forward in time, with one eligibility trace per synapse, in memory independent of T.

    Neuron j has the states h (`mem`, `syn`, ...) and the current I. Each weight w of its fan-in carries

    .. math::
        ε^t = \frac{∂h^t}{∂h^{t-1}} ε^{t-1} + \frac{∂h^t}{∂I^t} \frac{∂I^t}{∂w}, \qquad
        e^t = \frac{∂z^t}{∂h^{t-1}} ε^{t-1} + \frac{∂z^t}{∂I^t} \frac{∂I^t}{∂w}, \qquad
        \frac{dE}{dw} = \sum_t L^t e^t

    with the spike z and the learning signal :math:`L^t = ∂E^t/∂z^t`, backpropagated at step t through the layers
    above ("symmetric e-prop"; a loss on the states counts likewise), or broadcast by random matrices (`feedback`,
    "random e-prop"). The derivatives are those of the neuron's own `step`, so this holds for every neuron whose step
    is elementwise, a user's own too, and for its learnable parameters (`beta`, `threshold`, ...).

    *Exact*: for one layer of neurons, and whatever stateless layers follow it, the gradients equal those of
    backpropagation through time to rounding; so they do for the last layer of neurons of a deep net.
    *Approximate*: for earlier layers, where the credit is missing that passes through a later step of a layer above;
    and for a layer with recurrent weights between its neurons (`RLeaky`, `RSynaptic` with `all_to_all`), where the
    credit is missing that passes through these weights. With `feedback`, also for all neurons below the readout.

    Memory: `B * neurons * (fan-in + 1)` values per state; for a convolution a trace per position of its output.

    Args:
        net: an `nn.Sequential` (nested ones too) of stateless layers and step neurons with `init_hidden=True` (but
            for the last). Between two layers of neurons, one layer may learn: a linear one or a convolution, with
            only poolings, activations, dropout and flattening between it and its neurons. To train a net of one's own,
            list its layers: `nn.Sequential(net.fc1, net.lif1, ...)`.
        data: `[T, B, ...]`, or any iterable of steps `[B, ...]`; with `num_steps`, `[B, ...]`, the input of every
            step.
        targets: what the criterion takes second.
        criterion: `criterion(out, targets)`, the loss of one step, one value; out is what net returns at that step.
        num_steps: number of steps for a static input.
        time_var_targets: targets are one per step, `[T, ...]` or an iterable.
        readout_decay: decay κ of a leaky readout. Where the net's last neuron integrates without spiking
            (`Leaky(beta=κ, reset_mechanism="none")`) and the loss reads its membrane potential, filtering the
            eligibility traces below it with κ makes the layer before it exact as well. 0 filters nothing.
        feedback: a `RandomFeedback`, which brings the error to the hidden neurons; None backpropagates it.
        optimizer: makes an update after every step, on that step's gradient, which it then clears; None adds up the
            gradients of all steps.

    Returns:
        The loss, summed over steps: a detached scalar. Gradients are added to `.grad`, as by `backward()`. The
        states of the net start from zero.

    Raises:
        TypeError: for a net that is no `nn.Sequential`, or feedback that is no `RandomFeedback`.
        NotImplementedError: for a layer or neuron that does not fit the description above.
        ValueError: for no steps, a layer that is used twice, or a loss that is not one value.

    Source: Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein and Maass, "A solution to the learning dilemma for
    recurrent networks of spiking neurons", Nature Communications 11, 3625, 2020.

    Example:
        >>> import snntorch as snn, torch
        >>> from snntorch import backprop
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(4, 8), snn.Leaky(beta=0.9, init_hidden=True), nn.Linear(8, 2))
        >>> x, y = torch.rand(100, 16, 4), torch.randint(2, (16,))
        >>> loss = backprop.eprop(net, x, y, nn.functional.cross_entropy)
        >>> net[0].weight.grad.shape
        torch.Size([8, 4])
    """
    if not isinstance(feedback, RandomFeedback | None):
        raise TypeError(f"feedback must be a RandomFeedback, which keeps its matrices, or None, got {feedback!r}")
    return _learn(
        EligibilityTraces,
        net,
        data,
        targets,
        criterion,
        num_steps,
        time_var_targets,
        optimizer,
        readout_decay,
        feedback,
    )


def ottt(
    net: nn.Module,
    data: Iterable[Tensor],
    targets: Any,
    criterion: Callable[[Any, Any], Tensor],
    *,
    num_steps: int | None = None,
    time_var_targets: bool = False,
    optimizer: torch.optim.Optimizer | None = None,
) -> Tensor:
    r"""Gradients by online training through time: forward in time, with one trace per presynaptic neuron.

    Every layer of weights remembers its inputs s, filtered as its neurons filter a current with decay λ, and gets at
    each step the gradient that it would get if these had been its inputs:

    .. math:: \hat a^t = λ \hat a^{t-1} + s^t, \qquad \frac{dE}{dW} = \sum_t \frac{∂E^t}{∂u^t} {\hat a^t}^{\top}

    where :math:`∂E^t/∂u^t` is backpropagated at step t through the layers above, with the reset detached. The filter
    is the neuron's own Jacobian, so neurons of several states (`Synaptic`, `Alpha`) have a trace per state.

    *Exact*: as `eprop`, for one layer of neurons and for the last one of a deep net. *Approximate*: as `eprop`, for
    earlier layers and recurrent ones; and for max pooling or an activation between weights and neurons, which is taken
    to have had the derivative at all steps that it has now.

    It takes far less memory than `eprop`, that of a layer's input per state, but only neurons that all filter alike:
    one decay for all, `reset_mechanism` `"subtract"` or `"none"`.

    Args:
        net: as for `eprop`.
        data: as for `eprop`.
        targets: as for `eprop`.
        criterion: as for `eprop`.
        num_steps: as for `eprop`.
        time_var_targets: as for `eprop`.
        optimizer: makes an update after every step (the paper's OTTT_O); None adds up the gradients (OTTT_A).

    Returns:
        As `eprop`.

    Raises:
        NotImplementedError: also for neurons that do not filter alike.
        TypeError: as `eprop`.
        ValueError: as `eprop`.

    Source: Xiao, Meng, Zhang, He and Lin, "Online training through time for spiking neural networks", NeurIPS 2022.

    Example:
        >>> import snntorch as snn, torch
        >>> from snntorch import backprop
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(4, 8), snn.Leaky(beta=0.9, init_hidden=True), nn.Linear(8, 2))
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        >>> x, y = torch.rand(16, 4), torch.randint(2, (16,))
        >>> loss = backprop.ottt(net, x, y, nn.functional.cross_entropy, num_steps=6, optimizer=optimizer)
    """
    return _learn(PresynapticTraces, net, data, targets, criterion, num_steps, time_var_targets, optimizer, 0.0)


def _learn(
    rule: type[Synapses],
    net: nn.Module,
    data: Iterable[Tensor],
    targets: Any,
    criterion: Callable[[Any, Any], Tensor],
    num_steps: int | None,
    time_var_targets: bool,
    optimizer: torch.optim.Optimizer | None,
    readout_decay: float,
    feedback: RandomFeedback | None = None,
) -> Tensor:
    """Step by step: the step's loss, its gradient by weights and old states, and the traces one step on."""
    if num_steps is not None and (not isinstance(num_steps, int) or num_steps < 1):
        raise ValueError(f"num_steps must be a positive int, got {num_steps!r}")
    layers = _layers(net)
    cells = _cells(layers, rule, readout_decay)
    elementwise = {id(p) for cell in cells.values() for p in cell.parameters.values()}
    weights = [p for p in net.parameters() if p.requires_grad and id(p) not in elementwise]
    broadcast = Broadcast(feedback, net, layers)
    total = None
    reset(net)
    with ExitStack() as hooks, torch.enable_grad():
        for handle in (h for cell in cells.values() for synapses in cell.synapses for h in synapses.watch()):
            hooks.callback(handle.remove)
        steps = data if num_steps is None else repeat(data, num_steps)
        for x, target in zip(steps, targets if time_var_targets else repeat(targets), strict=time_var_targets):
            out: Any = x
            for layer in layers:
                out = broadcast.cut(layer, cells[layer](out) if isinstance(layer, SpikingNeuron) else layer(out))
            loss = criterion(out, target)
            if loss.numel() != 1:
                raise ValueError(f"criterion must return one value a step, got shape {tuple(loss.shape)}")
            wanted = weights + [leaf for cell in cells.values() for leaf in cell.leaves]
            gradients = iter(gradients_of(broadcast.objective(loss.sum()), wanted))
            for weight in weights:
                _add(weight, next(gradients))
            for cell in cells.values():
                for parameter, gradient in cell.learn([next(gradients) for _ in cell.leaves]):
                    _add(parameter, gradient)
                cell.advance()
            if optimizer is not None:
                optimizer.step()
                optimizer.zero_grad()
            total = loss.detach().sum() if total is None else total + loss.detach().sum()
    detach(net)
    if total is None:
        raise ValueError("data must hold at least one time step, got none")
    return total


def _add(parameter: Tensor, gradient: Tensor | None) -> None:
    if gradient is not None:
        gradient = gradient.detach()
        parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient


def _layers(net: nn.Module) -> list[nn.Module]:
    """The layers of a net in the order in which data passes them."""
    if isinstance(net, nn.Sequential) and type(net).forward is nn.Sequential.forward:
        return [layer for child in net for layer in _layers(child)]
    inner = [type(m).__name__ for m in net.modules() if isinstance(m, SpikingNeuron)]
    if inner and not isinstance(net, SpikingNeuron):
        raise TypeError(
            f"net must be an nn.Sequential of layers and neurons, but {type(net).__name__} holds {inner[0]}; list its "
            "layers, which stay shared: nn.Sequential(net.fc1, net.lif1, ...)"
        )
    return [net]


def _cells(layers: list[nn.Module], rule: type[Synapses], readout_decay: float) -> dict[nn.Module, _Cell]:
    """Each neuron with the weights in front of it and inside it."""
    cells: dict[nn.Module, _Cell] = {}
    segment: list[nn.Module] = []  # the layers since the last neuron
    for i, layer in enumerate(layers):
        if layer in layers[:i] and (isinstance(layer, SpikingNeuron) or list(layer.parameters())):
            raise ValueError(f"every layer must occur once in net, {type(layer).__name__} occurs again")
        if isinstance(layer, SpikingNeuron):
            synapses = [rule(w) for w in _learning_layer(segment)] + [rule(w, True) for w in _recurrent_layer(layer)]
            cells[layer] = _Cell(layer, synapses, readout_decay)
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


def _recurrent_layer(neuron: SpikingNeuron) -> list[nn.Module]:
    """The weights inside a recurrent neuron that learn."""
    name = type(neuron).__name__
    if neuron.takes_sequence or type(neuron).forward is not SpikingNeuron.forward:
        raise NotImplementedError(f"{name} does not run step by step")
    overridden = [n for n in ("project", "drive") if getattr(type(neuron), n, 0) is not getattr(SpikingNeuron, n, 0)]
    recurrent = getattr(neuron, "recurrent", None)
    if not overridden or (overridden == ["drive"] and isinstance(recurrent, RecurrentOneToOne)):
        return []
    if overridden != ["drive"] or not isinstance(recurrent, WEIGHTED):
        raise NotImplementedError(f"{name} mixes its input and states by other weights than a recurrent Linear or Conv")
    return [recurrent]
