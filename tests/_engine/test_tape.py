"""What is kept for backward: for gradients of gradients, of some of the results, and where it was freed or changed."""

import itertools

import pytest
import torch
from test_numbers import FUSED
from torch import nn
from torch.func import functional_call

import snntorch as snn
from helpers import flat, start
from helpers import run as looped
from rows import STEP_ROWS, one_per_class, rows
from snntorch._engine.absent import meets_infinity
from snntorch._engine.program import gradient
from snntorch._engine.trace import trace

F64 = torch.float64
T, B, F = 5, 3, 4
PATHS = pytest.mark.parametrize("path", ["single", "over time", "recurrent"])


def weighted(tensors, seed=0):
    """A sum that tells every element from every other."""
    draw = torch.Generator().manual_seed(seed)
    return sum((torch.randn(t.shape, generator=draw, dtype=F64).to(t) * t).sum() for t in tensors)


class Net(nn.Module):
    """Two layers on one of the paths."""

    def __init__(self, path):
        super().__init__()
        torch.manual_seed(0)
        self.path = path
        self.fc1, self.fc2 = nn.Linear(F, 6, dtype=F64), nn.Linear(6, 2, dtype=F64)
        recurrent = path == "recurrent"
        self.lif1 = snn.RLeaky(0.9, linear_features=6) if recurrent else snn.Leaky(0.9, learn_beta=True)
        self.lif2 = snn.Leaky(0.8, learn_threshold=True)
        self.lif1, self.lif2 = self.lif1.double(), self.lif2.double()

    def forward(self, x):
        self.lif1.reset_mem(), self.lif2.reset_mem()
        if self.path != "single":
            spk = snn.unroll(self.lif1, self.fc1(x), *[torch.zeros(0)] * len(self.lif1.states))[0]
            return snn.unroll(self.lif2, self.fc2(spk), torch.zeros(0))[1]
        mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for now in x:
            spk, mem1 = self.lif1(self.fc1(now), mem1)
            _, mem2 = self.lif2(self.fc2(spk), mem2)
            out.append(mem2)
        return torch.stack(out)


def on_both(function):
    """What a function returns with kernels and without."""
    results = []
    for way in ("auto", "eager"):
        with snn.backend(way):
            results.append(function())
    return results


# -- the gradient of the gradient


TWICE = [r for r in FUSED if "quant" not in r.name]
PROGRAMS = [r for r in FUSED if not r.takes_sequence and "pool" not in r.name]  # with pooling it is that without


@pytest.mark.parametrize(("row", "single"), [
    *((row, False) for row in TWICE), *((row, True) for row in one_per_class(TWICE))
], ids=lambda given: getattr(given, "name", given))  # fmt: skip
def test_second_derivatives(row, single):
    def twice():
        neuron, x = row.make(F64), row.input(T, B, F64).requires_grad_()
        looping = single or row.takes_sequence
        out = flat(looped(row, neuron, x) if looping else snn.unroll(neuron, x, *start(row, neuron)))
        leaves = [x, *(p for p in neuron.parameters() if p.requires_grad)]
        first = torch.autograd.grad(weighted(out), leaves, create_graph=True, allow_unused=True)
        first = [f for f in first if f is not None]
        total = weighted([f**2 for f in first], 1) + weighted([o**2 for o in out], 2)
        return first, torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)

    found, expected = on_both(twice)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_third_derivatives():
    def thrice():
        lif = snn.Leaky(
            0.9, spike_grad=snn.surrogate.sigmoid(slope=2), learn_beta=True, reset_mechanism="zero"
        ).double()
        x = torch.linspace(-1, 2, T * B, dtype=F64).reshape(T, B).requires_grad_()
        found = weighted(snn.unroll(lif, x, torch.zeros(0)))
        for _ in range(3):
            d_x, d_beta = torch.autograd.grad(found, (x, lif.beta), create_graph=True)
            found = weighted([d_x**2]) + d_beta**2
        return d_x, d_beta

    found, expected = on_both(thrice)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert all(e.any() for e in expected)


