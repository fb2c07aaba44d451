"""What a step may call of PyTorch's: the nodes that each function, method or operator adds to the graph."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from .operations import COMPOSED, OPERATIONS, Expression, bounded, nan_to_num
from .symbol import Symbol

if TYPE_CHECKING:
    from .trace import Trace


def _primitive(operation: str) -> Callable:
    kinds = OPERATIONS[operation].operands

    def add(t: Trace, *args: Any) -> int:
        if len(args) != len(kinds):
            raise TypeError(f"it takes {len(kinds)} tensors")
        taken = zip(kinds, args, strict=True)
        return t.graph(operation, *(t.predicate(a) if kind == "p" else t.arithmetic(a) for kind, a in taken))

    return add


def _composed(function: Callable) -> Callable:
    """Tensors and numbers come as expressions, anything else as it is."""

    def add(t: Trace, *args: Any, **kwargs: Any) -> int:
        def given(value: Any) -> Any:
            return value if value is None or isinstance(value, str) else Expression(t.graph, t.arithmetic(value))

        return function(*map(given, args), **{name: given(value) for name, value in kwargs.items()}).number

    return add


# Since torch 2.14 x gets nothing where it equals a bound that is a number, and shares with a bound that is a tensor.
_CLAMP_SHARES = TorchVersion(torch.__version__) >= "2.14"


def _clamp(t: Trace, x: Any, min: Any = None, max: Any = None) -> int:
    bounds = [bound for bound in (min, max) if bound is not None]
    if not bounds:
        raise TypeError("neither bound is given")
    tensors = any(isinstance(bound, Symbol | Tensor) for bound in bounds)
    if len(bounds) == 2:
        rule = "clamp" if not _CLAMP_SHARES else "clamp_sharing" if tensors else "clamp_strictly"
        return _primitive(rule)(t, x, min, max)
    extreme = "minimum" if min is None else "maximum"
    if tensors and _CLAMP_SHARES:
        return _primitive(extreme)(t, x, *bounds)
    return _composed(functools.partial(bounded, extreme=extreme, strictly=_CLAMP_SHARES))(t, x, *bounds)


def _nan_to_num(t: Trace, x: Any, nan: Any = None, posinf: Any = None, neginf: Any = None) -> int:
    limits = torch.finfo(t.dtype)
    defaults = zip((nan, posinf, neginf), (0.0, limits.max, limits.min), strict=True)
    return _composed(nan_to_num)(t, x, *(default if value is None else value for value, default in defaults))


def _to(t: Trace, a: Any, dtype: Any = None, *rest: Any, **kwargs: Any) -> int:
    if isinstance(dtype, Symbol | Tensor):
        dtype = dtype.dtype
    if not isinstance(dtype, torch.dtype) or rest or kwargs:
        raise TypeError("only a dtype is understood")
    if dtype == t.dtype:
        return t.arithmetic(a)
    if dtype == torch.float32 and t.dtype == torch.float64:
        return t.graph("single", t.arithmetic(a))
    raise TypeError(f"conversion to {dtype}")


def _full(value: float) -> Callable:
    return lambda t, a, **kwargs: t.graph.const(value)


# name of a torch function or tensor method -> (trace, *arguments) -> node
CALLS: dict[str, Callable[..., int]] = {
    **{
        name: _primitive(operation)
        for operation, row in OPERATIONS.items()
        for name in (operation, *row.names)
        if operation not in ("float", "single", "clamp_strictly", "clamp_sharing")  # which no one calls
    },
    **{name: _composed(function) for name, function in COMPOSED.items()},
    **dict.fromkeys(("clamp", "clip"), _clamp),
    "clamp_min": lambda t, x, min: _clamp(t, x, min=min), "clamp_max": lambda t, x, max: _clamp(t, x, max=max),
    "nan_to_num": _nan_to_num,
    "masked_fill": lambda t, x, mask, value: _primitive("where")(t, mask, value, x),
    "to": _to, "type_as": _to,
    "float": lambda t, a: _to(t, a, torch.float32), "double": lambda t, a: _to(t, a, torch.float64),
    "clone": lambda t, a: t.arithmetic(a), "contiguous": lambda t, a: t.arithmetic(a),
    "zeros_like": _full(0), "ones_like": _full(1),
    "full_like": lambda t, a, fill_value, **kwargs: t.arithmetic(fill_value),
}  # fmt: skip
