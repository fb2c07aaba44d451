"""Numbers of a step's settings while it is traced: arithmetic among them stays in Python, as eagerly.

A kernel takes such a number as a parameter, so that one kernel serves every value. What a number decides, as where a
step branches on it, is decided by its value: that one is then a constant.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Value = int | float


class Ref(NamedTuple):
    """The number of a host number, where an operation takes it."""

    number: int


class Host:
    """The host numbers of one tracing: the leaves, then what is computed of them.

    Args:
        values: of the leaves, while tracing.
        fixed: which of them are constants.
    """

    def __init__(self, values: Sequence[Value], fixed: frozenset[int] = frozenset()) -> None:
        self.values = list(values)
        self.leaves = [frozenset([k]) for k in range(len(values))]  # that each number is computed of
        self.operations: list[tuple] = []
        self.fixed = set(fixed)

    def leaf(self, k: int) -> Any:
        """What stands for a leaf: a constant's value, or a number."""
        return self.values[k] if k in self.fixed else Number(self, k)

    def compute(self, operation: Callable, *operands: Any) -> "Number":
        """The number that an operation on numbers makes."""
        value = operation(*(o.value if type(o) is Number else o for o in operands))
        if type(value) not in (int, float):  # such as a complex power
            raise TypeError(f"a number of the step becomes {type(value).__name__}")
        self.values.append(value)
        self.leaves.append(frozenset().union(*(self.leaves[o.number] for o in operands if type(o) is Number)))
        self.operations.append((operation, *(Ref(o.number) if type(o) is Number else o for o in operands)))
        return Number(self, len(self.values) - 1)

    def fix(self, number: "Number") -> Value:
        """Its value, which the program now depends on."""
        self.fixed |= self.leaves[number.number]
        return number.value


def evaluate(operations: Sequence[tuple], leaves: Sequence[Value]) -> list[Value]:
    """All host numbers for these values of the leaves."""
    values = list(leaves)
    for operation, *operands in operations:
        values.append(operation(*(values[o.number] if type(o) is Ref else o for o in operands)))
    return values


class Number:
    """Stands for a Python number; whoever asks for its value makes it a constant."""

    def __init__(self, host: Host, number: int) -> None:
        self.host, self.number = host, number

    @property
    def value(self) -> Value:
        """Its value while tracing."""
        return self.host.values[self.number]

    @property
    def __class__(self) -> type:  # type: ignore[override]  # for isinstance
        return type(self.value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host.fix(self), name)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """A function of PyTorch that is given no symbol."""
        return function(*map(constant, args), **{name: constant(value) for name, value in (kwargs or {}).items()})


def constant(value: Any) -> Any:
    """The value of a number, which so becomes a constant; anything else as it is."""
    return value.host.fix(value) if type(value) is Number else value


def _arithmetic(operation: Callable, reflected: bool = False) -> Callable:
    def method(self: Number, *others: Any) -> Any:
        if any(type(other) not in (int, float, bool, Number) for other in others):
            return NotImplemented
        return self.host.compute(operation, *others, self) if reflected else self.host.compute(operation, self, *others)

    return method


def _asking(operation: Callable) -> Callable:
    return lambda self, *others: operation(self.host.fix(self), *map(constant, others))


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(Number, f"__{_name}__", _arithmetic(getattr(operator, _name)))
    setattr(Number, f"__r{_name}__", _arithmetic(getattr(operator, _name), reflected=True))
for _name in ("neg", "pos", "abs"):
    setattr(Number, f"__{_name}__", _arithmetic(getattr(operator, _name)))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "index"):
    setattr(Number, f"__{_name}__", _asking(getattr(operator, _name)))
for _name, _function in {
    "bool": bool, "int": int, "float": float, "complex": complex, "hash": hash, "str": str, "repr": repr,
    "format": format, "round": round, "trunc": math.trunc, "floor": math.floor, "ceil": math.ceil, "divmod": divmod,
}.items():  # fmt: skip
    setattr(Number, f"__{_name}__", _asking(_function))
Number.__rdivmod__ = lambda self, other: divmod(other, self.host.fix(self))  # type: ignore[method-assign]
