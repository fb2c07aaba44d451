"""Layers that feed back through a matrix, as `torch.compile` and torch's own machinery see them."""

import pytest
import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

import snntorch as snn
from helpers import flat, gradients
from snntorch._engine.decomposition import feedback
from snntorch._engine.trace import trace

T, B, F = 5, 3, 4
F64 = torch.float64
LEARN = {"learn_beta": True, "learn_threshold": True}
RECURRENT = {
    "RLeaky": lambda: snn.RLeaky(0.9, linear_features=F, **LEARN),
    "RSynaptic one to one": lambda: snn.RSynaptic(0.8, 0.9, torch.full((F,), -0.3), False, learn_alpha=True, **LEARN),
    "SLSTM": lambda: snn.SLSTM(F, 6, threshold=0.1, learn_threshold=True),
    "LeakyParallel": lambda: snn.LeakyParallel(F, 6, beta=0.9, threshold=0.2, learn_beta=True),
    "LeakyParallel all to all": lambda: snn.LeakyParallel(F, 6, threshold=0.1, weight_hh_enable=True, learn_beta=True),
}

pytestmark = pytest.mark.filterwarnings(  # of torch's own, while it compiles
    "ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning", "ignore:.*boxed arguments:UserWarning"
)


@pytest.fixture(autouse=True)
def auto():
    """The operators, whatever the backend of the other tests."""
    torch._dynamo.reset()
    with snn.backend("auto"):
        yield


def call(neuron, x: Tensor, *states: Tensor):
    return neuron(x) if neuron.takes_sequence else snn.unroll(neuron, x, *states)


@pytest.mark.parametrize("name", RECURRENT)
def test_one_program_for_every_length(name):
    """A few operators forward and back, whatever the number of steps; values and all gradients are those without."""
    torch.manual_seed(0)
    neuron, calls = RECURRENT[name]().double(), []

    def counted(graph, _):
        calls.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
        return graph

    backend = aot_autograd(fw_compiler=counted, bw_compiler=counted)
    compiled = torch.compile(lambda *args: call(neuron, *args), fullgraph=True, dynamic=True, backend=backend)
    for steps, batch in ((50, 7), (T, B)):
        x = (1.5 * torch.rand(steps, batch, F, dtype=F64)).requires_grad_()
        shape = () if neuron.takes_sequence else neuron.state_shape(x[0])
        states = [torch.rand(shape, dtype=F64).requires_grad_() for _ in getattr(neuron, "states", ())]
        found, expected = compiled(x, *states), call(neuron, x, *states)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert 0 < flat(expected)[0].mean() < 1
        left, right = (gradients(out, x, neuron, *states) for out in (found, expected))
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)
    assert len(calls) == 2 and max(map(len, calls)) < 60
    assert [sum(target.startswith("snntorch.") for target in graph) for graph in calls] == [1, 1]


def operands(neuron, x: Tensor, drives: bool = False) -> tuple:
    """The operator's arguments for a whole sequence from random states."""
    arguments = neuron.step_arguments(x.dtype)
    params = [name for name, value in arguments.items() if isinstance(value, Tensor)]
    constants = {name: value for name, value in arguments.items() if name not in params}
    index, weight, _ = neuron.linear_feedback
    count, size = weight.shape[0] // weight.shape[1], weight.shape[1]
    names = (True,) * count
    program, _ = trace(type(neuron).step, names, len(neuron.states), params, constants, x.dtype)
    states = [torch.rand(x.shape[1], size, dtype=x.dtype).requires_grad_() for _ in neuron.states]
    written = [True] * len(program.outputs)
    projected = neuron.project(x).detach().requires_grad_()
    params = [arguments[name].detach() for name in params]
    return program.text, len(x), index, written, drives, projected, weight.detach().requires_grad_(), states, params


@pytest.mark.parametrize("name", ["RLeaky", "SLSTM"])
def test_opcheck(name):
    neuron = RECURRENT[name]()
    drives = name == "SLSTM"  # whose gradient reads the gates
    arguments = operands(neuron, torch.rand(T, B, F), drives)
    torch.library.opcheck(torch.ops.snntorch.feedback.default, arguments)


@torch.no_grad()
@pytest.mark.parametrize("name", ["RLeaky", "SLSTM"])
def test_in_pytorch_s_own_operators(name):
    """What the exporter to ONNX takes in its place."""
    arguments = operands(RECURRENT[name]().double(), torch.rand(T, B, F, dtype=F64), drives=True)
    found, expected = feedback(*arguments), torch.ops.snntorch.feedback(*arguments)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_step_takes_no_row_of_an_array_by_index(monkeypatch):
    """Which in Python takes as long as the kernel: rows are taken once, all of them."""
    neuron, taken, index = RECURRENT["RLeaky"](), [], Tensor.__getitem__
    monkeypatch.setattr(Tensor, "__getitem__", lambda *args: taken.append(args) or index(*args))

    def count(steps: int) -> int:
        del taken[:]
        snn.unroll(neuron, torch.rand(steps, B, F, requires_grad=True), torch.zeros(0), torch.zeros(0))[
            0
        ].sum().backward()
        return len(taken)

    assert count(20) == count(10)
