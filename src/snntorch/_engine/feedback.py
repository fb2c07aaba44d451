"""A layer whose neurons feed one state back through a matrix, over time in one autograd node.

With the projected input x, the state s that feeds back, weights W and bias b, every step takes the inputs
`x[t] + s[t - 1] W^T + b`. The product is one matrix multiplication a step, the rest of the step one kernel; the
gradient of W is one multiplication for all steps together.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .kernels import backward_kernel, forward_kernel, launch, spread, step_gradient
from .memory import empty
from .program import Program


class Feedback(torch.autograd.Function):
    """The states are `[B, F]`, the projected input `[T, B, I * F]` for a step with I inputs, or `[1, B, I * F]` where
    it is the same at every step. Input, weight and bias may be in half precision, and with them the products and the
    step's inputs; states and parameters are not.
    """

    @staticmethod
    def forward(
        ctx: Any, program: Program, steps: int, index: int, traces: tuple, x: Tensor, weight: Tensor,
        bias: Tensor | None, *tensors: Tensor,
    ) -> tuple:  # fmt: skip
        """The traces asked for, `[T, B, F]` each, then the final states."""
        states, params = tensors[: program.states], tensors[program.states :]
        shape, dtype, device = states[0].shape, states[0].dtype, states[0].device
        batch, features = shape
        count = program.inputs
        x = x if bias is None else x + bias
        x = x.unflatten(-1, (count, features)).movedim(-2, 1).contiguous()  # [T, I, B, F]
        transposed = weight.unflatten(0, (count, features)).mT  # [I, F, F]
        parameters = spread(params, shape)
        outputs = tuple(t and k < program.free for k, t in enumerate(traces))
        kernel = forward_kernel(program, tuple(p.numel() != 1 for p in params), outputs, True, dtype, device.type)

        wanted = (*[True] * count, *ctx.needs_input_grad[7 + program.states :])
        step = step_gradient(program, wanted, (*traces, *[True] * program.states))
        keeps = bool(step.needs["input"]) and any(ctx.needs_input_grad)
        drive = torch.empty((steps if keeps else 1, count, *shape), dtype=x.dtype, device=device)
        courses = [empty((steps, *shape), dtype, device) for _ in states]
        trains = {k: empty((steps, *shape), x.dtype, device) for k, out in enumerate(outputs) if out}
        before = [s.contiguous() for s in states]
        for t in range(steps):
            now = drive[t if keeps else 0]
            fed = before[index].to(x.dtype).expand(count, batch, features)
            torch.baddbmm(x[t if len(x) > 1 else 0], fed, transposed, out=now)
            after = [course[t] for course in courses]
            memory = {"X": now, "P": parameters, "S": before, "Y": {k: y[t] for k, y in trains.items()}, "F": after}
            launch(kernel, 1, shape.numel(), memory)
            before = after
        ctx.save_for_backward(weight, *states, *params, *courses, drive if keeps else None)
        ctx.set_materialize_grads(False)
        ctx.program, ctx.step, ctx.steps, ctx.index, ctx.traces = program, step, steps, index, traces
        ctx.static, ctx.has_bias = len(x) == 1 and steps > 1, bias is not None
        asked = [trains[k] if k < program.free else courses[k - program.free] for k, t in enumerate(traces) if t]
        return (*asked, *(s.clone() for s in before))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        """The cotangents of the input, weight, bias, states and parameters."""
        program: Program = ctx.program
        steps, index, n = ctx.steps, ctx.index, ctx.program.states
        weight, *rest = ctx.saved_tensors
        states, params, courses, drive = rest[:n], rest[n : -1 - n], rest[-1 - n : -1], rest[-1]
        shape, dtype, device = states[0].shape, states[0].dtype, states[0].device
        batch, features = shape
        count = program.inputs
        arrived = iter(grads)
        zeros = torch.zeros(shape, dtype=dtype, device=device)
        absent = zeros.expand(steps, *shape)
        given = {k: absent if (g := next(arrived)) is None else g.contiguous() for k, t in enumerate(ctx.traces) if t}
        later = [zeros if g is None else g.contiguous() for g in arrived]
        wanted_params = ctx.needs_input_grad[7 + n :]
        dense = tuple(p.numel() != 1 for p in params)
        kernel = backward_kernel(ctx.step, dense, len(program.outputs), True, dtype, device.type)
        parameters = spread(params, shape)
        matrices = weight.unflatten(0, (count, features))
        dx = torch.zeros((steps, count, *shape), dtype=weight.dtype, device=device)
        sums = {k: torch.zeros((steps, *shape), dtype=dtype, device=device) for k, w in enumerate(wanted_params) if w}
        first = [s.contiguous() for s in states]
        for t in reversed(range(steps)):
            earlier = [torch.empty(shape, dtype=dtype, device=device) for _ in states]
            memory = {
                "X": dx[t] if drive is None else drive[t], "P": parameters, "N": [c[t] for c in courses],
                "S": [c[t - 1] for c in courses] if t else first,
                "G": {k: g[t] for k, g in given.items()}, "A": later,
                "DX": dx[t], "DP": {k: s[t] for k, s in sums.items()}, "DS": earlier,
            }  # fmt: skip
            launch(kernel, 1, shape.numel(), memory)
            if count == 1 and weight.dtype == dtype:
                earlier[index].addmm_(dx[t, 0], matrices[0])
            else:
                earlier[index] += torch.bmm(dx[t], matrices).sum(0, dtype=dtype)
            later = earlier
        flat = dx.movedim(1, 2).reshape(steps, batch, count * features)  # as the projected input
        d_weight = None
        if ctx.needs_input_grad[5]:
            course = torch.cat((first[index][None], courses[index][:-1]))
            d_weight = flat.flatten(0, 1).mT @ course.flatten(0, 1).to(flat.dtype)
        return (
            None, None, None, None,
            flat.sum(0, keepdim=True) if ctx.static else flat,
            d_weight,
            flat.sum((0, 1)) if ctx.has_bias else None,
            *later,
            *(sums[k].sum(0).sum_to_size(p.shape) if k in sums else None for k, p in enumerate(params)),
        )  # fmt: skip
