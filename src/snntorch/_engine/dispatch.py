"""The one place that chooses how a step runs over time, fused or operation by operation, and can say why."""

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from .program import Program
from .target import PACKAGES
from .trace import TraceError, trace

BACKENDS = ("auto", "fused", "eager")


class _Setting:
    backend = os.environ.get("SNNTORCH_BACKEND", "auto")


class backend(contextlib.ContextDecorator):
    """Choose how neurons run: `snntorch.backend("eager")`, for good or as a context manager.

    Args:
        name: `"auto"` fuses what can be fused, where it pays; `"eager"` runs every step as PyTorch operations;
            `"fused"` fuses whatever can be and raises where something can't. The environment variable
            `SNNTORCH_BACKEND` sets the first choice.

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


_plans: dict[Any, Plan] = {}


def _plan(neuron: Any, varies: tuple, states: int, arguments: dict[str, Any], dtype: torch.dtype, once: bool) -> Plan:
    """The plan of a neuron's step; remembered where all that it was traced with is constant.

    Anything else is traced anew each time, which a single step (`once`) does not pay for.
    """
    kinds = tuple([(name, Tensor if isinstance(value, Tensor) else value) for name, value in arguments.items()])
    key = (neuron.step, varies, states, dtype, kinds)
    try:
        if key in _plans:
            return _plans[key]
    except TypeError:  # a value without a hash
        pass
    constants = {name: value for name, value in kinds if value is not Tensor}
    remember = all(map(_is_constant, constants.values()))
    if once and not remember and _Setting.backend != "fused":
        return Plan(None, reason="its arguments may change, so that it would be traced at every step")
    params = tuple(name for name, value in kinds if value is Tensor)
    try:
        program, captured = trace(neuron.step, varies, states, params, constants, dtype)
        found = Plan(program, tuple(captured))
    except TraceError as error:
        found = Plan(None, reason=str(error))
    except Exception as error:  # whatever the step does with a symbol, it may yet do with a tensor
        found = Plan(None, reason=f"tracing the step raised {type(error).__name__}: {error}")
    if remember:
        _plans[key] = found
    return found


def constant(function: Callable) -> Callable:
    """What `torch.compiler.assume_constant_result` does, which would import `torch._dynamo`, for seconds."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@constant
def _text(neuron: Any, varies: tuple, states: int, dtype: torch.dtype) -> str:
    """The program's text for `torch.compile`, which can't trace through tracing; empty where there is none."""
    found = _plan(neuron, varies, states, neuron.step_arguments(dtype), dtype, once=False)
    return "" if found.program is None or found.captured else found.program.text


# Reasons that cost nothing, for which the backend "fused" does not raise.
_NOTHING, _COMPILED = "there is nothing to compute", "torch.compile fuses single steps itself"

_lacks: dict[torch.device, str] = {}  # device -> what its kernels lack there, or nothing


@constant
def _lacking(device: torch.device) -> str:
    if device not in _lacks:
        package = PACKAGES[device.type]
        _lacks[device] = ""
        if importlib.util.find_spec(package) is None:
            _lacks[device] = f"{package} is not installed"
        elif device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) < (7, 0):
            _lacks[device] = "Triton needs a GPU of compute capability 7.0 or later"
        if _lacks[device]:
            warnings.warn(f"{_lacks[device]}: neurons run step by step", RuntimeWarning, stacklevel=2)
    return _lacks[device]


# What kernels compute each dtype in.
_NATIVE = {torch.float32: torch.float32, torch.float64: torch.float64,
           torch.float16: torch.float32, torch.bfloat16: torch.float32}  # fmt: skip
_PLAIN = (Tensor, torch.nn.Parameter)


def _obstacle(tensors: Sequence[Tensor], shape: torch.Size, compiling: bool) -> str:
    """Why these tensors can't go through a kernel, or nothing."""
    x = tensors[0]
    device = x.device
    if device.type == "meta":
        return _NOTHING
    if device.type not in PACKAGES:
        return f"there are no kernels for {device.type}"
    if x.dtype not in _NATIVE:
        return f"there are no kernels for {x.dtype}"
    if not compiling:
        if shape.numel() == 0:
            return _NOTHING
        if torch._C._are_functorch_transforms_active():  # no public name
            return "torch.func transforms take it operation by operation"
        if torch.autograd.forward_ad._current_level >= 0:
            return "forward-mode differentiation takes it operation by operation"
    for tensor in tensors:
        if type(tensor) not in _PLAIN and not compiling:
            return f"{type(tensor).__name__} is a tensor subclass"
        if tensor.device != device:
            return f"one tensor is on {tensor.device}, the input on {device}"
    return _lacking(device)


def _broadcasts(tensor: Tensor, shape: torch.Size) -> bool:
    if tensor.numel() == 1:
        return True
    sizes = zip(reversed(tensor.shape), reversed(shape), strict=False)
    return tensor.dim() <= len(shape) and all(size in (1, full) for size, full in sizes)


