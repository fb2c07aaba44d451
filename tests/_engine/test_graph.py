"""The graph: simplifications, gradients against autograd, and its way through text."""

import pytest
import torch

from snntorch._engine.calls import _CLAMP_SHARES
from snntorch._engine.decomposition import interpret
from snntorch._engine.graph import Graph, vjp
from snntorch._engine.operations import OPERATIONS, PREDICATES
from snntorch._engine.program import gradient, load, program

F64 = torch.float64


CLAMPS = {"clamp", "clamp_strictly", "clamp_sharing"}
RUNNING = "clamp_sharing" if _CLAMP_SHARES else "clamp"  # between tensors
ARITHMETIC = sorted(set(OPERATIONS) - PREDICATES - {"float", "where"} - CLAMPS | {RUNNING})


@pytest.mark.parametrize("operation", ARITHMETIC)
def test_adjoints_are_autograd(operation):
    """Also where the two operands of an extreme are equal."""
    generator = torch.Generator().manual_seed(0)
    x, y, z, d = (0.1 + torch.rand(50, generator=generator, dtype=F64) for _ in range(4))
    y[:5] = x[:5]
    graph, tensors = Graph(), [t.requires_grad_() for t in (x, y, z)][: len(OPERATIONS[operation].operands)]
    leaves = [graph("input", k) for k in range(len(tensors))]
    out = graph(operation, *leaves)
    cotangents = vjp(graph, {out: graph("grad", 0)}, leaves)
    values = {("input", k): t for k, t in enumerate(tensors)} | {("grad", 0): d}
    (value,) = interpret(graph, [out], values)
    expected = (
        torch.autograd.grad(value, tensors, d, allow_unused=True) if value.requires_grad else [None] * len(leaves)
    )
    for node, wanted, tensor in zip(cotangents, expected, tensors, strict=True):
        found = torch.zeros_like(tensor) if node is None else interpret(graph, [node], values)[0]
        wanted = torch.zeros_like(tensor) if wanted is None else wanted
        if operation != "single":  # autograd rounds that gradient too, the graph does not
            torch.testing.assert_close(found.detach(), wanted, rtol=1e-12, atol=1e-12, equal_nan=True)
        else:
            torch.testing.assert_close(found.detach(), wanted, rtol=1e-6, atol=1e-6)


NAN = float("nan")
# x, low, high, and who gets how much of the gradient, as torch 2.14.1 has it
SHARED = [
    (0, 0, 0, 1, 0, 0), (0, 0, 1, 0.5, 0.5, 0), (1, 0, 1, 0.5, 0, 0.5), (0, 1, 2, 0, 1, 0), (2, 0, 1, 0, 0, 1),
    (0, 1, 0, 0, 0, 1), (0, 1, 1, 0, 1, 0), (1, 0, 2, 1, 0, 0), (1, NAN, 0, 0, 0, 0), (0, NAN, 1, 1, 0, 0),
    (0, 1, NAN, 0, 0, 0), (NAN, 1, 0, 1, 0, 1), (NAN, 0, 1, 1, 0, 0),
]  # fmt: skip
STRICT = [(0, -1, 1, 1, 0, 0), (1, -1, 1, 0, 0, 0), (-1, -1, 1, 0, 0, 0), (2, -1, 1, 0, 0, 0), (NAN, -1, 1, 0, 0, 0)]

EARLIER = [(0, 0, 1, 1, 0, 0), (1, 0, 1, 1, 0, 0), (-1, 0, 1, 0, 1, 0), (2, 0, 1, 0, 0, 1)]  # as torch 2.13 has it


@pytest.mark.parametrize(
    ("operation", "recorded"), [("clamp_sharing", SHARED), ("clamp_strictly", STRICT), ("clamp", EARLIER)]
)
def test_clamp_as_each_version_has_it(operation, recorded):
    graph = Graph()
    leaves = [graph("input", k) for k in range(3)]
    cotangents = vjp(graph, {graph(operation, *leaves): graph("grad", 0)}, leaves)
    columns = [torch.tensor(column, dtype=F64) for column in zip(*recorded, strict=True)]
    values = {("input", k): column for k, column in enumerate(columns[:3])} | {("grad", 0): torch.ones_like(columns[0])}
    for node, expected in zip(cotangents, columns[3:], strict=True):
        found = torch.zeros_like(expected) if node is None else interpret(graph, [node], values)[0]
        torch.testing.assert_close(found.to(F64), expected, rtol=0, atol=0)


