"""A step run on symbols: what it computes becomes a graph.

Longer than others, as symbols, the trace and the calls that it knows are made of one another.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from .graph import Graph
from .host import Number, Ref, constant
from .operations import COMPOSED, OPERATIONS, Expression, bounded, nan_to_num
from .private import TorchDispatchMode, enable_grad
from .program import Program, program

LONGEST = 5000  # operations of a step: a kernel takes some seconds for each thousand to compile, forward and back


_BY_VALUE = ("pow", "lerp")  # which compute with their numbers before a tensor meets them


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
        if symbol is None or name not in CALLS:
            raise TraceError(f"torch.{name} is not elementwise arithmetic that the engine knows")
        return symbol.trace.call(name, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name not in CALLS:
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


for _name in ("add", "sub", "mul", "truediv", "mod", "pow"):
    setattr(Symbol, f"__{_name}__", _method(_name))
    setattr(Symbol, f"__r{_name}__", _reflected(_name))
for _name in ("neg", "abs", "gt", "ge", "lt", "le", "eq", "ne", "and", "or", "invert"):
    setattr(Symbol, f"__{_name}__", _method(_name))
Symbol.__rtruediv__ = lambda self, number: self.reciprocal() * number  # type: ignore[attr-defined]  # as PyTorch does
Symbol.__hash__ = object.__hash__  # type: ignore[method-assign]


class _Draws(TorchDispatchMode):
    """Refuses random numbers, which would be drawn once for all steps."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise TraceError("the step draws random numbers")
        return func(*args, **(kwargs or {}))


class Trace:
    """One tracing: the graph, and the tensors and numbers that were met on the way, which become parameters."""

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
            return Symbol(self, CALLS[name](self, *args, **kwargs))
        except TypeError as error:
            raise TraceError(f"torch.{name} with these arguments is not elementwise arithmetic: {error}") from None


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
    "to": _to, "type_as": _to,
    "float": lambda t, a: _to(t, a, torch.float32), "double": lambda t, a: _to(t, a, torch.float64),
    "clone": lambda t, a: t.arithmetic(a), "contiguous": lambda t, a: t.arithmetic(a),
    "zeros_like": _full(0), "ones_like": _full(1),
    "full_like": lambda t, a, fill_value, **kwargs: t.arithmetic(fill_value),
}  # fmt: skip


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
    with enable_grad(), _Draws():
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
