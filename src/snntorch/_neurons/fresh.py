"""Freshly reset states: known as such without a look at their values."""

import weakref
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

_MARK = "_snntorch_fresh"


class _Mark:
    """What a fresh state carries. It holds for that very tensor, until it is written to."""

    def __init__(self, state: Tensor) -> None:
        self.state = weakref.ref(state)
        self.version = state._version

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, ()  # a copy of the tensor is marked by nothing, in words that every reader of files knows


def is_fresh(state: Tensor) -> bool:
    """Whether a state is as its neuron reset it, and so stands for the same in whatever shape comes.

    A tensor of shape `[0]` always is. `torch.compile` sees no writes in place.

    Args:
        state: a tensor that was passed to a neuron, or that a neuron stores.
    """
    if state.dim() == 1 and state.shape[0] == 0:
        return True
    mark = getattr(state, _MARK, None)
    if type(mark) is not _Mark:
        return False
    return torch.compiler.is_compiling() or (mark.state() is state and mark.version == state._version)


def marked_fresh(state: Tensor) -> Tensor:
    """The tensor itself, from now on fresh."""
    if not state.is_inference():  # writes to which leave no trace
        setattr(state, _MARK, _Mark(state))
    return state
