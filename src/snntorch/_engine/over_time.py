"""A program over time through a kernel."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .absent import last_steps_apart, meets_infinity
from .gpu import CHUNK
from .kernels import Kernel, call, forward_kernel, pointers, spread
from .memory import empty
from .program import Program
from .recent import KERNELS
from .runner import Back, Runner, kind_of
from .tape import Some, step_gradient, tape
from .target import PACKAGES


def _rows(x: Tensor) -> tuple[Tensor, int]:
    """X with each time step dense in memory, and how far apart they are."""
    if not x.is_contiguous() and not x[0].is_contiguous():
        x = x[:1].contiguous().expand(x.shape) if x.stride(0) == 0 else x.contiguous()
    return x, x.stride(0) if x.shape[0] > 1 else 0


def fewer_bytes(program: Program, needs: tuple[bool, ...], courses: int, kind: tuple) -> bool:
    """Whether to keep the inputs, and the states before each chunk of steps, takes fewer bytes than to keep courses.

    On the CPU only where no input changes from step to step, so that nothing at all need be kept: else computing again
    takes longer than reading.

    Args:
        program: the step.
        needs: for each input and then each parameter whether its cotangent is asked.
        courses: how many states' courses are kept for a gradient alone.
        kind: of the arrays, see `kind_of`.
    """
    _, dtype, of_inputs, device = kind
    if PACKAGES[device] != "triton":
        return courses > 0 and not program.inputs
    more = tape(program, False, (True,) * len(program.outputs), needs).inputs.count(False)
    return more * of_inputs.itemsize + program.states * dtype.itemsize / CHUNK < courses * dtype.itemsize


class BackInTime(Back):
    """All steps back."""

    single = False

    def __init__(
        self, program: Program, needs: tuple[bool, ...], given: tuple[bool, ...], kept: tuple[bool, ...], dense: tuple,
        dtype: torch.dtype, of_inputs: torch.dtype, device: str, chunks: bool = False,
    ) -> None:  # fmt: skip
        outputs = len(program.outputs)
        arrives = (*given[:outputs], *[True] * program.states)
        self._apart = not all(given[outputs:]) and meets_infinity(step_gradient(program, needs, arrives, kept), outputs)
        chunks = chunks and not self._apart
        super().__init__(program, needs, arrives, kept, dense, dtype, of_inputs, device, chunks)
        source, later = self.kernel.source, self.first["A"]
        self._later = slice(later, later + program.states)
        self._strided = [self.first[kind] + k for kind, k in source.stride_slots]
        self._dense = [self.first[kind] + k for kind, k in source.slots if kind in "SNB"]
        asked = zip(needs, self.step.inputs, strict=False)
        # what a kernel does not write is zero
        self._makes = [None if not need else torch.zeros if node is None else empty for need, node in asked]

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

    @functools.cached_property
    def _by_chunks(self) -> tuple[Kernel, list[int]]:
        """The kernel that keeps what the states are before each chunk of steps, and its pointers."""
        dense, dtype, _, device = self.kind
        kernel = forward_kernel(self.program, dense, self.written, False, dtype, device, chunks=True)
        return kernel, pointers(kernel.source, self.first)

    def by_chunks(self, steps: int, tensors: Sequence[Tensor]) -> list[Tensor]:
        """See `Runner.by_chunks`; on the CPU all steps are one chunk."""
        if PACKAGES[self.kind[-1]] == "triton":
            return self.forward(steps, tensors, self._by_chunks)
        n, m = self.counts
        return [*self.forward(steps, tensors), *tensors[n:m]]

    def forward(
        self, steps: int, tensors: Sequence[Tensor], by_chunks: tuple[Kernel, list[int]] | None = None
    ) -> list[Tensor]:
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
        results = [c for c in courses if c is not None] + finals
        kernel, places = by_chunks or (self.kernel, self.pointers)
        if by_chunks is not None:
            begins = [empty((-(-steps // CHUNK), *shape), self.dtype, device) for _ in finals]
            arrays += begins
            results += begins
        call(kernel, steps, shape.numel(), [arrays[k] for k in places], strides)
        return results


_over_time = functools.lru_cache(KERNELS)(OverTime)


def over_time(
    program: Program, written: Sequence[bool], inputs: Sequence[Tensor], states: Sequence[Tensor],
    params: Sequence[Tensor],
) -> OverTime:  # fmt: skip
    """The program for arrays of this kind."""
    return _over_time(program, tuple(written), *kind_of(inputs, states, params))
