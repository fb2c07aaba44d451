"""A program by kernels, forward and back: what is the same in every call, once or over time, is looked up once.

The kernel of a small net takes microseconds, and so do a dozen lines of Python.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .kernels import backward_kernel, forward_kernel, pointers
from .private import apply_plainly
from .program import Program
from .tape import Some, Tape, kept, places, run_back, split, step_gradient, tape


def kind_of(
    inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor]
) -> tuple[tuple[bool, ...], torch.dtype, torch.dtype, str]:
    """What a runner is told of arrays: `dense`, `dtype`, `of_inputs` and `device`."""
    like = states[0]
    of_inputs = inputs[0].dtype if inputs else like.dtype
    return tuple([p.numel() != 1 for p in params]), like.dtype, of_inputs, like.device.type


class Runner:
    """A program on arrays of one kind.

    Args:
        program: the step.
        written: for each thing that the step returns whether it is written beside the new states, its course over time.
        dense: for each parameter whether it holds more than one value.
        dtype: of states and parameters, in which it computes.
        of_inputs: the dtype of the inputs and of the outputs that are no states.
        device: the type of device.

    Attributes:
        courses: where the course of each thing that the step returns stands among the results, None where not written;
            the states after the last step follow.
    """

    single: bool  # whether it is one step, whose tensors have no time dimension
    back: Callable[..., "Back"]

    def __init__(
        self, program: Program, written: tuple[bool, ...], dense: tuple[bool, ...], dtype: torch.dtype,
        of_inputs: torch.dtype, device: str,
    ) -> None:  # fmt: skip
        self.program, self.written = program, written
        self.kind, self.dtype, self.of_inputs = (dense, dtype, of_inputs, device), dtype, of_inputs
        self.spreads = True in dense
        n, m = program.inputs, program.inputs + program.states
        self.kernel = forward_kernel(program, dense, written, self.single, dtype, device)
        results = m + program.params
        self.first = {"X": 0, "S": n, "P": m, "Y": results, "F": results + program.free, "B": results + len(written)}
        self.counts, self.pointers = (n, m), pointers(self.kernel.source, self.first)
        self.dtypes = [of_inputs] * program.free + [dtype] * program.states
        self.courses = places(written, 0)
        self._taped: dict[tuple[bool, ...], Taped] = {}

    def forward(self, steps: int, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What is written, then the new states.

        Args:
            steps: number of steps, 0 for a single one.
            tensors: inputs, states and parameters.
        """
        raise NotImplementedError

    def by_chunks(self, steps: int, tensors: Sequence[Tensor]) -> list[Tensor]:
        """As `forward`; then what the states are before each chunk of steps, `[chunks, ...]` each."""
        raise NotImplementedError

    def __call__(self, steps: int, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """See `forward`; with a gradient where one is asked for."""
        if torch.is_grad_enabled():
            needs = tuple([t.requires_grad for t in tensors])
            if True in needs:
                return ByKernel.apply(self.taped(needs), steps, *tensors)  # type: ignore[return-value]
        return self.forward(steps, tensors)

    def of(self, tensors: Sequence[Tensor]) -> Callable[[int, Sequence[Tensor]], Sequence[Tensor]]:
        """Itself for the kinds of these tensors, of which none is one of a `torch.func` transform."""
        needs = tuple([t.requires_grad for t in tensors])
        if not (True in needs and torch.is_grad_enabled()):
            return self.forward
        taped = self.taped(needs)
        return lambda steps, tensors: _apply(taped, steps, *tensors)

    def taped(self, needs: tuple[bool, ...]) -> "Taped":
        """Itself, where these of inputs, states and parameters need a gradient."""
        found = self._taped.get(needs)
        if found is None:
            found = self._taped[needs] = Taped(self, needs)
        return found


class Taped:
    """A runner, what it keeps for backward, and its ways back.

    A course that the gradient reads and that is not written is computed again.

    Attributes:
        forward: `Runner.forward`, or `Runner.by_chunks` where one is.
        results: how many of the first things that it gives are the caller's.
    """

    def __init__(self, runner: Runner, needs: tuple[bool, ...]) -> None:
        program = runner.program
        n, m = program.inputs, program.inputs + program.states
        self.runner = runner
        self.tape: Tape = tape(program, runner.single, runner.written, (*needs[:n], *needs[m:]))
        self.results = sum(runner.written) + program.states
        self.forward = runner.forward
        if any([keep and k is None for k, keep in zip(self.tape.after, self.tape.courses, strict=True)]):
            self.tape = replace(self.tape, inputs=(True,) * n, courses=(True,) * program.states, again=True)
            self.forward = runner.by_chunks
        self._backs: dict[tuple[bool, ...], Back] = {}

    def back(self, given: tuple[bool, ...]) -> "Back":
        """The way back from those cotangents that are given."""
        found = self._backs.get(given)
        if found is None:
            tape = self.tape
            found = self._backs[given] = self.runner.back(
                tape.program, tape.needs, given, tape.courses, *self.runner.kind, *[True] * tape.again
            )
        return found

    def courses(self, steps: int, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """The states after every step, computed again; with a gradient where one is asked for."""
        program = self.runner.program
        runner = type(self.runner)(program, (*[False] * program.free, *[True] * program.states), *self.runner.kind)
        return runner(steps, tensors)[: program.states]


class Back:
    """The way back, from some cotangents to some.

    Args:
        program: the step.
        needs: for each input and then each parameter whether its cotangent is asked.
        given: for each thing that the step returns, at every step and then of the final states, whether a cotangent
            arrives.
        kept: for each state whether its course is kept, of a single step the new state.
        dense: for each parameter whether it holds more than one value.
        dtype: of states and parameters, in which it computes.
        of_inputs: the dtype of the inputs.
        device: the type of device.
        chunks: whether of the courses what the states are before each chunk of steps is given, and all are kept.
    """

    single: bool

    def __init__(
        self, program: Program, needs: tuple[bool, ...], given: tuple[bool, ...], kept: tuple[bool, ...],
        dense: tuple[bool, ...], dtype: torch.dtype, of_inputs: torch.dtype, device: str, chunks: bool = False,
    ) -> None:  # fmt: skip
        n, m, outputs = program.inputs, program.states, len(program.outputs)
        self.step = step_gradient(program, needs, given, kept)
        self.program, self.needs, self.dtype, self.of_inputs = program, needs, dtype, of_inputs
        self.spreads = True in dense
        self.chunks = chunks
        self.kernel = backward_kernel(self.step, dense, outputs, self.single, dtype, device, chunks)
        params = n + m
        new = params + program.params
        grads = new + m
        later = grads + outputs
        results = later + m
        self.first = {"X": 0, "S": n, "P": params, "N": new, "B": new, "G": grads, "A": later,
                      "DX": results, "DS": results + n, "DP": results + n + m}  # fmt: skip
        self.params = slice(params, new)
        self.pointers = pointers(self.kernel.source, self.first)

    def __call__(
        self, steps: int, inputs: Some, states: Sequence[Tensor], params: Sequence[Tensor], courses: Some,
        cotangents: Some,
    ) -> list[Tensor | None]:  # fmt: skip
        """The cotangents of inputs, states and parameters, None where not asked; those of all states are.

        Args:
            steps: number of steps, 0 for a single one.
            inputs: as in forward; read only where the gradient needs them.
            states: the states before.
            params: the parameters.
            courses: the states after every step, where kept; with `chunks`, before each chunk.
            cotangents: of what the step returns, at every step, then those of the final states.
        """
        raise NotImplementedError


class ByKernel(torch.autograd.Function):
    """`Runner.forward` with its gradient."""

    @staticmethod
    def forward(ctx: Any, taped: Taped, steps: int, *tensors: Tensor) -> tuple:
        """See `Runner.forward`; `tensors` are inputs, states and parameters."""
        results = taped.forward(steps, tensors)
        arrays = (*tensors, *results)
        ctx.taped, ctx.steps = taped, steps
        ctx.save_for_backward(*[None if k is None else arrays[k] for k in taped.tape.keeps])
        ctx.set_materialize_grads(False)
        return tuple(results[: taped.results])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple:
        """See `Back`."""
        taped: Taped = ctx.taped
        inputs, states, params, courses = split(taped.tape.program, kept(ctx))
        full = [None if k is None else cotangents[k] for k in taped.tape.gives]
        if torch.is_grad_enabled():
            if taped.tape.again:
                courses = taped.courses(ctx.steps, [*inputs, *states, *params])
            of_inputs, of_states, of_params = run_back(taped.tape, ctx.steps, full, courses, inputs, states, params)
            return None, None, *of_inputs, *of_states, *of_params
        back = taped.back(tuple([c is not None for c in full]))
        if taped.tape.again and not back.chunks:
            courses = taped.courses(ctx.steps, [*inputs, *states, *params])
        return None, None, *back(ctx.steps, inputs, states, params, courses, full)


_apply = apply_plainly(ByKernel)
