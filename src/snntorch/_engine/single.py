"""A single step through a kernel, as a loop over time calls it.

The kernel takes microseconds, and so do a dozen lines of Python: there are few here.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from .kernels import Kernel, backward_kernel, forward_kernel, launch, spread
from .program import Program
from .recent import KERNELS
from .tape import step_gradient


@functools.lru_cache(KERNELS)
def _kernel(program: Program, dense: tuple[bool, ...], dtype: torch.dtype, device: str) -> Kernel:
    """The kernel that writes every output and the new states."""
    return forward_kernel(program, dense, (True,) * program.free + (False,) * program.states, True, dtype, device)


def step_forward(
    program: Program, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor]
) -> list[Tensor]:
    """What the step returns, `[...]` each: outputs in the dtype of the inputs, then the new states."""
    states = [s.contiguous() for s in states]
    like = states[0]
    dtype = inputs[0].dtype if inputs else like.dtype
    dense = tuple([p.numel() != 1 for p in params])
    kernel = _kernel(program, dense, like.dtype, like.device.type)
    outputs = [torch.empty_like(like, dtype=dtype) for _ in range(program.free)]
    finals = [torch.empty_like(like) for _ in states]
    xs = [x.contiguous() for x in inputs]
    rows = spread(params, like.shape) if True in dense else params
    memory = {"X": xs, "P": rows, "S": states, "Y": outputs, "F": finals}
    launch(kernel, 1, like.numel(), memory)
    return outputs + finals


def step_backward(
    program: Program, needs: tuple[bool, ...], cotangents: Sequence[Tensor | None], new: Sequence[Tensor | None],
    inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """The cotangents of the inputs where asked, of all states, and of the parameters where asked.

    Args:
        program: the step.
        needs: for each input and then each parameter whether its cotangent is asked.
        cotangents: of what the step returns at every step, where only outputs have any, then of the new states.
        new: the new states, where kept.
        inputs: as in forward; read only where kept.
        states: as in forward.
        params: as in forward.
    """
    states = [s.contiguous() for s in states]
    outputs, like = len(program.outputs), states[0]
    given = tuple([c is not None for c in cotangents])
    step = step_gradient(program, needs, given, tuple([n is not None for n in new]))
    dense = tuple([p.numel() != 1 for p in params])
    kernel = backward_kernel(step, dense, outputs, True, like.dtype, like.device.type)
    arrays = kernel.source.arrays
    dense_rows = {k: c.contiguous() for k, c in enumerate(cotangents) if c is not None}
    of_inputs = {k: _new(like, inputs[k].dtype, n) for k, n in enumerate(step.inputs) if needs[k]}
    of_states = [torch.empty_like(like) for _ in states]
    of_params = {k: _new(like, like.dtype, n) for k, n in enumerate(step.params) if needs[program.inputs + k]}
    memory = {
        "X": {k: inputs[k].contiguous() for k in arrays["X"]}, "P": spread(params, like.shape), "N": new, "S": states,
        "G": dense_rows, "A": {k - outputs: c for k, c in dense_rows.items()},
        "DX": of_inputs, "DS": of_states, "DP": of_params,
    }  # fmt: skip
    launch(kernel, 1, like.numel(), memory)
    return [*of_inputs.values(), *of_states, *(d.sum_to_size(params[k].shape) for k, d in of_params.items())]


def _new(like: Tensor, dtype: torch.dtype, node: int | None) -> Tensor:
    """Memory that a kernel writes, or zeros where it writes none."""
    new = torch.zeros_like if node is None else torch.empty_like
    return new(like, dtype=dtype)
