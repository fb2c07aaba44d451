"""What printers share: a graph's nodes as assignments, in the words of a target."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .graph import LEAVES, Graph, Node
from .program import Gradient, Program


@dataclass(frozen=True)
class Source:
    """A printed kernel.

    Attributes:
        text: the function `kernel`, whose first or last arguments are its pointers and then its strides.
        arrays: its pointers in order, by kind: the numbers of the arrays of that kind.
        strides: its strides likewise.
        scratch: names of the pointers after these, to memory that the kernel brings along.
    """

    text: str
    arrays: dict[str, tuple[int, ...]]
    strides: dict[str, tuple[int, ...]]
    scratch: tuple[str, ...] = ()

    @functools.cached_property
    def slots(self) -> list[tuple[str, int]]:
        """Kind and number of each pointer."""
        return [(kind, k) for kind, numbers in self.arrays.items() for k in numbers]

    @functools.cached_property
    def stride_slots(self) -> list[tuple[str, int]]:
        """Kind and number of each stride."""
        return [(kind, k) for kind, numbers in self.strides.items() for k in numbers]

    @property
    def pointers(self) -> list[str]:
        """The pointers' names."""
        return [f"{kind}{k}" for kind, k in self.slots]

    @property
    def distances(self) -> list[str]:
        """The strides' names."""
        return [f"{kind}{k}_stride" for kind, k in self.stride_slots]


def forward_source(
    program: Program, body: "Body", traces: Sequence[bool], single: bool, chunks: bool = False
) -> Source:
    """What the kernel of a program takes, without text.

    Pointers: `X` inputs `[steps, size]`; `P` parameters, `[size]` where dense, else `[1]`; `S` states `[size]`, the
    initial ones before and the final ones after; for each output with a trace `Y` `[steps, size]`; with `chunks` for
    each state `B` `[chunks, size]`, what it is before each chunk of steps. A single step leaves `S` alone and writes
    the new states to `F`.
    """
    inputs, params = (sorted(body.graph.leaves(body.live, kind)) for kind in ("input", "param"))
    states = range(program.states)
    arrays = {
        "X": inputs, "P": params, "S": states,
        "Y": [k for k, wanted in enumerate(traces) if wanted], "F": states if single else (),
        "B": states if chunks else (),
    }  # fmt: skip
    return _source(arrays, {"X": inputs}, single)


def backward_source(gradient: Gradient, outputs: int, single: bool, again: "Body | None" = None) -> Source:
    """What the kernel of a gradient takes, without text.

    Pointers: `X` and `P` as forward; `N` the states' course `[steps, size]` and `S` the initial states `[size]`; `G`
    the outputs' cotangents `[steps, size]`; `A` those of the states `[size]`, the final ones' before and the initial
    ones' after; `DX` the inputs' cotangents `[steps, size]`; `DP` sums for the parameters' `[size]`, zero before. A
    single step leaves `A` alone and writes the states' cotangents to `DS`. Where the states are computed `again`, `B`
    `[chunks, size]`, what they are before each chunk of steps, is in the place of `N` and `S`.
    """
    needs = {kind: sorted(leaves) for kind, leaves in gradient.needs.items()}
    states = range(len(gradient.states))
    if again is not None:
        for kind in ("input", "param"):
            needs[kind] = sorted({*needs[kind], *again.graph.leaves(again.live, kind)})
    given = [k for k in needs["grad"] if k < outputs]
    arrays = {
        "X": needs["input"], "P": needs["param"],
        "N": () if again else sorted(gradient.needs["new"] if single else gradient.saved),
        "S": () if again else needs["state"], "B": states if again else (), "G": given,
        "A": [k - outputs for k in needs["grad"] if k >= outputs] if single else states,
        "DX": [k for k, n in enumerate(gradient.inputs) if n is not None],
        "DP": [k for k, n in enumerate(gradient.params) if n is not None],
        "DS": states if single else (),
    }  # fmt: skip
    return _source(arrays, {"X": needs["input"], "G": given}, single)


def _source(arrays: dict[str, Sequence[int]], strides: dict[str, Sequence[int]], single: bool) -> Source:
    found = {kind: tuple(numbers) for kind, numbers in arrays.items()}
    return Source("", found, {} if single else {kind: tuple(numbers) for kind, numbers in strides.items()})


Load = Mapping[str, Callable[[int], str]]  # kind of a leaf -> how the one of a number is read


class Body:
    """Prints the nodes of a graph as assignments, those known before the loops apart.

    Args:
        nodes: the graph's.
        roots: the nodes that are asked for.
        forms: how each operation is written.
        early: whether a leaf, given its kind and number, is known before the loops.
        prefix: what the names of its nodes begin with.
    """

    def __init__(
        self, nodes: Sequence[Node], roots: Iterable[int], forms: dict[str, str], early: Callable[[str, int], bool],
        prefix: str = "v",
    ) -> None:  # fmt: skip
        self.graph = Graph(nodes)
        self.live = self.graph.reachable(roots)
        self.forms, self.prefix = forms, prefix
        self.constants: dict[str, str] = {}  # literal -> name
        self.names: dict[int, str] = {}
        self.early = self.computed_from(early)

    def computed_from(self, on: Callable[[str, int], bool]) -> set[int]:
        """The nodes that are computed from constants and such leaves alone."""
        found: set[int] = set()
        for i in self.live:
            kind, *operands = self.graph.nodes[i]
            if kind in LEAVES:
                known = kind == "const" or on(kind, operands[0])
            else:
                known = found.issuperset(self.graph.operands(i))
            if known:
                found.add(i)
        return found

    def lines(self, early: bool, load: Load) -> list[str]:
        """The assignments of the early nodes, or of the others."""
        lines = []
        for i in self.live:
            operation, *operands = self.graph.nodes[i]
            if (i in self.early) != early:
                continue
            if operation == "const":
                self.names[i] = self.constants.setdefault(literal(operands[0]), f"C{len(self.constants)}")
            elif operation in ("custom", "detach"):
                self.names[i] = self.names[operands[0]]
            elif operation in LEAVES:
                self.names[i] = f"{operation[0]}{operands[0]}"
                lines.append(f"{self.names[i]} = {load[operation](operands[0])}")
            else:
                self.names[i] = f"{self.prefix}{i}"
                lines.append(f"{self.names[i]} = {self.forms[operation].format(*(self.names[k] for k in operands))}")
        return lines


def literal(value: float) -> str:
    """A number as Python writes it."""
    return repr(value) if math.isfinite(value) else f"float('{value}')"


def indented(lines: Iterable[str], depth: int) -> str:
    """The lines of a block."""
    return "\n".join("    " * depth + line for line in lines) or "    " * depth + "pass"
