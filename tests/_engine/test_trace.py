"""Tracing: which operations a step may use, what it says of others, and what a step may hold."""

import pytest
import torch

import snntorch as snn
from helpers import gradients
from snntorch import surrogate
from snntorch._engine.numba_printer import print_backward, print_forward
from snntorch._engine.program import gradient
from snntorch._engine.trace import TraceError, trace
from snntorch._time.explain import paths

T, B, F = 6, 3, 4


def neuron(step, names=("mem",), **values):
    """A neuron of the user's with this step."""

    class Own(snn.SpikingNeuron):
        states = names

    Own.step = staticmethod(step)
    made = Own()
    for name, value in values.items():
        made.register_value(name, value, learn=True)
    return made.double()


def assert_fused_is_eager(layer, x=None, **kwargs):
    results = []
    for way in ("fused", "eager"):
        given = (torch.linspace(-2.3, 2.9, T * B * F, dtype=torch.float64).view(T, B, F) if x is None else x).clone()
        given.requires_grad_()
        with snn.backend(way):
            out = snn.unroll(layer, given, *[torch.zeros(0)] * len(layer.states))
        results.append([out, gradients(out, given, layer)])
    torch.testing.assert_close(*results, rtol=1e-11, atol=1e-11)
    return results[0]


def reason(layer, x=None):
    x = torch.rand(T, B, F, dtype=torch.float64) if x is None else x
    (path,) = paths(layer, x, *[torch.zeros(0)] * len(layer.states))
    assert path.path == "stepped"
    return path.reason


def accumulated(a, p):
    total = a * 1
    same = total
    same += p
    same *= 2
    same -= a
    same /= p
    return total + same**2


