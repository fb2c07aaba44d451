"""The engine's operators, as torch's own machinery sees them."""

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

import snntorch as snn
from helpers import Elements, gradients
from snntorch._engine.trace import trace

T, B, F = 6, 3, 4

# Dynamo of torch 2.13 itself reads a deprecated attribute of every autograd.Function.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning", "ignore:.*TF32.*:UserWarning"
)


def program(neuron):
    """A neuron's step as text."""
    arguments = neuron.step_arguments(torch.float32)
    params = [name for name, value in arguments.items() if isinstance(value, torch.Tensor)]
    constants = {name: value for name, value in arguments.items() if name not in params}
    found, _ = trace(type(neuron).step, (True,), len(neuron.states), params, constants, torch.float32)
    return found.text, [arguments[name] for name in params]


@pytest.mark.parametrize("steps", [0, T], ids=["single", "over time"])
@pytest.mark.parametrize("make", [lambda: snn.Leaky(0.9, learn_beta=True), lambda: snn.Synaptic(0.8, 0.6)],
                         ids=["Leaky", "Synaptic"])  # fmt: skip
def test_opcheck(make, steps):
    neuron = make()
    text, params = program(neuron)
    lead = (steps, B, F) if steps else (B, F)
    x = torch.rand(lead, requires_grad=True)
    states = [torch.rand(B, F, requires_grad=True) for _ in neuron.states]
    written = [True] * (1 + len(states)) if steps else [True] + [False] * len(states)
    torch.library.opcheck(torch.ops.snntorch.run.default, (text, steps, written, [x], states, params))

    with torch.no_grad():
        x, states, params = x.detach(), [s.detach() for s in states], [p.detach() for p in params]
        results = torch.ops.snntorch.run(text, steps, written, [x], states, params)
    courses = results[-len(states) :] if not steps else results[1 : 1 + len(states)]
    grads = [torch.rand_like(r) for r in results]
    grads = grads if steps else [grads[0], *[None] * len(states), *grads[1:]]
    wanted = [True, *[True] * len(params)]
    arguments = (text, steps, wanted, grads, list(courses), [x], states, params)
    torch.library.opcheck(torch.ops.snntorch.run_backward.default, arguments)


def stateless():
    """A net whose states start from zeros at every call."""
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(F, 8), snn.Leaky(0.9, learn_beta=True), nn.Linear(8, 3), snn.Synaptic(0.8, 0.6)])

    def forward(x):
        spk, _ = snn.unroll(layers[1], layers[0](x), torch.zeros(0))
        return snn.unroll(layers[3], layers[2](spk), torch.zeros(0), torch.zeros(0))

    layers[2].weight.data.abs_()  # so that the second layer fires
    layers.forward = forward
    return layers


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_an_unrolled_net(backend):
    torch._dynamo.reset()
    module, twin = stateless(), stateless()
    compiled = torch.compile(module.forward, fullgraph=True, backend=backend)
    x = (3 * torch.rand(T, B, F)).requires_grad_()
    found, expected = compiled(x), twin.forward(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients(found, x, module), gradients(expected, x, twin), rtol=1e-4, atol=1e-5)
    assert expected[0].any()


def test_one_graph_for_every_length_and_batch():
    torch._dynamo.reset()
    module, graphs = stateless(), []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    compiled = torch.compile(module.forward, fullgraph=True, dynamic=True, backend=backend)
    for steps, batch in ((11, 7), (5, 2), (30, 9), (13, 21)):
        x = 3 * torch.rand(steps, batch, F)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), module.forward(x))
    assert len(graphs) == 1
    calls = [node for node in graphs[0].graph.nodes if "snntorch.run" in str(node.target)]
    assert len(calls) == 2  # a call a neuron, not T


@pytest.mark.parametrize("ran_before", [False, True])
def test_make_fx(ran_before):
    module, x = stateless(), 3 * torch.rand(T, B, F)
    with torch.no_grad():
        if ran_before:
            module.forward(x)
        graph = make_fx(module.forward)(x)
        assert sum("snntorch.run" in str(node.target) for node in graph.graph.nodes) == 2
        other = 3 * torch.rand(T, B, F)
        torch.testing.assert_close(graph(other), module.forward(other))


def test_torch_func_on_the_default_backend():
    lif, x = snn.Leaky(0.9, learn_beta=True).double(), 2 * torch.rand(T, B, F, dtype=torch.float64)
    params = {k: v.detach() for k, v in lif.named_parameters()}

    def loss(params, x):
        spk, mem = torch.func.functional_call(Sequence(lif), {f"lif.{k}": v for k, v in params.items()}, (x,))
        return (spk + mem**2).sum()

    leaf, beta = x.clone().requires_grad_(), lif.beta
    spk, mem = snn.unroll(lif, leaf, torch.zeros(0))
    expected = torch.autograd.grad((spk + mem**2).sum(), (beta, leaf))
    grads, d_x = torch.func.grad(loss, argnums=(0, 1))(params, x)
    torch.testing.assert_close((grads["beta"], d_x), expected)
    split = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(params, x)["beta"]
    torch.testing.assert_close(split.sum(), expected[0])
    tangent = torch.rand_like(x)
    smooth = snn.Leaky(0.9, spike_grad=torch.sigmoid).double()
    _, along = torch.func.jvp(lambda x: snn.unroll(smooth, x, torch.zeros(0))[1][-1], (x,), (tangent,))
    decays = 0.9 ** torch.arange(T - 1, -1, -1, dtype=x.dtype)
    torch.testing.assert_close(along, (decays[:, None, None] * tangent).sum(0))


class Sequence(nn.Module):
    def __init__(self, lif):
        super().__init__()
        self.lif = lif

    def forward(self, x):
        return snn.unroll(self.lif, x, torch.zeros(0))


def test_modes_see_the_operators():
    lif, x = snn.Leaky(0.9), torch.rand(T, B, F)
    with Elements() as seen:
        snn.unroll(lif, x, torch.zeros(0))
    assert seen.count >= 2 * T * B * F
    linear = nn.Linear(F, F)
    with FlopCounterMode(display=False) as flops:
        snn.unroll(lif, linear(x), torch.zeros(0))
    assert flops.get_total_flops() == 2 * T * B * F * F


def test_fake_tensors_have_the_right_shapes():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        text, params = program(snn.Leaky(0.9))
        x, mem = torch.rand(T, B, F), torch.rand(B, F)
        found = torch.ops.snntorch.run(text, T, [True, True], [x], [mem], params)
    assert [tuple(f.shape) for f in found] == [(T, B, F), (T, B, F), (B, F)]
