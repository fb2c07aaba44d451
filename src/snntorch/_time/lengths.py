"""Sequences of different lengths in one batch: run whole, then each sample's results are those at its own end."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .._engine.private import NORMS, outside_graphs
from .._layers.batchnorm import over_rows, uses_batch
from .._layers.bntt import _BatchNormTT
from .._neurons.ends import Ends
from .._neurons.neurons import SpikingNeuron
from .._neurons.recorder import recorder_now, recording
from .arguments import mapped
from .later import resolved
from .layers import hooks, takes_sequence
from .modules import Recorder
from .obstacle import obstacle
from .patches import patched


def last_output(out: Any, lengths: Any = None) -> Any:
    """The output of each sample at its own end.

    Args:
        out: `[T, B, ...]`, or what else `snntorch.unroll` returns; or packed, as `torch.nn.utils.rnn` packs it.
        lengths: number of steps of each sample, list or integers on the CPU; of what is packed they are known.

    Returns:
        `[B, ...]` in the place of each tensor; zero for a sample of no steps.

    Raises:
        ValueError: for lengths that do not fit the output.

    Example:
        >>> import snntorch as snn, torch
        >>> snn.last_output(torch.tensor([[1.0, 4.0], [2.0, 5.0], [3.0, 0.0]]), lengths=[3, 2])
        tensor([3., 5.])
    """
    if isinstance(out, PackedSequence):
        padded, lengths = pad_packed_sequence(out)
        return last_output(padded, lengths)
    if not isinstance(out, Tensor):
        if not isinstance(out, tuple | list | dict):
            raise TypeError(f"out must hold tensors, got {type(out).__name__}")
        return mapped(lambda of_one: last_output(of_one, lengths), out, Tensor | PackedSequence)
    if lengths is None:
        raise ValueError("lengths must be given for an output that is not packed")
    if out.dim() < 2:
        raise ValueError(f"out must be [T, B, ...], got shape {tuple(out.shape)}")
    ends = Ends(checked(lengths, out.shape[1], len(out)), len(out))
    return ends.held(out, out.new_zeros(()), range(len(out)), final=True)


def checked(lengths: Any, batch: int, steps: int) -> Tensor:
    """Lengths as int64 on the CPU.

    Raises:
        TypeError: for what are no integers.
        ValueError: for another number of them than samples, one out of range, or on another device.
    """
    found = lengths if isinstance(lengths, Tensor) else torch.as_tensor(lengths)
    if found.numel() and (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool):
        raise TypeError(f"lengths must be integers, got {found.dtype}")
    if found.device.type != "cpu":
        raise ValueError(f"lengths must be on the CPU, as the steps to run depend on them, got {found.device}")
    if found.shape != (batch,):
        raise ValueError(f"lengths must have one entry for each of {batch} samples, got shape {tuple(found.shape)}")
    found = found.to(torch.int64)
    if batch and (int(found.min()) < 0 or int(found.max()) > steps):
        wrong = int(((found < 0) | (found > steps)).nonzero()[0])
        raise ValueError(f"lengths must lie in 0..{steps}, the steps of x, got {int(found[wrong])} of sample {wrong}")
    return found


def _check_not_exported() -> None:
    if torch.compiler.is_compiling():
        raise NotImplementedError("lengths can't be exported, as a program would hold today's: call it outside")


# -- unroll


@outside_graphs
def unroll_to_ends(
    unroll: Callable[..., Any], module: nn.Module, x: Tensor, states: tuple, num_steps: int | None, lengths: Any
) -> Any:
    """`unroll(module, x, *states, num_steps=num_steps)`, each sample to its own end."""
    _check_not_exported()
    steps, samples = (len(x), 1) if num_steps is None else (num_steps, 0)
    if x.dim() <= samples:
        raise ValueError(f"x must be {'[T, B, ...]' if samples else '[B, ...]'}, got shape {tuple(x.shape)}")
    ends = Ends(checked(lengths, x.shape[samples], steps), steps)
    with _apart():
        x, states = resolved(x), resolved(states)
        with ends.active(), _norms_over_valid(module, ends):
            out = unroll(module, ends.silent(x) if num_steps is None else x, *states, num_steps=num_steps)
    if not states:
        return _silent(ends, out)
    return type(out)([*_silent(ends, list(out[: -len(states)])), *_held(ends, list(out[-len(states) :]), states)])


@outside_graphs
def over_packed(
    unroll: Callable[..., Any], module: nn.Module, x: PackedSequence, states: tuple, num_steps: int | None,
    lengths: Any, **settings: Any,
) -> Any:  # fmt: skip
    """`unroll` of a packed sequence, whose outputs are packed like it."""
    if num_steps is not None or lengths is not None:
        raise ValueError("x is packed and has its own lengths: give neither num_steps nor lengths")
    padded, own = pad_packed_sequence(x)
    return _packed_like(x, unroll(module, padded, *states, lengths=own, **settings), own)


def _packed_like(x: PackedSequence, out: Any, lengths: Tensor) -> Any:
    """Outputs `[T, B, ...]` packed as the input was."""
    order, host = x.sorted_indices, lengths
    if order is not None:
        host = lengths.index_select(0, order.cpu())

    def pack(t: Tensor) -> Any:
        if t.shape[:2] != (len(x.batch_sizes), len(lengths)):
            return t
        packed = pack_padded_sequence(t if order is None else t.index_select(1, order), host)
        return PackedSequence(packed.data, x.batch_sizes, x.sorted_indices, x.unsorted_indices)

    return mapped(pack, out)


def _silent(ends: Ends, out: Any) -> Any:
    """Outputs that are zero after each sample's end; what is no `[T, B, ...]` as it is."""
    shape = ends.steps, len(ends.lengths)
    return mapped(lambda t: ends.silent(t) if t.shape[:2] == shape else t, out)


