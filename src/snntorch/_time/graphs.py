"""A step that is a graph of `torch.fx`: the graph says what it calls, so that nothing needs to be recorded.

That is so where it calls layers, each once, and adds, as networks from NIR do.
"""

import operator
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from .._layers.named_states import GetStates, SetStates
from .._neurons.neurons import SpikingNeuron
from . import layers
from .arguments import Slot, fill, leaves
from .fold import fold


class Plan(NamedTuple):
    """The calls of a step in order.

    Attributes:
        given: how many arguments it takes: an input, and states that are None by default.
        calls: of each the layer's name, empty for a sum, and the numbers of what it takes: arguments, then results.
        last: the numbers that a call is the last to take.
        output: what the step returns, with slots for numbers.
    """

    given: int
    calls: list[tuple[str, tuple[int, ...]]]
    last: list[set[int]]
    output: Any


_plans: weakref.WeakKeyDictionary[fx.GraphModule, tuple[Any, Plan | None]] = weakref.WeakKeyDictionary()


def unroll_graph(unroll: Callable[..., Any], module: fx.GraphModule, x: Tensor, states: tuple) -> Any:
    """What `unroll(module, x, *states)` gives, call by call; None where a call may need another of the step before.

    Args:
        unroll: runs a layer over time.
        module: of the graph.
        x: `[T, B, ...]`.
        states: empty, or what the step takes beside its input and returns last.
    """
    plan = _plan_of(module)
    if plan is None or not layers.by_layer(module):
        return None
    called: list[Any] = [module.get_submodule(name) if name else None for name, _ in plan.calls]
    kept: dict[Any, list[Tensor]] = {n: [] for m in called if isinstance(m, GetStates) for n in m.neurons.values()}
    if not kept.keys() <= set(called) or not _in_order(plan, called, len(states)):
        return None
    values: list[Any] = [x, *states, *[None] * (plan.given - 1 - len(states))]
    for layer, (_, sources), last in zip(called, plan.calls, plan.last, strict=True):
        taken = [values[k] for k in sources]
        for k in last:
            values[k] = None
        if layer is None:
            values.append(fold(torch.add, (Slot(0), Slot(1)), {}, taken, (True, True)))
        elif isinstance(layer, SetStates):
            values.append(layer(*taken))
        elif isinstance(layer, GetStates):
            values.append({name: tuple(kept[neuron]) for name, neuron in layer.neurons.items()})
        elif layer in kept:
            values.append(layer.sequence(*taken, kept=kept[layer]))
        else:
            values.append(unroll(layer, *taken, (), None))
    return fill(plan.output, values)


def _in_order(plan: Plan, called: list[Any], states: int) -> bool:
    """Whether states are put in first and collected last, and what is between takes what changes over time alone."""
    courses, collected, before = {0}, set(), 0
    for number, (layer, (_, sources)) in enumerate(zip(called, plan.calls, strict=True), plan.given):
        if isinstance(layer, SetStates):
            place, right = 0, sources == (1,)
        elif isinstance(layer, GetStates):
            place, right = 2, not sources
            collected.add(number)
        else:
            place, right = 1, courses.issuperset(sources) and (layer is None or (len(sources) == 1 and _alone(layer)))
            courses.add(number)
        if not right or place < before:
            return False
        before = place
    if not {slot.number for slot in leaves(plan.output, Slot)} <= (courses - {0}) | collected:
        return False
    last = plan.output[-1] if type(plan.output) is tuple else None
    return not states or (states < plan.given and type(last) is Slot and last.number in collected)


def _alone(layer: nn.Module) -> bool:
    """Whether a layer is a neuron that runs as a whole, or takes all steps in one call."""
    if isinstance(layer, SpikingNeuron):
        return layers.runs_as_a_whole(layer) and not layers.hooks(layer) and layer.init_hidden and not layer.output
    return layers.folds_as_it_is(layer)


def _plan_of(module: fx.GraphModule) -> Plan | None:
    """What the module's forward does; None where that is more than to call layers, none twice, and to add."""
    forward = type(module).forward  # a new one whenever the graph is compiled
    found = _plans.get(module)
    if found is None or found[0] is not forward:
        found = _plans[module] = forward, _planned(module)
    return found[1] if "forward" not in vars(module) else None


def _planned(module: fx.GraphModule) -> Plan | None:
    generated = "<eval_with_key>" in type(module).forward.__code__.co_filename
    if not generated or module.graph.python_code("self").src != module.code:  # edited since it was compiled
        return None
    numbers: dict[Any, Slot] = {}
    calls: list[tuple[Any, tuple[int, ...]]] = []
    given, output = 0, ()
    for node in module.graph.nodes:
        if node.op == "output":
            output = node.args[0]
            continue
        numbers[node] = Slot(len(numbers))
        if node.op == "placeholder" and not calls and node.args == (None,) * (given > 0) and given < 2:
            given += 1
            continue
        if node.kwargs or not all(isinstance(a, fx.Node) for a in node.args):
            return None
        sources = tuple(numbers[a].number for a in node.args)
        if node.op == "call_module" and all(node.target != name for name, _ in calls):
            calls.append((node.target, sources))
        elif node.op == "call_function" and node.target in (torch.add, operator.add):
            calls.append(("", sources))
        else:
            return None
    if not given or not all(isinstance(out, fx.Node) for out in (output if type(output) is tuple else (output,))):
        return None
    output = map_arg(output, numbers.__getitem__)
    taken = {slot.number for slot in leaves(output, Slot)}
    last: list[set[int]] = []
    for _, sources in reversed(calls):
        last.insert(0, set(sources) - taken)
        taken.update(sources)
    return Plan(given, calls, last, output)
