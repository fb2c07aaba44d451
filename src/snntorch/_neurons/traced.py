"""What `torch.jit.trace` leaves in a neuron: nothing, so that a second one finds the same states."""

import weakref
from typing import Any

from torch import Tensor

from .._engine.private import recording_trace

BEFORE: weakref.WeakKeyDictionary[Any, tuple] = weakref.WeakKeyDictionary()  # the trace, and the states before it


def settle(neuron: Any) -> None:
    """Give a neuron the states back that it had before a trace that has ended; as constants, where one begins."""
    now = recording_trace()
    if now is None and not BEFORE:
        return
    trace, states = BEFORE.get(neuron, (None, ()))
    if trace is now:
        return
    if trace is not None:
        neuron._store(states)
        del BEFORE[neuron]
    if now is not None:
        states = [getattr(neuron, name) for name in neuron.states]
        BEFORE[neuron] = now, states
        # `data`, as `detach` would be recorded
        neuron._store([state.data if isinstance(state, Tensor) and state.requires_grad else state for state in states])
