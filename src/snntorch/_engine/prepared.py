"""How a neuron's step was found to run, once or over time: the next calls like it ask nothing again.

`run` looks at everything that a step is given, and ends in a `Runner`. That stays beside the neuron, and with it what
it was found for: settings, compared by identity, and the kinds of the tensors. A call for which all of that is the same
is that `Runner`'s; no value is looked at, no tensor held, and what is set anew takes effect at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from . import ops
from .choose import Call, computes, listening
from .over_time import over_time
from .plans import Plan, capturing
from .private import followed, same_kinds
from .program import Program
from .runner import Runner
from .setting import asked
from .single import single_step
from .target import PACKAGES

_KINDS = 8  # of tensors that a neuron remembers: other batch sizes, training and evaluation
Results = tuple[list[Any], list[Tensor]]  # see `run`


class Prepared:
    """What is known of a neuron's step as long as its settings are the same.

    Attributes:
        step: the step's function.
        names: of its keywords.
        settings: their values, with `Tensor` for each tensor.
        known: for the last kinds of calls, the last one first: what is asked, the test of the tensors, how to run them,
            and the parameters to take beside them.
    """

    def __init__(self, step: Callable, arguments: dict[str, Any]) -> None:
        self.step, self.names = step, [*arguments]
        self.settings = [Tensor if isinstance(value, Tensor) else value for value in arguments.values()]
        self.known: tuple[tuple[tuple, Callable[..., bool], Callable[..., Results], Sequence[Tensor]], ...] = ()

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


def arranged(
    inputs: Sequence[Tensor], params: Sequence[Tensor], steps: int, varies: tuple[bool, ...]
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Inputs and parameters as kernels take them: what does not vary is a parameter."""
    if not steps or False not in varies:
        return inputs, params
    moving = [x for x, v in zip(inputs, varies, strict=True) if v]
    return moving, [*params, *(x for x, v in zip(inputs, varies, strict=True) if not v)]


def again(
    neuron: Any, inputs: Sequence[Tensor], states: Sequence[Tensor], arguments: dict[str, Any], steps: int,
    varies: tuple[bool, ...], wanted: tuple[bool, ...] | None,
) -> Results | None:  # fmt: skip
    """What `run` returns, where a call like this was prepared, and nobody wants it run otherwise or to see how."""
    prepared: Prepared | None = getattr(neuron, "_prepared", None)
    if prepared is None or followed() or listening() or asked() == "eager":
        return None
    params = prepared.tensors(neuron.step, arguments)
    if params is None:
        return None
    inputs, params = arranged(inputs, params, steps, varies)
    tensors = [*inputs, *states, *params]
    form = (varies, wanted) if steps else ()
    for of, takes, way, beside in prepared.known:
        if of == form and takes(*tensors):
            if beside and beside[0].is_cuda and capturing(beside[0].device):
                return None  # a CUDA graph reads numbers again and again that are its own
            return way(steps, [*tensors, *beside])
    return None


def prepare(made: Plan, call: Call, wanted: tuple[bool, ...] | None) -> None:
    """Remember a call, where what was found of it lasts and its tensors go to the kernel as they are."""
    program, neuron, states, steps, tensors = made.program, call.neuron, call.states, call.steps, call.tensors
    if not isinstance(program, Program) or not made.lasting:
        return
    prepared: Prepared | None = getattr(neuron, "_prepared", None)
    if prepared is None or prepared.tensors(neuron.step, call.arguments) is None:
        prepared = Prepared(neuron.step, call.arguments)
    dtype, of_inputs = states[0].dtype, call.inputs[0].dtype
    reads = PACKAGES[states[0].device.type] == "triton" and all(call.varies)  # sequences of any dtype
    converted = of_inputs != dtype and not reads
    if converted or dtype != computes(of_inputs) or any([t.dtype != of_inputs for t in call.inputs]):
        return
    if any([t.dtype != dtype for t in (*states, *call.params)]) or not all([x.is_contiguous() for x in call.inputs]):
        return
    inputs, params = arranged(call.inputs, call.params, steps, call.varies)
    form, tensors = (call.varies, wanted) if steps else (), [*inputs, *states, *params]
    if any([of == form and takes(*tensors) for of, takes, *_ in prepared.known]):
        return
    takes = same_kinds(tensors, len(inputs) if steps else 0)
    params = [*params, *made.beside]
    places: list[int | None] = [*range(len(program.outputs))]
    if steps:
        wanted = wanted or (True,) * len(places)
        written = ops.written_now(program, wanted, inputs, states, params)
        runner: Runner = over_time(program, written, inputs, states, params)
        places = [k if w else None for k, w in zip(runner.courses, wanted, strict=True)]
    else:
        runner = single_step(program, inputs, states, params)
    run = runner.of([*inputs, *states, *params])

    def way(steps: int, tensors: Sequence[Tensor], last: int = -len(states)) -> Results:
        results = run(steps, tensors)
        return [None if k is None else results[k] for k in places], [*results[last:]]

    prepared.known = ((form, takes, way, made.beside), *prepared.known[: _KINDS - 1])
    object.__setattr__(neuron, "_prepared", prepared)
