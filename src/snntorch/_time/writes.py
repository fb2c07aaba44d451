"""Writes in place, as new values: who holds the tensor that is written, or a view of it, holds what was written."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._engine.private import memory, unseen
from .alike import sign
from .arguments import leaves, mapped
from .later import Later, Node

UNKNOWN = ("unknown",)  # the path of what shares memory with something that is not recorded


def memory_of(tensor: Tensor) -> int:
    """A number that a tensor and its views share."""
    with unseen():
        return memory(tensor) if tensor.layout is torch.strided else id(tensor)


def note_view(later: Later, of: Any, call: tuple | None, out: int) -> None:
    """Remember that what stands for an output is a view of one of the call's tensors."""
    if type(of) is Later and call is not None:
        later.base = of.base if of.base is not None else of
        later.path = (*of.path, (*call, out))
        views = later.base.views
        if views is None:
            views = later.base.views = []
        views.append(weakref.ref(later))
    else:
        later.path = UNKNOWN


def rebind(target: Later, new: Later, node: Node, out: int, record: Callable[..., Any]) -> None:
    """After a write to a tensor: let it, what it is a view of, and its other views stand for their new values.

    Args:
        target: what was written.
        new: what stands for the value that was written.
        node: the call that wrote.
        out: which of its outputs that value is.
        record: records a call of a function, `record(function, known_as, args, kwargs)`.
    """
    root = target.base if target.base is not None else target
    if root is target:
        target.bind(node, out)
    else:
        structure: list[Any] = []
        sign(target.path, structure, [])
        written = record(_write_through(target.path), ("write through", *structure), (root, new), {})
        root.bind(written.node, written.out)
    views = [view for reference in root.views or () if (view := reference()) is not None]
    for view in views:
        now = root
        for function, args, kwargs, k in view.path:
            args, kwargs = _of_another(args, kwargs, now)
            given = record(function, function, args, kwargs)
            now = given if isinstance(given, Later) else leaves(given)[k]
        view.bind(now.node, now.out)
    root.views = [weakref.ref(view) for view in views]  # without those that were made on the way


def _write_through(path: tuple) -> Callable[[Tensor, Tensor], Tensor]:
    """`(x, new)` -> x with `new` written where the views of the path lead."""

    def write(x: Tensor, new: Tensor) -> Tensor:
        x = whole = x.clone()
        for function, args, kwargs, k in path:
            args, kwargs = _of_another(args, kwargs, x)
            x = function(*args, **kwargs)
            x = x if isinstance(x, Tensor) else leaves(x)[k]
        x.copy_(new)
        return whole

    return write


def _of_another(args: Any, kwargs: Any, x: Any) -> tuple[Any, Any]:
    """The arguments of a view, of another tensor."""
    return mapped(lambda t: x, (args, kwargs), Later)
