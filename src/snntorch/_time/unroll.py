"""A module of one time step, run over time."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.rnn import PackedSequence

from .._engine import note, stepped
from .._engine.private import transforming
from .._neurons.caller import warn
from .._neurons.ends import Ends, ends_now
from .._neurons.neurons import SpikingNeuron
from .._neurons.recorder import recorder_now
from . import layers
from .arguments import leaves, mapped
from .at_once import at_once
from .courses import apart, as_stacked
from .graphs import unroll_graph
from .groups import SelectGroup
from .later import Later, Node, resolved
from .lengths import called, over_packed, unroll_to_ends, whole
from .modules import Recorder
from .neuron_group import NeuronGroup
from .obstacle import obstacle
from .packed import packed_spikes
from .recompute import unroll_in_segments
from .steps import Steps
from .writes import memory_of

_FEW = 4  # steps that are recorded, all of them


def unroll(
    module: nn.Module, x: Tensor | PackedSequence, *states: Any, num_steps: int | None = None,
    recompute: int | None = None, pack_spikes: bool = False, lengths: Any = None,
) -> Any:  # fmt: skip
    """Run a module over time.

    Returns exactly what this loop returns, output by output, each stacked over time, and leaves the module's stored
    states as the loop would::

        for t in range(T):
            out = module(x[t], *states)
            states = out's states

    Only the way it is computed differs. What the module's forward calls at each step is recorded, whatever its form:
    containers, modules of your own with residuals, branches, attention. A layer whose result for a sample depends on
    that sample alone takes all steps in one call, what is the same at every step runs once, and a neuron runs a whole
    sequence as one kernel. What depends on time otherwise runs step by step, alone: a layer that feeds back to an
    earlier one, a layer that carries hooks for its backward pass. Where the forward's code shows that every step is
    alike, it is called for a few of them only, and for none where it is a graph of `torch.fx` that calls layers and
    adds, as networks from NIR are. A layer that takes whole sequences (`takes_sequence = True`), such as `StateLeaky`,
    takes this one in one call. `snntorch.explain` says what happens.

    Args:
        module: a neuron, a layer, or any module whose forward is one time step.
        x: `[T, B, ...]`; with `num_steps`, `[B, ...]`, the input of every step. Or a
            `torch.nn.utils.rnn.PackedSequence`, for which outputs are packed like it.
        *states: initial states, where the module takes them.
        num_steps: number of steps for a static input.
        recompute: keep for the backward pass only the states every so many steps, and run the steps between a second
            time: about `1 / recompute` of the memory for one and a half times the work. Chen et al., "Training deep
            nets with sublinear memory cost", 2016.
        pack_spikes: keep spikes for the backward pass as bits, see `snntorch.packed_spikes`.
        lengths: number of steps of each sample, `[B]`, list or integers on the CPU, where x is padded behind them. A
            sample that has ended takes no further step: its stored states, and states that were passed, stay as they
            are, its outputs are zero (`snntorch.last_output` picks the last of each), and normalisation does not count
            it. The numbers are those of each sample run alone with its own length.

    Returns:
        A tensor `[T, B, ...]`; or tuples, lists and dicts of them, as the module returns.

    Raises:
        TypeError: where x is no tensor, or lengths are no integers.
        ValueError: for no steps at all, a `num_steps` or `recompute` that is not positive, lengths out of range, or
            what does not have the samples where they are looked for, such as a neuron on samples that were reshaped.
        NotImplementedError: for lengths inside `torch.export`; `torch.compile` leaves them to run outside its graphs.

    Warns:
        UserWarning: where the forward is a loop over time by itself, which would take each step's batch for time.

    Example:
        >>> import snntorch as snn, torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=True))
        >>> snn.unroll(net, torch.rand(10, 2, 4)).shape
        torch.Size([10, 2, 3])
    """
    if isinstance(x, PackedSequence):
        return over_packed(unroll, module, x, states, num_steps, lengths, recompute=recompute, pack_spikes=pack_spikes)
    _check(x, num_steps, recompute)
    if pack_spikes:
        with packed_spikes():
            return unroll(module, x, *states, num_steps=num_steps, recompute=recompute, lengths=lengths)
    if recompute is not None and torch.is_grad_enabled():
        return unroll_in_segments(unroll, module, x, states, num_steps, recompute, lengths)
    if lengths is not None:
        return unroll_to_ends(unroll, module, x, states, num_steps, lengths)
    out, last = _unroll(module, x, states, num_steps), module
    while type(last) is nn.Sequential and last:
        last = last[-1]
    return out if isinstance(last, SpikingNeuron) else _apart(out, (x, states))  # whose results are its own


def _unroll(module: nn.Module, x: Tensor, states: tuple, num_steps: int | None) -> Any:
    ends: Ends | None = ends_now(x.shape[0] if num_steps is None else num_steps)
    if layers.takes_sequence(module):
        note(module, "whole sequence")
        x = x if num_steps is None else x.expand(num_steps, *x.shape)
        if ends is None:
            return module(x, *states)
        return whole(ends, module, (x if getattr(module, "sees_ends", False) else ends.silent(x), *states), {})
    if not layers.hooks(module) and type(x) is not Later:
        out = _of_known(module, x, states, num_steps, ends)
        if out is not None:
            return out
    reason = obstacle(module.forward)
    if reason is None and not isinstance(module, SpikingNeuron):
        if ends is None and not states and (found := at_once(module, x, num_steps, _stacked)) is not None:
            return found[0]
        steps = len(x) if num_steps is None else num_steps
        return Recorder(sequences=steps, ends=ends).run(_loop, (module, x, states, num_steps, ends), {})
    if layers.hooks(module):
        stepped(module, "it carries hooks, which expect every call")
    elif reason:
        note(module, "stepped", reason)
    for layer in module.modules():
        layers.refuse_a_step(layer, reason or "what unrolls the module is compiled, or recorded itself")
    if ends is not None:
        return called(ends, _loop, (module, x, states, num_steps, ends), {})
    return _loop(module, x, states, num_steps)


def _of_known(module: nn.Module, x: Tensor, states: tuple, num_steps: int | None, ends: Ends | None) -> Any:
    """What a module gives of which is known what a step calls; None for any other."""
    if isinstance(module, SpikingNeuron) and layers.runs_as_a_whole(module):
        return module.sequence(x, states, num_steps)
    if type(module) is nn.Sequential and not states and layers.by_layer(module):
        return _unroll_sequential(module, x, num_steps)
    if num_steps is not None:
        return None
    if isinstance(module, fx.GraphModule) and ends is None and obstacle(module.forward) is None:
        return unroll_graph(_unroll, module, x, states)
    return None if states else _folded(module, x)


def _apart(out: Any, given: Any) -> Any:
    """Outputs each in memory of its own, as `torch.stack` gives them, and not that of what was given."""
    if torch.compiler.is_compiling() or recorder_now() is not None or transforming():
        return out
    taken = set(map(memory_of, leaves(given)))
    return mapped(lambda values: as_stacked(apart(values, taken)), out)


def _check(x: Any, num_steps: Any, recompute: Any) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor, got {type(x).__name__}")
    if num_steps is not None and (not isinstance(num_steps, int) or num_steps < 1):
        raise ValueError(f"num_steps must be a positive int, got {num_steps!r}")
    if recompute is not None and (not isinstance(recompute, int) or recompute < 1):
        raise ValueError(f"recompute must be a positive int, got {recompute!r}")
    if num_steps is None and (x.dim() == 0 or x.shape[0] == 0):
        raise ValueError(f"x must be [T, B, ...] with T > 0, got shape {tuple(x.shape)}")


def _loop(module: nn.Module, x: Tensor, states: tuple, num_steps: int | None, ends: Ends | None = None) -> Any:
    """What `unroll` means."""
    outputs: list[Any] = []
    count = x.shape[0] if num_steps is None else num_steps
    recorder = recorder_now()
    steps = Steps(recorder, module) if type(x) is Later and type(recorder) is Recorder and count > _FEW else None
    for t, now in enumerate(_inputs(x) if num_steps is None else (x,) * num_steps):
        if steps is not None:
            steps.begin()
        out = module(now, *states) if ends is None else ends.step(t, module, now, *states)
        if not outputs and type(now) is Later:
            _warn_of_sequence(module, now)
        outputs.append(out)
        if states:
            states = _states_of(out, len(states))
        if steps is not None and len(outputs) < count and steps.alike(now, out):
            steps.go_on(range(len(outputs), count))
            return _stacked(outputs, steps.stacked)
    return _stacked(outputs)


def _inputs(x: Tensor) -> Iterator[Tensor]:
    """The steps of a sequence; one by one as far as they are recorded, as one step may stand for all others."""
    t = 0
    while isinstance(x, Later) and t < x.meta.shape[0] and not x.recorder.stopped:
        yield x[t]
        t += 1
    yield from resolved(x)[t:].unbind() if t < x.shape[0] else ()


def _warn_of_sequence(module: nn.Module, now: Later) -> None:
    """Warn where the forward took one step's input apart, a call of a neuron each, as only a loop over time should."""
    size = now.meta.shape[0] if now.meta.shape else 0
    groups: list[Any] = list(getattr(recorder_now(), "pending", ()))  # what the first step called
    parts = [[n for n in g.nodes if n.inputs[0][0] is now.node] for g in groups if type(g) is SelectGroup and not g.dim]
    apart = {node for nodes in parts for node in nodes if len(nodes) == size > 1}
    called = [g for g in groups if apart and type(g) is NeuronGroup and len(g.nodes) == size]
    if found := [g.function for g in called if not apart.isdisjoint(_made_from(g.nodes[0]))]:
        warn(
            f"unroll calls {type(module).__name__} once a step, which calls {type(found[0]).__name__} for each of the "
            f"{size} parts of a step's input. If that is its loop over time, it takes the batch for time: call "
            "the module itself (snntorch.layerwise makes it fast), or let it say `takes_sequence = True`"
        )


