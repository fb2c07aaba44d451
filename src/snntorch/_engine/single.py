"""A single step through a kernel, as a loop over time calls it.

The kernel takes microseconds, and so do a dozen lines of Python: what is the same at every step is looked up once.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .kernels import backward_kernel, call, forward_kernel, spread
from .printing import Source
from .private import apply_plainly
from .program import Program
from .recent import KERNELS
from .tape import Some, Tape, kept, run_back, split, step_gradient, tape


def _pointers(source: Source, first: Mapping[str, int]) -> list[int]:
    """Where each pointer of a kernel stands in one list of all arrays, in which those of a kind follow its first."""
    return [first[kind] + k for kind, k in source.slots]


class SingleStep:
    """A program as one step on arrays of one kind.

    Args:
        program: the step.
        dense: for each parameter whether it holds more than one value.
        dtype: of states and parameters, in which it computes.
        of_inputs: the dtype of the inputs and of the outputs that are no states.
        device: the type of device.
    """

    def __init__(
        self, program: Program, dense: tuple[bool, ...], dtype: torch.dtype, of_inputs: torch.dtype, device: str
    ) -> None:
        self.program, self.dense, self.dtype, self.of_inputs, self.device = program, dense, dtype, of_inputs, device
        self.spreads = True in dense
        self.written = (True,) * program.free + (False,) * program.states
        n, m = program.inputs, program.inputs + program.states
        self._counts, results = (n, m), m + program.params
        first = {"X": 0, "S": n, "P": m, "Y": results, "F": results + program.free}
        self._kernel = forward_kernel(program, dense, self.written, True, dtype, device)
        self._pointers = _pointers(self._kernel.source, first)
        self._dtypes = [of_inputs] * program.free + [dtype] * program.states
        self._tapes: dict[tuple[bool, ...], StepTape] = {}

    def __call__(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """See `forward`; with a gradient where one is asked for."""
        if torch.is_grad_enabled():
            needs = tuple([t.requires_grad for t in tensors])
            if True in needs:
                return Step.apply(self, self.tape(needs), *tensors)  # type: ignore[return-value]
        return self.forward(tensors)

    def of(self, tensors: Sequence[Tensor]) -> Callable[[Sequence[Tensor]], Sequence[Tensor]]:
        """Itself for the kinds of these tensors, of which none is one of a `torch.func` transform."""
        needs = tuple([t.requires_grad for t in tensors])
        if not (True in needs and torch.is_grad_enabled()):
            return self.forward
        tape = self.tape(needs)
        return lambda tensors: _apply(self, tape, *tensors)

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What the step returns, `[...]` each: outputs in the dtype of the inputs, then the new states.

        Args:
            tensors: inputs, states and parameters.
        """
        n, m = self._counts
        arrays = [t.contiguous() for t in tensors[:m]]
        like = arrays[n]
        arrays += spread(tensors[m:], like.shape) if self.spreads else tensors[m:]
        if self.of_inputs is self.dtype:
            results = [torch.empty_like(like) for _ in self._dtypes]
        else:
            results = [torch.empty_like(like, dtype=dtype) for dtype in self._dtypes]
        arrays += results
        call(self._kernel, 1, like.numel(), [arrays[k] for k in self._pointers])
        return results

    def tape(self, needs: tuple[bool, ...]) -> "StepTape":
        """What is kept, where these of inputs, states and parameters need a gradient."""
        found = self._tapes.get(needs)
        if found is None:
            n, m = self.program.inputs, self.program.inputs + self.program.states
            found = self._tapes[needs] = StepTape(self, tape(self.program, True, self.written, needs[:n] + needs[m:]))
        return found


class StepTape:
    """What a single step keeps for backward, and the kernels of its gradient."""

    def __init__(self, single: SingleStep, tape: Tape) -> None:
        self.single, self.tape = single, tape
        program = single.program
        self.keeps = (*tape.inputs, *[True] * (program.states + program.params), *tape.courses)
        self._backs: dict[tuple[bool, ...], StepBack] = {}

    def back(self, given: tuple[bool, ...]) -> "StepBack":
        """One step back from those cotangents that are given, of all that the step returns."""
        found = self._backs.get(given)
        if found is None:
            found = self._backs[given] = StepBack(self.single, self.tape.needs, given, self.tape.courses)
        return found


