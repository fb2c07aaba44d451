"""A neuron's step over time: as a kernel where that can be, operation by operation elsewhere."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import ops
from .autocast import product_dtype, without_autocast
from .choose import COMPILED, NOTHING, ONE_EACH, Call, computes, listening, note, obstacle, of_devices, of_parameters
from .feedback import feed_back
from .freed import advise
from .persistent import persists
from .plans import Plan, plan
from .prepared import again, arranged, prepare
from .private import watched
from .program import Program
from .setting import asked
from .target import PACKAGES


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
            fuse; `step_arguments(dtype)`, which makes `arguments`; and the method `program_text`. It is computed in
            `computes(dtype)` of the inputs' dtype, whatever path it takes, and autocast changes nothing inside it.
        inputs: `[T, ...]`, or `[...]` for a single step and where an input does not vary; of one dtype.
        states: the states before, `[...]`.
        arguments: the step's keywords; tensors broadcast against the states.
        steps: number of time steps; 0 for a single one, whose tensors have no time dimension.
        varies: for each input whether it changes from step to step; by default all do.
        wanted: for each thing that the step returns whether its course over time is asked for; by default all are.

    Returns:
        The courses, `[T, ...]` each, with None where not wanted, and the states after. Outputs that are no states are
        in the inputs' dtype, states in the one that is computed in.

    Raises:
        RuntimeError: with the backend `"fused"`, where the step can't be fused.
    """
    varies, asked_for = varies or (True,) * len(inputs), None if wanted is None else tuple(wanted)
    if not torch.compiler.is_compiling():
        if steps == 1 and not all(varies):  # of one step nothing is gained by computing it again in backward
            inputs = [x if v else x[None] for x, v in zip(inputs, varies, strict=True)]
            varies = (True,) * len(inputs)
        known = again(neuron, inputs, states, arguments, steps, varies, asked_for)
        if known is not None:
            return known
    backend, reason = asked(), "the backend is eager"
    if backend != "eager":
        call = Call(neuron, inputs, states, arguments, steps, varies)
        made = _plan(call, costly=bool(steps) or backend == "fused")
        program, reason = made.program, made.reason
        if program is not None:
            prepare(made, call, asked_for)
            if steps:
                note(neuron, f"fused {inputs[0].device.type}")
            else:
                note(neuron, "stepped", ONE_EACH)
            moving, params = arranged(inputs, call.params, steps, varies)
            return _fused(program, moving, states, [*params, *made.beside], steps, asked_for, inputs[0].dtype)
        if backend == "fused" and reason not in (NOTHING, COMPILED):
            raise RuntimeError(f"the backend is fused, but {reason}")
    note(neuron, "stepped", reason)
    with without_autocast(inputs[0].device.type):
        return _eager(neuron.step, inputs, states, arguments, steps, varies, wanted)


def stepped(neuron: object, reason: str, by_kernels: bool = False) -> None:
    """Tell that a neuron steps by itself, or by a kernel for each step.

    Raises:
        RuntimeError: with the backend `"fused"`, where it has no kernels.
    """
    if asked() == "fused" and not by_kernels:
        raise RuntimeError(f"the backend is fused, but {reason}")
    note(neuron, "stepped", reason)