def run(
    neuron: Any,
    inputs: Sequence[Tensor],
    states: Sequence[Tensor],
    arguments: dict[str, Any],
    *,
    steps: int = 0,
    varies: tuple[bool, ...] | None = None,
    wanted: Sequence[bool] | None = None,
) -> tuple[list[Any], list[Tensor]]:
    """Run a neuron's step, once or over time.

    Args:
        neuron: has `step(*inputs, *states, **arguments) -> *outputs, *new states`, pure, and elementwise where it is to
            fuse; and `step_arguments(dtype)`, which makes `arguments`.
        inputs: `[T, ...]`, or `[...]` for a single step and where an input does not vary.
        states: the states before, `[...]`.
        arguments: the step's keywords; tensors broadcast against the states.
        steps: number of time steps; 0 for a single one, whose tensors have no time dimension.
        varies: for each input whether it changes from step to step; by default all do.
        wanted: for each thing that the step returns whether its course over time is asked for; by default all are.

    Returns:
        The courses, `[T, ...]` each, with None where not wanted, and the states after.

    Raises:
        RuntimeError: with the backend `"fused"`, where the step can't be fused.
    """
    varies = varies or (True,) * len(inputs)
    reason = "the backend is eager"
    if _Setting.backend != "eager":
        params = [value for value in arguments.values() if isinstance(value, Tensor)]
        program, captured, reason = _prepare(neuron, inputs, states, params, arguments, steps, varies)
        if program is not None:
            note(neuron, f"fused {inputs[0].device.type}")
            moving = inputs
            if steps and not all(varies):  # what does not vary is a parameter
                moving = [x for x, v in zip(inputs, varies, strict=True) if v]
                params += [x for x, v in zip(inputs, varies, strict=True) if not v]
            return _fused(program, moving, states, [*params, *captured], steps, wanted)
        if _Setting.backend == "fused" and reason not in (_NOTHING, _COMPILED):
            raise RuntimeError(f"the backend is fused, but {reason}")
    note(neuron, "stepped", reason)
    return _eager(neuron.step, inputs, states, arguments, steps, varies, wanted)


def run_feedback(
    neuron: Any,
    projected: Tensor,
    feedback: tuple[int, Tensor, Tensor | None],
    states: Sequence[Tensor],
    arguments: dict[str, Any],
    steps: int,
    wanted: Sequence[bool],
) -> tuple[list[Any], list[Tensor]] | None:
    """Run a neuron's step over time, whose inputs are `projected + state @ weight.T + bias`.

    Args:
        neuron: as in `run`.
        projected: `[T, B, I * F]` for the I inputs of the step, or `[B, I * F]` where it does not vary.
        feedback: the number of the state that feeds back, the weight `[I * F, F]` and the bias `[I * F]`.
        states: `[B, F]`.
        arguments: as in `run`.
        steps: number of time steps.
        wanted: as in `run`.

    Returns:
        As `run`, or None where this can't be done in one go.
    """
    index, weight, bias = feedback
    params = [value for value in arguments.values() if isinstance(value, Tensor)]
    extra = [weight] if bias is None else [weight, bias]
    if (
        _Setting.backend == "eager"
        or torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or states[0].dim() != 2
        or _obstacle([projected, *extra], states[0].shape, False)
    ):
        return None
    device = projected.device.type
    autocast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else weight.dtype  # of the matrix product
    native = _NATIVE[projected.dtype]
    if projected.dtype != dtype or (native != dtype and PACKAGES[device] != "triton"):  # which reads any dtype
        return None
    sequence = projected if projected.dim() == 3 else projected[None]
    inputs = sequence.chunk(weight.shape[0] // weight.shape[1], -1)
    program, captured, _ = _prepare(neuron, inputs, states, params, arguments, steps, (True,) * len(inputs))
    if program is None or captured:
        return None
    from .feedback import Feedback

    note(neuron, f"fused {device}", "around a matrix product at every step")
    before = states[0].dtype
    states, params = ([t.to(native) for t in tensors] for tensors in (states, params))
    matrix, offset = weight.to(dtype), bias if bias is None else bias.to(dtype)
    with torch.autocast(device, enabled=False) if autocast else contextlib.nullcontext():
        results = Feedback.apply(program, steps, index, tuple(wanted), sequence, matrix, offset, *states, *params)
    results = [r.to(before) for r in results]
    courses = iter(results)
    return [next(courses) if w else None for w in wanted], results[len(results) - len(states) :]


def _prepare(
    neuron: Any, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor],
    arguments: dict[str, Any], steps: int, varies: tuple,
) -> tuple[Program | str | None, Sequence[Tensor], str]:  # fmt: skip
    """The program, or for torch.compile its text, and the tensors that it captured; or None and why."""
    compiling = torch.compiler.is_compiling()
    if not states:
        return None, (), "the step has no states"
    if compiling and steps == 0:
        return None, (), _COMPILED
    shape, dtype = states[0].shape, inputs[0].dtype
    reason = _obstacle([*inputs, *states, *params], shape, compiling)
    if reason:
        return None, (), reason
    for x, v in zip(inputs, varies, strict=True):
        if (x.shape[1:] if v and steps else x.shape) != shape:
            return None, (), "an input has another shape than the states"
    if compiling:
        found, captured = _text(neuron, varies, len(states), _NATIVE[dtype]) or None, ()
        reason = "torch.compile can't take what the step captures or can't be traced"
    else:
        plan = _plan(neuron, varies, len(states), arguments, _NATIVE[dtype], once=not steps)
        found, captured, reason = plan.program, plan.captured, plan.reason
    for tensor in (*params, *captured):
        if not _broadcasts(tensor, shape):
            reason = f"a parameter of shape {tuple(tensor.shape)} does not broadcast to the states' {tuple(shape)}"
            return None, (), reason
    return found, captured, reason


