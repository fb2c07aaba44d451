"""A step run on symbols: what it computes becomes a graph."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .calls import CALLS
from .graph import Graph
from .host import Number, Ref, constant
from .private import Draws, enable_grad
from .program import Program, program
from .symbol import Symbol, TraceError

LONGEST = 5000  # operations of a step: a kernel takes some seconds for each thousand to compile, forward and back
_BY_VALUE = ("pow", "lerp")  # which compute with their numbers before a tensor meets them


def _refuse_to_draw() -> None:
    """Once for all steps."""
    raise TraceError("the step draws random numbers")


class Trace:
    """One tracing: the graph, and the tensors and numbers that were met on the way, which become parameters."""

    calls = CALLS

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.graph = Graph()
        self.captured: list[Tensor | Ref] = []

    def symbol(self, kind: str, number: int) -> Symbol:
        """A leaf."""
        return Symbol(self, self.graph(kind, number))

    def number(self, value: Any) -> int:
        """The node of a symbol, a number or a tensor."""
        if isinstance(value, Symbol):
            return value.number
        if type(value) is Number:
            return self.graph("param", self._capture(Ref(value.number)))
        if isinstance(value, Tensor):
            if not value.is_floating_point():
                raise TraceError(f"the step uses a tensor of {value.dtype}")
            return self.graph("param", self._capture(value))
        if isinstance(value, bool | int | float):
            return self.graph.const(value)
        raise TraceError(f"the step computes with {type(value).__name__}, which is no tensor or number")

    def _capture(self, value: Tensor | Ref) -> int:
        for k, known in enumerate(self.captured):
            if known is value or (type(known) is type(value) is Ref and known == value):
                return k
        self.captured.append(value)
        return len(self.captured) - 1

    def arithmetic(self, value: Any) -> int:
        """As `number`; true and false become 1 and 0."""
        number = self.number(value)
        return self.graph("float", number) if self.graph.is_predicate(number) else number

    def predicate(self, value: Any) -> int:
        """As `number`, for what must be true or false."""
        number = self.number(value)
        if not self.graph.is_predicate(number):
            raise TraceError("the step uses a number where a condition is expected")
        return number

    def call(self, name: str, args: tuple, kwargs: dict) -> Symbol:
        """One operation on symbols."""
        if not torch.is_grad_enabled():
            raise TraceError("part of the step runs in torch.no_grad or in an autograd.Function")
        if len(self.graph.nodes) > LONGEST:
            raise TraceError(f"the step has more than {LONGEST} operations, which would take too long to compile")
        if name in _BY_VALUE:
            args, kwargs = tuple(map(constant, args)), {key: constant(value) for key, value in kwargs.items()}
        try:
            if kwargs.pop("inplace", False):
                raise TypeError("it works in place")
            return Symbol(self, self.calls[name](self, *args, **kwargs))
        except TypeError as error:
            raise TraceError(f"torch.{name} with these arguments is not elementwise arithmetic: {error}") from None


class _Context:
    """What an autograd.Function of the user's keeps between its forward and backward, while it is traced."""

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        raise TraceError("an autograd.Function marks outputs as not differentiable")


def _differentiable(function: type[torch.autograd.Function]) -> Callable:
    """`function.apply` of one tensor, for symbols."""

    def apply(x: Symbol) -> Symbol:
        context = _Context()

        def forward(x: Symbol) -> Symbol:
            if function.setup_context is torch.autograd.Function.setup_context:
                return function.forward(context, x)
            value = function.forward(x)
            function.setup_context(context, (x,), value)
            return value

        def backward(x: Symbol, grad: Symbol) -> Any:
            grads = function.backward(context, grad)
            return grads[0] if isinstance(grads, tuple) else grads

        return x.with_vjp(forward, backward)

    return apply


def _traceable(value: Any) -> Any:
    if type(value) is Number:
        return value
    function = getattr(value, "__self__", None)
    if inspect.isclass(function) and issubclass(function, torch.autograd.Function):
        return _differentiable(function)
    return value


def trace(
    step: Callable, varies: Sequence[bool], states: int, params: Sequence[str], constants: dict[str, Any],
    dtype: torch.dtype,
) -> tuple[Program, list[Tensor | Ref]]:  # fmt: skip
    """Run a step on symbols.

    Args:
        step: the step function, `step(*inputs, *states, **keywords) -> *outputs, *new states`.
        varies: for each input whether it changes from step to step; one that does not is a parameter.
        states: how many states it takes.
        params: names of its keywords that are tensors.
        constants: its other keywords, by name, or what stands for their numbers.
        dtype: the dtype that it computes in.

    Returns:
        The program, and the tensors and numbers that it computes with beside its arguments. Parameters are `params`,
        then the inputs that do not vary, then these.

    Raises:
        TraceError: for a step that is not elementwise arithmetic, or draws random numbers.
    """
    t = Trace(dtype)
    static = [t.symbol("param", len(params) + k) for k in range(len(varies) - sum(varies))]
    inputs = [t.symbol("input", k) for k in range(sum(varies))]
    known = len(params) + len(static)
    t.captured = [torch.empty(0) for _ in range(known)]  # these parameters' numbers are taken
    keywords = {name: t.symbol("param", k) for k, name in enumerate(params)}
    keywords |= {name: _traceable(value) for name, value in constants.items()}
    with enable_grad(), Draws(_refuse_to_draw):
        returned = step(
            *((inputs if v else static).pop(0) for v in varies),
            *(t.symbol("state", k) for k in range(states)),
            **keywords,
        )
    returned = returned if isinstance(returned, tuple) else (returned,)
    if len(returned) < states:
        raise TraceError(f"the step returns {len(returned)} values for {states} states")
    outputs = tuple(t.arithmetic(value) for value in returned)
    return program(sum(varies), states, len(t.captured), tuple(t.graph.nodes), outputs), t.captured[known:]
