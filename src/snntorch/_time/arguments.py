"""Nested arguments and outputs: the tensors in them, and what is left when these are taken out."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .later import Later

_ATOMS = frozenset((int, float, bool, complex, str, type(None), torch.dtype, torch.device, type(Ellipsis)))


class Slot(NamedTuple):
    """The place of a tensor in nested arguments or outputs."""

    number: int


def fill(template: Any, values: Sequence[Any]) -> Any:
    """Nested arguments with values in their slots."""
    kind = type(template)
    if kind is Slot:
        return values[template.number]
    if kind is tuple or kind is list:
        return kind([fill(v, values) for v in template])
    if kind is dict:
        return {k: fill(v, values) for k, v in template.items()}
    if isinstance(template, tuple) and hasattr(template, "_fields"):
        return kind(*[fill(v, values) for v in template])
    if isinstance(template, tuple):  # torch.return_types
        return kind([fill(v, values) for v in template])
    if kind is slice:
        return slice(fill(template.start, values), fill(template.stop, values), fill(template.step, values))
    return template


def _any(tensor: Tensor) -> bool:
    return True


def hollow(value: Any, tensors: list[Any], is_slot: Callable[[Tensor], bool] = _any) -> Any:
    """Nested arguments with a slot for each tensor that `is_slot`, which is appended to `tensors`."""
    kind = type(value)
    if kind is tuple or kind is list:
        return kind([v if type(v) in _ATOMS else hollow(v, tensors, is_slot) for v in value])
    if kind in _ATOMS:
        return value
    if isinstance(value, Tensor):
        if not is_slot(value):
            return value
        tensors.append(value)
        return Slot(len(tensors) - 1)
    if kind is dict:
        return {k: hollow(v, tensors, is_slot) for k, v in value.items()}
    if isinstance(value, tuple):
        items = [hollow(v, tensors, is_slot) for v in value]
        return kind(*items) if hasattr(value, "_fields") else kind(items)
    if kind is slice:
        return slice(*(hollow(v, tensors, is_slot) for v in (value.start, value.stop, value.step)))
    return value


def mapped(change: Callable[[Any], Any], value: Any, is_slot: Callable[[Tensor], bool] = _any) -> Any:
    """Nested arguments with what `change` makes of each tensor that `is_slot`."""
    tensors: list[Any] = []
    template = hollow(value, tensors, is_slot)
    return fill(template, [change(t) for t in tensors])


def leaves(value: Any) -> list[Any]:
    """The tensors of nested arguments, in order."""
    found: list[Any] = []
    hollow(value, found)
    return found


def slots(template: Any, kinds: Any = Slot | Tensor) -> Iterator[Any]:
    """The slots and tensors of nested arguments, in order; or what is of other kinds."""
    if isinstance(template, kinds):
        yield template
    elif isinstance(template, tuple | list):
        for item in template:
            yield from slots(item, kinds)
    elif isinstance(template, dict):
        yield from slots(tuple(template.values()), kinds)
    elif isinstance(template, slice):
        yield from slots((template.start, template.stop, template.step), kinds)


def sign(args: Any, signature: list, tensors: list) -> None:
    """What tells one call's arguments from another's, but for the tensors that are there, and all tensors in order."""
    for value in args:
        kind = type(value)
        if kind is Later:
            signature.append(value.meta)
            tensors.append(value)
        elif kind in _ATOMS:
            signature += (kind, value)
        elif isinstance(value, Tensor):
            signature.append(Tensor)
            tensors.append(value)
        elif kind is tuple or kind is list or isinstance(value, tuple | list):
            signature += (kind, len(value))
            sign(value, signature, tensors)
        elif kind is dict:
            signature += (kind, *value)
            sign(value.values(), signature, tensors)
        elif kind is slice:
            signature.append(kind)
            sign((value.start, value.stop, value.step), signature, tensors)
        else:
            signature += (kind, value)


def fits(values: Collection[Any], template: Collection[Any], metas: Sequence[Any], tensors: list) -> bool:
    """Whether arguments are those that a template was made of, but for values that are not there yet.

    Args:
        values: the arguments.
        template: what `hollow` made of others, with slots for what was not there.
        metas: of what was not there.
        tensors: gets all tensors of the arguments, in order.
    """
    if len(values) != len(template):
        return False
    for value, then in zip(values, template, strict=True):
        kind = type(value)
        if kind is Later:
            if type(then) is not Slot or metas[then.number] is not value.meta:
                return False
            tensors.append(value)
        elif value is then:
            if isinstance(value, Tensor):
                tensors.append(value)
        elif kind is not type(then):
            return False
        elif kind is tuple or kind is list or kind is slice:
            if not fits(_items(value), _items(then), metas, tensors):
                return False
        elif kind not in _ATOMS or value != then:
            return False
    return True


def _items(value: Any) -> Sequence[Any]:
    return (value.start, value.stop, value.step) if type(value) is slice else value


def structure_of(value: Any, structure: list) -> None:
    """The structure of nested arguments, as far as two calls must have it in common."""
    kind = type(value)
    if kind in _ATOMS:
        structure += (kind, value)
    elif isinstance(value, Tensor):
        structure.append(Tensor)
    elif isinstance(value, tuple | list):
        structure.append((kind, len(value)))
        for item in value:
            structure_of(item, structure)
    elif kind is dict:
        structure.append((kind, tuple(value)))
        for item in value.values():
            structure_of(item, structure)
    elif kind is slice:
        structure.append(kind)
        for item in (value.start, value.stop, value.step):
            structure_of(item, structure)
    else:
        structure += (kind, value)