def _memory_order(x: Tensor, steps: int) -> list[int] | None:
    """The order of the neurons' dimensions in memory where it is another than theirs, as in channels-last images."""
    if x.is_contiguous():
        return None
    now = x[0] if steps else x
    order = sorted(range(now.dim()), key=now.stride, reverse=True)
    return order if not now.is_contiguous() and now.permute(order).is_contiguous() else None


def _permuted(tensors: Sequence[Tensor], order: Sequence[int]) -> list[Tensor]:
    """Each tensor with its last dimensions in that order; single values as they are."""
    moved = []
    for t in tensors:
        if t.numel() != 1:
            t = t[(None,) * (len(order) - t.dim())]
            lead = t.dim() - len(order)
            t = t.permute(*range(lead), *(lead + d for d in order))
        moved.append(t)
    return moved


def _fused(
    program: Program | str, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor],
    steps: int, wanted: Sequence[bool] | None,
) -> tuple[list[Any], list[Tensor]]:  # fmt: skip
    from . import ops

    order = _memory_order(inputs[0], steps) if inputs else None
    if order is not None:  # neurons do not care how they are arranged, and nothing is copied
        inputs, states, params = (_permuted(tensors, order) for tensors in (inputs, states, params))
    dtype = states[0].dtype
    native = _NATIVE[dtype]
    if any([t.dtype != native for t in (*inputs, *states, *params)]):
        states, params = ([t.to(native) for t in tensors] for tensors in (states, params))
        if PACKAGES[states[0].device.type] != "triton":  # whose kernels read inputs of any dtype
            inputs = [x.to(native) for x in inputs]
    if steps:
        asked = tuple(wanted) if wanted is not None else (True,) * (ops.free_outputs(program) + len(states))
        written = asked
        if torch.is_grad_enabled():
            needs = tuple([t.requires_grad for t in (*inputs, *params)])
            if any(needs) or any([s.requires_grad for s in states]):
                written = ops.written(program, needs, asked)
        results = ops.run(program, steps, written, inputs, states, params)
    else:
        asked = written = ()
        results = ops.run_step(program, inputs, states, params)
    if native != dtype:
        results = [r if r.dtype == dtype else r.to(dtype) for r in results]
    if order is not None:
        results = _permuted(results, sorted(range(len(order)), key=order.__getitem__))
    finals = list(results[len(results) - len(states) :])
    if not steps:
        return list(results), finals
    courses = iter(results)
    found = [next(courses) if w else None for w in written]
    return [course if a else None for course, a in zip(found, asked, strict=True)], finals


def _eager(
    step: Callable, inputs: Sequence[Tensor], states: Sequence[Tensor], arguments: dict[str, Any],
    steps: int, varies: Sequence[bool], wanted: Sequence[bool] | None,
) -> tuple[list[Any], list[Tensor]]:  # fmt: skip
    if steps == 0:
        returned = step(*inputs, *states, **arguments)
        returned = list(returned) if isinstance(returned, tuple) else [returned]
        return returned, returned[len(returned) - len(states) :]
    courses: list[Sequence[Tensor]] = []
    # unbind, as the backward of every x[t] would fill a whole [T, ...]
    trains = [x.unbind() if v else (x,) * steps for x, v in zip(inputs, varies, strict=True)]
    for now in zip(*trains, strict=True):
        returned = step(*now, *states, **arguments)
        returned = returned if isinstance(returned, tuple) else (returned,)
        states = returned[len(returned) - len(states) :]
        courses.append(returned)
    if wanted is None:
        wanted = [True] * len(courses[0])
    return [torch.stack([c[k] for c in courses]) if w else None for k, w in enumerate(wanted)], list(states)
