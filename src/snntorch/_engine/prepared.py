"""A neuron's single step as it was found to run: the next ones like it ask nothing again.

`run` looks at everything that a step is given, and ends in a `SingleStep`. That stays beside the neuron, and with it
what it was found for: settings, compared by identity, and the kinds of the tensors. A step for which all of that is the
same is that `SingleStep`; no value is looked at, no tensor held, and what is set anew takes effect at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from .choose import listening
from .plans import Plan
from .private import followed, same_kinds
from .setting import asked
from .single import single_step

_KINDS = 8  # of tensors that a neuron remembers: other batch sizes, training and evaluation


class Prepared:
    """What is known of a neuron's step as long as its settings are the same.

    Attributes:
        step: the step's function.
        names: of its keywords.
        settings: their values, with `Tensor` for each tensor.
        known: for the last kinds of tensors, the last one first: the test of them, the step, and the parameters that it
            takes beside them.
    """

    def __init__(self, step: Callable, arguments: dict[str, Any]) -> None:
        self.step, self.names = step, [*arguments]
        self.settings = [Tensor if isinstance(value, Tensor) else value for value in arguments.values()]
        self.known: tuple[tuple[Callable[..., bool], Callable, Sequence[Tensor]], ...] = ()

    def tensors(self, step: Callable, arguments: dict[str, Any]) -> list[Any] | None:
        """The tensors among a step's arguments, or None where its settings are others."""
        if step is not self.step or [*arguments] != self.names:
            return None
        found = []
        for setting, value in zip(self.settings, arguments.values(), strict=True):
            if setting is Tensor:
                found.append(value)
            elif value is not setting:
                return None
        return found


def again(
    neuron: Any, inputs: Sequence[Tensor], states: Sequence[Tensor], arguments: dict[str, Any]
) -> Sequence[Tensor] | None:
    """What a step returns, where one like it was prepared, and nobody wants it run otherwise or to see how."""
    prepared: Prepared | None = getattr(neuron, "_prepared", None)
    if prepared is None or followed() or listening() or asked() == "eager":
        return None
    params = prepared.tensors(neuron.step, arguments)
    if params is None:
        return None
    tensors = [*inputs, *states, *params]
    for takes, step, beside in prepared.known:
        if takes(*tensors):
            return step([*tensors, *beside])
    return None


def prepare(
    neuron: Any, made: Plan, inputs: Sequence[Tensor], states: Sequence[Tensor], arguments: dict[str, Any]
) -> None:
    """Remember a step, where what was found of it lasts and its tensors go to the kernel as they are."""
    if made.program is None or not made.lasting or (made.beside and states[0].is_cuda):  # a stream's own numbers
        return
    prepared: Prepared | None = getattr(neuron, "_prepared", None)
    if prepared is None or prepared.tensors(neuron.step, arguments) is None:
        prepared = Prepared(neuron.step, arguments)
    params = [value for value in arguments.values() if isinstance(value, Tensor)]
    tensors = [*inputs, *states, *params]
    if any([t.dtype != states[0].dtype for t in tensors]) or not all([x.is_contiguous() for x in inputs]):
        return
    takes = same_kinds(tensors)
    single = single_step(made.program, inputs, states, [*params, *made.beside])
    step = single.of([*tensors, *made.beside])
    prepared.known = ((takes, step, made.beside), *prepared.known[: _KINDS - 1])
    object.__setattr__(neuron, "_prepared", prepared)