def run_feedback(
    neuron: Any,
    projected: Tensor,
    feedback: tuple[int, Tensor, Tensor | None],
    states: Sequence[Tensor],
    arguments: dict[str, Any],
    steps: int,
    wanted: Sequence[bool],
    **settings: Any,
) -> tuple[list[Any], list[Tensor]] | None:
    """Run a neuron's step over time, whose inputs are `projected + state @ weight.T + bias`, or convolved likewise.

    Args:
        neuron: as in `run`.
        projected: `[T, B, I * F]` for the I inputs of the step, or `[B, I * F]` where it does not vary; images
            `[T, B, I * C, H, W]`.
        feedback: the number of the state that feeds back, the weight `[I * F, F]`, of a convolution that keeps height
            and width `[I * C, C, height, width]`, and the bias, one a row.
        states: `[B, F]` or `[B, C, H, W]`.
        arguments: as in `run`.
        steps: number of time steps.
        wanted: as in `run`.
        **settings: constants that the step is given in the place of the neuron's own.

    Returns:
        As `run`, or None where this can't be done in one go.
    """
    index, weight, bias = feedback
    if asked() == "eager" or states[0].dim() != weight.dim():
        return None
    if not torch.compiler.is_compiling() and watched():  # by someone who wants to see each product
        return None
    device = projected.device.type
    dtype = product_dtype(weight)
    native = computes(projected.dtype)
    if projected.dtype != dtype or (native != dtype and PACKAGES[device] != "triton"):
        return None  # steps, which round as the loop does, every product with its bias
    sequence = projected if projected.dim() > states[0].dim() else projected[None]
    inputs = sequence.chunk(weight.shape[0] // weight.shape[1], 2)
    call = Call(neuron, inputs, states, {**arguments, **settings}, steps, (True,) * len(inputs))
    made = _plan(call, costly=True, beside=[weight] if bias is None else [weight, bias], **settings)
    program = made.program
    if program is None:
        return None
    states, params = ([t.to(native) for t in tensors] for tensors in (states, [*call.params, *made.beside]))
    if listening():
        whole = persists(len(inputs), dtype, states[0])
        product = "matrix product" if weight.dim() == 2 else "convolution"
        note(neuron, f"fused {device}", "" if whole else f"around a {product} at every step")
    with without_autocast(device):
        channels = 1
        if sequence.dim() == 5 and sequence.stride(2) == 1 and not sequence.is_contiguous():  # channels-last order
            sequence, channels = sequence.movedim(2, -1), 3
            states, params = (_permuted(tensors, [0, 2, 3, 1]) for tensors in (states, params))
        if bias is not None:
            sequence = sequence + bias.to(sequence.dtype).view(-1, *[1] * (sequence.dim() - 2 - channels))
        fed = (sequence, weight.to(dtype), states, params)
        courses, finals = feed_back(program, steps, (index, channels), tuple(wanted), *fed)
        if channels == 3:
            courses = [None if c is None else c.movedim(-1, -3) for c in courses]
            finals = [final.movedim(-1, -3) for final in finals]
    return _outputs_in(projected.dtype, native, courses, len(courses) - len(finals)), finals


def _plan(call: Call, costly: bool, beside: Sequence[Tensor] = (), **settings: Any) -> Plan:
    """The plan of a call, whose program is a text for torch.compile, or why there is none."""
    reason = obstacle(call, beside)
    if reason:
        return Plan(None, reason=reason)
    dtype = computes(call.inputs[0].dtype)
    if torch.compiler.is_compiling():
        found = call.neuron.program_text(call.varies, len(call.states), dtype, **settings) or None
        return Plan(found, reason="torch.compile can't take what the step captures or can't be traced")
    device, fixed = call.inputs[0].device, watched()  # who watches sees a program's text, which holds its numbers
    made = plan(call.neuron, call.varies, len(call.states), call.arguments, dtype, device, costly, fixed)
    if made.captures:
        reason = of_devices([call.inputs[0], *made.beside]) or of_parameters(made.beside, call.states[0].shape)
    return Plan(None, reason=reason) if reason else made


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
    steps: int, wanted: tuple[bool, ...] | None, dtype: torch.dtype,
) -> tuple[list[Any], list[Tensor]]:  # fmt: skip
    order = _memory_order(inputs[0], steps) if inputs else None
    if order is not None:  # neurons do not care how they are arranged, and nothing is copied
        inputs, states, params = (_permuted(tensors, order) for tensors in (inputs, states, params))
    native = computes(dtype)
    if any([t.dtype != native for t in (*inputs, *states, *params)]):
        states, params = ([t.to(native) for t in tensors] for tensors in (states, params))
        if PACKAGES[states[0].device.type] != "triton":  # whose kernels read inputs of any dtype
            inputs = [x.to(native) for x in inputs]
    asked = written = (True,) * (ops.free_outputs(program) + len(states))
    if steps:
        asked = wanted or asked
        written = ops.written_now(program, asked, inputs, states, params)
        results = ops.run(program, steps, written, inputs, states, params)
    else:
        results = ops.run_step(program, inputs, states, params)
    if order is not None:
        results = _permuted(results, sorted(range(len(order)), key=order.__getitem__))
    courses = iter(results)
    found = [next(courses) if w else None for w in written]
    returned = [course if a else None for course, a in zip(found, asked, strict=True)]
    return _outputs_in(dtype, native, returned, len(asked) - len(states)), list(results[len(results) - len(states) :])


def _outputs_in(dtype: torch.dtype, native: torch.dtype, returned: list[Any], free: int) -> list[Any]:
    """What a step returned, whose first `free` are no states, these in the dtype of the inputs."""
    if native != dtype:
        returned[:free] = [None if r is None else r.to(dtype) for r in returned[:free]]
    return returned


def _eager(
    step: Callable, inputs: Sequence[Tensor], states: Sequence[Tensor], arguments: dict[str, Any],
    steps: int, varies: Sequence[bool], wanted: Sequence[bool] | None,
) -> tuple[list[Any], list[Tensor]]:  # fmt: skip
    dtype = inputs[0].dtype
    native = computes(dtype)
    states = _in(native, states)
    arguments = {  # numbers of another type are indices or masks, or no tensors
        name: value.to(native) if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in arguments.items()
    }
    tensors = [value for value in arguments.values() if isinstance(value, Tensor)]

    def once(now: Sequence[Tensor], states: Sequence[Tensor]) -> list[Any]:
        returned = step(*_in(native, now), *states, **arguments)
        return list(returned) if isinstance(returned, tuple) else [returned]

    if steps == 0:
        returned = once(inputs, states)
        advise((*inputs, *states, *tensors), returned)
        free = len(returned) - len(states)
        return _outputs_in(dtype, native, returned, free), returned[free:]
    courses: list[list[Tensor]] = []
    before = states
    # unbind, as the backward of every x[t] would fill a whole [T, ...]
    trains = [x.unbind() if v else (x,) * steps for x, v in zip(inputs, varies, strict=True)]
    for now in zip(*trains, strict=True):
        returned = once(now, states)
        free = len(returned) - len(states)
        states = returned[free:]
        courses.append(_outputs_in(dtype, native, returned, free))
    advise((*inputs, *before, *tensors), [*courses[-1], *states])
    if wanted is None:
        wanted = [True] * len(courses[0])
    return [torch.stack([c[k] for c in courses]) if w else None for k, w in enumerate(wanted)], list(states)


def _in(dtype: torch.dtype, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    return [t.to(dtype) for t in tensors] if any([t.dtype != dtype for t in tensors]) else tensors
