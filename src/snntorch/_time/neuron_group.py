"""Steps of a neuron: how they are recorded, and how they run together."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._engine.private import unseen
from .._neurons.neurons import SpikingNeuron
from .._neurons.traced import settle
from .arguments import fill
from .courses import count, course, place
from .groups import Group
from .infer import Context, context_now, learns, meta_of
from .later import Batch, Later, Meta, Node
from .layers import hooks, within
from .sites import line


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


def recorded(recorder: Any, neuron: SpikingNeuron, input_: Tensor, state: Sequence[Tensor]) -> tuple[Any, list[Any]]:
    """A call of a neuron, which runs later: what stands for its spikes and its new states."""
    metas = tuple([t.meta if type(t) is Later else meta_of(t) for t in (input_, *state)])
    context = context_now()
    key = ("neuron", id(neuron), metas, context, None if type(input_) is Later else id(input_))
    at = recorder.place_of(key, True)
    group = recorder.group_of(at)
    if group is None:
        group = NeuronGroup(neuron, metas, context, recorder.owner(), line())
        group.ends = recorder.ends
        held = [t for m in within([neuron]) for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
        recorder.add_group(at, group, held)
        group.learns = learns(held)
    before = group.linked(state)
    taken = (input_,) if before is not None else (input_, *state)
    spk, *states = _called(recorder, group, tuple([(t.node, t.out) if type(t) is Later else t for t in taken]), before)
    return spk, states


def unchecked(recorder: Any, neuron: Any, args: tuple, kwargs: dict) -> Any:
    """What a neuron's call returns, if the states before it fit its input as they are; else None."""
    out = _goes_on(recorder, neuron, args, kwargs)
    return out if out is not None else _begins(recorder, neuron, args, kwargs)


def _goes_on(recorder: Any, neuron: Any, args: tuple, kwargs: dict) -> Any:
    """What a neuron's call returns, if it goes on from the states that a step before left, as they are; else None.

    Of all steps but the first that is so, and a call like the one before it passes no checks twice.
    """
    x = args[0] if args and not kwargs else None
    given = args[1:]
    if not given:
        given = [getattr(neuron, name) for name in neuron.states]
    elif neuron.init_hidden or len(given) != len(neuron.states):
        return None
    if not given or type(x) is not Later or type(given[0]) is not Later:
        return None
    before = given[0].node
    group: Any = before.group
    if (
        type(group) is not NeuronGroup or group.function is not neuron or group.steady is not x.meta
        or before.batch is not None or group.linked(given) is None or group.context != context_now()
    ):  # fmt: skip
        return None
    recorder.come_again(group)
    spk, *states = _called(recorder, group, ((x.node, x.out),), before)
    neuron._store(states)
    return neuron._returned(spk, states)


def _begins(recorder: Any, neuron: Any, args: tuple, kwargs: dict) -> Any:
    """What a neuron's call returns, if the states before it are there, as its input asks; else None."""
    x = args[0] if args and not kwargs else None
    if type(x) is not Later or not x.meta.dtype.is_floating_point:
        return None
    settle(neuron)
    with unseen():
        states = neuron._as_they_are(x.meta.hollow, args[1:])
    if not states:
        return None
    spk, states = recorder.neuron(neuron, x, states)
    neuron._store(states)
    return neuron._returned(spk, states)


def _called(recorder: Any, group: NeuronGroup, inputs: Sequence[Any], before: Node | None) -> list[Any]:
    """A call that takes an input and, where it is not linked to the call before, states."""
    node = recorder.node(group, inputs, len(group.out_metas))
    node.linked, node.extra, recorder.passed = before, recorder.passed, None
    if recorder.ends is not None:
        recorder.ends.times[node] = recorder.ends.when(group.function)
    return [recorder.new_handle(node, k, meta) for k, meta in enumerate(group.out_metas)]


@functools.lru_cache(1024)
def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a tensor that lies in one piece."""
    stride, product = [], 1
    for size in reversed(shape):
        stride.append(product)
        product *= max(size, 1)
    return tuple(reversed(stride))