@pytest.mark.parametrize("predicate", sorted(PREDICATES - {"and", "or", "not"}))
def test_where_on_every_predicate(predicate):
    x, y, d = torch.tensor([1.0, 2, 3], dtype=F64), torch.tensor([2.0, 2, 2], dtype=F64), torch.ones(3, dtype=F64)
    graph, tensors = Graph(), [x.requires_grad_(), y.requires_grad_()]
    a, b = leaves = [graph("input", 0), graph("input", 1)]
    out = graph("where", graph(predicate, a, b), graph("mul", a, a), graph("exp", b))
    values = {("input", 0): x, ("input", 1): y, ("grad", 0): d}
    found = interpret(graph, vjp(graph, {out: graph("grad", 0)}, leaves), values)
    expected = torch.autograd.grad(interpret(graph, [out], values)[0], tensors, d)
    torch.testing.assert_close([f.detach() for f in found], list(expected))


def test_simplifications():
    g = Graph()
    a, b, zero, one = g("input", 0), g("input", 1), g.const(0), g.const(1)
    p = g("gt", a, b)
    assert g("add", a, zero) == g("add", zero, a) == g("sub", a, zero) == a
    assert g("mul", a, one) == g("mul", one, a) == g("div", a, one) == a
    assert g("sub", zero, a) == g("neg", a)
    assert g("neg", g("neg", a)) == a
    assert g("where", p, a, a) == a
    assert g.value(g("add", g.const(2), g.const(3))) == 5
    assert g.value(g("mul", g.const(2), g.const(3))) == 6
    # what NaN and infinity forbid is not done
    assert g("mul", a, zero) not in (zero, a)
    assert g("sub", a, a) != zero
    assert g("div", a, a) != one


def test_equal_expressions_are_one_node():
    g = Graph()
    a, b = g("input", 0), g("state", 0)
    assert g("add", a, b) == g("add", a, b)
    assert len(g.nodes) == 3
    assert g("add", b, a) != g("add", a, b)  # their roundings agree, their NaNs may not


def test_custom_nodes_have_the_gradient_they_were_given():
    """`H(x)` with the gradient `3 x grad`; twice, as each use has a hole of its own."""
    g = Graph()
    x = g("input", 0)
    total = None
    for factor in (3, 5):
        hole = g("hole", len(g.nodes))
        spike = g("float", g("gt", x, g.const(0)))
        made = g("custom", spike, hole, x, g("mul", g("mul", hole, g.const(factor)), x))
        total = made if total is None else g("add", total, made)
    value, d = torch.tensor([-1.0, 2.0], dtype=F64), torch.tensor([10.0, 100.0], dtype=F64)
    values = {("input", 0): value, ("grad", 0): d}
    (found,) = interpret(g, vjp(g, {total: g("grad", 0)}, [x]), values)
    torch.testing.assert_close(found, 8 * value * d)
    torch.testing.assert_close(interpret(g, [total], values)[0], torch.tensor([0.0, 2.0], dtype=F64))


def test_leaves_that_nothing_depends_on_have_no_cotangent():
    g = Graph()
    a, b = g("input", 0), g("input", 1)
    out = g("mul", a, g.const(2))
    assert vjp(g, {out: g("grad", 0)}, [a, b])[1] is None
    assert vjp(g, {}, [a, b]) == [None, None]


def test_programs_travel_as_text():
    g = Graph()
    x, mem, beta = g("input", 0), g("state", 0), g("param", 0)
    new = g("add", g("mul", beta, mem), g("mul", x, g.const(0.1)))
    made = program(1, 1, 1, tuple(g.nodes), (new,))
    assert load(made.text) is made
    assert load(repr(eval(made.text))) is made  # a literal


def test_gradient_prefers_kept_states_to_inputs():
    """`tanh(beta mem + x)`: the derivative is read off the new state, `1 - new^2`."""
    g = Graph()
    new = g("tanh", g("add", g("mul", g("param", 0), g("state", 0)), g("input", 0)))
    back = gradient(program(1, 1, 1, tuple(g.nodes), (new,)), (True, True), (True,), (False,))
    assert back.needs["input"] == frozenset()
    assert back.needs["new"] == {0}
    assert back.saved == {0}
    learning = gradient(program(1, 1, 1, tuple(g.nodes), (new,)), (True, True), (True,), (True,))
    assert learning.needs["state"] == {0}  # its course once more, one step earlier
    assert learning.saved == {0}
