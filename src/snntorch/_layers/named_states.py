"""The states of a network's neurons by name, put in before a step and collected after it."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from .._neurons.neurons import SpikingNeuron


class SetStates(nn.Module):
    """Puts given states into the neurons before a step; None leaves them as they are."""

    def __init__(self, neurons: Mapping[str, SpikingNeuron]) -> None:
        super().__init__()
        self.neurons = dict(neurons)  # in a dict, so that they belong to the network alone

    def forward(self, state: Mapping[str, Sequence[Tensor]] | None) -> None:
        """Set the states; a neuron that `state` leaves out starts from zero.

        Raises:
            ValueError: for a name that is no neuron's, or a wrong number of states.
        """
        if state is None:
            return
        if unknown := set(state) - set(self.neurons):
            raise ValueError(f"state names {', '.join(sorted(map(str, unknown)))}, but the neurons are "
                             f"{', '.join(self.neurons) or 'none'}")  # fmt: skip
        for name, neuron in self.neurons.items():
            if name not in state:
                neuron.reset_mem()
                continue
            if len(state[name]) != len(neuron.states):
                raise ValueError(
                    f"state[{name!r}] must be a tuple of {', '.join(neuron.states)}, got {len(state[name])}"
                )
            for attribute, value in zip(neuron.states, state[name], strict=True):
                setattr(neuron, attribute, value)


class GetStates(nn.Module):
    """Collects the neurons' states after a step."""

    def __init__(self, neurons: Mapping[str, SpikingNeuron]) -> None:
        super().__init__()
        self.neurons = dict(neurons)

    def forward(self) -> dict[str, tuple[Tensor, ...]]:
        """The states of every neuron by name."""
        return {n: tuple(getattr(m, attribute) for attribute in m.states) for n, m in self.neurons.items()}
