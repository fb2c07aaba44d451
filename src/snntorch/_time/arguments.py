"""Nested arguments and outputs: the tensors in them, and what is left when these are taken out."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

ATOMS = frozenset((int, float, bool, complex, str, type(None), torch.dtype, torch.device, type(Ellipsis)))


class Slot(NamedTuple):
    """The place of a tensor in nested arguments or outputs."""

    number: int


def mapped(change: Callable[[Any], Any], value: Any, kinds: Any = Tensor) -> Any:
    """Nested tuples, lists, dicts and slices with what `change` makes of each item of those kinds."""
    kind = type(value)
    if kind is kinds:
        return change(value)
    if kind is tuple or kind is list:
        return kind([v if type(v) in ATOMS else mapped(change, v, kinds) for v in value])
    if kind is dict:
        return {key: mapped(change, v, kinds) for key, v in value.items()}
    if isinstance(value, kinds):
        return change(value)
    if kind in ATOMS or isinstance(value, Tensor):
        return value
    if isinstance(value, tuple | list):
        items = mapped(change, list(value), kinds)
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    if isinstance(value, dict):
        items = mapped(change, dict(value), kinds)
        return kind(items) if not isinstance(value, defaultdict) else defaultdict(value.default_factory, items)
    if kind is slice:
        return slice(*mapped(change, (value.start, value.stop, value.step), kinds))
    return value


def hollow(value: Any, tensors: list[Any], kinds: Any = Tensor) -> Any:
    """Nested arguments with a slot for each tensor of those kinds, which is appended to `tensors`."""

    def slot(tensor: Any) -> Slot:
        tensors.append(tensor)
        return Slot(len(tensors) - 1)

    return mapped(slot, value, kinds)


def fill(template: Any, values: Sequence[Any]) -> Any:
    """Nested arguments with values in their slots."""
    return mapped(lambda slot: values[slot.number], template, Slot)


def leaves(value: Any, kinds: Any = Tensor) -> list[Any]:
    """The tensors of nested arguments, in order; or what is of other kinds."""
    found: list[Any] = []
    mapped(found.append, value, kinds)
    return found
