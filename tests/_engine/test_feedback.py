"""Layers that feed back through a matrix or a convolution, as `torch.compile` and torch's own machinery see them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd

import snntorch as snn
from helpers import assert_equal, flat, gradients
from snntorch._engine.decomposition import feedback
from snntorch._engine.trace import trace

T, B, F = 5, 3, 4
IMAGE = (F, 5, 6)
F64 = torch.float64
LEARN = {"learn_beta": True, "learn_threshold": True}
LEARN_THRESHOLD = {"learn_threshold": True}
RECURRENT = {
    "RLeaky": lambda: snn.RLeaky(0.9, linear_features=F, **LEARN),
    "RSynaptic one to one": lambda: snn.RSynaptic(0.8, 0.9, torch.full((F,), -0.3), False, learn_alpha=True, **LEARN),
    "SLSTM": lambda: snn.SLSTM(F, 6, threshold=0.1, learn_threshold=True),
    "RLeaky of images": lambda: snn.RLeaky(0.9, conv2d_channels=F, kernel_size=3, **LEARN),
    "RSynaptic of images": lambda: snn.RSynaptic(0.8, 0.9, conv2d_channels=F, kernel_size=(2, 5), learn_alpha=True),
    "SConv2dLSTM": lambda: snn.SConv2dLSTM(F, 2, (3, 2), threshold=0.1, reset_mechanism="subtract", **LEARN_THRESHOLD),
    "SConv2dLSTM, pooled": lambda: snn.SConv2dLSTM(F, 2, 3, max_pool=(2, 3), threshold=0.2, **LEARN_THRESHOLD),
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


def of_shape(neuron) -> tuple[int, ...]:
    """An input's shape for one sample of one step."""
    return IMAGE if isinstance(neuron, snn.SConv2dLSTM) or getattr(neuron, "conv2d_channels", None) else (F,)


@pytest.mark.parametrize("name", [name for name in RECURRENT if name != "RSynaptic of images"])  # but its kernel's size
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
        x = (1.5 * torch.rand(steps, batch, *of_shape(neuron), dtype=F64)).requires_grad_()
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
    names = (True,) * (weight.shape[0] // weight.shape[1])
    program, _ = trace(type(neuron).step, names, len(neuron.states), params, constants, x.dtype)
    states = [torch.rand(neuron.state_shape(x[0]), dtype=x.dtype).requires_grad_() for _ in neuron.states]
    written = [True] * len(program.outputs)
    projected = neuron.project(x).detach().requires_grad_()
    params = [arguments[name].detach() for name in params]
    return (
        program.text,
        len(x),
        [index, 1],
        written,
        drives,
        projected,
        weight.detach().requires_grad_(),
        states,
        params,
    )


@pytest.mark.parametrize("name", ["RLeaky", "SLSTM", "RSynaptic of images"])
def test_opcheck(name):
    neuron = RECURRENT[name]()
    drives = name == "SLSTM"  # whose gradient reads the gates
    arguments = operands(neuron, torch.rand(T, B, *of_shape(neuron)), drives)
    torch.library.opcheck(torch.ops.snntorch.feedback.default, arguments)


@torch.no_grad()
@pytest.mark.parametrize("name", ["RLeaky", "SLSTM", "SConv2dLSTM"])
def test_in_pytorch_s_own_operators(name):
    """What the exporter to ONNX takes in its place."""
    neuron = RECURRENT[name]().double()
    arguments = operands(neuron, torch.rand(T, B, *of_shape(neuron), dtype=F64), drives=True)
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


# -- images


def images(batch: int, last: bool, dtype: torch.dtype = F64) -> Tensor:
    """A sequence, with its channels last in memory or not."""
    x = 1.5 * torch.rand(T, batch, 5, 6, F, dtype=dtype)
    return (x.movedim(-1, 2) if last else x.movedim(-1, 2).contiguous()).requires_grad_()


LAST = pytest.mark.parametrize("last", [False, True], ids=["in order", "channels last"])


@LAST
@pytest.mark.parametrize("name", ["RLeaky of images", "RSynaptic of images", "SConv2dLSTM", "SConv2dLSTM, pooled"])
def test_images_as_the_loop(name, last):
    """Values, gradients, and the gradients of these, in one node, which lie in memory as the input does."""
    torch.manual_seed(0)
    neuron = RECURRENT[name]().double()
    if hasattr(neuron, "beta"):
        neuron.beta = nn.Parameter(0.7 + 0.2 * torch.rand(F, 1, 1, dtype=F64))
    for batch in (B, 1):
        x = images(batch, last)
        states = [torch.rand(neuron.state_shape(x[0]), dtype=F64).requires_grad_() for _ in neuron.states]
        leaves = [x, *states, *neuron.parameters()]
        found, expected = (twice(neuron, x, states, leaves, way) for way in ("auto", "eager"))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        assert 0 < found[0][0].mean() < 1
        assert (found[0][0].stride(2) == 1) == last
        assert batch == 1 or (found[1][0].stride(2) == 1) == last


def twice(neuron, x: Tensor, states: list[Tensor], leaves: list[Tensor], way: str):
    with snn.backend(way):
        out = snn.unroll(neuron, x, *states)
    loss = sum((torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) * o).sum() for o in out)
    plain = torch.autograd.grad(loss, leaves, retain_graph=True)
    again = torch.autograd.grad(loss, leaves, create_graph=True)
    return out, plain, again, torch.autograd.grad(sum((g**2).sum() for g in again), leaves)


