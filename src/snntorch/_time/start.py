"""What a module held before its first step, by which to tell whether that step stands for all others."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from . import layers
from .infer import context_now
from .later import Later, Node
from .neuron_group import NeuronGroup
from .plain_code import CONSTANTS
from .writes import memory_of

if TYPE_CHECKING:
    from .steps import Steps


class Start:
    """What a module and those in it hold now."""

    def __init__(self, module: nn.Module) -> None:
        self.held = {m: _held(m, vars(m)) for m in layers.within([module])}
        self.context = context_now()

    def enough(self, steps: Steps, now: Later) -> bool:
        """Whether the first step left all as it was, but for states that go from a neuron's call to its next one.

        Nobody else may have read these: by name or value, before the call or after it.
        """
        recorder, names = steps.recorder, steps.names
        assert names is not None
        if (
            steps.apart or recorder.ran or recorder.writes or recorder.updated or recorder.changed
            or self.context != context_now() or not self.held.keys() >= set(steps.modules)
        ):  # fmt: skip
            return False
        module: Any
        for module in steps.modules:
            attributes, before, states = vars(module), self.held[module], recorder.neurons.get(module)
            if states:
                if not (names.isdisjoint(module.states) and recorder.reads.isdisjoint(map(memory_of, states))):
                    return False
                attributes = {**attributes, **dict(zip(module.states, states, strict=True))}
            held = _held(module, attributes)
            if len(held) != len(before) or not all(map(is_, held, before)):
                return False
            if not all([_stays(attributes[name]) for name in names & attributes.keys() if name not in _APART]):
                return False
        known = {now.node, *steps.where, *steps.constant}
        return all([node is steps.input or _takes(node, known) for node in known if node.group is not None])


_APART = ("_parameters", "_buffers", "_modules")  # whose items are compared one by one


def _held(module: nn.Module, attributes: dict[str, Any]) -> list[Any]:
    return [
        *attributes.values(), *module._parameters.values(), *module._buffers.values(), *module._modules.values()
    ]  # fmt: skip


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
