"""The engine's torch operators, and the gradient between them.

`snntorch::run` runs a program over time and `snntorch::run_backward` its gradient. Both take the program as text, so
that `torch.compile` and `torch.export` carry it along. Called eagerly, a runner does the same with less ado.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .over_time import OverTime, fewer_bytes, over_time
from .private import constant, watched
from .program import Program, load
from .runner import kind_of
from .single import SingleStep, single_step
from .tape import Tape, keep, kept, run_back, split, tape


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


def written_now(
    program: Program | str, asked: tuple[bool, ...], inputs: Sequence[Tensor], states: Sequence[Tensor],
    params: Sequence[Tensor],
) -> tuple[bool, ...]:  # fmt: skip
    """As `written`, where these tensors, in the mode that is on, tell what is kept: not what `fewer_bytes` spares."""
    if torch.is_grad_enabled():
        needs = tuple([t.requires_grad for t in (*inputs, *params)])
        if any(needs) or any([s.requires_grad for s in states]):
            found = written(program, needs, asked)
            if torch.compiler.is_compiling() or watched():
                return found
            fewer = fewer_bytes(_program(program), needs, sum(found) - sum(asked), kind_of(inputs, states, params))
            return asked if fewer else found
    return asked


def run(
    program: Program | str, steps: int, written: tuple, inputs: Sequence[Tensor], states: Sequence[Tensor],
    params: Sequence[Tensor],
) -> Sequence[Tensor]:  # fmt: skip
    """See `run_kernel`; with a gradient where one is asked for."""
    if torch.compiler.is_compiling() or watched():  # someone wants to see operators
        text = program if isinstance(program, str) else program.text
        return torch.ops.snntorch.run(text, steps, written, inputs, states, params)
    runner = over_time(_program(program), written, inputs, states, params)
    return runner(steps, [*inputs, *states, *params])


def run_step(
    program: Program | str, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor]
) -> Sequence[Tensor]:
    """See `SingleStep`; with a gradient where one is asked for."""
    program = _program(program)
    if watched():
        written = [True] * program.free + [False] * program.states
        return torch.ops.snntorch.run(program.text, 0, written, inputs, states, params)
    return single_step(program, inputs, states, params)(0, [*inputs, *states, *params])


def run_kernel(
    program: Program, steps: int, written: Sequence[bool], inputs: Sequence[Tensor], states: Sequence[Tensor],
    params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """What is written at every step, `[steps, ...]` each, then the final states.

    `steps` 0 is one step whose tensors have no time dimension. Kernels compute in the dtype of the states and of the
    parameters. Those on GPUs take inputs, and cotangents of outputs, in half precision too: outputs are in the dtype of
    the inputs, and cotangents of the inputs in their own.
    """
    runner = (
        over_time(program, written, inputs, states, params) if steps else single_step(program, inputs, states, params)
    )
    return runner.forward(steps, [*inputs, *states, *params])


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
    given = tuple([g is not None for g in cotangents])
    kept = tuple([c is not None for c in courses])
    make = (OverTime if steps else SingleStep).back
    back = make(program, tuple(needs), given, kept, *kind_of(inputs, states, params))
    return [c for c in back(steps, inputs, states, params, courses, cotangents) if c is not None]


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
    found: Tape = ctx.tape
    program, n = found.program, found.program.inputs
    inputs, states, params, courses = split(program, kept(ctx))
    arrived = [None if k is None else cotangents[k] for k in found.gives]
    if torch.is_grad_enabled():
        return None, None, None, *run_back(found, ctx.steps, arrived, courses, inputs, states, params)
    # of an input that is not kept only the dtype is read
    inputs = [states[0].new_empty(0, dtype=d) if x is None else x for x, d in zip(inputs, ctx.dtypes, strict=True)]
    results = iter(torch.ops.snntorch.run_backward(
        program.text, ctx.steps, found.needs, arrived, courses, inputs, states, params
    ))  # fmt: skip
    asked = (*found.needs[:n], *[True] * len(states), *found.needs[n:])
    return None, None, None, *split(program, [next(results) if a else None for a in asked])[:3]


for _device in ("CPU", "CUDA"):
    library.impl("run", lambda program, *args: run_kernel(load(program), *args), _device)
    library.impl("run_backward", lambda program, *args: run_backward_kernel(load(program), *args), _device)
torch.library.register_autograd("snntorch::run", _backward_of_run, setup_context=_setup_context, lib=library)