@PATHS
def test_a_gradient_penalty(path):
    def penalty():
        net, x = Net(path), torch.linspace(-2, 3, T * B * F, dtype=F64).reshape(T, B, F).requires_grad_()
        (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean().backward()
        return slope, {name: p.grad for name, p in net.named_parameters()}

    found, expected = on_both(penalty)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert expected[1]["fc1.weight"].any()


@PATHS
def test_a_step_of_maml(path):
    """The gradient of the loss after a step of gradient descent with respect to the weights before."""

    def step():
        net, x = Net(path), torch.linspace(-2, 9, T * B * F, dtype=F64).reshape(T, B, F)
        weights = dict(net.named_parameters())
        loss = functional_call(net, weights, (x,)).pow(2).mean()
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        adapted = {name: w - 0.5 * d for (name, w), d in zip(weights.items(), slopes, strict=True)}
        outer = functional_call(net, adapted, (x.flip(0),)).pow(2).mean()
        return torch.autograd.grad(outer, list(weights.values()))

    found, expected = on_both(step)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert all(e.any() for e in expected)


# -- which cotangents arrive


def traced(row):
    """The program of a row's step, and for each parameter whether it learns."""
    neuron = row.make(F64)
    arguments = neuron.step_arguments(F64)
    params = [name for name, value in arguments.items() if isinstance(value, torch.Tensor)]
    constants = {name: value for name, value in arguments.items() if name not in params}
    x = row.input(1, B, F64)[0]
    inputs = len(neuron.drive(neuron.project(x), *(x.new_zeros(neuron.state_shape(x)) for _ in neuron.states)))
    program, captured = trace(type(neuron).step, (True,) * inputs, len(neuron.states), params, constants, F64)
    return program, program.params - len(captured)


@rows(PROGRAMS)
def test_what_is_kept_is_enough_for_every_pattern_of_cotangents(row):
    """And for all of them it is read."""
    program, params = traced(row)
    needs = (True,) * program.inputs, (True,) * params + (False,) * (program.params - params)
    for asked in itertools.product([False, True], repeat=len(program.outputs)):
        later = (True,) * program.states
        chosen = gradient(program, (*asked, *later), *needs)
        kept = tuple(k in chosen.saved for k in range(program.states))
        everything = (*asked[: program.free], *[True] * program.states)
        for given in itertools.product([False, True], repeat=len(program.outputs) + program.states):
            if any(g and not e for g, e in zip(given, everything, strict=False)):
                continue
            found = gradient(program, given, *needs, kept)
            assert found.saved <= chosen.saved
            assert found.needs["input"] <= chosen.needs["input"]
        again = gradient(program, (*asked, *later), *needs, kept)
        assert again.needs == chosen.needs


class Root(snn.SpikingNeuron):
    """The state's derivative is infinite at 0, that of the output is not."""

    states = ("mem",)

    @staticmethod
    def step(x, mem, *, threshold):
        return x * mem * threshold, mem.sqrt()


@pytest.mark.parametrize("wanted", ["output", "state"])
@pytest.mark.parametrize("steps", [0, 1, 2, 4])
def test_an_absent_cotangent_meets_no_infinity(steps, wanted):
    def step():
        x = torch.arange(2.0, 10.0, dtype=F64).reshape(4, 2)[: steps or 1].requires_grad_()
        mem = torch.tensor([0.0, 4.0], dtype=F64, requires_grad=True)
        out = snn.unroll(Root(), x, mem) if steps else Root()(x[0], mem)
        last = out[0] if wanted == "output" else out[1]
        return torch.autograd.grad((last if steps < 2 else last[:2]).sum(), (x, mem), materialize_grads=True)

    found, expected = on_both(step)
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert wanted == "state" or steps > 1 or expected[1].tolist() == [2, 3]


@rows([r for r in PROGRAMS if r.cls not in (snn.EIF, snn.AdEx)])  # exponentials may overflow
def test_no_neuron_of_the_package_pays_for_it(row):
    program, _ = traced(row)
    later = (*[True] * program.free, *[False] * program.states, *[True] * program.states)
    step = gradient(program, later, (True,) * program.inputs, (False,) * program.params)
    assert not meets_infinity(step, len(program.outputs))


# -- what was freed


@PATHS
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_a_second_backward_through_stored_states_says_what_to_do(path, backend):
    torch.manual_seed(0)
    lif = (
        snn.RLeaky(0.9, linear_features=3, init_hidden=True)
        if path == "recurrent"
        else snn.Leaky(0.9, init_hidden=True)
    )
    net = nn.Sequential(nn.Linear(F, 3), lif)
    x = torch.rand(T, B, F)

    def train():
        with snn.backend(backend):
            out = torch.stack([net(now) for now in x]) if path == "single" else snn.unroll(net, x)
        out.sum().backward()

    train()
    with pytest.raises(RuntimeError, match=r"second time(.|\n)*utils\.reset\(net\), snntorch\.utils\.detach\(net\)"):
        train()
    snn.utils.detach(net)
    train()
    snn.utils.reset(net)
    train()


@pytest.mark.parametrize("delay", [True, False])
def test_only_what_an_earlier_backward_freed_is_refused(delay):
    """A graph that was kept, several losses in one pass, and a step of which nothing was kept."""
    lif, x = snn.Leaky(0.9, init_hidden=True, reset_delay=delay), torch.rand(B, F, requires_grad=True)
    with snn.backend("eager"):
        lif(x)
        lif(x).sum().backward(retain_graph=True)
        (lif(x) + lif(x)).sum().backward()
        with pytest.raises(RuntimeError, match=r"utils\.detach\(net\)"):
            lif(x).sum().backward()
        plain = snn.Leaky(0.9, init_hidden=True, reset_mechanism="none", surrogate_disable=True, output=True)
        for _ in range(2):
            plain.mem = torch.zeros(B, F)
            plain(x)[1].sum().backward()


@pytest.mark.parametrize("steps", [0, 1, 3], ids=["single", "one", "three"])
@rows(one_per_class(STEP_ROWS))
def test_the_advice_comes_where_pytorch_refuses_and_nowhere_else(row, steps, monkeypatch):
    """Inputs are leaves: the first step may keep what a second backward needs, or nothing."""

    def second_backward():
        neuron, x = row.make(init_hidden=True, output=True), row.input(max(steps, 1), 2).requires_grad_()
        for _ in range(2):
            out = flat(snn.unroll(neuron, x) if steps else neuron(x[0]))
            sum(o.sum() for o in out if o.requires_grad).backward()

    def refusal():
        with snn.backend("eager"):
            try:
                second_backward()
            except RuntimeError as error:
                return str(error)
        return ""

    advised = refusal()
    monkeypatch.setattr(snn._engine.dispatch, "advise", lambda taken, returned: None)
    assert ("second time" in advised) == ("utils.reset(net)" in advised) == ("second time" in refusal())


# -- what was changed in place


class Reader(snn.SpikingNeuron):
    """Its gradient reads the input, the state before and after, and the parameter."""

    states = ("mem",)

    def __init__(self):
        super().__init__()
        self.register_value("beta", 0.5, learn=True)

    @staticmethod
    def step(x, mem, *, beta):
        mem = beta * mem * x + x
        return mem.exp(), mem.tanh()


def changed(path, what, way):
    """A loss whose tensor of that name was changed after forward, and what it is differentiated by."""
    torch.manual_seed(0)
    recurrent = path == "recurrent"
    neuron = snn.RLeaky(0.9, linear_features=F, learn_beta=True) if recurrent else Reader()
    x = torch.rand(T, B, F, requires_grad=True)
    first = [torch.rand(B, F, requires_grad=True) for _ in neuron.states]
    given, mem = x * 1, [s * 1 for s in first]
    parameter = neuron.recurrent.weight if recurrent else neuron.beta
    with snn.backend(way):
        out = snn.unroll(neuron, given, *mem) if path != "single" else neuron(given[0], *mem)
    changes = {"input": given, "state": mem[-1], "parameter": parameter, "result": out[-1], "nothing": torch.rand(3)}
    with torch.no_grad():
        changes[what].mul_(0)
    return weighted(out), [x, *first, *neuron.parameters()]


@pytest.mark.parametrize("what", ["input", "state", "parameter", "result"])
@PATHS
def test_what_the_gradient_reads_must_not_change(path, what):
    loss, leaves = changed(path, what, "fused")
    if path == "recurrent" and what == "input":  # which is not read
        expected = torch.autograd.grad(*changed(path, "nothing", "eager"))
        torch.testing.assert_close(torch.autograd.grad(loss, leaves), expected)
        return
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("recompute", [None, 2])
@pytest.mark.parametrize("single", [False, True], ids=["over time", "single"])
def test_layers_that_work_in_place_around_a_neuron(single, recompute):
    def train():
        torch.manual_seed(0)
        lif = snn.Leaky(0.9, init_hidden=True, learn_beta=True)
        layers = [nn.Linear(F, 6), nn.ReLU(inplace=True), lif, nn.ReLU(inplace=True), nn.Linear(6, 2)]
        net, x = nn.Sequential(*layers, snn.Leaky(0.8, init_hidden=True)).to(F64), 4 * torch.rand(T, B, F, dtype=F64)
        x.requires_grad_()
        looping = single or snn._engine.setting.asked() == "eager"
        out = torch.stack([net(now) for now in x]) if looping else snn.unroll(net, x, recompute=recompute)
        out.sum().backward()
        return out, x.grad, [p.grad for p in net.parameters()]

    found, expected = on_both(train)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert found[1].any()
