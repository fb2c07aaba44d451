"""A program over time through a kernel."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .absent import last_steps_apart, meets_infinity
from .kernels import call, spread
from .memory import empty
from .program import Program
from .recent import KERNELS
from .runner import Back, Runner, kind_of
from .tape import Some


def _rows(x: Tensor) -> tuple[Tensor, int]:
    """X with each time step dense in memory, and how far apart they are."""
    if not x.is_contiguous() and not x[0].is_contiguous():
        x = x[:1].contiguous().expand(x.shape) if x.stride(0) == 0 else x.contiguous()
    return x, x.stride(0) if x.shape[0] > 1 else 0


class BackInTime(Back):
    """All steps back."""

    single = False

    def __init__(self, program: Program, needs: tuple[bool, ...], given: tuple[bool, ...], *args: Any) -> None:
        outputs = len(program.outputs)
        super().__init__(program, needs, (*given[:outputs], *[True] * program.states), *args)
        self._apart = not all(given[outputs:]) and meets_infinity(self.step, outputs)
        source, later = self.kernel.source, self.first["A"]
        self._later = slice(later, later + program.states)
        self._strided = [self.first[kind] + k for kind, k in source.stride_slots]
        self._dense = [self.first[kind] + k for kind, k in source.slots if kind in "SN"]
        of_inputs = zip(needs, self.step.inputs, strict=False)
        # what a kernel does not write is zero
        self._makes = [None if not need else torch.zeros if node is None else empty for need, node in of_inputs]

    def __call__(
        self, steps: int, inputs: Some, states: Sequence[Tensor], params: Sequence[Tensor], courses: Some,
        cotangents: Some,
    ) -> list[Tensor | None]:  # fmt: skip
        """See `Back`."""
        if self._apart:
            return last_steps_apart(self, steps, inputs, states, params, courses, cotangents)
        return self.through(steps, inputs, states, params, courses, cotangents)

    def through(
        self, steps: int, inputs: Some, states: Sequence[Tensor], params: Sequence[Tensor], courses: Some,
        cotangents: Some,
    ) -> list[Tensor | None]:  # fmt: skip
        """As the call, all of it through the kernel."""
        shape, device, dtype = states[0].shape, states[0].device, self.dtype
        arrays: list[Any] = [*inputs, *states, *params, *courses, *cotangents]
        of_states = arrays[self._later] = [
            torch.zeros(shape, dtype=dtype, device=device) if g is None
            else g.clone(memory_format=torch.contiguous_format)
            for g in arrays[self._later]
        ]  # fmt: skip
        strides = []
        for k in self._strided:
            arrays[k], stride = _rows(arrays[k])
            strides.append(stride)
        for k in self._dense:
            arrays[k] = arrays[k].contiguous()
        if self.spreads:
            arrays[self.params] = spread(params, shape)
        of_inputs = [make and make((steps, *shape), dtype=self.of_inputs, device=device) for make in self._makes]
        of_params = [
            torch.zeros(shape, dtype=dtype, device=device) if need else None for need in self.needs[len(inputs) :]
        ]
        arrays += [*of_inputs, *of_states, *of_params]
        call(self.kernel, steps, shape.numel(), [arrays[k] for k in self.pointers], strides)
        return [
            *of_inputs, *of_states,
            *[d if d is None else d.sum_to_size(p.shape) for d, p in zip(of_params, params, strict=True)],
        ]  # fmt: skip


class OverTime(Runner):
    """A program over time."""

    single = False
    back = staticmethod(functools.lru_cache(KERNELS)(BackInTime))

    def __init__(self, program: Program, written: tuple[bool, ...], *args: Any) -> None:
        super().__init__(program, written, *args)
        self._strided = [k for _, k in self.kernel.source.stride_slots]
        self._makes = [dtype if w else None for dtype, w in zip(self.dtypes, written, strict=True)]

    def forward(self, steps: int, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What is written at every step, `[steps, ...]` each, then the final states."""
        n, m = self.counts
        arrays: list[Any] = list(tensors)
        shape, device = arrays[n].shape, arrays[n].device
        strides = []
        for k in self._strided:
            arrays[k], stride = _rows(arrays[k])
            strides.append(stride)
        courses = [dtype and empty((steps, *shape), dtype, device) for dtype in self._makes]
        # after the courses: what is kept longer lies above them, so that their pages stay with the process when freed
        finals = arrays[n:m] = [s.clone(memory_format=torch.contiguous_format) for s in arrays[n:m]]
        if self.spreads:
            arrays[m:] = spread(arrays[m:], shape)
        arrays += courses
        call(self.kernel, steps, shape.numel(), [arrays[k] for k in self.pointers], strides)
        return [c for c in courses if c is not None] + finals


_over_time = functools.lru_cache(KERNELS)(OverTime)


def over_time(
    program: Program, written: Sequence[bool], inputs: Sequence[Tensor], states: Sequence[Tensor],
    params: Sequence[Tensor],
) -> OverTime:  # fmt: skip
    """The program for arrays of this kind."""
    return _over_time(program, tuple(written), *kind_of(inputs, states, params))
