"""Absent cotangents of the final states: zeros in their place would meet what may be infinite, and make NaN of it."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .graph import LEAVES, PREDICATES, Graph
from .program import Gradient
from .recent import SMALL
from .tape import Some, Tape, step_back

if TYPE_CHECKING:
    from .over_time import BackInTime

_LINEAR = {"add", "sub", "neg", "single", "float"}
_FINITE = (
    LEAVES | PREDICATES | _LINEAR
    | {"mul", "abs", "sign", "ceil", "floor", "round", "tanh", "sigmoid", "erf", "sin", "cos", "maximum", "minimum",
       "where", "detach", "custom"}
)  # fmt: skip


@functools.lru_cache(SMALL)
def meets_infinity(step: Gradient, outputs: int) -> bool:
    """Whether the final states' cotangents are multiplied by what may be infinite where states and inputs are finite.

    Args:
        step: one step back.
        outputs: number of things that the step returns; the final states' cotangents are numbered after them.
    """
    graph = Graph(step.nodes)
    carriers: set[int] = set()  # what is computed from these cotangents
    for i in graph.reachable(step.roots):
        operation, *operands = graph.nodes[i]
        if operation == "grad" and operands[0] >= outputs:
            carriers.add(i)
        elif operation not in LEAVES and not carriers.isdisjoint(operands):
            carriers.add(i)
            others = [o for o in operands if o not in carriers]
            if operation == "mul":
                harmless = all(_finite(graph, o) for o in others)
            elif operation == "div":
                harmless = others == [operands[1]] and _away_from_zero(graph, others[0])
            else:
                harmless = operation in _LINEAR | {"where"}
            if not harmless:
                return True
    return False


def _finite(graph: Graph, number: int) -> bool:
    """Whether a node is finite where the leaves are, as far as can be seen."""
    for i in graph.reachable([number]):
        operation, *operands = graph.nodes[i]
        if _settled(graph, i):
            continue
        if operation == "div":
            if not _away_from_zero(graph, operands[1]):
                return False
        elif operation not in _FINITE:
            return False
    return True


def _settled(graph: Graph, number: int) -> bool:
    """Whether a node is computed from parameters alone: where these make infinity, forward did."""
    return {graph.nodes[i][0] for i in graph.reachable([number])} & LEAVES <= {"param", "const"}


def _away_from_zero(graph: Graph, number: int) -> bool:
    """Whether a node is a positive constant and more, as the denominators of surrogates are."""
    operation, *operands = graph.nodes[number]
    if operation == "const":
        return operands[0] > 0
    if _settled(graph, number):
        return True
    if operation == "mul":
        return all(_away_from_zero(graph, o) for o in operands)
    if operation != "add":
        return False
    a, b = operands
    return (_away_from_zero(graph, a) and _no_less(graph, b)) or (_away_from_zero(graph, b) and _no_less(graph, a))


def _no_less(graph: Graph, number: int) -> bool:
    """Whether a node is nowhere below zero."""
    operation, *operands = graph.nodes[number]
    square = operation == "mul" and operands[0] == operands[1]
    return square or operation in ("abs", "exp", "sigmoid") or _away_from_zero(graph, number)


def last_steps_apart(
    back: "BackInTime", steps: int, inputs: Some, states: Sequence[Tensor], params: Sequence[Tensor], courses: Some,
    cotangents: Some,
) -> list[Tensor | None]:  # fmt: skip
    """As `back`; operation by operation until every state's cotangent is there, then all at once."""
    program, needs = back.program, back.needs
    shape, dtype, n, outputs = states[0].shape, states[0].dtype, back.program.inputs, len(back.program.outputs)
    found = Tape(program, False, (), needs, (), tuple([c is not None for c in courses]))
    given, later = cotangents[:outputs], cotangents[outputs:]
    rows: list[Some] = []
    sums: Some = [None] * len(params)

    def at(t: int, tensors: Some) -> list[Tensor | None]:
        return [x[t].to(dtype) if x is not None and x.dim() > len(shape) else None for x in tensors]

    while steps and any([c is None for c in later]):
        steps -= 1
        before = at(steps - 1, courses) if steps else states
        arrived = (*at(steps, given), *later)
        of_inputs, later, of_params = step_back(found, arrived, at(steps, courses), at(steps, inputs), before, params)
        rows.insert(0, of_inputs)
        sums = [a if b is None else b if a is None else a + b for a, b in zip(sums, of_params, strict=True)]

    def whole(tensor: Tensor | None, like: Tensor) -> Tensor:
        return torch.zeros_like(like) if tensor is None else tensor.to(like.dtype).expand(like.shape)

    early: Some = [None] * (len(needs) + len(states))
    if steps:
        before = [
            [c if c is None or c.dim() == len(shape) else c[:steps] for c in ts] for ts in (inputs, courses, given)
        ]
        early = back.through(steps, before[0], states, params, before[1], [*before[2], *later])
    of_inputs, of_states, of_params = early[:n], early[n : n + len(states)], early[n + len(states) :]
    late = [torch.stack([whole(x, states[0]) for x in train]).to(back.of_inputs) for train in zip(*rows, strict=True)]
    here = [whole(s, states[0]).sum_to_size(p.shape) for s, p in zip(sums, params, strict=True)]
    return [
        *[None if not need else b if a is None else torch.cat([a, b])
          for a, b, need in zip(of_inputs, late, needs, strict=False)],
        *[whole(s, states[0]) for s in (of_states if steps else later)],
        *[None if not need else b if a is None else a + b
          for a, b, need in zip(of_params, here, needs[n:], strict=True)],
    ]  # fmt: skip
