"""Steps of a neuron, and how they run together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .._neurons.neurons import SpikingNeuron
from .arguments import fill
from .groups import Group, course, place
from .infer import Context
from .later import Batch, Meta, Node
from .layers import hooks


class NeuronGroup(Group):
    """Steps of a neuron."""

    can_be_alone = False

    def __init__(
        self, neuron: SpikingNeuron, metas: Sequence[Meta], context: Context, owner: nn.Module | None, line: str
    ) -> None:
        super().__init__(neuron, (), None, context, owner, line, module=neuron)
        self.ordered = True
        self.in_metas, self.learns = metas, False
        input_, *states = metas
        shape = neuron.spike_shape(input_.shape, [s.shape for s in states])
        spikes = Meta(torch.Size(shape), _contiguous(shape), input_.dtype, input_.device)
        self.out_metas = [spikes, *(s._replace(stride=_contiguous(s.shape)) for s in states)]

    def links(self, node: Node, position: int) -> bool:
        """Whether the input is a state, and all of them are those that one call of the group left."""
        if position == 0 or type(node.inputs[position]) is not tuple:
            return False
        before = node.inputs[position][0]
        return before.group is self and all(
            type(i) is tuple and i[0] is before and i[1] == k + 1 for k, i in enumerate(node.inputs[1:])
        )

    def _run(self, nodes: Sequence[Node]) -> None:
        chains: dict[Node, list[Node]] = {}  # calls each of which goes on from the one before, by the last of them
        for node in nodes:
            before = node.inputs[1][0] if len(node.inputs) > 1 and self.links(node, 1) else None
            chain = chains.pop(before, []) if before is not None else []
            chain.append(node)
            chains[node] = chain
        for chain in chains.values():
            self._run_on(chain)

    def _run_on(self, nodes: Sequence[Node]) -> None:
        """Calls each of which goes on from the states of the one before."""
        neuron: SpikingNeuron = self.function
        state = [i if type(i) is not tuple else i[0].value(i[1]) for i in nodes[0].inputs[1:]]
        if nodes[0].extra is not None:
            self._run_watched(nodes, state)
            return
        inputs, changes = course([node.inputs[0] for node in nodes])
        wanted = [any(k in node.used for node in nodes[:-1]) for k in range(1 + len(state))]
        wanted[0] = wanted[0] or 0 in nodes[-1].used
        courses, finals = neuron.over_time(inputs, state, len(nodes), not changes, wanted)
        last = {k + 1: final for k, final in enumerate(finals)}
        for found in courses:
            if found is not None and found.shape[1:] != self.out_metas[0].shape and found is courses[0]:
                raise TypeError(
                    f"{type(neuron).__name__} gives spikes of shape {tuple(found.shape[1:])}, but its `spike_shape` "
                    f"says {tuple(self.out_metas[0].shape)}"
                )
        place(nodes, Batch(courses, len(nodes), last))

    def _run_watched(self, nodes: Sequence[Node], state: list[Tensor]) -> None:
        """Call by call, for the sake of its hooks, or of methods that replace those of its step."""
        neuron: SpikingNeuron = self.function
        for node in nodes:
            neuron._store(state)
            template, sources = node.extra
            values = [s if type(s) is not tuple else s[0].value(s[1]) for s in sources]
            args, kwargs = fill(template, values)
            out = neuron(*args, **kwargs)
            out = out if isinstance(out, tuple) else (out,)
            state = [getattr(neuron, name) for name in neuron.states]
            node.extra = None
            place([node], Batch([out[0], *state]))
        if hooks(neuron):  # else it has said why
            self._tell("stepped", "carries hooks")


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    stride, product = [], 1
    for size in reversed(shape):
        stride.append(product)
        product *= max(size, 1)
    return tuple(reversed(stride))
