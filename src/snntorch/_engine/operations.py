"""What a step may compute with, one row an operation: how it is written for each target, and its adjoint.

Adjoints are PyTorch's formulas, at infinities, NaN and ties too. They and the compositions at the end are written in
the arithmetic of expressions, which adds nodes to a graph.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Expression:
    """A node of a graph: `x * y` adds the node of the product, `x.exp()` that of the exponential, and so on."""

    def __init__(self, graph: Any, number: int) -> None:
        self.graph, self.number = graph, number

    def then(self, operation: str, *operands: "Expression | float") -> "Expression":
        """The node of an operation on operands, which may be numbers."""
        numbers = [o.number if isinstance(o, Expression) else self.graph.const(o) for o in operands]
        return Expression(self.graph, self.graph(operation, *numbers))

    def __getattr__(self, operation: str) -> Callable[..., "Expression"]:
        if operation not in OPERATIONS:
            raise AttributeError(f"no operation is named {operation}")
        return functools.partial(self.then, operation, self)

    @property
    def value(self) -> float | None:
        """The value of a constant."""
        return self.graph.value(self.number)

    def __neg__(self) -> "Expression":
        return self.then("neg", self)

    def __invert__(self) -> "Expression":
        return self.then("not", self)


for _name in ("add", "sub", "mul", "truediv", "gt", "ge", "lt", "le", "eq", "ne", "and", "or"):
    _row = _name.removeprefix("true")
    setattr(Expression, f"__{_name}__", lambda self, other, row=_row: self.then(row, self, other))
    if _name in ("add", "sub", "mul", "truediv"):
        setattr(Expression, f"__r{_name}__", lambda self, other, row=_row: self.then(row, other, self))


@dataclass(frozen=True)
class Operation:
    """A row of the table.

    Attributes:
        operands: for each operand `x` for a number, `p` for a predicate, which is true or false.
        numba: how it is written for Numba, of the operands' names.
        triton: how it is written for Triton.
        adjoint: (cotangent, result, *operands) -> the operands' cotangents, None where there is none; no function where
            there are none at all.
        torch: the function of that name in `torch` means it.
        names: by which further names a step may call it.
    """

    operands: str
    numba: str
    triton: str = ""
    adjoint: Callable[..., Any] | None = None
    torch: str = ""
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.triton:
            object.__setattr__(self, "triton", self.numba)


def _extreme(wins: Callable[[Any, Any], Any]) -> Callable:
    """A tie shares the cotangent; where one is NaN both get it."""

    def adjoint(d: Any, y: Any, a: Any, b: Any) -> tuple:
        shared = (a == b).where(d * 0.5, d)
        return wins(b, a).where(0, shared), wins(a, b).where(0, shared)

    return adjoint


def _power(d: Any, y: Any, a: Any, b: Any) -> tuple:
    slope = d * (b * power(a, b - 1))
    if b.value is not None:
        return slope, None
    exponent = d * (y * a.log())
    if not a.value:  # where the base may be 0, the logarithm is -inf
        exponent = (a == 0).where((b >= 0).where(0, exponent), exponent)
    return None if a.value is not None else (b == 0).where(0, slope), exponent


def _angle(d: Any, y: Any, a: Any, b: Any) -> tuple:
    square = a * a + b * b
    inverse = (square == 0).where(0, 1 / square)
    return d * (b * inverse), d * (-a * inverse)


def _bounded(d: Any, y: Any, x: Any, low: Any, high: Any) -> tuple:
    """Of `clamp`: at a bound x gets all."""
    inside, below = (x >= low) & (x <= high), (low < high) & (x < low)
    return inside.where(d, 0), below.where(d, 0), ((x > high) | (high < low)).where(d, 0)


def _bounded_strictly(d: Any, y: Any, x: Any, low: Any, high: Any) -> tuple:
    """Of `clamp`: at a bound nobody gets anything."""
    return ((x > low) & (x < high)).where(d, 0), None, None


def _bounded_sharing(d: Any, y: Any, x: Any, low: Any, high: Any) -> tuple:
    """Of `clamp`: at a bound it and x share."""
    proper = low < high
    at_low, at_high = proper & (x == low), proper & (x == high)
    below, above = (low <= high) & (x < low), ((low <= high) & (x > high)) | (high < low)
    half = d * 0.5
    of_x = ((x < low) | (x > high)).where(0, (at_low | at_high).where(half, d))
    return of_x, at_low.where(half, below.where(d, 0)), at_high.where(half, above.where(d, 0))


def _rsqrt(x: Any) -> Any:
    return 1 / x.sqrt()


def power(a: Any, b: Any) -> Any:
    """`a ** b`; simple exponents as PyTorch computes them."""
    simple = {
        0: lambda: Expression(a.graph, a.graph.const(1)), 1: lambda: a, 2: lambda: a * a, 3: lambda: a * a * a,
        0.5: lambda: a.sqrt(), -0.5: lambda: _rsqrt(a), -1: lambda: 1 / a,
    }  # fmt: skip
    return simple.get(b.value, lambda: a.then("pow", a, b))()


def floor_divide(a: Any, b: Any) -> Any:
    """The quotient rounded down, by its remainder."""
    rest = a.fmod(b)
    near = (a - rest) / b
    down = near - 1  # where signs differ
    near = (rest < 0).where((b > 0).where(down, near), (rest > 0).where((b < 0).where(down, near), near))
    return (b == 0).where(a / b, near.round())


_LN2, _LN10, _ERF = math.log(2), math.log(10), 2 / math.sqrt(math.pi)

OPERATIONS: dict[str, Operation] = {
    # arithmetic
    "add": Operation("xx", "{} + {}", adjoint=lambda d, y, a, b: (d, d)),
    "sub": Operation("xx", "{} - {}", adjoint=lambda d, y, a, b: (d, -d)),
    "mul": Operation("xx", "{} * {}", adjoint=lambda d, y, a, b: (d * b, d * a), names=("multiply",)),
    "div": Operation("xx", "{} / {}", "div({}, {})", lambda d, y, a, b: (d / b, -(d * (y / b)))),
    "neg": Operation("x", "-{}", adjoint=lambda d, y, x: -d, names=("negative",)),
    "abs": Operation("x", "abs({})", "tl.abs({})", lambda d, y, x: d * x.sign(), names=("absolute",)),
    "sign": Operation("x", "sign({})", names=("sgn",)),
    "maximum": Operation("xx", "maximum({}, {})", adjoint=_extreme(lambda a, b: a > b)),
    "minimum": Operation("xx", "minimum({}, {})", adjoint=_extreme(lambda a, b: a < b)),
    # between two bounds, of which the upper one wins; see `calls.py` for which is which
    "clamp": Operation("xxx", "minimum(maximum({}, {}), {})", adjoint=_bounded),
    "clamp_strictly": Operation("xxx", "minimum(maximum({}, {}), {})", adjoint=_bounded_strictly, torch="clamp"),
    "clamp_sharing": Operation("xxx", "minimum(maximum({}, {}), {})", adjoint=_bounded_sharing, torch="clamp"),
    "lerp": Operation("xxx", "lerp({}, {}, {})", adjoint=lambda d, y, a, b, w: (d * (1 - w), d * w, d * (b - a))),
    "fmod": Operation("xx", "fmod({}, {})", adjoint=lambda d, y, a, b: (d, -d * (a / b).trunc())),
    "remainder": Operation("xx", "remainder({}, {})", adjoint=lambda d, y, a, b: (d, -d * floor_divide(a, b)),
                           names=("mod",)),
    # rounding
    "ceil": Operation("x", "ceil({})", "tl.ceil({})"),
    "floor": Operation("x", "floor({})", "tl.floor({})"),
    "round": Operation("x", "rint({})"),
    "trunc": Operation("x", "trunc({})", names=("fix",)),
    # exponentials, logarithms, powers
    "exp": Operation("x", "exp({})", adjoint=lambda d, y, x: d * y),
    "exp2": Operation("x", "exp2({})", adjoint=lambda d, y, x: d * y * _LN2, names=("special_exp2",)),
    "expm1": Operation("x", "math.expm1({})", "expm1({})", lambda d, y, x: d * (y + 1), names=("special_expm1",)),
    "log": Operation("x", "math.log({})", "log({})", lambda d, y, x: d / x),
    "log2": Operation("x", "math.log2({})", "log2({})", lambda d, y, x: d / (x * _LN2)),
    "log10": Operation("x", "math.log10({})", "log10({})", lambda d, y, x: d / (x * _LN10)),
    "log1p": Operation("x", "math.log1p({})", "log1p({})", lambda d, y, x: d / (x + 1), names=("special_log1p",)),
    "sqrt": Operation("x", "math.sqrt({})", "sqrt({})", lambda d, y, x: d * 0.5 / y),
    "pow": Operation("xx", "{} ** {}", "power({}, {})", _power),
    # trigonometry
    "sin": Operation("x", "math.sin({})", "sin({})", lambda d, y, x: d * x.cos()),
    "cos": Operation("x", "math.cos({})", "cos({})", lambda d, y, x: -(d * x.sin())),
    "tan": Operation("x", "math.tan({})", "tan({})", lambda d, y, x: d * (1 + y * y)),
    "asin": Operation("x", "math.asin({})", "asin({})", lambda d, y, x: d * _rsqrt(1 - x * x), names=("arcsin",)),
    "acos": Operation("x", "math.acos({})", "acos({})", lambda d, y, x: -d * _rsqrt(1 - x * x), names=("arccos",)),
    "atan": Operation("x", "math.atan({})", "atan({})", lambda d, y, x: d / (x * x + 1), names=("arctan",)),
    "atan2": Operation("xx", "math.atan2({}, {})", "atan2({}, {})", _angle, names=("arctan2",)),
    "sinh": Operation("x", "math.sinh({})", "sinh({})", lambda d, y, x: d * x.cosh()),
    "cosh": Operation("x", "math.cosh({})", "cosh({})", lambda d, y, x: d * x.sinh()),
    "tanh": Operation("x", "tanh({})", adjoint=lambda d, y, x: d * (1 - y * y)),
    "asinh": Operation("x", "math.asinh({})", "asinh({})", lambda d, y, x: d * _rsqrt(x * x + 1), names=("arcsinh",)),
    "acosh": Operation("x", "math.acosh({})", "acosh({})", lambda d, y, x: d * _rsqrt(x * x - 1), names=("arccosh",)),
    "atanh": Operation("x", "math.atanh({})", "atanh({})", lambda d, y, x: d / (1 - x * x), names=("arctanh",)),
    "sigmoid": Operation("x", "sigmoid({})", adjoint=lambda d, y, x: d * (1 - y) * y, names=("special_expit",)),
    "erf": Operation("x", "math.erf({})", "erf({})", lambda d, y, x: d * _ERF * (-(x * x)).exp(),
                     names=("special_erf",)),
    # conditions
    "gt": Operation("xx", "{} > {}", names=("greater",)),
    "ge": Operation("xx", "{} >= {}", names=("greater_equal",)),
    "lt": Operation("xx", "{} < {}", names=("less",)),
    "le": Operation("xx", "{} <= {}", names=("less_equal",)),
    "eq": Operation("xx", "{} == {}"),
    "ne": Operation("xx", "{} != {}", names=("not_equal",)),
    "and": Operation("pp", "{} & {}", torch="logical_and", names=("logical_and", "bitwise_and")),
    "or": Operation("pp", "{} | {}", torch="logical_or", names=("logical_or", "bitwise_or")),
    "not": Operation("p", "not {}", "~{}", torch="logical_not", names=("logical_not", "bitwise_not", "invert")),
    "where": Operation("pxx", "{1} if {0} else {2}", "tl.where({}, {}, {})",
                       lambda d, y, p, a, b: (None, p.where(d, 0), p.where(0, d))),
    # the dtype: of a predicate, 1 where it holds, else 0; rounded to float32; and what ends gradients
    "float": Operation("p", "ONE if {} else ZERO", "tl.where({}, ONE, ZERO)"),
    "single": Operation("x", "real(float32({}))", "{}.to(tl.float32).to(REAL)", lambda d, y, x: d),
    "detach": Operation("x", "{}"),
}  # fmt: skip

PREDICATES = {"gt", "ge", "lt", "le", "eq", "ne", "and", "or", "not"}


def bounded(x: Any, bound: Any, extreme: str, strictly: bool) -> Any:
    """X bounded on one side by the maximum or minimum with a bound, which gets no gradient where they are equal.

    Then x gets it, or, `strictly`, nobody; and so for NaN.
    """
    reaches, beyond = ("ge", "lt") if extreme == "maximum" else ("le", "gt")
    outside = x.then(beyond, x, bound).where(bound, x.then(extreme, x, bound).detach())
    return x.then(reaches[0] + "t" if strictly else reaches, x, bound).where(x, outside)


def nan_to_num(x: Any, nan: Any, posinf: Any, neginf: Any) -> Any:
    """X, its NaN and infinities replaced."""
    finite = (x == math.inf).where(posinf, (x == -math.inf).where(neginf, x))
    return (x != x).where(nan, finite)


def divide(a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    """`a / b`, perhaps rounded."""
    if rounding_mode is None:
        return a / b
    return {"floor": lambda: floor_divide(a, b).detach(), "trunc": lambda: (a / b).trunc()}[rounding_mode]()


def _elu(x: Any, alpha: Any = 1) -> Any:
    below = x <= 0
    return below.where(alpha * below.where(x, 0).expm1(), x)  # no exponential of what is large


def _gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "none":
        return x * (0.5 * ((x * math.sqrt(0.5)).erf() + 1))
    return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))).tanh())


def _xor(a: Any, b: Any) -> Any:
    return ((a != 0) & (b == 0)) | ((a == 0) & (b != 0))


def _softplus(x: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    scaled = x * beta
    linear = scaled > threshold
    return linear.where(x, linear.where(0, scaled).exp().log1p() / beta)


def _hardtanh(x: Any, min_val: Any = -1, max_val: Any = 1) -> Any:
    return (x <= min_val).where(min_val, (x >= max_val).where(max_val, x))


def _hardsigmoid(x: Any) -> Any:
    bounded = (x + 3).maximum(0).minimum(6) / 6
    return ((x > -3) & (x < 3)).where((x + 3) / 6, bounded.detach())


# what is composed of operations: name -> (expressions) -> expression
COMPOSED: dict[str, Callable[..., Expression]] = {
    "add": lambda a, b, alpha=1: a + alpha * b,
    **dict.fromkeys(("sub", "subtract"), lambda a, b, alpha=1: a - alpha * b),
    "rsub": lambda a, b, alpha=1: b - alpha * a,
    **dict.fromkeys(("div", "divide", "true_divide", "truediv"), divide),
    "addcmul": lambda a, b, c, value=1: a + value * b * c,
    "reciprocal": lambda x: 1 / x,
    "frac": lambda x: x - x.trunc(),
    "square": lambda x: x * x,
    "rsqrt": _rsqrt,
    "pow": power,
    "isnan": lambda x: x != x,
    "isinf": lambda x: x.abs() == math.inf,
    "isfinite": lambda x: x.abs() < math.inf,
    "bool": lambda x: x != 0,
    **dict.fromkeys(("logical_xor", "bitwise_xor", "xor"), _xor),
    "relu": lambda x: (x <= 0).where(0, x),
    "relu6": lambda x: _hardtanh(x, 0, 6),
    "leaky_relu": lambda x, negative_slope=0.01: (x > 0).where(x, x * negative_slope),
    "hardtanh": _hardtanh,
    "hardsigmoid": _hardsigmoid,
    "elu": _elu,
    "gelu": _gelu,
    "softplus": _softplus,
    "softsign": lambda x: x / (x.abs() + 1),
    "silu": lambda x: x * x.sigmoid(),
}
