"""A layer whose neurons feed one state back through a matrix, over time in one autograd node.

With the projected input x, the state s that feeds back, weights W and bias b, every step takes the inputs
`x[t] + s[t - 1] W^T + b`. The product is one matrix multiplication a step, the rest of the step one kernel; the
gradient of W is one multiplication for all steps together.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from .kernels import backward_kernel, forward_kernel, launch, spread
from .memory import empty
from .program import Program
from .tape import Some, keep, kept, run_back, split, step_gradient, tape


def feed_back(
    program: Program, steps: int, index: int, asked: tuple[bool, ...], x: Tensor, weight: Tensor, bias: Tensor | None,
    states: Sequence[Tensor], params: Sequence[Tensor],
) -> tuple[list[Tensor | None], list[Tensor]]:  # fmt: skip
    """The courses, `[T, B, F]` each, with None where not asked, and the final states.

    Args:
        program: the step.
        steps: number of steps.
        index: the number of the state that feeds back.
        asked: for each thing that the step returns whether its course is asked.
        x: the projected input, `[T, B, I * F]` for a step with I inputs, or `[1, B, I * F]` where it is the same at
            every step. With weight and bias it may be in half precision, and with them the products and the step's
            inputs; states and parameters are not.
        weight: `[I * F, F]`.
        bias: `[I * F]`.
        states: `[B, F]` each.
        params: the parameters.
    """
    needs = tuple([t is not None and t.requires_grad for t in (x, weight, bias, *states, *params)])
    written, drives = asked, False
    if torch.is_grad_enabled() and any(needs):
        found = tape(program, False, asked, (*[True] * program.inputs, *needs[3 + len(states) :]))
        course = [c or (needs[1] and k == index) for k, c in enumerate(found.courses)]  # that which weight multiplies
        written = tuple([a or c for a, c in zip(asked, (*[False] * program.free, *course), strict=True)])
        drives = any(found.inputs)
    results = iter(Feedback.apply(program, steps, index, written, drives, x, weight, bias, *states, *params))
    courses = [next(results) if w else None for w in written]
    return [c if a else None for c, a in zip(courses, asked, strict=True)], [next(results) for _ in states]


class Feedback(torch.autograd.Function):
    """See `feed_back`. What is kept is returned, so that it has its place in the graph of a gradient that is
    differentiated again.
    """

    @staticmethod
    def forward(
        ctx: Any, program: Program, steps: int, index: int, written: tuple, drives: bool, x: Tensor, weight: Tensor,
        bias: Tensor | None, *tensors: Tensor,
    ) -> tuple:  # fmt: skip
        """What is written, `[T, B, F]` each, the final states, and the step's inputs `[T, I, B, F]` where `drives`."""
        states, params = tensors[: program.states], tensors[program.states :]
        shape, dtype, device = states[0].shape, states[0].dtype, states[0].device
        count, free = program.inputs, program.free
        x = x if bias is None else x + bias
        x = x.unflatten(-1, (count, shape[1])).movedim(-2, 1).contiguous()  # [T, I, B, F]
        transposed = weight.unflatten(0, (count, shape[1])).mT  # [I, F, F]
        parameters = spread(params, shape)
        outputs = (*written[:free], *[False] * len(states))
        kernel = forward_kernel(program, tuple([p.numel() != 1 for p in params]), outputs, True, dtype, device.type)
        drive = torch.empty((steps if drives else 1, count, *shape), dtype=x.dtype, device=device)
        courses = [empty((steps if w else 2, *shape), dtype, device) for w in written[free:]]
        trains = {k: empty((steps, *shape), x.dtype, device) for k in range(free) if written[k]}
        before = [s.contiguous() for s in states]
        for t in range(steps):
            now = drive[t % len(drive)]
            fed = before[index].to(x.dtype).expand(count, *shape)
            torch.baddbmm(x[t % len(x)], fed, transposed, out=now)
            after = [course[t % len(course)] for course in courses]
            memory = {"X": now, "P": parameters, "S": before, "Y": {k: y[t] for k, y in trains.items()}, "F": after}
            launch(kernel, 1, shape.numel(), memory)
            before = after
        results = [*trains.values(), *(c for c, w in zip(courses, written[free:], strict=True) if w)]
        results += [s.clone() for s in before]
        results += [drive] if drives else []
        needs = (*[True] * count, *ctx.needs_input_grad[8:])
        keep(ctx, program, steps, written, needs, [*[None] * count, *tensors], results, weight,
             courses[index] if ctx.needs_input_grad[6] else None, drive if drives else None)  # fmt: skip
        ctx.index, ctx.static, ctx.has_bias = index, len(x) == 1 and steps > 1, bias is not None
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple:
        """The cotangents of the input, weight, bias, states and parameters."""
        program: Program = ctx.tape.program
        _, states, params, (*courses, weight, fed, drive) = split(program, kept(ctx))
        shape = states[0].shape
        matrices = weight.unflatten(0, (program.inputs, shape[1]))
        arrived = iter(cotangents)
        given = [next(arrived) if w else None for w in ctx.tape.written]
        later = [next(arrived) for _ in states]
        back = _back_again if torch.is_grad_enabled() else _back
        dx, later, sums = back(ctx, given, later, courses, matrices, drive, next(arrived, None), states, params)
        flat = dx.movedim(1, 2).flatten(2)  # as the projected input
        d_weight = None
        if fed is not None:
            before = torch.cat((states[ctx.index][None], fed[:-1]))
            d_weight = flat.flatten(0, 1).mT @ before.flatten(0, 1).to(flat.dtype)
        return (
            None, None, None, None, None,
            flat.sum(0, keepdim=True) if ctx.static else flat,
            d_weight,
            flat.sum((0, 1)) if ctx.has_bias else None,
            *later,
            *(None if s is None else s.sum_to_size(p.shape) for s, p in zip(sums, params, strict=True)),
        )  # fmt: skip


