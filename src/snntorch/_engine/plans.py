"""A traced step, remembered by what it was traced with."""

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from operator import is_
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .host import Host, Ref, Value, evaluate
from .private import constant
from .program import Program
from .reads import Changing, Key
from .recent import SMALL, Recent
from .trace import TraceError, trace


class Plan(NamedTuple):
    """A traced step: its program, or why there is none.

    Attributes:
        program: the program, or for `torch.compile` its text.
        beside: the tensors that it takes beside its arguments: those that the step holds, and numbers of its settings.
        captures: whether the step holds any.
        reason: why there is no program.
        settings: that it was made for, held so that no others get their ids.
        lasting: whether the same step and settings, by identity, always have this plan.
    """

    program: Program | str | None
    beside: tuple[Tensor, ...] = ()
    captures: bool = False
    reason: str = ""
    settings: tuple = ()
    lasting: bool = False


@dataclass(frozen=True)
class _Traced:
    """A step traced for every value of its numbers.

    Attributes:
        program: the program; None with a reason.
        captured: its parameters beside the arguments.
        operations: what is computed of the numbers of its settings, see `evaluate`.
        fixed: which of these numbers are constants of the program.
        reason: why there is no program.
    """

    program: Program | None
    captured: tuple[Tensor | Ref, ...] = ()
    operations: tuple = ()
    fixed: frozenset[int] = frozenset()
    reason: str = ""

    @property
    def captures(self) -> bool:
        """Whether it holds tensors of the user's."""
        return any(isinstance(value, Tensor) for value in self.captured)


_CAPTURES = "it reads tensors beside its arguments, so that it would be traced at every step"
_CHANGES = "it reads what may change, so that it would be traced at every step"
_VARIES = "the step computes something else each time that it is traced"

_plans: Recent[Plan] = Recent(SMALL)  # by the very settings, where these are the same for ever
_traced: Recent[_Traced] = Recent(SMALL)  # by what they consist of, and the values of fixed numbers
_fixed: Recent[frozenset[int]] = Recent(SMALL)


def plan(
    neuron: Any, varies: tuple[bool, ...], states: int, arguments: dict[str, Any], dtype: torch.dtype,
    device: torch.device, costly: bool, fixed: bool = False,
) -> Plan:  # fmt: skip
    """The plan of a neuron's step; remembered where all that it was traced with is constant.

    Args:
        neuron: whose step it is.
        varies: for each input whether it changes from step to step.
        states: how many states it has.
        arguments: the step's keywords.
        dtype: that it computes in.
        device: that it runs on.
        costly: whether to trace it where it can't be remembered, which a single step does not pay for.
        fixed: whether the numbers among the arguments are constants of the program rather than its parameters.
    """
    step = neuron.step
    settings = [Tensor if isinstance(value, Tensor) else value for value in arguments.values()]
    key = (step, varies, states, dtype, device, fixed, *arguments, *map(id, settings))
    quick = type(step) is FunctionType and not capturing(device)  # a method would keep its neuron alive
    if quick and (known := _plans.get(key)) and not (costly and known.reason == _CAPTURES):
        return known
    call = _Call(neuron, step, varies, states, dtype, tuple(arguments), tuple(settings))
    traced, lasting = _find(call, costly, fixed)
    try:
        tensors = _tensors(traced, call.numbers, dtype, device)
    except (ArithmeticError, TypeError, ValueError):  # so the step may raise as well
        traced, lasting = _trace(call, frozenset(range(len(call.numbers)))), False
        tensors = _tensors(traced, call.numbers, dtype, device)
    lasting = quick and lasting and not traced.captures
    found = Plan(traced.program, tensors, traced.captures, traced.reason, call.settings, lasting)
    if lasting:
        _plans.put(key, found)
    return found


class _Call:
    """What a step is traced for.

    Attributes:
        numbers: those among its settings, in order.
    """

    def __init__(
        self, neuron: Any, step: Callable, varies: tuple[bool, ...], states: int, dtype: torch.dtype,
        names: tuple[str, ...], settings: tuple,
    ) -> None:  # fmt: skip
        self.neuron, self.step, self.varies, self.states, self.dtype = neuron, step, varies, states, dtype
        self.names, self.settings = names, settings
        self.numbers: list[Value] = []
        self.marked = tuple(_numbered(value, self.numbers.append) for value in settings)

    def key(self) -> tuple[Hashable, bool]:
        """What the call consists of but for its numbers, and whether all of it is the same for ever.

        Raises:
            Changing: where something may change unseen.
        """
        key = Key()
        parts = key.of(self.step), tuple(Tensor if m is Tensor else key.of(m) for m in self.marked)
        return (*parts, self.names, self.varies, self.states, self.dtype), key.lasting

    def stand_ins(self, host: Host) -> dict[str, Any]:
        """The settings by name, with what stands for their numbers."""
        leaves = map(host.leaf, range(len(self.numbers)))
        named = zip(self.names, self.settings, strict=True)
        return {name: _numbered(value, lambda _: next(leaves)) for name, value in named if value is not Tensor}

    @property
    def params(self) -> list[str]:
        """Names of the keywords that are tensors."""
        return [name for name, value in zip(self.names, self.settings, strict=True) if value is Tensor]


