"""A single step through a kernel, as a loop over time calls it.

The kernel takes microseconds, and so do a dozen lines of Python: there are few here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .kernels import backward_kernel, forward_kernel, launch, spread, step_gradient
from .program import Program


def step_forward(
    program: Program, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor]
) -> list[Tensor]:
    """What the step returns, `[...]` each: outputs in the dtype of the inputs, then the new states."""
    states = [s.contiguous() for s in states]
    like = states[0]
    dtype = inputs[0].dtype if inputs else like.dtype
    dense = tuple([p.numel() != 1 for p in params])
    written = (True,) * program.free + (False,) * program.states
    kernel = forward_kernel(program, dense, written, True, like.dtype, like.device.type)
    outputs = [torch.empty_like(like, dtype=dtype) for _ in range(program.free)]
    finals = [torch.empty_like(like) for _ in states]
    xs = [x.contiguous() for x in inputs]
    memory = {"X": xs, "P": spread(params, like.shape), "S": states, "Y": outputs, "F": finals}
    launch(kernel, 1, like.numel(), memory)
    return outputs + finals


def step_backward(
    program: Program, wanted: tuple[bool, ...], grads: Sequence[Tensor | None], finals: Sequence[Tensor | None],
    inputs: Sequence[Tensor | None], states: Sequence[Tensor], params: Sequence[Tensor], dtypes: Sequence[torch.dtype],
) -> list[Tensor | None]:  # fmt: skip
    """The cotangents of inputs, states and parameters; None where not wanted.

    Args:
        program: the step.
        wanted: for each input and then each parameter whether its cotangent is wanted.
        grads: cotangents of what the step returned.
        finals: the new states, where kept.
        inputs: as in forward, where kept.
        states: as in forward.
        params: as in forward.
        dtypes: those of the inputs.
    """
    states = [s.contiguous() for s in states]
    free, like = program.free, states[0]
    given = [g is not None for g in grads]
    given[free:free] = [False] * program.states  # of courses, whose only step is told as the final states
    step = step_gradient(program, wanted, tuple(given))
    needs = step.needs
    if any([finals[k] is None for k in needs["new"]]) or any([inputs[k] is None for k in needs["input"]]):
        # The gradient from only some of the results would be read off other tensors than those that were kept.
        full = [torch.zeros_like(like) if g is None else g for g in grads]
        return step_backward(program, wanted, full, finals, inputs, states, params, dtypes)
    dense = tuple([p.numel() != 1 for p in params])
    kernel = backward_kernel(step, dense, len(program.outputs), True, like.dtype, like.device.type)
    grads = [g if g is None else g.contiguous() for g in grads]
    of_inputs = [_new(like, d, n) if w else None for d, n, w in zip(dtypes, step.inputs, wanted, strict=False)]
    of_states = [torch.empty_like(like) for _ in states]
    params_wanted = wanted[program.inputs :]
    of_params = [_new(like, like.dtype, n) if w else None for n, w in zip(step.params, params_wanted, strict=True)]
    memory = {
        "X": [x if x is None else x.contiguous() for x in inputs], "P": spread(params, like.shape),
        "N": finals, "S": states, "G": grads, "A": grads[free:],
        "DX": of_inputs, "DS": of_states, "DP": of_params,
    }  # fmt: skip
    launch(kernel, 1, like.numel(), memory)
    sums = [d if d is None else d.sum_to_size(p.shape) for d, p in zip(of_params, params, strict=True)]
    return of_inputs + of_states + sums


def _new(like: Tensor, dtype: torch.dtype, node: int | None) -> Tensor:
    """Memory that a kernel writes, or zeros where it writes none."""
    new = torch.zeros_like if node is None else torch.empty_like
    return new(like, dtype=dtype)


class Step(torch.autograd.Function):
    """`step_forward` with its gradient."""

    @staticmethod
    def forward(ctx: Any, program: Program, *tensors: Tensor) -> tuple:
        """See `step_forward`; `tensors` are inputs, states and parameters."""
        n, m = program.inputs, program.inputs + program.states
        inputs = tensors[:n]
        results = step_forward(program, inputs, tensors[n:m], tensors[m:])
        needs = ctx.needs_input_grad
        wanted = needs[1 : n + 1] + needs[m + 1 :]
        given = (True,) * program.free + (False,) * program.states + (True,) * program.states
        reads = step_gradient(program, wanted, given).needs
        ctx.save_for_backward(
            *tensors[n:],
            *[x if k in reads["input"] else None for k, x in enumerate(inputs)],
            *[s if k in reads["new"] else None for k, s in enumerate(results[program.free :])],
        )
        ctx.set_materialize_grads(False)
        ctx.program, ctx.wanted, ctx.dtypes = program, wanted, [x.dtype for x in inputs]
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        """See `step_backward`."""
        program, saved = ctx.program, ctx.saved_tensors
        params, inputs = program.states, program.states + program.params  # where they begin
        finals = inputs + program.inputs
        return None, *step_backward(
            program, ctx.wanted, grads, saved[finals:], saved[inputs:finals], saved[:params], saved[params:inputs],
            ctx.dtypes,
        )  # fmt: skip
