"""A layer whose neurons feed one state back through a matrix or a convolution, over time in one autograd node.

With the projected input x, the state s that feeds back, and weights W, every step takes the inputs
`x[t] + W s[t - 1]`. The product is one operation a step, see `products`, the rest of the step one kernel; the gradient
of W is one operation for all steps together. `snntorch::feedback` and `snntorch::feedback_backward` are that for
`torch.compile` and `torch.export`, with the program as text; called eagerly, `Feedback` does the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from . import persistent
from .autocast import without_autocast
from .kernels import arguments, backward_kernel, call, forward_kernel, rows, spread
from .memory import empty
from .ops import library, written_dtypes
from .private import constant
from .products import product
from .program import Program, load
from .tape import Some, keep, kept, run_back, split, step_gradient, tape
from .target import PACKAGES


def feed_back(
    program: Program | str, steps: int, feeds: Sequence[int], asked: tuple[bool, ...], x: Tensor, weight: Tensor,
    states: Sequence[Tensor], params: Sequence[Tensor],
) -> tuple[list[Tensor | None], list[Tensor]]:  # fmt: skip
    """The courses, `[T, *state]` each, with None where not asked, and the final states.

    Args:
        program: the step, for `torch.compile` its text.
        steps: number of steps.
        feeds: the number of the state that feeds back, and its dimension that the weight mixes: 1, or 3 for images
            whose channels come last.
        asked: for each thing that the step returns whether its course is asked.
        x: the projected input, `[T, B, I * F]` or `[T, B, I * C, H, W]` for a step with I inputs, in their dtype;
            T is 1 where it is the same at every step.
        weight: `[I * F, F]`, or `[I * C, C, height, width]` for images, in the dtype of the products.
        states: `[B, F]` each, or images, in the dtype that is computed in.
        params: the parameters, in that dtype.
    """
    written, drives = asked, False
    if torch.is_grad_enabled():
        needs = tuple([t.requires_grad for t in (x, weight, *states, *params)])
        if any(needs):
            *written, drives = recorded(program, feeds[0], asked, needs)
    if isinstance(program, str):
        found = torch.ops.snntorch.feedback(program, steps, feeds, list(written), drives, x, weight, states, params)
    else:
        found = Feedback.apply(program, steps, feeds, tuple(written), drives, x, weight, *states, *params)
    results = iter(found)
    courses = [next(results) if w else None for w in written]
    return [c if a else None for c, a in zip(courses, asked, strict=True)], [next(results) for _ in states]


@constant
def recorded(program: Program | str, index: int, asked: tuple, needs: tuple) -> tuple[bool, ...]:
    """For each thing that the step returns whether its course is written; then whether the step's inputs are kept.

    Args:
        program: the step, or its text.
        index: the number of the state that feeds back.
        asked: for each thing that the step returns whether its course is asked.
        needs: whether a cotangent is asked of the projected input, the weight, each state and each parameter.
    """
    program = load(program) if isinstance(program, str) else program
    found = tape(program, False, asked, (*[True] * program.inputs, *needs[2 + program.states :]))
    course = [c or (needs[1] and k == index) for k, c in enumerate(found.courses)]  # that which weight multiplies
    return (*[a or c for a, c in zip(asked, (*[False] * program.free, *course), strict=True)], any(found.inputs))


def _read_in(x: Tensor, states: Sequence[Tensor]) -> torch.dtype:
    """The dtype of inputs and outputs in a kernel's memory; only those on GPUs read any."""
    return x.dtype if PACKAGES[x.device.type] == "triton" else states[0].dtype


