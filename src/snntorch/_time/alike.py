"""Whether two calls have the same arguments, but for values that are not there yet."""

from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor

from .arguments import ATOMS, Slot
from .later import Later


def sign(args: Any, signature: list, tensors: list) -> None:
    """What tells one call's arguments from another's, but for the tensors that are there, and all tensors in order."""
    for value in args:
        kind = type(value)
        if kind is Later:
            signature.append(value.meta)
            tensors.append(value)
        elif kind in ATOMS:
            signature += (kind, value or repr(value))  # -0.0 == 0.0
        elif isinstance(value, Tensor):
            signature.append(Tensor)
            tensors.append(value)
        elif isinstance(value, tuple | list):
            signature += (kind, len(value))
            sign(value, signature, tensors)
        elif isinstance(value, dict):
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
        elif kind not in ATOMS or value != then or not (value or repr(value) == repr(then)):
            return False
    return True


def _items(value: Any) -> Sequence[Any]:
    return (value.start, value.stop, value.step) if type(value) is slice else value
