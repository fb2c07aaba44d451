"""A traced step, remembered as long as what it was traced with can't change."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from .private import constant
from .program import Program
from .trace import TraceError, trace


@dataclass(frozen=True)
class Plan:
    """A traced step: its program, and the tensors that it holds beside its arguments; or why there is none."""

    program: Program | None
    captured: tuple[Tensor, ...] = ()
    reason: str = ""


def _is_constant(value: Any) -> bool:
    """Whether the value can't change, so that what was traced with it stays true."""
    if value is None or isinstance(value, bool | int | float | str | type):
        return True
    if isinstance(value, tuple):
        return all(map(_is_constant, value))
    frozen = is_dataclass(value) and type(value).__dataclass_params__.frozen  # type: ignore[attr-defined]
    return frozen and all(_is_constant(getattr(value, f.name)) for f in fields(value))


def _origin(neuron: Any) -> str:
    """The neuron and the line of its step, as far as the step is a function of Python's."""
    code = getattr(neuron.step, "__code__", None)
    return type(neuron).__name__ + (f" ({code.co_filename}:{code.co_firstlineno})" if code else "")


_CAPTURES = "it reads tensors beside its arguments, so that it would be traced at every step"
_plans: dict[Any, Plan] = {}


def plan(
    neuron: Any, varies: tuple[bool, ...], states: int, arguments: dict[str, Any], dtype: torch.dtype, costly: bool
) -> Plan:
    """The plan of a neuron's step; remembered where all that it was traced with is constant.

    Args:
        neuron: whose step it is.
        varies: for each input whether it changes from step to step.
        states: how many states it has.
        arguments: the step's keywords.
        dtype: that it computes in.
        costly: whether to trace it where it can't be remembered, which a single step does not pay for.
    """
    kinds = tuple([(name, Tensor if isinstance(value, Tensor) else value) for name, value in arguments.items()])
    key = (neuron.step, varies, states, dtype, kinds)
    try:
        known = _plans.get(key)
        if known is not None and not (costly and known.reason == _CAPTURES):
            return known
    except TypeError:  # a value without a hash
        pass
    constants = {name: value for name, value in kinds if value is not Tensor}
    remember = all(map(_is_constant, constants.values()))
    if not (remember or costly):
        return Plan(None, reason="its arguments may change, so that it would be traced at every step")
    params = tuple(name for name, value in kinds if value is Tensor)
    try:
        program, captured = trace(neuron.step, varies, states, params, constants, dtype)
        program.origins.add(_origin(neuron))
        found = Plan(program, tuple(captured))
    except TraceError as error:
        found = Plan(None, reason=str(error))
    except Exception as error:  # whatever the step does with a symbol, it may yet do with a tensor
        found = Plan(None, reason=f"tracing the step raised {type(error).__name__}: {error}")
    if remember:  # but not what it captured, as the names in a step may be bound anew
        _plans[key] = Plan(None, reason=_CAPTURES) if found.captured else found
    return found if costly or not found.captured else _plans[key]


@constant
def text(neuron: Any, varies: tuple[bool, ...], states: int, dtype: torch.dtype) -> str:
    """The program's text for `torch.compile`, which can't trace through tracing; empty where there is none."""
    found = plan(neuron, varies, states, neuron.step_arguments(dtype), dtype, costly=True)
    return "" if found.program is None or found.captured else found.program.text
