"""The short way of a single step, which the steps of a loop over time go.

A neuron's first step goes the long way, `SpikingNeuron.forward` and the engine's `run`, which look at everything, and
leave behind what they found. The next ones come here. They look whether that holds for them too, and where anything is
otherwise the long way is there. Settings are compared by identity, tensors by their kinds; no value is looked at, and
what is set anew takes effect at once.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .._engine import Prepared, undisturbed


def step_shortly(neuron: Any, input_: Any, given: Sequence[Any]) -> Sequence[Tensor] | None:
    """What the step of a neuron returns whose states, given or stored, and input are nothing to be changed.

    Args:
        neuron: whose step takes the input as it is.
        input_: as in `forward`.
        given: the states, by position.

    Returns:
        The step's outputs and the new states, or None where this step has to go the long way.
    """
    if neuron._prepared is None or neuron.overrides:
        return None
    if not given:
        given = [getattr(neuron, name) for name in neuron.states]
    elif neuron.init_hidden or len(given) != len(neuron.states):
        return None
    return run_shortly(neuron, neuron.drive(neuron.project(input_), *given), given)


def run_shortly(neuron: Any, inputs: Sequence[Tensor], states: Sequence[Tensor]) -> Sequence[Tensor] | None:
    """As `step_shortly`, with what drives the step."""
    prepared: Prepared | None = neuron._prepared
    if prepared is None or neuron.step != prepared.step or not undisturbed():
        return None
    parameters, buffers = neuron._parameters, neuron._buffers
    tensors = [*inputs, *states]
    for name, known in prepared.arguments:
        if known is Tensor:
            if (value := parameters.get(name)) is None and (value := buffers.get(name)) is None:
                value = getattr(neuron, name)
            tensors.append(value)
        elif getattr(neuron, name) is not known:
            return None
    for call in prepared.calls:
        if call.takes(*tensors):
            return call(tensors)
    return None
