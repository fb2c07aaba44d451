"""What a module held before its first step, by which to tell whether that step stands for all others."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

from torch import Generator, Tensor, nn

from .._neurons.neurons import SpikingNeuron
from . import layers
from .infer import context_now
from .later import Later, Node
from .neuron_group import NeuronGroup
from .plain_code import CONSTANTS, attributes_read
from .writes import memory_of

if TYPE_CHECKING:
    from .steps import Steps


class Start:
    """What a module and those in it hold now."""

    def __init__(self, module: nn.Module) -> None:
        self.held = {m: _held(m) for m in layers.within([module])}
        self.context = context_now()

    def fixed(self) -> bool:
        """Whether the modules' code is plain, and reads no neuron's state nor what changes without being set."""
        if any(map(layers.forward_hooks, self.held)):
            return False
        names = attributes_read([*self.held])
        neurons = [m for m in self.held if isinstance(m, SpikingNeuron)]
        return names is not None and self._fixed(names) and all([names.isdisjoint(n.states) for n in neurons])

    def _fixed(self, names: set[str]) -> bool:
        attributes = [attributes for attributes, *_ in self.held.values()]
        return all([_stays(held[name]) for held in attributes for name in names & held.keys() - _APART])

    def same(self, states: dict[SpikingNeuron, list[Any]]) -> bool:
        """Whether all is as it was, but for the states of those neurons."""
        if self.context != context_now():
            return False
        for module, before in self.held.items():
            now = _held(module) if isinstance(module, SpikingNeuron) else _holders(module)
            if module in states:
                now[0].update(zip(module.states, states[module], strict=True))  # type: ignore[arg-type, index]
            if not all(map(_same, now, before)):
                return False
        return True

    def generators(self) -> list[Generator]:
        """What the modules draw from, beside PyTorch's own."""
        values = [attributes.values() for attributes, *_ in self.held.values()]
        return [v for of_one in values if Generator in map(type, of_one) for v in of_one if type(v) is Generator]

    def restore(self) -> None:
        """Let the modules hold what they did."""
        for module, before in self.held.items():
            for now, then in zip(_holders(module), before, strict=True):
                if not _same(now, then):
                    for name in now.keys() - then.keys() - _OF_ENGINE:
                        del now[name]
                    now.update(then)

    def enough(self, steps: Steps, now: Later) -> bool:
        """Whether the first step left all as it was, but for states that go from a neuron's call to its next one.

        Nobody else may have read these: by name or value, before the call or after it.
        """
        recorder, names = steps.recorder, steps.names
        assert names is not None
        if (
            steps.apart or recorder.ran or recorder.writes or recorder.updated or recorder.changed
            or not self.held.keys() >= set(steps.modules)
        ):  # fmt: skip
            return False
        for neuron, states in recorder.neurons.items():
            if not (names.isdisjoint(neuron.states) and recorder.reads.isdisjoint(map(memory_of, states))):
                return False
        if not (self.same(recorder.neurons) and self._fixed(names)):
            return False
        known = {now.node, *steps.where, *steps.constant}
        return all([node is steps.input or _takes(node, known) for node in known if node.group is not None])


_APART = {"_parameters", "_buffers", "_modules"}  # whose items are compared one by one
_OF_ENGINE = {"_prepared", "_warned"}  # what a neuron keeps of its runs


def _holders(module: nn.Module) -> tuple[dict[str, Any], ...]:
    return vars(module), module._parameters, module._buffers, module._modules


def _held(module: nn.Module) -> list[dict[str, Any]]:
    found = [{**holder} for holder in _holders(module)]
    if isinstance(module, SpikingNeuron):
        for name in _OF_ENGINE:
            found[0].pop(name, None)
    return found


def _same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    return len(now) == len(before) and all(map(is_, now.values(), before.values()))


def _stays(value: Any) -> bool:
    """Whether what is the same object is what it was, where no tensor was written."""
    if isinstance(value, tuple | frozenset):
        return all(map(_stays, value))
    return isinstance(value, (Tensor, nn.Module, *CONSTANTS)) or callable(value)


def _takes(node: Node, known: set[Node]) -> bool:
    """Whether a call takes only what some calls give; one of a neuron its stored states too, and leaves new ones."""
    group, sources = node.group, node.inputs
    if type(group) is NeuronGroup:
        neuron, sources = group.function, sources[:1]
        stored = [getattr(neuron, name) for name in neuron.states]
        goes_on = neuron.init_hidden and group.steady and group.linked(stored) is node
        if not goes_on or node.linked is not None or node.extra is not None or tuple in map(type, node.inputs[1:]):
            return False
    elif node.after is not None or (group.ordered and not group.in_one):
        return False
    return all([type(source) is tuple and source[0] in known for source in sources])
