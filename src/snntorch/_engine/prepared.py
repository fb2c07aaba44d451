"""A neuron's single step made ready for the next ones: what `run` found, and for which arguments it found it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .choose import listening
from .plans import Plan
from .private import followed, same_kinds
from .setting import asked
from .single import SingleStep, Step, StepTape, single_step

_KINDS = 8  # of tensors that a neuron remembers a call for: other batch sizes, training and evaluation


class Call:
    """A step for tensors of certain kinds: `call(tensors)`, of inputs, states and parameters, is the step.

    Attributes:
        takes: whether tensors are of these kinds: `takes(*tensors)`.

    Args:
        single: the step.
        tensors: of these kinds.
        beside: the parameters that it takes after them.
    """

    def __init__(self, single: SingleStep, tensors: Sequence[Tensor], beside: Sequence[Tensor]) -> None:
        self._single, self._beside = single, beside
        needs = tuple([t.requires_grad for t in (*tensors, *beside)])
        self._tape: StepTape | None = single.tape(needs) if True in needs and torch.is_grad_enabled() else None
        self.takes = same_kinds(tensors)

    def __call__(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """What the step returns."""
        if self._tape is None:
            return self._single.forward([*tensors, *self._beside])
        return Step.apply(self._single, self._tape, *tensors, *self._beside)  # type: ignore[return-value]


class Prepared:
    """A neuron's step as long as its settings are the same.

    Attributes:
        step: the step's function.
        arguments: its keywords and their values, with `Tensor` for each tensor.
        calls: what is known of the last kinds of tensors, the last one first.
    """

    def __init__(self, step: Callable, arguments: tuple[tuple[str, Any], ...]) -> None:
        self.step, self.arguments = step, arguments
        self.calls: tuple[Call, ...] = ()

    def of(self, step: Callable, arguments: tuple[tuple[str, Any], ...]) -> bool:
        """Whether it was found for these."""
        pairs = zip(self.arguments, arguments, strict=False)
        return (
            self.step == step and len(self.arguments) == len(arguments)
            and all([name == other and value is known for (other, known), (name, value) in pairs])
        )  # fmt: skip


def prepare(
    neuron: Any, made: Plan, inputs: Sequence[Tensor], states: Sequence[Tensor], arguments: dict[str, Any]
) -> None:
    """Let a neuron know the plan of its step, where it is there and lasts."""
    if made.program is None or not made.lasting:
        return
    if made.beside and states[0].is_cuda:
        return  # a stream's own numbers
    params = [value for value in arguments.values() if isinstance(value, Tensor)]
    tensors = [*inputs, *states, *params]
    if any([t.dtype != states[0].dtype for t in tensors]) or not all([x.is_contiguous() for x in inputs]):
        return  # they are converted at every step
    found = tuple([(name, Tensor if isinstance(value, Tensor) else value) for name, value in arguments.items()])
    prepared: Prepared | None = getattr(neuron, "_prepared", None)
    if prepared is None or not prepared.of(neuron.step, found):
        prepared = Prepared(neuron.step, found)
        object.__setattr__(neuron, "_prepared", prepared)
    single = single_step(made.program, inputs, states, [*params, *made.beside])
    call = Call(single, tensors, made.beside)
    prepared.calls = (call, *prepared.calls[: _KINDS - 1])


def undisturbed() -> bool:
    """Whether nobody wants steps to be run otherwise than they were found to run best, or wants to see how."""
    return not (torch.compiler.is_compiling() or followed() or listening() or asked() == "eager")