def _numbered(value: Any, number: Callable[[Value], Any]) -> Any:
    """A setting, its numbers replaced. Zero, to which PyTorch and Python have rules of their own, is none of them."""
    kind = type(value)
    if kind is float or kind is int:
        return number(value) if value and abs(value) < math.inf else value
    if kind is tuple:
        return tuple([_numbered(v, number) for v in value])
    if not is_dataclass(value) or isinstance(value, type) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return value
    names = [f.name for f in fields(value)]
    before = [getattr(value, name) for name in names]
    after = [_numbered(v, number) for v in before]
    if all(map(is_, before, after)):
        return value
    copy = object.__new__(kind)  # without what it may have computed of its numbers
    for name, v in zip(names, after, strict=True):
        object.__setattr__(copy, name, v)
    return copy


def _find(call: _Call, costly: bool, fixed: bool) -> tuple[_Traced, bool]:
    """The step as it was traced, or is now; and whether its settings may stand for it."""
    everything = frozenset(range(len(call.numbers)))
    try:
        general, lasting = call.key()
    except Changing:
        if not costly:
            return _Traced(None, reason=_CHANGES), False
        return _trace_twice(call, everything if fixed else frozenset()), False
    constants = everything if fixed else _fixed.get(general) or frozenset()
    known = _traced.get(_exact(general, call, constants))
    if known is None or (costly and known.reason == _CAPTURES):
        known = found = _trace(call, constants)
        if not fixed:
            _fixed.put(general, constants | found.fixed)
        if found.captures:  # which may be others the next time
            known = found if costly else _Traced(None, reason=_CAPTURES)
            found = _Traced(None, fixed=found.fixed, reason=_CAPTURES)
        _traced.put(_exact(general, call, constants | found.fixed), found)
    return known, lasting


def _exact(general: Hashable, call: _Call, constants: frozenset[int]) -> Hashable:
    return general, tuple([(k, type(n), float(n).hex()) for k, n in enumerate(call.numbers) if k in constants])


def _trace(call: _Call, constants: frozenset[int]) -> _Traced:
    """Trace a step; what is asked for its value, and every number where a step does not take them, is a constant."""
    while True:
        host = Host(call.numbers, constants)
        try:
            program, captured = trace(
                call.step, call.varies, call.states, call.params, call.stand_ins(host), call.dtype
            )
        except Exception as error:  # whatever the step does with a symbol, it may yet do with a tensor
            if len(constants) < len(call.numbers):
                constants = frozenset(range(len(call.numbers)))
                continue
            raised = f"tracing the step raised {type(error).__name__}: {error}"
            return _Traced(None, fixed=constants, reason=str(error) if isinstance(error, TraceError) else raised)
        if host.fixed == constants:
            program.origins.add(_origin(call.neuron))
            return _Traced(program, tuple(captured), tuple(host.operations), constants)
        constants = frozenset(host.fixed)


def _trace_twice(call: _Call, constants: frozenset[int]) -> _Traced:
    """Trace a step that reads what may change, unless it changes at once."""
    first = _trace(call, constants)
    if first.program is None:
        return first
    second = _trace(call, constants)
    same = (
        (first.program, first.operations, first.fixed) == (second.program, second.operations, second.fixed)
        and all(map(_is_same, first.captured, second.captured))
    )  # fmt: skip
    return first if same else _Traced(None, reason=_VARIES)


def _is_same(a: Tensor | Ref, b: Tensor | Ref) -> bool:
    if a is b or not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return a is b or (isinstance(a, Ref) and isinstance(b, Ref) and a == b)
    return a.device.type == b.device.type == "cpu" and torch.equal(a, b)  # elsewhere that would wait for the device


def _origin(neuron: Any) -> str:
    """The neuron and the line of its step, as far as the step is a function of Python's."""
    code = getattr(neuron.step, "__code__", None)
    return type(neuron).__name__ + (f" ({code.co_filename}:{code.co_firstlineno})" if code else "")


# -- numbers as tensors


def _tensors(traced: _Traced, numbers: Sequence[Value], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """What a traced step takes beside its arguments, of these numbers among its settings."""
    if not traced.captured:
        return ()
    values = evaluate(traced.operations, numbers)
    make = _number if capturing(device) else _kept_number
    return tuple([
        value if isinstance(value, Tensor) else make(float(values[value.number]).hex(), dtype, device)
        for value in traced.captured
    ])  # fmt: skip


def _number(value: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.full((), float.fromhex(value), dtype=dtype, device=device)


@functools.lru_cache(SMALL)
def _kept_number(value: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number as a tensor, which is there for every stream."""
    number = _number(value, dtype, device)
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return number


def capturing(device: torch.device) -> bool:
    """Whether a CUDA graph is recorded, in whose memory what is made now lies."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


@constant
def program_text(neuron: Any, varies: tuple[bool, ...], states: int, dtype: torch.dtype, **settings: Any) -> str:
    """The program's text for `torch.compile`, which can't trace through tracing; empty where there is none."""
    cpu = torch.device("cpu")  # where no tensor is made: every number is a constant
    arguments = {**neuron.step_arguments(dtype), **settings}
    found = plan(neuron, varies, states, arguments, dtype, cpu, costly=True, fixed=True)
    return "" if not isinstance(found.program, Program) or found.beside else found.program.text
