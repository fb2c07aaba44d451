"""What the gradient of a call keeps and which cotangents arrive in it, said once for every autograd function here."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .freed import ADVICE
from .graph import Graph
from .program import Gradient, Program, gradient
from .recent import SMALL

Some = Sequence[Tensor | None]


@functools.lru_cache(SMALL)
def step_gradient(
    program: Program, needs: tuple, given: tuple, kept: tuple | None = None, again: bool = False
) -> Gradient:
    """See `gradient`; `needs` is for each input and then each parameter."""
    return gradient(program, given, needs[: program.inputs], needs[program.inputs :], kept, again)


@dataclass(frozen=True)
class Tape:
    """What is kept of a call.

    Attributes:
        program: the step.
        single: whether it is one step, whose tensors have no time dimension.
        written: for each thing that the step returns whether its course is returned.
        needs: for each input and then each parameter whether its cotangent is asked.
        inputs: for each input whether it is kept.
        courses: for each state whether its course is kept, of a single step the new state.
        again: whether courses are computed again on the way back: from all inputs, and from what the states are before
            each chunk of steps, which is given behind the results, and kept in their place.
    """

    program: Program
    single: bool
    written: tuple[bool, ...]
    needs: tuple[bool, ...]
    inputs: tuple[bool, ...]
    courses: tuple[bool, ...]
    again: bool = False

    @functools.cached_property
    def gives(self) -> list[int | None]:
        """Where what the step returns, over time and then each final state, stands among the results; None where not.

        So do the cotangents that arrive.
        """
        return places(self.written, self.program.states)

    @functools.cached_property
    def after(self) -> Sequence[int | None]:
        """Where what may be kept of each state stands among the results."""
        outputs, states = len(self.written), self.program.states
        if self.again:
            return range(results := sum(self.written) + states, results + states)
        return self.gives[outputs:] if self.single else self.gives[self.program.free : outputs]

    @functools.cached_property
    def keeps(self) -> list[int | None]:
        """Where what is kept stands among inputs, states, parameters and results; None in the place of what is not."""
        n, after = self.program.inputs, zip(self.after, self.courses, strict=True)
        results = n + self.program.states + self.program.params
        return [
            *[k if keep else None for k, keep in enumerate(self.inputs)],
            *range(n, results),
            *[results + k if keep and k is not None else None for k, keep in after],
        ]


def places(written: Sequence[bool], states: int) -> list[int | None]:
    """Where what is written, and then each of some states, stands in a list of these; None for what is not written."""
    numbers = itertools.count()
    return [next(numbers) if w else None for w in (*written, *[True] * states)]


@functools.lru_cache(SMALL)
def tape(program: Program, single: bool, written: tuple[bool, ...], needs: tuple[bool, ...]) -> Tape:
    """The tape of a call: what the gradient from all that it returns is computed from."""
    step = step_gradient(program, needs, (*written, *[True] * program.states))
    courses = step.needs["new"] if single else step.saved
    return Tape(
        program, single, written, needs,
        tuple([k in step.needs["input"] for k in range(program.inputs)]),
        tuple([k in courses for k in range(program.states)]),
    )  # fmt: skip


def split(program: Program, tensors: Sequence[Any]) -> tuple[Sequence[Any], ...]:
    """Inputs, states, parameters, and whatever follows."""
    n = program.inputs
    m = n + program.states
    p = m + program.params
    return tensors[:n], tensors[n:m], tensors[m:p], tensors[p:]


def keep(
    ctx: Any, program: Program, steps: int, written: tuple, needs: Sequence[bool], tensors: Some,
    results: Sequence[Tensor], *more: Tensor | None,
) -> None:  # fmt: skip
    """Save for backward; `needs` and `tensors` are of inputs, states and parameters, `more` comes after the courses."""
    n, m = program.inputs, program.inputs + program.states
    ctx.steps = steps
    ctx.tape = found = tape(program, not steps, written, (*needs[:n], *needs[m:]))
    arrays = (*tensors, *results)
    ctx.save_for_backward(*[None if k is None else arrays[k] for k in found.keeps], *more)
    ctx.set_materialize_grads(False)


def kept(ctx: Any) -> Sequence[Any]:
    """The saved tensors."""
    try:
        return ctx.saved_tensors
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        raise RuntimeError(f"{error}\n{ADVICE}") from error


# -- where the gradient is to be differentiated again: step by step, in operations that autograd sees

_graph = functools.lru_cache(SMALL)(lambda step: Graph(step.nodes))


def step_back(
    found: Tape, cotangents: Some, new: Some, inputs: Some, states: Some, params: Sequence[Tensor]
) -> tuple[Some, Some, Some]:
    """The cotangents of one step's inputs, states and parameters; None where there is none."""
    from .decomposition import interpret  # which decomposes operators that are defined from here

    given = tuple([c is not None for c in cotangents])
    step = step_gradient(found.program, found.needs, given, found.courses, again=True)
    kinds: Mapping[str, Some] = {"state": states, "new": new, "input": inputs, "param": params, "grad": cotangents}
    leaves = {(kind, k): t for kind, tensors in kinds.items() for k, t in enumerate(tensors) if t is not None}
    values = iter(interpret(_graph(step), step.roots, leaves))
    roots = (step.inputs, step.states, step.params)
    of_inputs, of_states, of_params = ([None if n is None else next(values) for n in nodes] for nodes in roots)
    return of_inputs, of_states, of_params


def run_back(
    found: Tape, steps: int, cotangents: Some, courses: Some, inputs: Some, states: Sequence[Tensor],
    params: Sequence[Tensor], feed: Callable[[int, Some, Some], tuple[Some, Some]] | None = None,
) -> tuple[Some, Some, Some]:  # fmt: skip
    """The cotangents of inputs, initial states and parameters; None where there is none or none is asked.

    `feed` is given each step's number and cotangents of inputs and states, and says what they are with those that the
    inputs hand on to the states.
    """
    steps, outputs = steps or 1, len(found.program.outputs)
    zeros = states[0].new_zeros(()).expand(states[0].shape)

    def rows(tensors: Some) -> list[Some]:
        # unbind, as the backward of every x[t] would fill a whole [T, ...]
        each = [(t,) * steps if t is None or found.single else t.unbind() for t in tensors]
        return list(zip(*each, strict=True)) if each else [()] * steps

    arrived, after = rows(cotangents[:outputs]), rows(courses)
    before, now = [states, *after[:-1]], rows([x if x is None else x.to(zeros.dtype) for x in inputs])
    later, sums = cotangents[outputs:], [None] * len(params)
    driven: list[Some] = []
    for t in reversed(range(steps)):
        given = (*arrived[t], *later)
        of_inputs, later, of_params = step_back(found, given, after[t], now[t], before[t], params)
        of_inputs = [zeros if x is None else x.expand(zeros.shape) for x in of_inputs]
        if feed is not None:
            of_inputs, later = feed(t, of_inputs, later)
        driven.append(of_inputs)
        sums = [a if b is None else b if a is None else a + b for a, b in zip(sums, of_params, strict=True)]
    trains = zip(*reversed(driven), strict=True)
    of_inputs = [train[0] if found.single else torch.stack(train) for train in trains]
    of_inputs = [x if asked else None for x, asked in zip(of_inputs, found.needs, strict=False)]
    return of_inputs, later, [
        s if s is None else s.expand(zeros.shape).sum_to_size(p.shape) for s, p in zip(sums, params, strict=True)
    ]  # fmt: skip
