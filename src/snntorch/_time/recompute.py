"""Trade time for memory: keep the states every K steps, and run the steps between again in the backward pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .._neurons.neurons import SpikingNeuron


def _stored(neurons: Sequence[SpikingNeuron]) -> list[Tensor]:
    return [getattr(neuron, name) for neuron in neurons for name in neuron.states]


def _store(neurons: Sequence[SpikingNeuron], states: Sequence[Tensor]) -> None:
    values = iter(states)
    for neuron in neurons:
        neuron._store([next(values) for _ in neuron.states])


@contextmanager
def _kept(neurons: Sequence[SpikingNeuron]) -> Iterator[None]:
    """Leave the stored states as they are found: what runs inside runs again in the backward pass."""
    before = _stored(neurons)
    try:
        yield
    finally:
        _store(neurons, before)


def unroll_in_segments(
    unroll: Callable[..., Any], module: nn.Module, x: Tensor, states: Sequence[Any], num_steps: int | None, length: int
) -> Any:
    """`unroll(module, x, *states, num_steps=num_steps)`, of which backward keeps the states every `length` steps.

    Raises:
        ValueError: for a module with batch normalisation in training, whose statistics would be updated twice, or with
            a neuron that takes whole sequences and hands no state from one segment to the next.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, SpikingNeuron) and layer.takes_sequence:
            raise ValueError(f"recompute can't cut the sequence that {name or 'the module'} takes as a whole")
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training and layer.track_running_stats:
            raise ValueError(f"recompute would update the running statistics of {name or 'the module'} twice")
    neurons = [layer for layer in module.modules() if isinstance(layer, SpikingNeuron) and layer.states]
    steps = len(x) if num_steps is None else num_steps
    count = len(states)

    def segment(x: Tensor, number: int | None, *tensors: Tensor) -> tuple[tuple[Tensor, ...], bool, list[Tensor]]:
        with _kept(neurons):
            _store(neurons, tensors[count:])
            out = unroll(module, x, *tensors[:count], num_steps=number)
            return (out,) if isinstance(out, Tensor) else tuple(out), isinstance(out, Tensor), _stored(neurons)

    outputs, single, stored = [], True, _stored(neurons)
    for start in range(0, steps, length):
        number = min(length, steps - start)
        piece = x[start : start + number] if num_steps is None else x
        given = None if num_steps is None else number
        out, single, stored = checkpoint(segment, piece, given, *states, *stored, use_reentrant=False)
        states = [o[-1] for o in out[len(out) - count :]] if count else ()
        outputs.append(out)
    _store(neurons, stored)
    joined = tuple(torch.cat([out[k] for out in outputs]) for k in range(len(outputs[0])))
    return joined[0] if single else joined
