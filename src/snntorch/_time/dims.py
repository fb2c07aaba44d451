"""Functions that name their dimensions: with the steps as a dimension before the others, each name moves by one."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, dtype

from .arguments import Slot, fill
from .known import TRANSPOSED

# Where a function's dimensions stand among its arguments, and how they are called by keyword
_ONE = ((1,), ("dim",))
_DIMENSIONS: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    **dict.fromkeys(
        "softmax log_softmax softmin mean sum amax amin argmax argmin max min cumsum cumprod logsumexp squeeze "
        "unsqueeze unflatten cat concat concatenate stack".split(),
        _ONE,
    ),
    "transpose": ((1, 2), ("dim0", "dim1")), "swapaxes": ((1, 2), ("axis0", "axis1")),
    "swapdims": ((1, 2), ("dim0", "dim1")), "flatten": ((1, 2), ("start_dim", "end_dim")),
    "chunk": ((2,), ("dim",)), "split": ((2,), ("dim",)),
}  # fmt: skip
_LISTS = {"cat", "concat", "concatenate", "stack"}
_FIRST = {*_LISTS, "chunk", "split"}  # without a dimension they take the first
_SHAPES = {"view", "reshape", "permute", "flip", "getitem"}
NAMES = _DIMENSIONS.keys() | (_SHAPES - {"getitem"})


def behind_time(function: Any, name: str, args: Any, kwargs: Any, values: Sequence[Tensor]) -> Callable[[], Any] | None:
    """A call of all steps at once; None where the function is none that is known to name its dimensions.

    Args:
        function: of one step.
        name: its name, without underscores.
        args: its positional arguments, with slots for tensors.
        kwargs: its arguments by keyword, likewise.
        values: what belongs into the slots, `[T, ...]` each.
    """
    if not args:
        return None
    if name in _LISTS:
        if not all(type(a) is Slot for a in args[0]):
            return None
    elif type(args[0]) is not Slot or len(values) > 1 or values[0].dim() < 2:
        return None
    elif name in _SHAPES or function in TRANSPOSED:
        return None if kwargs else _of_shape(values[0], function, name, args[1:])
    if name not in _DIMENSIONS:
        return None
    rank = values[0].dim() - 1 + (name in ("stack", "unsqueeze"))
    moved = _named(name, list(args), dict(kwargs), rank)
    return None if moved is None else lambda: function(*fill(moved[0], values), **fill(moved[1], values))


def _of_shape(x: Tensor, function: Any, name: str, rest: tuple) -> Callable[[], Any] | None:
    """A function that takes a shape, a type, an order of dimensions or an index."""
    if name == "get":  # `T` and the like, of a matrix
        return (lambda: x.mT) if x.dim() == 3 and not x.is_complex() else None
    if name == "getitem":
        index = rest[0] if type(rest[0]) is tuple else rest
        return (lambda: x[(slice(None), *index)]) if all(map(_plain, index)) else None
    if name == "view" and rest and type(rest[0]) is dtype:  # of the last dimension; vmap can't before torch 2.13
        return lambda: x.view(rest[0])
    given = rest[0] if len(rest) == 1 and isinstance(rest[0], tuple | list) else rest
    if not _ints(given):
        return None
    if name in ("view", "reshape"):
        return lambda: x.reshape(len(x), *given)
    if not _within(given, x.dim() - 1):
        return None
    return lambda: function(x, (*[0] * (name == "permute"), *_moved(given)))


def _named(name: str, args: list, kwargs: dict, rank: int) -> tuple[list, dict] | None:
    """The arguments with their dimensions moved; None where they do not name them all."""
    places, keywords = _DIMENSIONS[name]
    if name in _FIRST and len(args) <= places[0] and "dim" not in kwargs:
        kwargs["dim"] = 0
    held: Any
    for place, keyword in zip(places, keywords, strict=True):
        held, key = (args, place) if len(args) > place else (kwargs, keyword)
        if held is kwargs and keyword not in kwargs:
            if keyword == "end_dim":  # the last one
                continue
            return None
        if not (_ints(held[key]) and _within(held[key], rank)):
            return None
        held[key] = _moved(held[key])
    return args, kwargs


def _ints(value: Any) -> bool:
    """Whether it is an int, or several, and at least one."""
    if isinstance(value, tuple | list):
        return len(value) > 0 and all(type(v) is int for v in value)
    return type(value) is int


def _within(value: Any, rank: int) -> bool:
    """Whether dimensions that are counted from the end are those of a step."""
    return value >= -rank if type(value) is int else all([v >= -rank for v in value])


def _moved(value: Any) -> Any:
    """Dimensions behind one more: those that are counted from the end stay."""
    if type(value) is int:
        return value + 1 if value >= 0 else value
    return [_moved(v) for v in value]


def _plain(index: Any) -> bool:
    """Whether an index is one number, a range or a new dimension."""
    if type(index) is slice:
        return all(type(i) in (int, type(None)) for i in (index.start, index.stop, index.step))
    return index is None or index is Ellipsis or type(index) is int