def test_images_compiled():
    """By the default backend, which arranges memory as it likes; with channels last, as it prefers."""
    torch.manual_seed(0)
    net = nn.ModuleList([nn.Conv2d(F, F, 3, padding=1), RECURRENT["RLeaky of images"]()])
    x = images(B, True, torch.float32)

    def call(x):
        drive = net[0](x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return snn.unroll(net[1], 3 * torch.tanh(drive), *[torch.zeros(0)] * 2)

    found, expected = torch.compile(call, fullgraph=True)(x), call(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients(found, x, net), gradients(expected, x, net), rtol=1e-4, atol=1e-5)
    assert 0 < expected[0].mean() < 1


def circular() -> nn.Module:
    layer: Any = RECURRENT["RLeaky of images"]().recurrent
    layer.padding_mode = "circular"
    return layer


@pytest.mark.parametrize("layer", [
    lambda: nn.Conv2d(F, F, 3, padding="same"), lambda: nn.Conv2d(F, F, 3, padding=1, groups=F),
    lambda: nn.Sequential(nn.Conv2d(F, F, 3, stride=2), nn.Upsample((5, 6))),
    lambda: nn.Conv2d(F, F, 3, padding=1, padding_mode="circular"), circular,
], ids=["same", "depthwise", "strided", "circular", "changed"])  # fmt: skip
def test_another_layer_of_images_is_called(layer):
    torch.manual_seed(0)
    neuron, x = RECURRENT["RLeaky of images"](), images(B, False)
    neuron.recurrent = layer()
    neuron.double()
    found, course = snn.unroll(neuron, x, *[torch.zeros(0)] * 2)
    spk, mem, expected = x[0] * 0, x[0] * 0, []
    for now in x:
        mem = neuron.beta * mem + now + neuron.recurrent(spk) - (mem > neuron.threshold) * neuron.threshold
        spk = neuron.spike(mem - neuron.threshold)
        expected.append(mem)
    torch.testing.assert_close(course, torch.stack(expected), rtol=1e-12, atol=1e-12)
    assert 0 < found.mean() < 1


@pytest.mark.parametrize("name", ["SLSTM", "RLeaky of images"])
def test_autocast_changes_nothing_inside_the_operator(name):
    """As where a program that was exported without it runs under it."""
    neuron, results = RECURRENT[name](), []
    arguments = operands(neuron, torch.rand(T, B, *of_shape(neuron)), drives=True)
    for on in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            found = torch.ops.snntorch.feedback(*arguments)
            results.append((found, torch.autograd.grad(sum(f.sum() for f in found), arguments[7])))
    assert_equal(*results)
