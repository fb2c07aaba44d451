"""A neuron's step as a graph of elementwise operations, and the graph of its gradient.

A graph is a list of nodes in an order in which they can be computed. A node is a tuple of its operation and operands,
and an operand is the number of an earlier node. Nodes hold only strings and numbers, so `repr` writes a graph and
`ast.literal_eval` reads it. Equal expressions are one node.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from .operations import OPERATIONS, PREDICATES, Expression

Node = tuple  # (operation, *operands)

LEAVES = {"input", "state", "param", "grad", "new", "hole", "const"}
_FOLD: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "neg": lambda a: -a,
}  # fmt: skip


class Graph:
    """Nodes, interned: `graph("mul", a, b)` returns the number of the node `a * b`.

    Operations: the leaves `input k`, `state k`, `param k`, `grad k` (a cotangent), `new k` (a state after the step),
    `hole k` (see `custom`) and `const value`; the rows of `OPERATIONS`; and `custom value hole x gradient`, whose value
    is that of `value` and whose gradient with respect to x is the expression `gradient`, in which `hole` stands for the
    cotangent.
    """

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self.nodes: list[Node] = list(nodes)
        self._number = {node: i for i, node in enumerate(self.nodes)}

    def __call__(self, operation: str, *operands: int | float) -> int:
        if operation not in LEAVES:
            simpler = self._simplify(operation, operands)
            if simpler is not None:
                return simpler
        return self._intern((operation, *operands))

    def _intern(self, node: Node) -> int:
        if node not in self._number:
            self._number[node] = len(self.nodes)
            self.nodes.append(node)
        return self._number[node]

    def const(self, value: float) -> int:
        """The number of a constant's node, for -0.0, which equals 0.0, of that one's negative."""
        value = float(value)
        if value == 0 and math.copysign(1, value) < 0:
            return self._intern(("neg", self.const(0)))
        return self("const", value)

    def value(self, number: int) -> float | None:
        """The value of a constant's node, else None."""
        node = self.nodes[number]
        return node[1] if node[0] == "const" else None

    def is_predicate(self, number: int) -> bool:
        """Whether the node is true or false rather than a number."""
        return self.nodes[number][0] in PREDICATES

    def _simplify(self, operation: str, operands: Sequence) -> int | None:
        if operation == "custom":
            return None
        values = [self.value(i) for i in operands]
        if operation in _FOLD and None not in values:
            return self.const(_FOLD[operation](*values))
        a, b = operands[0], operands[-1]
        zero, one = [v == 0 for v in values], [v == 1 for v in values]
        if (operation == "add" and zero[1]) or (operation == "sub" and zero[1]):
            return a
        if operation == "add" and zero[0]:
            return b
        if (operation == "mul" and one[1]) or (operation == "div" and one[1]):
            return a
        if operation == "mul" and one[0]:
            return b
        if operation == "sub" and zero[0]:
            return self("neg", b)
        if operation == "neg" and self.nodes[a][0] == "neg":
            return self.nodes[a][1]
        if operation == "where" and operands[1] == operands[2]:
            return operands[1]
        return None

    def operands(self, number: int) -> tuple[int, ...]:
        """The nodes that the node's value is computed from."""
        operation, *operands = self.nodes[number]
        if operation in LEAVES:
            return ()
        return (operands[0],) if operation in ("custom", "detach") else tuple(operands)

    def reachable(self, roots: Iterable[int]) -> list[int]:
        """The nodes that the roots' values are computed from, themselves included, in order."""
        seen: set[int] = set()
        todo = list(roots)
        while todo:
            number = todo.pop()
            if number not in seen:
                seen.add(number)
                todo.extend(self.operands(number))
        return sorted(seen)

    def leaves(self, roots: Iterable[int], kind: str) -> set[int]:
        """Which leaves of that kind the roots' values depend on."""
        return {self.nodes[i][1] for i in self.reachable(roots) if self.nodes[i][0] == kind}

    def substitute(self, roots: Sequence[int], replace: dict[int, int], values: bool = True) -> list[int]:
        """The roots with some nodes replaced by others, of which the replacements stay as they are.

        Unless only `values` count from here on, what has a gradient of its own keeps it.
        """
        done = dict(replace)
        todo = list(reversed(roots))
        while todo:
            number = todo[-1]
            operation, *operands = self.nodes[number]
            if operation in LEAVES:
                done.setdefault(number, number)
            elif number not in done:
                alone = values and operation in ("custom", "detach")
                needs = operands[:1] if alone else operands
                missing = [i for i in needs if i not in done]
                if missing:  # first
                    todo.extend(reversed(missing))
                    continue
                found = [done[i] for i in needs]
                done[number] = found[0] if alone else self(operation, *found)
            todo.pop()
        return [done[root] for root in roots]


def _adjoints(graph: Graph, grad: int, number: int) -> Sequence[int | None]:
    """The cotangents of a node's operands from its own."""
    operation, *operands = graph.nodes[number]
    adjoint = OPERATIONS[operation].adjoint
    if adjoint is None:
        return [None] * len(operands)
    found = adjoint(*(Expression(graph, i) for i in (grad, number, *operands)))
    return [None if e is None else e.number for e in (found if isinstance(found, tuple) else (found,))]


def vjp(graph: Graph, cotangents: dict[int, int], wrt: Sequence[int], values: bool = True) -> list[int | None]:
    """The vector-Jacobian product: cotangents of some nodes -> cotangents of the nodes `wrt`.

    Args:
        graph: the graph, to which the expressions of the result are added.
        cotangents: for each output node the node that holds its cotangent.
        wrt: leaves.
        values: whether the result is not to be differentiated again.

    Returns:
        For each of `wrt` a node, or None where nothing depends on it.
    """
    grads = dict(cotangents)

    def accumulate(number: int, grad: int | None) -> None:
        if grad is not None:
            grads[number] = graph("add", grads[number], grad) if number in grads else grad

    for number in range(max(cotangents, default=-1), -1, -1):
        operation, *operands = graph.nodes[number]
        if number not in grads or operation in LEAVES:
            continue
        if operation == "custom":
            _, hole, x, gradient = operands
            accumulate(x, graph.substitute([gradient], {hole: grads[number]}, values)[0])
        else:
            for operand, grad in zip(operands, _adjoints(graph, grads[number], number), strict=True):
                accumulate(operand, grad)
    return [grads.get(leaf) for leaf in wrt]
