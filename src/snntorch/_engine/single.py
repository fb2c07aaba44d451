"""A single step through a kernel, as a loop over time calls it."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .kernels import call, spread
from .program import Program
from .recent import KERNELS
from .runner import Back, Runner, kind_of
from .tape import Some


class StepBack(Back):
    """One step back."""

    single = True

    def __init__(self, program: Program, needs: tuple[bool, ...], *args: Any) -> None:
        super().__init__(program, needs, *args)
        n, m, step = program.inputs, program.states, self.step
        dtypes = [self.of_inputs] * n + [self.dtype] * (m + program.params)
        asked = (*needs[:n], *[True] * m, *needs[n:])
        written = (*[x is not None for x in step.inputs], *[True] * m, *[p is not None for p in step.params])
        self._makes = [  # what a kernel does not write is zero
            (torch.empty_like if w else torch.zeros_like, dtype) if a else None
            for a, w, dtype in zip(asked, written, dtypes, strict=True)
        ]
        self._sums = [(k, n + m + k) for k in range(program.params) if needs[n + k]]

    def __call__(
        self, steps: int, inputs: Some, states: Sequence[Tensor], params: Sequence[Tensor], courses: Some,
        cotangents: Some,
    ) -> list[Tensor | None]:  # fmt: skip
        """See `Back`."""
        states = [s.contiguous() for s in states]
        like = states[0]
        rows = spread(params, like.shape) if self.spreads else params
        results = [None if m is None else m[0](like, dtype=m[1]) for m in self._makes]
        arrays: list[Any] = [*inputs, *states, *rows, *courses, *cotangents, *results]
        call(self.kernel, 1, like.numel(), [arrays[k].contiguous() for k in self.pointers])
        for k, place in self._sums:
            results[place] = results[place].sum_to_size(params[k].shape)  # type: ignore[union-attr]
        return results


class SingleStep(Runner):
    """A program as one step."""

    single = True
    back = staticmethod(functools.lru_cache(KERNELS)(StepBack))

    def forward(self, steps: int, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What the step returns, `[...]` each: outputs in the dtype of the inputs, then the new states."""
        n, m = self.counts
        arrays = [t.contiguous() for t in tensors[:m]]
        like = arrays[n]
        arrays += spread(tensors[m:], like.shape) if self.spreads else tensors[m:]
        if self.of_inputs is self.dtype:
            results = [torch.empty_like(like) for _ in self.dtypes]
        else:
            results = [torch.empty_like(like, dtype=dtype) for dtype in self.dtypes]
        arrays += results
        call(self.kernel, 1, like.numel(), [arrays[k] for k in self.pointers])
        return results


_single = functools.lru_cache(KERNELS)(SingleStep)


def single_step(
    program: Program, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor]
) -> SingleStep:
    """The program for arrays of this kind."""
    written = (True,) * program.free + (False,) * program.states
    return _single(program, written, *kind_of(inputs, states, params))
