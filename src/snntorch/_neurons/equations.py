"""The base of neurons that are given as differential equations."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from .base import SpikingNeuron


class Equations(SpikingNeuron):
    """A neuron of differential equations, taken in Euler's steps of `time_step`; it resets in the step that spiked.

    Args:
        values: its numbers by name, each a number or a tensor that broadcasts against the input's last dimensions.
        learn: which of them are parameters.
        reset_mechanism: `"zero"` resets to the reset potential, `"subtract"` by the threshold's distance from it.
        **kwargs: as `SpikingNeuron`.

    Raises:
        ValueError: where learn names something else.
    """

    honours = frozenset()
    time_step: Tensor

    def __init__(
        self, values: Mapping[str, float | Tensor], learn: Iterable[str], reset_mechanism: str = "zero", **kwargs: Any
    ) -> None:
        super().__init__(reset_mechanism=reset_mechanism, **kwargs)
        learn = {learn} if isinstance(learn, str) else set(learn)
        if unknown := learn - (values.keys() - {"time_step"}):
            names = ", ".join(name for name in values if name != "time_step")
            raise ValueError(f"learn must name some of {names}, got {', '.join(sorted(unknown))}")
        for name, value in values.items():
            self.register_value(name, value, learn=name in learn)