class StepBack:
    """One step back through a kernel, from some cotangents to some."""

    def __init__(
        self, single: SingleStep, needs: tuple[bool, ...], given: tuple[bool, ...], kept: tuple[bool, ...]
    ) -> None:
        self.single = single
        program, dtype = single.program, single.dtype
        n, m = program.inputs, program.states
        absent = (False,) * m  # of the states' courses, which have no cotangents
        step = step_gradient(program, needs, given[: program.free] + absent + given[program.free :], kept)
        self._kernel = backward_kernel(step, single.dense, len(program.outputs), True, dtype, single.device)
        params = n + m
        new = params + program.params
        grads = new + m
        results = grads + len(program.outputs)
        first = {"X": 0, "S": n, "P": params, "N": new, "G": grads, "A": grads + program.free,
                 "DX": results, "DS": results + n, "DP": results + n + m}  # fmt: skip
        self._pointers = _pointers(self._kernel.source, first)
        dtypes = [single.of_inputs] * n + [dtype] * (m + program.params)
        asked = (*needs[:n], *[True] * m, *needs[n:])
        written = (*[x is not None for x in step.inputs], *[True] * m, *[p is not None for p in step.params])
        self._makes = [  # what a kernel does not write is zero
            (torch.empty_like if w else torch.zeros_like, dtype) if a else None
            for a, w, dtype in zip(asked, written, dtypes, strict=True)
        ]
        self._sums = [k for k in range(params, new) if asked[k]]

    def __call__(
        self, inputs: Some, states: Sequence[Tensor], params: Sequence[Tensor], new: Some, cotangents: Some
    ) -> list[Tensor | None]:
        """The cotangents of inputs, states and parameters, None where not asked; those of all states are."""
        states = [s.contiguous() for s in states]
        like = states[0]
        rows = spread(params, like.shape) if self.single.spreads else params
        results = [None if m is None else m[0](like, dtype=m[1]) for m in self._makes]
        arrays: list[Any] = [*inputs, *states, *rows, *new, *cotangents, *results]
        call(self._kernel, 1, like.numel(), [arrays[k].contiguous() for k in self._pointers])
        for k in self._sums:
            results[k] = results[k].sum_to_size(params[k - len(inputs) - len(states)].shape)  # type: ignore[union-attr]
        return results


class Step(torch.autograd.Function):
    """`SingleStep.forward` with its gradient."""

    @staticmethod
    def forward(ctx: Any, single: SingleStep, tape: StepTape, *tensors: Tensor) -> tuple:
        """See `SingleStep.forward`; `tensors` are inputs, states and parameters."""
        program = single.program
        results = single.forward(tensors)
        ctx.tape = tape
        ctx.save_for_backward(
            *[t if k else None for t, k in zip((*tensors, *results[program.free :]), tape.keeps, strict=True)]
        )
        ctx.set_materialize_grads(False)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple:
        """See `StepBack`."""
        found: StepTape = ctx.tape
        program = found.single.program
        inputs, states, params, new = split(program, kept(ctx))
        if torch.is_grad_enabled():
            absent: Some = [None] * program.states
            full = [*cotangents[: program.free], *absent, *cotangents[program.free :]]
            of_inputs, of_states, of_params = run_back(found.tape, 0, full, new, inputs, states, params)
            return None, None, *of_inputs, *of_states, *of_params
        back = found.back(tuple([c is not None for c in cotangents]))
        return None, None, *back(inputs, states, params, new, cotangents)


_apply = apply_plainly(Step)
_single = functools.lru_cache(KERNELS)(SingleStep)


def single_step(
    program: Program, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor]
) -> SingleStep:
    """The program for arrays of this kind."""
    like = states[0]
    of_inputs = inputs[0].dtype if inputs else like.dtype
    return _single(program, tuple([p.numel() != 1 for p in params]), like.dtype, of_inputs, like.device.type)