def run_kernels(
    program: Program, steps: int, feeds: Sequence[int], written: Sequence[bool], drives: bool, x: Tensor,
    weight: Tensor, states: Sequence[Tensor], params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """What is written, `[T, *state]` each, the final states, and the step's inputs `[T, I, *state]` where `drives`."""
    index, channels = feeds
    if whole := persistent.run(program, steps, index, written, drives, x, weight, states, params):
        return whole
    shape, dtype, device = states[0].shape, states[0].dtype, states[0].device
    count, free, read = program.inputs, program.free, _read_in(x, states)
    x = x.unflatten(channels + 1, (count, shape[channels])).movedim(channels + 1, 1)  # [T, I, *state]
    weighted = product(weight, count, channels)
    parameters = spread(params, shape)
    outputs = (*written[:free], *[False] * len(states))
    kernel = forward_kernel(program, tuple([p.numel() != 1 for p in params]), outputs, True, dtype, device.type)
    drive = torch.empty((steps if drives else 1, count, *shape), dtype=read, device=device)
    courses = [empty((steps if w else 2, *shape), dtype, device) for w in written[free:]]
    trains = {k: empty((steps, *shape), read, device) for k in range(free) if written[k]}
    each: dict[str, Any] = {
        "X": [rows(d, steps) for d in drive.unbind(1)], "P": [[p] * steps for p in parameters],
        "Y": {k: y.unbind() for k, y in trains.items()}, "F": [rows(course, steps) for course in courses],
    }  # fmt: skip
    each["S"] = [[s.contiguous(), *after[:-1]] for s, after in zip(states, each["F"], strict=True)]
    fed = [weighted.seen(s) for s in each["S"][index]]
    given = (rows(weighted.seen(x), steps), fed, rows(weighted.seen(drive), steps), arguments(kernel, each))
    for projected, state, now, tensors in zip(*given, strict=True):
        weighted.add(projected, state, now)
        call(kernel, 1, shape.numel(), tensors)
    results = [y.to(x.dtype) for y in trains.values()]
    results += [c for c, w in zip(courses, written[free:], strict=True) if w]
    results += [after[-1].clone() for after in each["F"]]
    return [*results, drive] if drives else results


def run_kernels_back(
    program: Program, steps: int, feeds: Sequence[int], needs: Sequence[bool], cotangents: Some, courses: Some,
    weight: Tensor, drive: Tensor | None, of_drive: Tensor | None, states: Sequence[Tensor], params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """The cotangents of the step's inputs, `[T, I, *state]`, of the initial states, and of the parameters where asked.

    Args:
        program: the step.
        steps: number of steps.
        feeds: as in forward.
        needs: for each input and then each parameter whether its cotangent is asked.
        cotangents: of what the step returns, at every step, then those of the final states.
        courses: the states after every step, where kept.
        weight: as in forward.
        drive: the step's inputs, where kept.
        of_drive: their cotangent, where there is one.
        states: the initial states.
        params: the parameters.
    """
    (index, channels), tensors = feeds, (cotangents, courses, weight, drive, states, params)
    if of_drive is None and (whole := persistent.run_back(program, steps, index, needs, *tensors)):
        return whole
    shape, dtype, device = states[0].shape, states[0].dtype, states[0].device
    count, outputs = program.inputs, len(program.outputs)
    weighted = product(weight, count, channels)
    given, later = cotangents[:outputs], cotangents[outputs:]
    arrives = (*(g is not None for g in given), *[True] * len(states))
    step = step_gradient(program, tuple(needs), arrives, tuple([c is not None for c in courses]))
    kernel = backward_kernel(step, tuple([p.numel() != 1 for p in params]), outputs, True, dtype, device.type)
    read = _read_in(weight, states) if drive is None else drive.dtype
    trains = {k: g.to(_read_in(g, states)).contiguous() for k, g in enumerate(given) if g is not None}
    parameters, courses = spread(params, shape), [c if c is None else c.contiguous() for c in courses]
    make = torch.zeros if None in step.inputs else empty  # what a kernel does not write is zero
    dx = make((steps, count, *shape), dtype=read, device=device)
    sums = {k: torch.zeros((steps, *shape), dtype=dtype, device=device) for k in range(len(params)) if needs[count + k]}
    turns = torch.empty((len(states), 2, *shape), dtype=dtype, device=device)
    each: dict[str, Any] = {
        "X": [d.unbind()[::-1] for d in (dx if drive is None else drive).unbind(1)],
        "P": [[p] * steps for p in parameters], "N": [c if c is None else c.unbind()[::-1] for c in courses],
        "G": {k: g.unbind()[::-1] for k, g in trains.items()}, "DX": [d.unbind()[::-1] for d in dx.unbind(1)],
        "DP": {k: s.unbind()[::-1] for k, s in sums.items()}, "DS": [rows(t, steps) for t in turns],
    }  # fmt: skip
    each["S"] = [n if n is None else [*n[1:], s.contiguous()] for n, s in zip(each["N"], states, strict=True)]
    now = [torch.zeros(shape, dtype=dtype, device=device) if g is None else g.contiguous() for g in later]
    each["A"] = [[g, *earlier[:-1]] for g, earlier in zip(now, each["DS"], strict=True)]
    others = [None] * steps if of_drive is None else weighted.seen(of_drive).unbind()[::-1]
    fed = rows(weighted.seen(turns[index]), steps)
    given = (weighted.seen(dx).unbind()[::-1], others, fed, arguments(kernel, each))
    for d, other, earlier, tensors in zip(*given, strict=True):
        call(kernel, 1, shape.numel(), tensors)
        if other is not None:
            d += other
        weighted.add_back(d, earlier)
    now = [earlier[-1].clone() for earlier in each["DS"]]
    return [dx, *now, *(s.sum(0).sum_to_size(params[k].shape) for k, s in sums.items())]


def _back_again(
    ctx: Any, cotangents: Some, courses: Some, weight: Tensor, drive: Tensor | None, of_drive: Tensor | None,
    states: Sequence[Tensor], params: Sequence[Tensor],
) -> tuple[Tensor, Some, Some]:  # fmt: skip
    """As `run_kernels_back`, in operations that autograd sees; None where there is no cotangent or none is asked."""
    index, channels = ctx.feeds
    weighted = product(weight, ctx.tape.program.inputs, channels)

    def feed(t: int, of_inputs: Some, of_states: Some) -> tuple[Some, Some]:
        dx = torch.stack(cast("list[Tensor]", of_inputs))
        dx = dx if of_drive is None else dx + of_drive[t]
        back = weighted.back(weighted.seen(dx), states[0].dtype).movedim(1, channels)
        before = of_states[index]
        back = back if before is None else back + before
        return dx.unbind(), [back if k == index else s for k, s in enumerate(of_states)]

    inputs = [None] * ctx.tape.program.inputs if drive is None else drive.unbind(1)
    of_inputs, of_states, of_params = run_back(ctx.tape, ctx.steps, cotangents, courses, inputs, states, params, feed)
    return torch.stack(cast("list[Tensor]", of_inputs), 1), of_states, of_params


def _keep(
    ctx: Any, program: Program, steps: int, feeds: Sequence[int], written: tuple, drives: bool,
    needs: Sequence[bool], x: Tensor, weight: Tensor, tensors: Sequence[Tensor], results: Sequence[Tensor],
) -> None:  # fmt: skip
    """Save for backward; `needs` is of x, weight and `tensors`, the states and parameters."""
    count, fed = program.inputs, program.free + feeds[0]
    course = results[sum(written[:fed])] if written[fed] else None
    keep(ctx, program, steps, written, (*[True] * count, *needs[2:]), [*[None] * count, *tensors], results, weight,
         course if needs[1] else None, results[-1] if drives else None)  # fmt: skip
    ctx.feeds, ctx.static, ctx.dtype = feeds, x.shape[0] == 1 and steps > 1, x.dtype


def _pull_back(ctx: Any, cotangents: Some, backward: Callable[..., Sequence[Tensor]], key: Any) -> list[Tensor | None]:
    """The cotangents of x, weight, states and parameters, by `run_kernels_back` and `key`, the program for it."""
    program, (index, channels) = ctx.tape.program, ctx.feeds
    _, states, params, (*courses, weight, fed, drive) = split(program, kept(ctx))
    arrived = iter(cotangents)
    full = [next(arrived) if w else None for w in ctx.tape.written] + [next(arrived) for _ in states]
    tensors = (courses, weight, drive, next(arrived, None), states, params)
    of_weight = None
    with without_autocast(weight.device.type):
        if torch.is_grad_enabled():
            dx, of_states, of_params = _back_again(ctx, full, *tensors)
        else:
            results = iter(backward(key, ctx.steps, ctx.feeds, ctx.tape.needs, full, *tensors))
            dx, of_states = next(results), [next(results) for _ in states]
            of_params = [next(results) if asked else None for asked in ctx.tape.needs[program.inputs :]]
        flat = dx.movedim(1, channels + 1).flatten(channels + 1, channels + 2)  # as the projected input
        if fed is not None:
            of_weight = product(weight, program.inputs, channels).of_weight(flat, states[index], fed[:-1])
    of_x = flat.sum(0, keepdim=True) if ctx.static else flat
    return [of_x.to(ctx.dtype), of_weight, *of_states, *of_params]


class Feedback(torch.autograd.Function):
    """`run_kernels` with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, program: Program, steps: int, feeds: Sequence[int], written: tuple, drives: bool, x: Tensor,
        weight: Tensor, *tensors: Tensor,
    ) -> tuple:  # fmt: skip
        """See `run_kernels`; `tensors` are states and parameters."""
        form = (program, steps, feeds, written, drives)
        results = run_kernels(*form, x, weight, tensors[: program.states], tensors[program.states :])
        _keep(ctx, *form, ctx.needs_input_grad[5:], x, weight, tensors, results)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple:
        """See `run_kernels_back`."""
        return None, None, None, None, None, *_pull_back(ctx, cotangents, run_kernels_back, ctx.tape.program)


library.define(
    "feedback(str program, SymInt steps, int[] feeds, bool[] written, bool drives, Tensor x, "
    "Tensor weight, Tensor[] states, Tensor[] params) -> Tensor[]"
)
library.define(
    "feedback_backward(str program, SymInt steps, int[] feeds, bool[] wanted, Tensor?[] grads, Tensor?[] courses, "
    "Tensor weight, Tensor? drive, Tensor? of_drive, Tensor[] states, Tensor[] params) -> Tensor[]"
)


@torch.library.register_fake("snntorch::feedback", lib=library)
def feedback_fake(
    program: str, steps: int, feeds: Any, written: Any, drives: bool, x: Any, weight: Any, states: Any, params: Any
) -> list[Tensor]:
    """As the operator, empty."""
    found, like = load(program), states[0]
    dtypes = written_dtypes(found.free, written, [x], states)
    results = [like.new_empty((steps, *like.shape), dtype=dtype) for _, dtype in dtypes]
    results += [s.new_empty(s.shape) for s in states]
    drive = [like.new_empty((steps, found.inputs, *like.shape), dtype=_read_in(x, states))] * drives
    return results + drive


@torch.library.register_fake("snntorch::feedback_backward", lib=library)
def _feedback_backward_fake(
    program: str, steps: int, feeds: Any, wanted: Any, grads: Any, courses: Any, weight: Any, drive: Any, of_drive: Any,
    states: Any, params: Any,
) -> list[Tensor]:  # fmt: skip
    count, like, dtype = load(program).inputs, states[0], _read_in(weight, states) if drive is None else drive.dtype
    results = [like.new_empty((steps, count, *like.shape), dtype=dtype), *(s.new_empty(s.shape) for s in states)]
    return results + [p.new_empty(p.shape) for p, want in zip(params, wanted[count:], strict=True) if want]


def _setup_context(ctx: Any, inputs: tuple, output: Sequence[Tensor]) -> None:
    text, steps, feeds, written, drives, x, weight, states, params = inputs
    tensors = [*states, *params]
    needs = [t.requires_grad for t in (x, weight, *tensors)]
    _keep(ctx, load(text), steps, feeds, tuple(written), drives, needs, x, weight, tensors, output)


def _backward_of_feedback(ctx: Any, cotangents: Sequence[Tensor | None]) -> tuple:
    program = ctx.tape.program
    of_x, of_weight, *rest = _pull_back(ctx, cotangents, torch.ops.snntorch.feedback_backward, program.text)
    return None, None, None, None, None, of_x, of_weight, rest[: program.states], rest[program.states :]


def _run(program: str, *args: Any) -> list[Tensor]:
    with without_autocast(args[-2][0].device.type):  # an exported program may run under it
        return run_kernels(load(program), *args)


for _device in ("CPU", "CUDA"):
    library.impl("feedback", _run, _device)
    library.impl("feedback_backward", lambda program, *args: run_kernels_back(load(program), *args), _device)
torch.library.register_autograd("snntorch::feedback", _backward_of_feedback, setup_context=_setup_context, lib=library)
