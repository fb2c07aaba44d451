"""What stands for a tensor while a step is traced."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .trace import Trace


class TraceError(Exception):
    """The step does something that is not elementwise arithmetic; the message says what."""


class Symbol:
    """Stands for a tensor while a step is traced: arithmetic on it adds nodes to the graph."""

    def __init__(self, trace: "Trace", number: int) -> None:
        self.trace, self.number = trace, number

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> "Symbol":
        symbol = next((a for a in (*args, *(kwargs or {}).values()) if isinstance(a, Symbol)), None)
        name = getattr(function, "__name__", str(function))
        if name.startswith("__"):  # an operator; a function in place ends in _
            name = name.strip("_")
        if symbol is None or name not in symbol.trace.calls:
            raise TraceError(f"torch.{name} is not elementwise arithmetic that the engine knows")
        return symbol.trace.call(name, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name not in self.trace.calls:
            raise TraceError(f"the step uses `.{name}` of a tensor, which is not elementwise arithmetic")
        return lambda *args, **kwargs: self.trace.call(name, (self, *args), kwargs)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the step is traced in."""
        return self.trace.dtype

    def __bool__(self) -> bool:
        raise TraceError("the step branches on a tensor's values; use torch.where")

    def with_vjp(self, forward: Callable, backward: Callable) -> "Symbol":
        """`forward(self)`, whose gradient is `backward(self, grad_output)` whatever forward does."""
        graph = self.trace.graph
        hole = graph("hole", len(graph.nodes))
        value = self.trace.number(forward(self))
        gradient = self.trace.number(backward(self, Symbol(self.trace, hole)))
        return Symbol(self.trace, graph("custom", value, hole, self.number, gradient))


def _method(name: str) -> Callable:
    return lambda self, *args: self.trace.call(name, (self, *args), {})


def _reflected(name: str) -> Callable:
    return lambda self, other: self.trace.call(name, (other, self), {})


def _in_place(name: str) -> Callable:
    def operate(self: Symbol, other: Any) -> Symbol:
        self.number = self.trace.call(name, (self, other), {}).number  # under every name that the step gave it
        return self

    return operate


for _name in ("add", "sub", "mul", "truediv", "mod", "pow"):
    setattr(Symbol, f"__{_name}__", _method(_name))
    setattr(Symbol, f"__i{_name}__", _in_place(_name))
    setattr(Symbol, f"__r{_name}__", _reflected(_name))
for _name in ("neg", "abs", "gt", "ge", "lt", "le", "eq", "ne", "and", "or", "xor", "invert"):
    setattr(Symbol, f"__{_name}__", _method(_name))
Symbol.__rtruediv__ = lambda self, number: self.reciprocal() * number  # type: ignore[attr-defined]  # as PyTorch does
Symbol.__hash__ = object.__hash__  # type: ignore[method-assign]
