"""The operators in PyTorch's own, for formats that know no others: `torch.onnx.export` finds them by itself.

Time becomes one `scan`, so that the graph does not grow with the number of steps, which may stay open.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .feedback import feedback_fake
from .graph import LEAVES, Graph
from .operations import OPERATIONS
from .ops import run_fake, written_dtypes
from .private import decomposes
from .products import product
from .program import Program, load

# What each operation computes, where that depends on no dtype.
MEANING: dict[str, Callable[..., Tensor]] = {
    name: getattr(torch, operation.torch or name)
    for name, operation in OPERATIONS.items()
    if name not in ("float", "single")
}


def interpret(graph: Graph, roots: Sequence[int], leaves: dict[tuple, Tensor]) -> list[Tensor]:
    """The values of some nodes; `leaves` maps `(kind, number)` to tensors, all of one dtype and device."""
    like = next(iter(leaves.values()))
    values: dict[int, Tensor] = {}
    for i in graph.reachable(roots):
        operation, *operands = graph.nodes[i]
        if operation == "const":
            values[i] = torch.full((), operands[0], dtype=like.dtype, device=like.device)
        elif operation in LEAVES:
            values[i] = leaves[operation, operands[0]]
        elif operation == "custom":
            values[i] = _custom(graph, operands, leaves)
        elif operation == "float":
            values[i] = values[operands[0]].to(like.dtype)
        elif operation == "single":
            values[i] = values[operands[0]].to(torch.float32).to(like.dtype)
        else:
            values[i] = MEANING[operation](*(values[k] for k in operands))
    return [values[r] for r in roots]


class _Custom(torch.autograd.Function):
    """A value whose gradient is an expression of its own, which may be differentiated again."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, gradient: Callable[[Tensor], Tensor]) -> Tensor:
        """The value; `gradient` maps its cotangent to that of x."""
        ctx.gradient = gradient
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple:
        """The gradient."""
        return None, ctx.gradient(*cotangents), None


def _custom(graph: Graph, node: Sequence[int], leaves: dict[tuple, Tensor]) -> Tensor:
    value, hole, x, gradient = node
    of_value, of_x = interpret(graph, [value, x], leaves)
    if not (torch.is_grad_enabled() and of_x.requires_grad):
        return of_value

    def pull_back(cotangent: Tensor) -> Tensor:
        return interpret(graph, [gradient], {**leaves, graph.nodes[hole]: cotangent})[0]

    return _Custom.apply(of_value.detach(), of_x, pull_back)  # type: ignore[return-value]


def _step(program: Program, written: Sequence[bool], inputs: int) -> Callable[..., tuple[Tensor, ...]]:
    """One time step, `*states, *inputs, *params -> *new states, *what is written`."""
    graph, states = Graph(program.nodes), program.states

    def step(*tensors: Tensor) -> tuple[Tensor, ...]:
        leaves = {("state", k): t for k, t in enumerate(tensors[:states])}
        leaves |= {("input", k): t for k, t in enumerate(tensors[states : states + inputs])}
        leaves |= {("param", k): t for k, t in enumerate(tensors[states + inputs :])}
        found = [value.expand(tensors[0].shape) for value in interpret(graph, program.outputs, leaves)]
        # clones, as a scan takes no two results that share memory
        return tuple(v.clone() for v in (*found[program.free :], *itertools.compress(found, written)))

    return step


@decomposes(torch.ops.snntorch.run.default)
def run(
    program: str, steps: int, written: Sequence[bool], inputs: Sequence[Tensor], states: Sequence[Tensor],
    params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """See `ops.run_kernel`."""
    xs = [x.to(states[0].dtype) for x in inputs] or [states[0].new_zeros(steps)]  # a scan is over something
    step = _step(load(program), written, len(xs))
    if steps == 0:
        results = step(*states, *xs, *params)
    else:
        results = torch.ops.higher_order.scan(step, list(states), xs, tuple(params))
    finals, courses = results[: len(states)], results[len(states) :]
    dtypes = written_dtypes(load(program).free, written, inputs, states)
    return [*(c.to(dtype) for c, (_, dtype) in zip(courses, dtypes, strict=True)), *finals]


@decomposes(torch.ops.snntorch.feedback.default)
def feedback(
    program: str, steps: int, feeds: Sequence[int], written: Sequence[bool], drives: bool, x: Tensor, weight: Tensor,
    states: Sequence[Tensor], params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """See `feedback.run_kernels`."""
    (index, channels), found, like = feeds, load(program), states[0]
    once = _step(found, written, found.inputs)

    def step(*tensors: Tensor) -> tuple[Tensor, ...]:
        before, (now, matrix, *rest) = tensors[: len(states)], tensors[len(states) :]
        weighted = product(matrix, found.inputs, channels)
        fed = weighted.of(weighted.seen(before[index])).movedim(1, channels)
        driven = (now + fed.to(now.dtype)).to(like.dtype).chunk(found.inputs, channels)
        results = once(*before, *driven, *rest)
        return (*results, torch.stack(driven)) if drives else results

    xs = [x.expand(steps, *x.shape[1:])]
    results = torch.ops.higher_order.scan(step, list(states), xs, (weight, *params))
    finals, courses, drive = (
        results[: len(states)], results[len(states) :][: sum(written)], results[len(states) + sum(written) :]
    )  # fmt: skip
    fakes = feedback_fake(program, steps, feeds, written, drives, x, weight, states, params)
    return [value.to(fake.dtype) for value, fake in zip((*courses, *finals, *drive), fakes, strict=True)]


# Fake tensors of open sizes would run a decomposition to learn the shapes, unless the operator is in this table.
decomposes(torch.ops.snntorch.run.default, type="meta")(run_fake)
decomposes(torch.ops.snntorch.feedback.default, type="meta")(feedback_fake)
