"""The one place that chooses how a step runs over time, fused or operation by operation, and can say why."""

import contextlib
import functools
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from .program import Program
from .trace import TraceError, trace

BACKENDS = ("auto", "fused", "eager")


class _Setting:
    backend = os.environ.get("SNNTORCH_BACKEND", "auto")


class backend(contextlib.ContextDecorator):
    """Choose how neurons run: `snntorch.backend("eager")`, for good or as a context manager.

    Args:
        name: `"auto"` fuses what can be fused, `"eager"` runs every step as PyTorch operations, `"fused"` raises where
            a neuron can't be fused. The environment variable `SNNTORCH_BACKEND` sets the first choice.

    Raises:
        ValueError: for another name.

    Example:
        >>> import snntorch as snn, torch
        >>> with snn.backend("eager"):
        ...     spk, mem = snn.unroll(snn.Leaky(beta=0.9), torch.rand(5, 2, 3))
    """

    def __init__(self, name: str) -> None:
        if name not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}")
        self._before, _Setting.backend = _Setting.backend, name

    def __enter__(self) -> "backend":
        return self

    def __exit__(self, *error: object) -> None:
        _Setting.backend = self._before


if _Setting.backend not in BACKENDS:
    raise ValueError(f"SNNTORCH_BACKEND must be one of {', '.join(BACKENDS)}, got {_Setting.backend!r}")

Choice = tuple[object, str, str]  # who ran, the path, why not a better one
_log: list[Choice] | None = None


@contextlib.contextmanager
def choices() -> Iterator[list[Choice]]:
    """Collect what is chosen meanwhile."""
    global _log
    before, _log = _log, []
    try:
        yield _log
    finally:
        _log = before


def note(owner: object, path: str, reason: str = "") -> None:
    """Tell whoever collects choices."""
    if _log is not None:
        _log.append((owner, path, reason))


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


def _trace(step: Callable, varies: tuple, states: int, params: tuple, constants: dict, dtype: torch.dtype) -> Plan:
    try:
        program, captured = trace(step, varies, states, params, constants, dtype)
    except TraceError as error:
        return Plan(None, reason=str(error))
    except Exception as error:  # whatever the step does with a symbol, eager code may yet do with a tensor
        return Plan(None, reason=f"tracing the step raised {type(error).__name__}: {error}")
    return Plan(program, tuple(captured))


@functools.lru_cache(maxsize=1024)
def _remembered(
    step: Callable, varies: tuple, states: int, params: tuple, constants: tuple, dtype: torch.dtype
) -> Plan:
    return _trace(step, varies, states, params, dict(constants), dtype)


def plan(step: Callable, varies: tuple, states: int, arguments: dict[str, Any], dtype: torch.dtype, once: bool) -> Plan:
    """The plan of a step with these arguments; remembered where all that it was traced with is constant.

    Anything else is traced anew each time, which a single step (`once`) does not pay for.
    """
    params = tuple(name for name, value in arguments.items() if isinstance(value, Tensor))
    constants = {name: value for name, value in arguments.items() if not isinstance(value, Tensor)}
    if all(map(_is_constant, constants.values())):
        return _remembered(step, varies, states, params, tuple(constants.items()), dtype)
    if once:
        return Plan(None, reason="its arguments may change, so that it would be traced at every step")
    return _trace(step, varies, states, params, constants, dtype)


@functools.cache
def _has(package: str) -> bool:
    found = importlib.util.find_spec(package) is not None
    if not found:
        warnings.warn(f"{package} is not installed: neurons run step by step", RuntimeWarning, stacklevel=2)
    return found


_NATIVE = {torch.float32: torch.float32, torch.float64: torch.float64,
           torch.float16: torch.float32, torch.bfloat16: torch.float32}  # fmt: skip


def _obstacle(tensors: Sequence[Tensor], shape: torch.Size, steps: int) -> str:
    """Why these tensors can't go through a kernel, or nothing."""
    x = tensors[0]
    if x.device.type != "cpu":
        return f"there are no kernels for {x.device.type}"
    if x.dtype not in _NATIVE:
        return f"there are no kernels for {x.dtype}"
    if shape.numel() == 0:
        return "there is nothing to compute"
    for tensor in tensors:
        if type(tensor) not in (Tensor, torch.nn.Parameter) and not torch.compiler.is_compiling():
            return f"{type(tensor).__name__} is a tensor subclass"
        if tensor.device != x.device:
            return f"a parameter is on {tensor.device}, the input on {x.device}"
    if torch._C._are_functorch_transforms_active():  # no public name
        return "torch.func transforms take it operation by operation"
    if torch.autograd.forward_ad._current_level >= 0 and not torch.compiler.is_compiling():
        return "forward-mode differentiation takes it operation by operation"
    if not _has("numba"):
        return "numba is not installed"
    return ""


def _broadcasts(tensor: Tensor, shape: torch.Size) -> bool:
    if tensor.dim() > len(shape):
        return tensor.numel() == 1
    return all(a in (1, b) for a, b in zip(reversed(tensor.shape), reversed(shape), strict=False))


