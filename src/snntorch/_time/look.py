"""Values that a forward reads: what is needed for them runs before its time."""

from typing import Any

import torch
from torch import Tensor

from .later import Later, Meta


def stand_in(tensor: Any) -> Tensor:
    """A tensor of the same kind, for functions that read no values."""
    meta = getattr(tensor, "meta", None)
    if type(meta) is not Meta:
        return tensor
    return torch.empty((), dtype=meta.dtype, device=meta.device).expand(meta.shape)


def alone(later: Later) -> Tensor:
    """The value, for which nothing runs but what it needs."""
    todo = [later.node]
    while todo:
        node = todo[-1]
        if waiting := [n for n, _ in node.inputs if n.batch is None]:
            todo += waiting
            continue
        todo.pop()
        if node.batch is None:
            node.group.calls = 1
            node.group.run([node])
            node.group.nodes.remove(node)
    return later.node.value(later.out)