def _made_from(node: Node) -> set[Node]:
    """The calls that a call depends on."""
    found, todo = set(), [node]
    while todo:
        sources = {source[0] for source in todo.pop().inputs if type(source) is tuple} - found
        found |= sources
        todo += sources
    return found


def _states_of(out: Any, count: int) -> tuple:
    """The last `count` outputs are the next call's states."""
    if isinstance(out, Tensor) or len(out) < count:
        kind = "Tensor" if isinstance(out, Tensor) else type(out).__name__
        raise TypeError(f"the module was given {count} states but returned {kind}, which holds fewer")
    return tuple(out[-count:])


def _stacked(outputs: Sequence[Any], stack: Callable[[Any], Tensor] = torch.stack) -> Any:
    """Equal outputs, tensors or nested tuples, lists and dicts of them, stacked over time."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return stack(outputs)
    if isinstance(first, dict):
        return type(first)((key, _stacked([o[key] for o in outputs], stack)) for key in first)
    if isinstance(first, tuple | list):
        items = [_stacked(column, stack) for column in zip(*outputs, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    if any(o is not first and o != first for o in outputs):
        raise TypeError(f"the module returned {type(first).__name__}s that differ from step to step: {outputs}")
    return first


def _folded(layer: nn.Module, x: Tensor) -> Tensor | None:
    """What a layer gives for all steps in one call; None where it must not or can't take them so."""
    if not layers.folds(layer):
        return None
    try:
        out = layers.fold(layer, x)
    except NotImplementedError:
        return None
    note(layer, "folded", "takes all steps as one batch")
    return out


def _unroll_sequential(net: nn.Sequential, x: Tensor, num_steps: int | None) -> Any:
    """Layer by layer, as nothing else can happen between them."""
    rest = list(net)
    while rest and num_steps is not None and layers.folds(rest[0]) and not layers.is_random(rest[0]):
        note(rest[0], "folded", "runs once for all steps")
        x = rest.pop(0)(x)  # the input is the same at every step, so this result is too
    for i, layer in enumerate(rest):
        x = _unroll(layer, x, (), num_steps)
        num_steps = None
        if not isinstance(x, Tensor) and i < len(rest) - 1:
            raise TypeError(
                f"layer {i + len(net) - len(rest)} of the Sequential, {type(layer).__name__}, returns a tuple, which "
                "the next one cannot take; give the neuron init_hidden=True and output=False"
            )
    return x if num_steps is None else x.expand(num_steps, *x.shape)
