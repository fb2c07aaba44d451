"""Learning forward in time: e-prop and OTTT, whose memory does not grow with the number of steps."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

import torch
from torch import Tensor, nn

from ..utils import detach, reset
from ._cell import Cell
from ._feedback import Broadcast, RandomFeedback
from ._traces import EligibilityTraces, PresynapticTraces, Synapses, gradients_of
from ._wiring import Wiring


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
    is elementwise, a user's own too, and for its learnable parameters (`beta`, `threshold`, ...). The current is what
    the neuron's `project` and `drive` make of its input and states, whatever that is; a neuron may take several, as
    the gates of `SLSTM`. What a drive makes of a state elementwise is part of :math:`∂h^t/∂h^{t-1}`; a state that it
    mixes between neurons is cut there.

    *Exact*: for one layer of neurons, and whatever stateless layers follow it, the gradients equal those of
    backpropagation through time to rounding; so they do for the last layer of neurons of a deep net.
    *Approximate*: for earlier layers, where the credit is missing that passes through a later step of a layer above;
    and for recurrent weights between the neurons of a layer (`RLeaky`, `RSynaptic` with `all_to_all`, `SLSTM`, a
    drive's or a module's own), where the credit is missing that passes through these weights. With `feedback`, also
    for all neurons below the readout.

    Memory: `B * neurons * (fan-in + 1)` values per state for linear layers and products with a matrix, a mask or a
    sign on it included; for a convolution a trace per position of its output. Between these and the neuron may be
    poolings of each channel, activations, dropout, flattening and elementwise arithmetic. Parameters that reach a
    neuron in any other way, as those of a norm and what is before it, or the first of two layers, take a trace for each
    neuron of each sample: `B * neurons * parameters` values per state.

    Args:
        net: any module whose forward is one time step, and calls step neurons that keep their states, each once a
            step, and the same layers at every step. What a module keeps for its own next step, such as spikes that it
            feeds back, is cut there.
        data: `[T, B, ...]`, or any iterable of steps `[B, ...]`; with `num_steps`, `[B, ...]`, the input of every step.
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
        The loss, summed over steps, a detached scalar. Gradients are added to `.grad`, as by `backward()`. The
        states of the net start from zero, or from what its neurons rest at.

    Raises:
        TypeError: for a net that calls no spiking neuron, or feedback that is no `RandomFeedback`.
        NotImplementedError: for a neuron whose step is not elementwise, that does not run step by step or is passed its
            states, and for a net that calls other layers from step to step.
        ValueError: for no steps, a neuron that is called twice in one, or a loss that is not one value.

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
    every = net, data, targets, criterion, num_steps, time_var_targets, optimizer
    return _learn(EligibilityTraces, *every, readout_decay, feedback)


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
    one decay for all, `reset_mechanism` `"subtract"` or `"none"`; and only weights of linear layers, convolutions and
    products with a matrix, with nothing but poolings, activations and the like between them and the neuron.

    Arguments, return value and errors are those of `eprop`. With an optimizer it is the paper's OTTT_O, else OTTT_A.

    Raises:
        NotImplementedError: also for neurons that do not filter alike, and weights that reach them in other ways.

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
    return _learn(PresynapticTraces, net, data, targets, criterion, num_steps, time_var_targets, optimizer)


def _learn(
    rule: type[Synapses], net: nn.Module, data: Iterable[Tensor], targets: Any, criterion: Callable[[Any, Any], Tensor],
    num_steps: int | None, time_var_targets: bool, optimizer: torch.optim.Optimizer | None,
    readout_decay: float = 0.0, feedback: RandomFeedback | None = None,
) -> Tensor:  # fmt: skip
    """Step by step: the step's loss, its gradient by weights and old states, and the traces one step on."""
    if num_steps is not None and (not isinstance(num_steps, int) or num_steps < 1):
        raise ValueError(f"num_steps must be a positive int, got {num_steps!r}")
    steps: Iterator[Any] = iter(data if num_steps is None else repeat(data, num_steps))
    x = next(steps, None)
    if x is None:
        raise ValueError("data must hold at least one time step, got none")
    reset(net)
    wiring, broadcast = Wiring(net, rule, readout_decay), Broadcast(feedback, net)
    weights = [p for p in net.parameters() if p.requires_grad]
    total, sums = None, dict[Tensor, Tensor]()
    with wiring.watched(), broadcast.watched(wiring.layers), torch.enable_grad():
        every = targets if time_var_targets else repeat(targets)
        for now, target in zip(chain([x], steps), every, strict=time_var_targets):
            wiring.begin()
            out = net(now)
            wiring.end()
            loss = criterion(out, target)
            if loss.numel() != 1:
                raise ValueError(f"criterion must return one value a step, got shape {tuple(loss.shape)}")
            cells = wiring.cells
            wanted = weights + [leaf for cell in cells for leaf in cell.leaves]
            gradients = iter(gradients_of(broadcast.objective(loss.sum()), wanted))
            found: list[tuple[Tensor, Tensor]] = [(w, g) for w in weights if (g := next(gradients)) is not None]
            for cell in cells:
                found += cell.learn([next(gradients) for _ in cell.leaves], wiring.products.found)
            for cell in cells:
                cell.advance()
            for parameter, gradient in _of_parameters(found, weights):
                sums[parameter] = sums[parameter] + gradient if parameter in sums else gradient
            if optimizer is not None:
                _write(sums, cells)
                optimizer.step()
                optimizer.zero_grad()
                sums.clear()
            total = loss.detach().sum() if total is None else total + loss.detach().sum()
        if optimizer is None:
            _write(sums, wiring.all_cells)
    detach(net)
    wiring.begin()
    assert total is not None
    return total


def _of_parameters(
    found: Sequence[tuple[Tensor, Tensor]], parameters: Sequence[Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The same gradients, those of tensors that are taken from parameters being given to these."""
    yield from ((t, g) for t, g in found if t.is_leaf)
    taken = [(t, g) for t, g in found if not t.is_leaf]
    if taken:
        tensors = [t for t, _ in taken]
        gradients = [g.to(t.dtype) for t, g in taken]
        passed = torch.autograd.grad(tensors, parameters, gradients, allow_unused=True)
        yield from ((p, g) for p, g in zip(parameters, passed, strict=True) if g is not None)


def _write(sums: Mapping[Tensor, Tensor], cells: Sequence[Cell]) -> None:
    """Add gradients to `.grad`, after one look, for which a device waits, whether all neurons could be followed."""
    refusing = [s.refuses for cell in cells for s in cell.synapses.values() if s.refuses is not None]
    if refusing and bool(torch.stack([r.to(refusing[0].device) for r in refusing]).any()):
        raise NotImplementedError(
            "ottt needs neurons whose states decay by the same, constant factors: no decay per neuron, no "
            "reset_mechanism='zero', no reset_delay=False, no feedback through the spike; eprop takes them"
        )
    for parameter, gradient in sums.items():
        gradient = gradient.detach().to(parameter.dtype)
        parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient
