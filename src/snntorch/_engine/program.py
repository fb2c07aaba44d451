"""A step as a program, and the program of its gradient, one time step back."""

import ast
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from .graph import LEAVES, Graph, vjp
from .recent import SMALL


@dataclass(frozen=True, eq=False)
class Program:
    """One time step. Programs are compared by identity; `program` and `load` give equal ones as one object.

    Attributes:
        inputs: number of inputs, which change from step to step.
        states: number of states.
        params: number of parameters, which do not change.
        nodes: the graph.
        outputs: nodes of what the step returns: its outputs, then the new states.
        origins: which neurons' steps it is, for who reads printed kernels.
    """

    inputs: int
    states: int
    params: int
    nodes: tuple
    outputs: tuple[int, ...]

    @functools.cached_property
    def origins(self) -> set[str]:
        return set()

    @functools.cached_property
    def text(self) -> str:
        """The program as a literal, which `load` reads."""
        return repr((self.inputs, self.states, self.params, self.nodes, self.outputs))

    @property
    def free(self) -> int:
        """Number of outputs that are no states."""
        return len(self.outputs) - self.states


program = functools.lru_cache(SMALL)(Program)


@functools.lru_cache(SMALL)
def load(text: str) -> Program:
    """The program with that text."""
    return program(*ast.literal_eval(text))


@dataclass(frozen=True, eq=False)
class Gradient:
    """One time step back: from the cotangents of what the step returns to those of what it takes.

    Its leaves are `input k`, `param k`, `state k` (before the step), `new k` (after it), and `grad k`: the cotangent of
    the k-th thing that the step returns; those of the states as the later steps want them follow.

    Attributes:
        program: the step.
        nodes: the graph.
        inputs: nodes of the inputs' cotangents; None where none is wanted or none exists.
        states: nodes of the states' cotangents.
        params: nodes of what the step adds to the parameters' cotangents.
    """

    program: Program
    nodes: tuple
    inputs: tuple[int | None, ...]
    states: tuple[int | None, ...]
    params: tuple[int | None, ...]

    @property
    def roots(self) -> list[int]:
        """Every node that is asked for."""
        return [r for r in (*self.inputs, *self.states, *self.params) if r is not None]

    @functools.cached_property
    def needs(self) -> dict[str, frozenset[int]]:
        """Which leaves of each kind the gradient is computed from."""
        graph = Graph(self.nodes)
        return {kind: frozenset(graph.leaves(self.roots, kind)) for kind in LEAVES - {"const"}}

    @functools.cached_property
    def saved(self) -> frozenset[int]:
        """The states whose course over time must be kept for it."""
        return self.needs["state"] | self.needs["new"]


@functools.lru_cache(SMALL)
def gradient(
    program: Program, given: tuple[bool, ...], inputs: tuple[bool, ...], params: tuple[bool, ...],
    kept: tuple[bool, ...] | None = None, again: bool = False,
) -> Gradient:  # fmt: skip
    """The gradient of a program.

    Args:
        program: the step.
        given: for each thing that the step returns whether a cotangent arrives at every step, then for each state
            whether one arrives from the later steps.
        inputs: for each input whether its cotangent is wanted.
        params: for each parameter whether its cotangent is wanted.
        kept: for each state whether its course is there to be read; by default what makes for the fewest.
        again: whether the gradient is to be differentiated in turn. It is then for `interpret` alone.
    """
    graph = Graph(program.nodes)
    cotangents: dict[int, int] = {}

    def arrives(number: int, grad: int) -> None:
        cotangents[number] = graph("add", cotangents[number], grad) if number in cotangents else grad

    for k, number in enumerate(program.outputs):
        if given[k]:
            arrives(number, graph("grad", k))
        if k >= program.free and given[k + program.states]:
            arrives(number, graph("grad", k + program.states))
    wanted = [("input", k) for k, want in enumerate(inputs) if want]
    wanted += [("state", k) for k in range(program.states)]
    wanted += [("param", k) for k, want in enumerate(params) if want]
    results = vjp(graph, cotangents, [graph(*leaf) for leaf in wanted], not again)

    # A new state that was kept need not be computed again, and above all not from the input. Start with all of them;
    # leave one out where that saves keeping it.
    new = {k: n for k, n in enumerate(program.outputs[program.free :]) if graph.nodes[n][0] not in LEAVES}
    if kept is not None:
        new = {k: n for k, n in new.items() if kept[k]}
    best = _rewritten(graph, results, new, not again)
    for k in list(new) if kept is None else ():
        fewer = {j: n for j, n in new.items() if j != k}
        other = _rewritten(graph, results, fewer)
        if _cost(graph, other) < _cost(graph, best):
            new, best = fewer, other

    found = dict(zip(wanted, best, strict=True))
    live = range(len(graph.nodes)) if again else graph.reachable(r for r in best if r is not None)
    number = {old: i for i, old in enumerate(live)}

    def result(kind: str, count: int) -> tuple[int | None, ...]:
        return tuple(None if (r := found.get((kind, k))) is None else number[r] for k in range(count))

    nodes = tuple(
        n if n[0] in LEAVES else (n[0], *(number[i] for i in n[1:])) for n in (graph.nodes[old] for old in live)
    )
    return Gradient(
        program, nodes,
        result("input", program.inputs), result("state", program.states), result("param", program.params),
    )  # fmt: skip


def _rewritten(
    graph: Graph, results: Sequence[int | None], new: dict[int, int], values: bool = True
) -> list[int | None]:
    """The results, computed from the new states `new` wherever these occur."""
    loads = {node: graph("new", k) for k, node in reversed(new.items())}
    roots = iter(graph.substitute([r for r in results if r is not None], loads, values))
    return [None if r is None else next(roots) for r in results]


def _cost(graph: Graph, results: Sequence[int | None]) -> tuple[int, int]:
    """How much must be kept for the results: sequences, and whether one of them is an input."""
    roots = [r for r in results if r is not None]
    inputs = graph.leaves(roots, "input")
    states = graph.leaves(roots, "state") | graph.leaves(roots, "new")
    return len(inputs) + len(states), len(inputs)
