"""Attributes of neurons that a forward sets."""

from __future__ import annotations

from typing import Any

from .._neurons.keywords import keywords
from .._neurons.neurons import SpikingNeuron
from .._neurons.published import HOOKS
from .later import Later
from .look import alone

_SETS = 3  # after which nothing is recorded any more


def about_to_set(recorder: Any, neuron: SpikingNeuron, name: str, value: Any) -> Any:
    """What an attribute that is not a state is set to; what was called before runs with what the attribute is.

    What a weight makes, such as `self.beta = self.w.sigmoid()` in a forward, is the same tensor at every step.
    """
    kind = type(neuron)
    if type(value) is Later and value.node.static and hasattr(kind, "step") and name in keywords(kind):
        with recorder.at_once():
            value = alone(value)
    held = neuron._buffers.get(name)
    if held is None:
        held = vars(neuron).get(name)
    if value is not held and neuron in recorder.neurons and recorder.pending:
        recorder.sets += 1
        if recorder.sets < _SETS:
            recorder.flush()
        else:
            recorder.stop(f"its {name} is set at every step", neuron)
    if name in HOOKS:
        recorder.ways[neuron] = None  # from now on it runs by its methods
    return value