def _held(ends: Ends, courses: Any, before: Any) -> Any:
    """States that stay as they were at each sample's end."""
    if isinstance(courses, tuple | list):
        return type(courses)([_held(ends, c, b) for c, b in zip(courses, before, strict=True)])
    start = before if isinstance(before, Tensor) and before.shape == courses.shape[1:] else None
    return ends.held(courses, start, range(ends.steps))


# -- forwards that hold the loop


def takes_lengths(net: Callable[..., Any]) -> bool:
    """Whether a forward has lengths of its own."""
    try:
        return "lengths" in inspect.signature(net).parameters
    except (TypeError, ValueError):
        return False


@outside_graphs  # the steps to run depend on their values
def layerwise_to_ends(net: Callable[..., Any], args: tuple, kwargs: dict, lengths: Any) -> Any:
    """A call of a forward that holds the loop, each sample to its own end."""
    _check_not_exported()
    place = next((k for k, a in enumerate(args) if isinstance(a, PackedSequence) or torch.is_tensor(a)), None)
    if place is None:
        raise TypeError("lengths needs a sequence [T, B, ...] among the arguments by position")
    x = args[place]
    if isinstance(x, PackedSequence):
        if lengths is not None:
            raise ValueError("the sequence is packed and has its own lengths: give none")
        padded, own = pad_packed_sequence(x)
        args = (*args[:place], padded, *args[place + 1 :])
        return _packed_like(x, layerwise_to_ends(net, args, kwargs, own), own)
    if lengths is None:  # what is packed is not the sequence
        return net(*args, **kwargs)
    if x.dim() < 2:
        raise ValueError(f"with lengths the sequence must be [T, B, ...], got shape {tuple(x.shape)}")
    ends = Ends(checked(lengths, x.shape[1], len(x)), len(x))
    with _apart():
        x, rest = resolved(x), resolved((args, kwargs))
        args = (*rest[0][:place], ends.silent(x), *rest[0][place + 1 :])
        with ends.active():
            return _silent(ends, whole(ends, net, args, rest[1]))


def whole(ends: Ends, net: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
    """A call that runs over time by itself, whose neurons' calls are the steps.

    Raises:
        ValueError: where a neuron is called more or fewer times than there are steps.
    """
    if isinstance(net, nn.Module):
        if not any(isinstance(m, SpikingNeuron) and not takes_sequence(m) for m in net.modules()):
            return net(*args, **kwargs)
        owner, forward = net, net if hooks(net) else net.forward
    else:
        owner, forward = args[0] if args and isinstance(args[0], nn.Module) else nn.Module(), net
    with _norms_over_valid(owner, ends):
        if (forward is net and net is owner) or obstacle(forward) is not None:
            out = called(ends, forward, args, kwargs)
        else:
            out = Recorder(ends=ends).run(forward, args, kwargs)
    for who, count in ends.counted.items():
        if count != ends.steps:
            raise ValueError(
                f"lengths needs a call of each layer at every step, but {type(who).__name__} was called {count} times "
                f"over {ends.steps} steps"
            )
    return out


class _Stopped:
    """In a recorder's place where nothing is recorded."""

    stopped, pending = "not recorded", ()

    def __init__(self, ends: Ends) -> None:
        self.ends = ends

    def leave(self) -> None: ...


def called(ends: Ends, function: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
    """A function whose neurons are called as they are, each sample to its own end."""
    with patched(), recording(_Stopped(ends)):
        return function(*args, **kwargs)


@contextmanager
def _apart() -> Iterator[None]:
    """Run now, whoever records."""
    outer = recorder_now()
    if outer is None or isinstance(outer, _Stopped):
        yield
        return
    outer.flush()
    with outer.at_once():
        yield


@contextmanager
def _norms_over_valid(module: nn.Module, ends: Ends) -> Iterator[None]:
    """Norms of single steps take the samples that have not ended alone."""
    steps: dict[nn.Module, int | None] = {}
    for m in module.modules():
        if isinstance(m, _BatchNormTT):
            steps.update({norm: t for t, norm in enumerate(m)})
        elif isinstance(m, NORMS) and not takes_sequence(m) and m not in steps:
            steps[m] = None
    changed = [m for m in steps if uses_batch(m) and "forward" not in vars(m)]
    for norm in changed:
        norm.forward = _valid_forward(ends, norm, steps[norm])  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in changed:
            del norm.forward


def _valid_forward(ends: Ends, norm: nn.Module, step: int | None) -> Callable[[Tensor], Tensor]:
    normalise = type(norm).forward.__get__(norm)

    def forward(x: Tensor) -> Tensor:
        rows = ends.rows(ends.when(norm) if step is None else step, x.device)
        if rows is None:
            return normalise(x)
        ends.check(x.shape, 0, type(norm).__name__)
        return over_rows(normalise, x, rows)

    return forward