def run(
    step: Callable,
    inputs: Sequence[Tensor],
    states: Sequence[Tensor],
    arguments: dict[str, Any],
    *,
    steps: int = 0,
    varies: Sequence[bool] | None = None,
    wanted: Sequence[bool] | None = None,
    owner: object = None,
) -> tuple[list[Any], list[Tensor]]:
    """Run a neuron's step, once or over time.

    Args:
        step: `step(*inputs, *states, **arguments) -> *outputs, *new states`, pure and elementwise where it is to fuse.
        inputs: `[T, ...]`, or `[...]` for a single step and where an input does not vary.
        states: the states before, `[...]`.
        arguments: the step's keywords; tensors broadcast against the states.
        steps: number of time steps; 0 for a single one, whose tensors have no time dimension.
        varies: for each input whether it changes from step to step; by default all do.
        wanted: for each thing that the step returns whether its course over time is asked for; by default all are.
        owner: the neuron, for whoever collects the choices.

    Returns:
        The courses, `[T, ...]` each, with None where not wanted, and the states after.

    Raises:
        RuntimeError: with the backend `"fused"`, where the step can't be fused.
    """
    varies = tuple(varies) if varies is not None else (True,) * len(inputs)
    reason = "the backend is eager"
    if _Setting.backend != "eager":
        found, reason = _prepare(step, inputs, states, arguments, steps, varies)
        if found is not None:
            note(owner, f"fused {inputs[0].device.type}")
            return _fused(*found, inputs, states, arguments, steps, varies, wanted)
        if _Setting.backend == "fused":
            raise RuntimeError(f"the backend is fused, but {reason}")
    note(owner, "stepped", reason)
    return _eager(step, inputs, states, arguments, steps, varies, wanted)


def _prepare(
    step: Callable, inputs: Sequence[Tensor], states: Sequence[Tensor], arguments: dict[str, Any],
    steps: int, varies: tuple,
) -> tuple[tuple[Program, tuple[Tensor, ...]] | None, str]:  # fmt: skip
    """The program and the tensors that it captured, or None and why."""
    if not states:
        return None, "the step has no states"
    params = [value for value in arguments.values() if isinstance(value, Tensor)]
    shape = states[0].shape
    reason = _obstacle([*inputs, *states, *params], shape, steps)
    if reason:
        return None, reason
    if steps == 0 and torch.compiler.is_compiling():
        return None, "torch.compile fuses single steps itself"
    if any((x.shape[1:] if v and steps > 0 else x.shape) != shape for x, v in zip(inputs, varies, strict=True)):
        return None, "an input has another shape than the states"
    found = plan(step, varies, len(states), arguments, _NATIVE[inputs[0].dtype], once=steps == 0)
    if found.program is None:
        return None, found.reason
    for tensor in (*params, *found.captured):
        if not _broadcasts(tensor, shape):
            return None, f"a parameter of shape {tuple(tensor.shape)} does not broadcast to the states' {tuple(shape)}"
    return (found.program, found.captured), ""


def _fused(
    program: Program, captured: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor],
    arguments: dict[str, Any], steps: int, varies: Sequence[bool], wanted: Sequence[bool] | None,
) -> tuple[list[Any], list[Tensor]]:  # fmt: skip
    from .ops import Run

    dtype = states[0].dtype
    params = [value for value in arguments.values() if isinstance(value, Tensor)]
    moving = list(inputs)
    if steps > 0 and not all(varies):
        moving = [x for x, v in zip(inputs, varies, strict=True) if v]
        params += [x for x, v in zip(inputs, varies, strict=True) if not v]
    tensors = [*moving, *states, *params, *captured]
    native = _NATIVE[dtype]
    tensors = [t if t.dtype == native else t.to(native) for t in tensors]
    free = program.free
    if wanted is None:
        wanted = [True] * len(program.outputs)
    traces = tuple(wanted) if steps > 0 else (*wanted[:free], *[False] * program.states)
    results = list(Run.apply(program.text, steps, traces, len(moving), *tensors))
    if native != dtype:
        results = [r.to(dtype) for r in results]
    finals = results[len(results) - program.states :]
    courses = iter(results)
    outputs: list[Any] = [next(courses) if t else None for t in traces]
    if steps == 0:
        outputs[free:] = finals
    return outputs, finals


def _eager(
    step: Callable, inputs: Sequence[Tensor], states: Sequence[Tensor], arguments: dict[str, Any],
    steps: int, varies: Sequence[bool], wanted: Sequence[bool] | None,
) -> tuple[list[Any], list[Tensor]]:  # fmt: skip
    if steps == 0:
        returned = step(*inputs, *states, **arguments)
        returned = list(returned) if isinstance(returned, tuple) else [returned]
        return returned, returned[len(returned) - len(states) :]
    courses: list[Sequence[Tensor]] = []
    for t in range(steps):
        returned = step(*(x[t] if v else x for x, v in zip(inputs, varies, strict=True)), *states, **arguments)
        returned = returned if isinstance(returned, tuple) else (returned,)
        states = returned[len(returned) - len(states) :]
        courses.append(returned)
    if wanted is None:
        wanted = [True] * len(courses[0])
    return [torch.stack([c[k] for c in courses]) if w else None for k, w in enumerate(wanted)], list(states)