def _back(
    ctx: Any, given: Some, later: Some, courses: Some, matrices: Tensor, drive: Tensor | None, of_drive: Tensor | None,
    states: Sequence[Tensor], params: Sequence[Tensor],
) -> tuple[Tensor, Some, Some]:  # fmt: skip
    """The cotangents of the step's inputs, `[T, I, B, F]`, of the initial states and of the parameters."""
    program, steps, needs = ctx.tape.program, ctx.steps, ctx.tape.needs
    shape, dtype, device = states[0].shape, states[0].dtype, states[0].device
    count, index = program.inputs, ctx.index
    arrives = (*[g is not None for g in given], *[True] * len(states))
    step = step_gradient(program, needs, arrives, ctx.tape.courses)
    dense = tuple([p.numel() != 1 for p in params])
    kernel = backward_kernel(step, dense, len(program.outputs), True, dtype, device.type)
    parameters, trains = spread(params, shape), {k: g.contiguous() for k, g in enumerate(given) if g is not None}
    dx = torch.zeros((steps, count, *shape), dtype=matrices.dtype, device=device)
    sums = {k: torch.zeros((steps, *shape), dtype=dtype, device=device) for k in range(len(params)) if needs[count + k]}
    first = [s.contiguous() for s in states]
    later = [torch.zeros(shape, dtype=dtype, device=device) if g is None else g.contiguous() for g in later]
    for t in reversed(range(steps)):
        earlier = [torch.empty(shape, dtype=dtype, device=device) for _ in states]
        memory = {
            "X": dx[t] if drive is None else drive[t], "P": parameters,
            "N": [c if c is None else c[t] for c in courses],
            "S": [c if c is None else c[t - 1] for c in courses] if t else first,
            "G": {k: g[t] for k, g in trains.items()}, "A": later,
            "DX": dx[t], "DP": {k: s[t] for k, s in sums.items()}, "DS": earlier,
        }  # fmt: skip
        launch(kernel, 1, shape.numel(), memory)
        if of_drive is not None:
            dx[t] += of_drive[t]
        if count == 1 and matrices.dtype == dtype:
            earlier[index].addmm_(dx[t, 0], matrices[0])
        else:
            earlier[index] += torch.bmm(dx[t], matrices).sum(0, dtype=dtype)
        later = earlier
    return dx, later, [sums[k].sum(0) if k in sums else None for k in range(len(params))]


def _back_again(
    ctx: Any, given: Some, later: Some, courses: Some, matrices: Tensor, drive: Tensor | None, of_drive: Tensor | None,
    states: Sequence[Tensor], params: Sequence[Tensor],
) -> tuple[Tensor, Some, Some]:  # fmt: skip
    """As `_back`, in operations that autograd sees."""

    def feed(t: int, of_inputs: Some, of_states: Some) -> tuple[Some, Some]:
        dx = torch.stack(cast("list[Tensor]", of_inputs)).to(matrices.dtype)
        dx = dx if of_drive is None else dx + of_drive[t]
        back = torch.bmm(dx, matrices).sum(0, dtype=states[0].dtype)
        before = of_states[ctx.index]
        return dx.unbind(), [
            back if k == ctx.index and before is None else back + before if k == ctx.index else s
            for k, s in enumerate(of_states)
        ]

    inputs = [None] * ctx.tape.program.inputs if drive is None else drive.unbind(1)
    of_inputs, of_states, of_params = run_back(
        ctx.tape, ctx.steps, [*given, *later], courses, inputs, states, params, feed
    )
    return torch.stack(cast("list[Tensor]", of_inputs), 1), of_states, of_params
