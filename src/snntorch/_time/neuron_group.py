"""Steps of a neuron, and how they run together."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._neurons.neurons import SpikingNeuron
from .arguments import fill
from .courses import count, course, place
from .groups import Group
from .infer import Context
from .later import Batch, Later, Meta, Node
from .layers import hooks


class NeuronGroup(Group):
    """Steps of a neuron."""

    can_be_alone, in_one = False, True

    def __init__(
        self, neuron: SpikingNeuron, metas: Sequence[Meta], context: Context, owner: nn.Module | None, line: str
    ) -> None:
        super().__init__(neuron, (), None, context, owner, line, module=neuron)
        self.ordered = True
        input_, *states = metas
        shape = torch.Size(neuron.spike_shape(input_.shape, [s.shape for s in states]))
        spikes = Meta(shape, contiguous(shape), input_.dtype, input_.device)
        self.out_metas = [spikes, *(Meta(s.shape, contiguous(s.shape), s.dtype, s.device) for s in states)]
        self.ends: Any = None  # where samples end before the last step
        # Its input, where its states are like those that it leaves and need not be fitted to each other.
        fits = bool(states) and all(s.shape == input_.shape for s in states) and states == self.out_metas[1:]
        self.steady = input_ if fits else None
        # Whether passing its spikes on, which have the input's dtype, is passing on the state that is called so too.
        self.passes_spikes = bool(states) and input_.dtype != states[0].dtype and neuron.feeds_back_in(input_.dtype)

    def linked(self, state: Sequence[Any]) -> Node | None:
        """The call of the group that left these states, where they are those that one left, and all of them."""
        before = state[0].node if state and type(state[0]) is Later else None
        if before is None or before.group is not self:
            return None
        for k, s in enumerate(state, 1):
            if type(s) is not Later or s.node is not before:
                return None
            if s.out != k and not (self.passes_spikes and s.out == 0 and k == 1):
                return None
        return before

    def _run(self, nodes: Sequence[Node]) -> None:
        chains: dict[Node, list[Node]] = {}  # calls each of which goes on from the one before, by the last of them
        for node in nodes:
            chain = chains.pop(node.linked, []) if node.linked is not None else []
            chain.append(node)
            chains[node] = chain
        for chain in sorted(chains.values(), key=lambda chain: chain[0].number):
            self._run_on(chain)

    def _run_on(self, nodes: Sequence[Node]) -> None:
        """Calls each of which goes on from the states of the one before."""
        neuron: SpikingNeuron = self.function
        before = nodes[0].linked
        if before is not None:
            state = [before.value(k) for k in range(1, len(self.out_metas))]
        else:
            state = [i if type(i) is not tuple else i[0].value(i[1]) for i in nodes[0].inputs[1:]]
        if nodes[0].extra is not None:
            self._run_watched(nodes, state)
            return
        steps = count(nodes)
        if steps == 1 < self.calls and self.ends is None:  # what it gives comes back to it: as the loop does
            source = nodes[0].inputs[0]
            spk, state = neuron.one_step(source if type(source) is not tuple else source[0].value(source[1]), state)
            place(nodes, Batch([spk, *state]))
            return
        inputs, changes = course(nodes)
        used = nodes[-1].spread | nodes[-1].used & 1
        for node in nodes[:-1]:
            used |= node.used
        wanted = [bool(used >> k & 1) for k in range(1 + len(state))]
        over_time = neuron.over_time if self.ends is None else self.ends.over_time(neuron, self._times(nodes))
        courses, finals = over_time(inputs, state, steps, not changes, wanted)
        last = {k + 1: final for k, final in enumerate(finals)}
        for found in courses:
            if found is not None and found.shape[1:] != self.out_metas[0].shape and found is courses[0]:
                raise TypeError(
                    f"{type(neuron).__name__} gives spikes of shape {tuple(found.shape[1:])}, but its `spike_shape` "
                    f"says {tuple(self.out_metas[0].shape)}"
                )
        place(nodes, Batch(courses, steps, last))

    def _times(self, nodes: Sequence[Node]) -> list[int]:
        return [self.ends.times[node] for node in nodes]

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
            before, state = state, [getattr(neuron, name) for name in neuron.states]
            node.extra, spk = None, out[0]
            if self.ends is not None:
                spk, state = self.ends.after(neuron, *self._times([node]), before, spk, state)
                neuron._store(state)
            place([node], Batch([spk, *state]))
        if hooks(neuron):  # else it has said why
            self._tell("stepped", "carries hooks")


@functools.lru_cache(1024)
def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a tensor that lies in one piece."""
    stride, product = [], 1
    for size in reversed(shape):
        stride.append(product)
        product *= max(size, 1)
    return tuple(reversed(stride))
