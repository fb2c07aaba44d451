"""A second backward pass through states that were kept since the first says what to do."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from .private import backward_pass, keeps_graph, transforming

ADVICE = (
    "Where a neuron's states were stored or passed on since the first backward, reset them or detach them from it: "
    "snntorch.utils.reset(net), snntorch.utils.detach(net), or mem.detach()."
)


def advise(taken: Iterable[Tensor], returned: Sequence[Tensor]) -> None:
    """Let a backward pass through the operations of a step that an earlier one has freed say what to do.

    Args:
        taken: what the step took.
        returned: what it returned.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or transforming():
        return
    before = [t.grad_fn for t in taken if t.requires_grad and (not t.is_leaf or isinstance(t, torch.nn.Parameter))]
    if not before:  # there may be nothing to free
        return
    freed: list[int] = []  # in which backward pass; what hooks hold, nodes hold: no node

    def look(_: object) -> None:
        if not freed:
            if not keeps_graph():
                freed.append(backward_pass())
        elif freed[0] != backward_pass():
            raise RuntimeError(f"Trying to backward through the graph a second time.\n{ADVICE}")

    for node in {t.grad_fn for t in returned}.difference(before, {None}):
        node.register_prehook(look)  # type: ignore[union-attr]
