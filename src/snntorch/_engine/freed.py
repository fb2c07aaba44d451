"""A second backward pass through states that were kept since the first says what to do."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from .private import backward_pass, goes_through, keeps_graph, running_node, transforming

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
    freed: list[int] = []  # in which backward pass; what hooks hold, nodes hold: no node

    def look(_: object) -> None:
        if not freed:
            if not keeps_graph():
                freed.append(backward_pass())
        elif freed[0] != backward_pass() and _was_freed(running_node()):
            raise RuntimeError(f"Trying to backward through the graph a second time.\n{ADVICE}")

    for node in {t.grad_fn for t in returned}.difference([t.grad_fn for t in taken], {None}):
        node.register_prehook(look)  # type: ignore[union-attr]


def _was_freed(node: torch.autograd.graph.Node) -> bool:
    """Whether this backward pass meets, from a node on, one whose saved tensors an earlier one has freed."""
    nodes, seen = [node], {node}
    while nodes:
        node = nodes.pop()
        for name in dir(node):
            if name.startswith("_saved_") or name == "saved_tensors":
                try:
                    getattr(node, name)
                except RuntimeError as error:
                    if "second time" in str(error):
                        return True
        after = {n for n, _ in node.next_functions if n is not None and n.next_functions and goes_through(n)} - seen
        nodes.extend(after)
        seen |= after
    return False