# name -> an expression of two tensors, one of them positive; `test_operations.py` has each operation by itself
FUNCTIONS = {
    "clamp": lambda a, p: torch.clamp(a, -1, 1),
    "clamp one side": lambda a, p: torch.clamp(a, min=0.5) + a.clamp(max=0.2),
    "clamp by a tensor": lambda a, p: torch.clamp(a, max=p),
    "operators": lambda a, p: (a + 1) * (2 - a) / (p + 3) - 1 / p + (-a) ** 2 + p**0.5 + 2**a + abs(a) + (1 + a) * 2,
    "comparisons": lambda a, p: (a > p) * 1.0 + (a <= 1) * a + (0 < a) * p + (a != p) * a,
    "logic": lambda a, p: ((a > 0) & (p > 1) | ~(a < 1)) * p,
    "methods": lambda a, p: a.mul(p).add(a).sub(1).div(2).sigmoid().tanh().pow(2).clamp_min(0).contiguous(),
    "dtype": lambda a, p: (a > 0).to(a.dtype) + (a > p).type_as(a) + (a > 1).to(p),
    "operators in place": lambda a, p: accumulated(a, p),
    "float": lambda a, p: a.float().to(a.dtype) * 0 + a.double(),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    function = FUNCTIONS[name]

    def step(x, mem, *, threshold):
        mem = 0.5 * mem + 0.1 * x + function(x, x * x + 0.25)
        return (mem > threshold).to(mem.dtype), mem

    assert_fused_is_eager(neuron(step))


# -- what is not elementwise, by name


def spiking(function):
    def step(x, mem, *, threshold):
        mem = mem + function(x)
        return (mem > threshold).to(mem.dtype), mem

    return neuron(step)


@pytest.mark.parametrize(("function", "says"), [
    (lambda x: x.sum(-1, keepdim=True), r"`\.sum` of a tensor"),
    (lambda x: torch.cumsum(x, -1), r"torch\.cumsum is not elementwise"),
    (lambda x: x @ torch.eye(F, dtype=x.dtype), "not elementwise|matmul|unsupported"),
    (lambda x: torch.softmax(x, -1), r"torch\.softmax"),
    (lambda x: x[..., :1], "subscriptable|getitem"),
    (lambda x: x if x.mean() > 0 else -x, r"`\.mean`"),
    (lambda x: x if x > 0 else -x, "branches on a tensor's values"),
    (lambda x: x.half().to(x.dtype), r"`\.half`"),
    (lambda x: x.to(torch.int32).to(x.dtype), "conversion to torch.int32"),
    (lambda x: torch.rand_like(x), "rand_like"),
    (lambda x: x.round(decimals=1), "decimals"),
    (lambda x: torch.where(x, x, x), "number where a condition"),
    (lambda x: x * torch.arange(F), r"torch\.int64"),
    (lambda x: x * "two", "str"),
])  # fmt: skip
def test_what_does_not_fuse_says_why(function, says):
    x = torch.rand(T, B, F, dtype=torch.float64)
    with pytest.raises((TraceError, TypeError), match=says):
        trace(type(spiking(function)).step, (True,), 1, ["threshold"], {}, torch.float64)
    with snn.backend("fused"), pytest.raises(RuntimeError, match=says):
        snn.unroll(spiking(function), x, torch.zeros(0))


def test_a_step_that_branches_falls_back_and_is_right():
    def step(x, mem, *, threshold):
        mem = mem + x if bool(x.sum() > 0) else mem - x
        return (mem > threshold).to(mem.dtype), mem

    x = torch.rand(T, B, F, dtype=torch.float64) - 0.5
    _, mem = snn.unroll(neuron(step), x, torch.zeros(0))
    signs = torch.where(x.sum((1, 2)) > 0, 1.0, -1.0)[:, None, None]
    torch.testing.assert_close(mem, (signs * x).cumsum(0))


def test_too_few_states():
    step = neuron(lambda x, a, b, *, threshold: x, ("a", "b")).step
    with pytest.raises(TraceError, match="returns 1 values for 2 states"):
        trace(step, (True,), 2, ["threshold"], {}, torch.float64)


def test_no_grad_inside_a_step():
    def step(x, mem, *, threshold):
        with torch.no_grad():
            frozen = mem * 0.5
        mem = frozen + x
        return (mem > threshold).to(mem.dtype), mem

    layer = neuron(step)
    assert "torch.no_grad" in reason(layer)
    x = torch.rand(T, B, F, dtype=torch.float64, requires_grad=True)
    _, mem = snn.unroll(layer, x, torch.zeros(0))
    (grad,) = torch.autograd.grad(mem[-1].sum(), x)
    assert grad[-1].eq(1).all() and not grad[:-1].any()


def izhikevich(substeps):
    """Substeps of a neuron, each a dozen operations."""

    def step(x, v, u, *, threshold, spike):
        for _ in range(substeps):
            v = v + (0.04 * v * v + 5 * v + 140 - u + x) / substeps
            u = u + 0.02 * (0.2 * v - u) / substeps
        spk = spike(v - threshold)
        return spk, v - spk * (v + 65), u + 8 * spk

    return step


def test_long_steps_are_traced_differentiated_and_printed_without_recursion():
    spike = snn.Leaky(0.9).step_arguments(torch.float32)["spike"]
    lengths = []
    for substeps in (125, 250):
        found, _ = trace(izhikevich(substeps), (True,), 2, ["threshold"], {"spike": spike}, torch.float32)
        back = gradient(found, (True,) * 5, (True,), (False,))
        texts = (print_forward(found, [False], [True] * 3).text, print_backward(back, [False], 3).text)
        lengths.append([len(text.splitlines()) for text in texts])
    assert all(twice < 2.1 * once for once, twice in zip(*lengths, strict=True))


def test_longer_ones_step_and_say_why():
    def step(x, mem, *, threshold):
        for _ in range(3000):
            mem = 0.999 * mem + 0.001 * x
        return (mem > threshold).to(mem.dtype), mem

    layer = neuron(step)
    assert reason(layer, torch.rand(2, 1, 1, dtype=torch.float64)) == (
        "the step has more than 5000 operations, which would take too long to compile"
    )
    _, mem = snn.unroll(layer, torch.ones(1, 1, 1, dtype=torch.float64), None)
    torch.testing.assert_close(mem.item(), 1 - 0.999**3000, rtol=1e-10, atol=0)


def test_functions_in_place_step():
    """What they do to their argument would be lost."""
    x = torch.rand(T, B, F, dtype=torch.float64) - 0.5
    for function in (lambda x: torch.relu_(x) * 0 + x, lambda x: torch.nn.functional.relu(x, inplace=True) * 0 + x):
        layer = spiking(lambda x, function=function: function(x.clone()))
        assert "relu" in reason(layer, x)


# -- what a step may hold


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x  # not 2 x, so that it shows


def test_autograd_functions_as_arguments_keep_their_gradient():
    lif = snn.Leaky(0.9, spike_grad=Square.apply, reset_mechanism="none").double()
    x = torch.rand(1, B, F, dtype=torch.float64, requires_grad=True)
    with snn.backend("fused"):
        spk, _ = snn.unroll(lif, x, torch.zeros(0))
    (grad,) = torch.autograd.grad(spk.sum(), x)
    torch.testing.assert_close(grad, 3 * (x.detach() - 1))
    torch.testing.assert_close(spk.detach(), (x.detach() - 1) ** 2)


def test_captured_tensors_get_gradients():
    gain = torch.linspace(0.5, 1.5, F, dtype=torch.float64, requires_grad=True)
    grads = []
    for way in ("fused", "eager"):
        layer = snn.Leaky(0.9, spike_grad=lambda x: torch.sigmoid(gain * x)).double()
        with snn.backend(way):
            spk, mem = snn.unroll(layer, torch.ones(T, B, F, dtype=torch.float64), torch.zeros(0))
        grads.append(torch.autograd.grad((spk * mem).sum(), gain)[0])
    torch.testing.assert_close(*grads)
    assert grads[0].any()


class Opaque:
    """A surrogate object whose setting may change between calls."""

    def __init__(self):
        self.slope = 1.0

    def __call__(self, x):
        return torch.sigmoid(self.slope * x)


def test_a_setting_changed_between_calls_takes_effect():
    spike, x = Opaque(), torch.rand(T, B, F)
    lif = snn.Leaky(0.9, spike_grad=spike)
    results = {}
    for slope in (1.0, 7.0, 1.0):
        spike.slope = slope
        found = {}
        for way in ("fused", "eager"):
            with snn.backend(way):
                found[way] = snn.unroll(lif, x, torch.zeros(0))[0]
        torch.testing.assert_close(found["fused"], found["eager"])
        results.setdefault(slope, found["fused"])
    assert not torch.allclose(results[1.0], results[7.0])


def test_reset_and_parameters_changed_between_calls_take_effect():
    lif, x = snn.Leaky(0.9), 2 * torch.rand(T, B, F)
    for change in (
        lambda: setattr(lif, "reset_mechanism", "zero"),
        lambda: lif.beta.fill_(0.2),
        lambda: setattr(lif, "threshold", torch.tensor(0.4)),
        lambda: lif.graded_spikes_factor.fill_(3),
    ):
        before = snn.unroll(lif, x, torch.zeros(0))
        change()
        with snn.backend("fused"):
            found = snn.unroll(lif, x, torch.zeros(0))
        with snn.backend("eager"):
            torch.testing.assert_close(found, snn.unroll(lif, x, torch.zeros(0)))
        assert not all(map(torch.equal, found, before))


def test_a_users_neuron_comes_out_fused():
    """Adaptive threshold, two states, a learnable parameter per channel, a closure over a surrogate."""
    width = 0.7
    base = surrogate.fast_sigmoid(5)

    def step(x, mem, a, *, beta, rho, threshold, spike):
        mem = beta.sigmoid() * mem + x
        spk = base(width * (mem - threshold - rho * a))
        return spk, mem - spk * threshold, 0.8 * a + spk

    layer = neuron(step, ("mem", "a"), beta=torch.linspace(-1, 3, 3)[:, None, None], rho=0.4)
    x = 2 * torch.rand(T, B, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (path,) = paths(layer, x, torch.zeros(0), torch.zeros(0))
    assert path.path == "fused cpu"
    (spk, _, _), grads = assert_fused_is_eager(layer, x)
    assert 0 < spk.mean() < 1
    assert grads["beta"].shape == (3, 1, 1) and grads["beta"].all() and grads["rho"].all()
