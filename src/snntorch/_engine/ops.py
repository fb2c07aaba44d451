"""The engine's torch operators, and the gradient between them.

`snntorch::run` runs a program over time and `snntorch::run_backward` its gradient. Both take the program as text, so
that `torch.compile` and `torch.export` carry it along. Called eagerly, `Run` does the same with less ado.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .absent import last_steps_apart, meets_infinity
from .kernels import backward_kernel, forward_kernel, launch, spread
from .memory import empty
from .private import constant, watched
from .program import Program, load
from .single import single_step
from .tape import keep, pull_back, split, step_gradient, tape


def _program(key: Program | str) -> Program:
    return load(key) if isinstance(key, str) else key


@constant
def free_outputs(program: Program | str) -> int:
    """How many of the things that a step returns are no states."""
    return _program(program).free


@constant
def written(program: Program | str, needs: tuple, asked: tuple) -> tuple[bool, ...]:
    """Which courses are written: those that are asked, and those that are kept for a gradient.

    Args:
        program: the step, or its text.
        needs: for each input and then each parameter whether its cotangent is asked.
        asked: for each thing that the step returns whether its course is asked.
    """
    program = _program(program)
    kept = (*[False] * program.free, *tape(program, False, asked, needs).courses)
    return tuple([a or k for a, k in zip(asked, kept, strict=True)])


def run(
    program: Program | str, steps: int, written: tuple, inputs: Sequence[Tensor], states: Sequence[Tensor],
    params: Sequence[Tensor],
) -> Sequence[Tensor]:  # fmt: skip
    """See `run_kernel`; with a gradient where one is asked for."""
    if torch.compiler.is_compiling() or watched():  # someone wants to see operators
        text = program if isinstance(program, str) else program.text
        return torch.ops.snntorch.run(text, steps, written, inputs, states, params)
    program = _program(program)
    if _needs_gradient(inputs, states, params):
        return Run.apply(program, steps, written, *inputs, *states, *params)  # type: ignore[return-value]
    return run_kernel(program, steps, written, inputs, states, params)


def run_step(
    program: Program | str, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor]
) -> Sequence[Tensor]:
    """See `SingleStep`; with a gradient where one is asked for."""
    program = _program(program)
    if watched():
        written = [True] * program.free + [False] * program.states
        return torch.ops.snntorch.run(program.text, 0, written, inputs, states, params)
    return single_step(program, inputs, states, params)([*inputs, *states, *params])


def _needs_gradient(*tensors: Sequence[Tensor]) -> bool:
    return torch.is_grad_enabled() and any([t.requires_grad for ts in tensors for t in ts])


def _rows(x: Tensor) -> tuple[Tensor, int]:
    """X with each time step dense in memory, and how far apart they are."""
    if not x.is_contiguous() and not x[0].is_contiguous():
        x = x[:1].contiguous().expand(x.shape) if x.stride(0) == 0 else x.contiguous()
    return x, x.stride(0) if len(x) > 1 else 0


def run_kernel(
    program: Program, steps: int, written: Sequence[bool], inputs: Sequence[Tensor], states: Sequence[Tensor],
    params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """What is written at every step, `[steps, ...]` each, then the final states.

    `steps` 0 is one step whose tensors have no time dimension. Kernels compute in the dtype of the states and of the
    parameters. Those on GPUs take inputs, and cotangents of outputs, in half precision too: outputs are in the dtype of
    the inputs, and cotangents of the inputs in their own.
    """
    if steps == 0:
        return single_step(program, inputs, states, params).forward([*inputs, *states, *params])
    shape, dtype, device = states[0].shape, states[0].dtype, states[0].device
    dense = tuple([p.numel() != 1 for p in params])
    kernel = forward_kernel(program, dense, tuple(written), False, dtype, device.type)
    rows = {k: _rows(inputs[k]) for k in kernel.source.arrays["X"]}
    courses = {k: empty((steps, *shape), t, device) for k, t in written_dtypes(program.free, written, inputs, states)}
    finals = [s.clone(memory_format=torch.contiguous_format) for s in states]
    memory = {"X": {k: x for k, (x, _) in rows.items()}, "P": spread(params, shape), "S": finals, "Y": courses}
    launch(kernel, steps, shape.numel(), memory, {"X": {k: stride for k, (_, stride) in rows.items()}})
    return [*courses.values(), *finals]


def written_dtypes(
    free: int, written: Sequence[bool], inputs: Sequence[Tensor], states: Sequence[Tensor]
) -> Iterator[tuple[int, torch.dtype]]:
    """What is written at every step, and in which dtype."""
    dtypes = ((inputs or states)[0].dtype, states[0].dtype)
    return ((k, dtypes[k >= free]) for k, w in enumerate(written) if w)


def run_backward_kernel(
    program: Program, steps: int, needs: Sequence[bool], cotangents: Sequence[Tensor | None],
    courses: Sequence[Tensor | None], inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """The cotangents of the inputs where asked, of all states, and of the parameters where asked.

    Args:
        program: the step.
        steps: as in forward.
        needs: for each input and then each parameter whether its cotangent is asked.
        cotangents: of what the step returns, at every step, then those of the final states.
        courses: the states after every step, where kept.
        inputs: as in forward; read only where the gradient needs them.
        states: the initial states.
        params: the parameters.
    """
    outputs = len(program.outputs)
    if steps == 0:
        single = single_step(program, inputs, states, params)
        n = program.inputs
        back = single.tape((*needs[:n], *[True] * program.states, *needs[n:])).back
        arrived = [*cotangents[: program.free], *cotangents[outputs:]]
        found = back(tuple([c is not None for c in arrived]))(inputs, states, params, courses, arrived)
        return [c for c in found if c is not None]
    shape, dtype, device = states[0].shape, states[0].dtype, states[0].device
    given = (*(g is not None for g in cotangents[:outputs]), *[True] * program.states)
    step = step_gradient(program, tuple(needs), given, tuple([c is not None for c in courses]))
    if any([g is None for g in cotangents[outputs:]]) and meets_infinity(step, outputs):
        arguments = (program, steps, tuple(needs), cotangents, courses, inputs, states, params)
        return last_steps_apart(run_backward_kernel, *arguments)
    dense = tuple([p.numel() != 1 for p in params])
    kernel = backward_kernel(step, dense, outputs, False, dtype, device.type)
    x_rows = {k: _rows(inputs[k]) for k in kernel.source.arrays["X"]}
    g_rows = {k: _rows(g) for k in kernel.source.arrays["G"] if (g := cotangents[k]) is not None}
    later = [
        torch.zeros(shape, dtype=dtype, device=device) if g is None else g.clone(memory_format=torch.contiguous_format)
        for g in cotangents[outputs:]
    ]
    of_inputs = {
        k: (torch.zeros if node is None else empty)((steps, *shape), dtype=inputs[k].dtype, device=device)
        for k, node in enumerate(step.inputs)
        if needs[k]
    }
    of_params = {
        k: torch.zeros(shape, dtype=dtype, device=device) for k in range(program.params) if needs[program.inputs + k]
    }
    memory = {
        "X": {k: x for k, (x, _) in x_rows.items()}, "G": {k: g for k, (g, _) in g_rows.items()},
        "P": spread(params, shape), "N": [c if c is None else c.contiguous() for c in courses],
        "S": [s.contiguous() for s in states], "A": later, "DX": of_inputs, "DP": of_params,
    }  # fmt: skip
    strides = {"X": {k: s for k, (_, s) in x_rows.items()}, "G": {k: s for k, (_, s) in g_rows.items()}}
    launch(kernel, steps, shape.numel(), memory, strides)
    return [*of_inputs.values(), *later, *(d.sum_to_size(params[k].shape) for k, d in of_params.items())]


class Run(torch.autograd.Function):
    """`run_kernel` with its gradient."""

    @staticmethod
    def forward(ctx: Any, program: Program, steps: int, written: tuple, *tensors: Tensor) -> tuple:
        """See `run_kernel`; `tensors` are inputs, states and parameters."""
        inputs, states, params, _ = split(program, tensors)
        results = run_kernel(program, steps, written, inputs, states, params)
        keep(ctx, program, steps, written, ctx.needs_input_grad[3:], tensors, results)
        ctx.dtypes = [x.dtype for x in inputs]
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple:
        """See `run_backward_kernel`."""
        return None, None, None, *pull_back(ctx, cotangents, run_backward_kernel, ctx.tape.program)


library = torch.library.Library("snntorch", "DEF")
library.define(
    "run(str program, SymInt steps, bool[] written, Tensor[] inputs, Tensor[] states, Tensor[] params) -> Tensor[]"
)
library.define(
    "run_backward(str program, SymInt steps, bool[] wanted, Tensor?[] grads, Tensor?[] courses, "
    "Tensor[] inputs, Tensor[] states, Tensor[] params) -> Tensor[]"
)


@torch.library.register_fake("snntorch::run", lib=library)
def run_fake(program: str, steps: int, written: Any, inputs: Any, states: Any, params: Any) -> list[Tensor]:
    """As the operator, empty."""
    lead = (steps, *states[0].shape) if steps else states[0].shape
    dtypes = written_dtypes(load(program).free, written, inputs, states)
    return [states[0].new_empty(lead, dtype=dtype) for _, dtype in dtypes] + [s.new_empty(s.shape) for s in states]


@torch.library.register_fake("snntorch::run_backward", lib=library)
def _run_backward_fake(
    program: str, steps: int, wanted: Any, grads: Any, courses: Any, inputs: Any, states: Any, params: Any
) -> list[Tensor]:
    lead = (steps, *states[0].shape) if steps else states[0].shape
    results = [x.new_empty(lead) for x, want in zip(inputs, wanted, strict=False) if want]
    results += [s.new_empty(s.shape) for s in states]
    return results + [p.new_empty(p.shape) for p, want in zip(params, wanted[len(inputs) :], strict=True) if want]


def _setup_context(ctx: Any, inputs: tuple, output: Sequence[Tensor]) -> None:
    text, steps, written, *lists = inputs
    tensors = [tensor for group in lists for tensor in group]
    keep(ctx, load(text), steps, tuple(written), [t.requires_grad for t in tensors], tensors, output)
    ctx.dtypes = [x.dtype for x in lists[0]]


def _backward_of_run(ctx: Any, cotangents: Sequence[Tensor | None]) -> tuple:
    program = ctx.tape.program
    found = pull_back(ctx, cotangents, torch.ops.snntorch.run_backward, program.text)
    return None, None, None, *split(program, found)[:3]


for _device in ("CPU", "CUDA"):
    library.impl("run", lambda program, *args: run_kernel(load(program), *args), _device)
    library.impl("run_backward", lambda program, *args: run_backward_kernel(load(program), *args), _device)
torch.library.register_autograd("snntorch::run", _backward_of_run, setup_context=_setup_context, lib=library)
