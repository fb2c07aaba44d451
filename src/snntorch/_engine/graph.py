"""A neuron's step as a graph of elementwise operations, and the graph of its gradient.

A graph is a list of nodes in an order in which they can be computed. A node is a tuple of its operation and operands,
and an operand is the number of an earlier node. Nodes hold only strings and numbers, so `repr` writes a graph and
`ast.literal_eval` reads it. Equal expressions are one node.
"""

import math
from collections.abc import Callable, Iterable, Sequence

Node = tuple  # (operation, *operands)

LEAVES = {"input", "state", "param", "grad", "new", "hole", "const"}
PREDICATES = {"gt", "ge", "lt", "le", "eq", "ne", "and", "or", "not"}
_FOLD: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "neg": lambda a: -a,
}  # fmt: skip


class Graph:
    """Nodes, interned: `graph("mul", a, b)` returns the number of the node `a * b`.

    Operations: the leaves `input k`, `state k`, `param k`, `grad k` (a cotangent), `new k` (a state after the step),
    `hole k` (see `custom`) and `const value`; arithmetic as in `ADJOINTS`; the `PREDICATES`; `float p` (1.0 where p
    holds, else 0.0); `where p a b`; `single a` (rounded to float32); `detach a`; and `custom value hole x gradient`,
    whose value is that of `value` and whose gradient with respect to x is the expression `gradient`, in which `hole`
    stands for the cotangent.
    """

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self.nodes: list[Node] = list(nodes)
        self._number = {node: i for i, node in enumerate(self.nodes)}

    def __call__(self, operation: str, *operands: int | float) -> int:
        node = (operation, *operands)
        if operation not in LEAVES:
            simpler = self._simplify(operation, operands)
            if simpler is not None:
                return simpler
        if node not in self._number:
            self._number[node] = len(self.nodes)
            self.nodes.append(node)
        return self._number[node]

    def const(self, value: float) -> int:
        """The number of a constant's node."""
        return self("const", float(value))

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

        def visit(number: int) -> int:
            if number not in done:
                operation, *operands = self.nodes[number]
                if operation in LEAVES:
                    done[number] = number
                elif values and operation in ("custom", "detach"):
                    done[number] = visit(operands[0])
                else:
                    done[number] = self(operation, *(visit(i) for i in operands))
            return done[number]

        return [visit(root) for root in roots]


def _where_zero(graph: Graph, condition: int, grad: int, keep: bool) -> int:
    zero = graph.const(0)
    return graph("where", condition, grad, zero) if keep else graph("where", condition, zero, grad)


def _extreme(comparison: str) -> Callable:
    def adjoint(g: Graph, grad: int, out: int, a: int, b: int) -> tuple[int, int]:
        half = g("mul", grad, g.const(0.5))  # a tie shares the gradient, as in PyTorch
        tie = g("eq", a, b)
        first = g("where", tie, half, _where_zero(g, g(comparison, a, b), grad, True))
        second = g("where", tie, half, _where_zero(g, g(comparison, b, a), grad, True))
        return first, second

    return adjoint


def _power(g: Graph, grad: int, out: int, a: int, b: int) -> tuple[int, int | None]:
    base = g("mul", grad, g("mul", b, g("pow", a, g("sub", b, g.const(1)))))
    return base, None if g.value(b) is not None else g("mul", grad, g("mul", out, g("log", a)))


# operation -> (graph, cotangent, result, *operands) -> the operands' cotangents; None where there is none
ADJOINTS: dict[str, Callable[..., tuple[int | None, ...]]] = {
    "add": lambda g, grad, out, a, b: (grad, grad),
    "sub": lambda g, grad, out, a, b: (grad, g("neg", grad)),
    "mul": lambda g, grad, out, a, b: (g("mul", grad, b), g("mul", grad, a)),
    "div": lambda g, grad, out, a, b: (g("div", grad, b), g("neg", g("div", g("mul", grad, out), b))),
    "neg": lambda g, grad, out, a: (g("neg", grad),),
    "abs": lambda g, grad, out, a: (g("mul", grad, g("sign", a)),),
    "exp": lambda g, grad, out, a: (g("mul", grad, out),),
    "expm1": lambda g, grad, out, a: (g("mul", grad, g("add", out, g.const(1))),),
    "log": lambda g, grad, out, a: (g("div", grad, a),),
    "log1p": lambda g, grad, out, a: (g("div", grad, g("add", a, g.const(1))),),
    "sqrt": lambda g, grad, out, a: (g("div", g("mul", grad, g.const(0.5)), out),),
    "tanh": lambda g, grad, out, a: (g("mul", grad, g("sub", g.const(1), g("mul", out, out))),),
    "sigmoid": lambda g, grad, out, a: (g("mul", g("mul", grad, g("sub", g.const(1), out)), out),),
    "erf": lambda g, grad, out, a: (
        g("mul", g("mul", grad, g.const(2 / math.sqrt(math.pi))), g("exp", g("neg", g("mul", a, a)))),
    ),
    "sin": lambda g, grad, out, a: (g("mul", grad, g("cos", a)),),
    "cos": lambda g, grad, out, a: (g("neg", g("mul", grad, g("sin", a))),),
    "pow": _power,
    "maximum": _extreme("gt"),
    "minimum": _extreme("lt"),
    "where": lambda g, grad, out, p, a, b: (None, _where_zero(g, p, grad, True), _where_zero(g, p, grad, False)),
    "single": lambda g, grad, out, a: (grad,),
    **{
        flat: lambda g, grad, out, *operands: (None,) * len(operands)
        for flat in ("sign", "ceil", "floor", "round", "float", "detach", *PREDICATES)
    },
}


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
            adjoints = ADJOINTS[operation](graph, grads[number], number, *operands)
            for operand, grad in zip(operands, adjoints, strict=True):
                accumulate(operand, grad)
    return [grads.get(leaf) for leaf in wrt]
