"""Values over time: what calls that run together take and give."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .later import Batch, Node
from .writes import memory_of


def count(nodes: Sequence[Node]) -> int:
    """The number of steps that some calls stand for."""
    return sum([node.span for node in nodes])


def place(nodes: Sequence[Node], batch: Batch) -> None:
    """Give some calls their values, and free what they were made from."""
    last = -1
    for node in nodes:
        last += node.span
        node.batch, node.place, node.inputs, node.after, node.linked = batch, last, (), None, None


def course(nodes: Sequence[Node], argument: int = 0) -> tuple[Tensor, bool]:
    """The values of one argument over some calls, `[calls, ...]`, and whether it changes between them; else `[...]`."""
    return joined([node.inputs[argument] for node in nodes], [node.span for node in nodes])


def joined(sources: Sequence[Any], spans: Sequence[int]) -> tuple[Tensor, bool]:
    """Values in a row, each of so many steps, `[steps, ...]`, and whether they differ; else the one that they are."""
    first: Any = sources[0]
    if type(first) is not tuple:  # a tensor
        if all([source is first for source in sources]):
            return first, False
        return _stacked(sources, spans), True
    node: Node = first[0]
    out: int = first[1]
    last = sources[-1]
    if type(last) is tuple and last[0] is node and (node.span == 1 or max(spans) == 1):
        if all([type(s) is tuple and s[0] is node and s[1] == out for s in sources]):
            return node.value(out), False
    batch: Any = node.batch
    if batch.constant and all(
        [isinstance(source, tuple) and source[0].batch is batch and source[1] == out for source in sources]
    ):
        return batch.courses[out], False
    start = node.place - spans[0] + 1
    if batch.calls and not batch.constant and batch.courses[out] is not None:
        end = _in_a_row(sources, spans, batch, out, start)
        if end:
            whole = batch.courses[out]
            return (whole if end - start == batch.calls else whole[start:end]), True
    return _stacked(sources, spans), True


def as_stacked(values: Tensor) -> Tensor:
    """A course as `torch.stack` of its steps gives it, in the order and the mode that it would be in."""
    if values.is_inference() != torch.is_inference_mode_enabled():
        values = values.clone()
    if values.layout is torch.strided and not values.is_contiguous():
        step = torch.empty_strided(values.shape[1:], values.stride()[1:], dtype=values.dtype, device="meta")
        if torch.stack((step, step)).is_contiguous():
            values = values.contiguous()
    return values.detach() if values.requires_grad and not torch.is_grad_enabled() else values


def apart(values: Tensor, taken: set[int]) -> Tensor:
    """Values in memory of their own: a copy where it is among what is taken, to which it is added else."""
    memory = memory_of(values)
    if memory in taken:
        return values.clone()
    taken.add(memory)
    return values


def _in_a_row(sources: Sequence[Any], spans: Sequence[int], batch: Batch, out: int, start: int) -> int:
    """Where sources end that are an output of calls that ran together, one after the other; 0 where they are not."""
    for source, span in zip(sources, spans, strict=True):
        if type(source) is not tuple:
            return 0
        node, k = source
        start += span
        if node.batch is not batch or node.place != start - 1 or k != out or node.span < span:
            return 0
    return start


def _stacked(sources: Sequence[Any], spans: Sequence[int]) -> Tensor:
    rows = []
    for source, span in zip(sources, spans, strict=True):
        rows += rows_of(source, span) if type(source) is tuple else [source] * span
    return torch.stack(rows)


def rows_of(source: tuple[Node, int], span: int) -> list[Tensor]:
    """The values that a call takes that stands for so many steps; of a call of one step it takes the same for each."""
    node, out = source
    return [node.value(out, back if node.span > 1 else 0) for back in reversed(range(span))]
