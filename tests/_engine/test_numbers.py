"""Fused = eager: values and gradients of every row of the table, whatever is asked for and however memory lies."""

import copy
import re

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import flat, gradients, start
from helpers import run as looped
from rows import CHANNELS, FEATURES, ROWS, Adaptive, per_channel, per_neuron, row_named, rows
from snntorch import surrogate
from snntorch._engine.target import PACKAGES
from snntorch._time.explain import paths

F32, F64 = torch.float32, torch.float64
T, B = 7, 3

# What the engine cannot take, and why.
STEPPED = {
    **{r.name: "flatten" for r in ROWS if r.kwargs.get("inhibition")},
    "Leaky-quant-levels": "device",
}
OTHERWISE = (
    snn.LeakyParallel,
    snn.AssociativeLeaky,
    snn.SlidingPSN,
)  # made of PyTorch's own recurrence and of matrix products
FUSED = [r for r in ROWS if r.name not in STEPPED and r.cls not in OTHERWISE]


def fused(row, neuron, x, *states, **kwargs):
    """All outputs over `x` by the engine, or an error."""
    with snn.backend("fused"):
        return neuron(x) if row.takes_sequence else snn.unroll(neuron, x, *(states or start(row, neuron)), **kwargs)


def eager(row, neuron, x, *states):
    """All outputs by the loop of PyTorch operations."""
    with snn.backend("eager"):
        return looped(row, neuron, x, *states)


def initial(row, neuron, dtype, seed=1):
    """Random initial states, as leaves, for a row whose states are passed."""
    if row.takes_sequence or not start(row, neuron):
        return []
    generator = torch.Generator().manual_seed(seed)
    shape = neuron.state_shape(row.input(1, B)[0])
    return [(0.3 * torch.randn(shape, generator=generator, dtype=F64)).to(dtype).requires_grad_() for _ in row.states]


def nested(row, states):
    return (tuple(states),) if row.cls is snn.DeltaLeaky and states else tuple(states)


def both(row, dtype, path=fused, other=eager):
    """Outputs and gradients along both paths."""
    results = []
    for way in (path, other):
        neuron, x = row.make(dtype), row.input(T, B, dtype).requires_grad_()
        states = initial(row, neuron, dtype)
        out = flat(way(row, neuron, x, *nested(row, states)))
        results += [out, gradients(out, x, neuron, *states)]
    return results


@rows(FUSED)
def test_float64(row):
    found, d_found, expected, d_expected = both(row, F64)
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-12, atol=1e-12)
        spikes = (e == 0) | (e == 1)
        assert torch.equal(f[spikes], e[spikes])
    tolerance = 2e-6 if "quant" in row.name else 1e-10  # levels are float32, and PyTorch's gradients of them too
    torch.testing.assert_close(d_found, d_expected, rtol=tolerance, atol=tolerance)
    assert d_expected["x"].any()


@rows([r for r in ROWS if r.name in STEPPED])
def test_what_cannot_fuse_says_why(row):
    neuron, x = row.make(), row.input(T, B)
    with pytest.raises(RuntimeError, match=f"backend is fused, but .*({STEPPED[row.name]})"):
        fused(row, neuron, x)
    (path,) = paths(neuron, x, *start(row, neuron))
    assert path.path == "stepped"
    assert re.search(STEPPED[row.name], path.reason)
    found, d_found, expected, d_expected = both(row, F64, lambda *args: eager(*args), eager)
    torch.testing.assert_close([found, d_found], [expected, d_expected])


@rows(FUSED)
def test_float32(row):
    """Equal to rounding, until a membrane potential within a few ulp of the threshold falls on its other side."""
    found, d_found, expected, d_expected = both(row, F32)
    spikes = ((found[0] != 0) != (expected[0] != 0)).reshape(T, B, -1).any(-1)
    strayed = spikes.cumsum(0) > 0  # [T, B]: from the first differing spike on
    if strayed.any():
        first = strayed & (strayed.cumsum(0) == 1)
        distance = (expected[-1] - row.make().threshold).abs().reshape(T, B, -1).amin(-1)[first]
        assert bool((distance < 16 * torch.finfo(F32).eps).all())
    assert strayed.any(0).sum() <= 1
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f[~strayed], e[~strayed], rtol=1e-5, atol=1e-5)
    if not strayed.any():
        for name, d in d_expected.items():
            torch.testing.assert_close(d_found[name], d, rtol=1e-4, atol=1e-5 * max(1, d.abs().max().item()))


ELEMENTWISE = [
    r for r in FUSED if r.cls in (snn.Leaky, snn.Lapicque, snn.Synaptic, snn.Alpha, snn.DeltaLeaky, Adaptive)
    and "quant" not in r.name and not r.kwargs.get("init_hidden")
]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["half", "bfloat16"])
@rows(ELEMENTWISE)
def test_half_types_round_only_what_they_return(row, dtype):
    """Computed in float32: against float64 nothing but the rounding of inputs, parameters and results."""
    low = row.make().to(dtype)
    exact = copy.deepcopy(low).to(F64)
    x = row.input(T, B, dtype).requires_grad_()
    states = initial(row, low, dtype)

    def outputs_and_gradients(way, neuron, dtype):
        leaves = [t.detach().to(dtype).requires_grad_() for t in (x, *states)]
        out = flat(way(row, neuron, leaves[0], *nested(row, leaves[1:])))
        cotangents = [torch.linspace(-1, 1.5, o.numel()).to(x.dtype).view_as(o).to(o.dtype) for o in out]
        wanted = [*leaves, *(p for p in neuron.parameters() if p.requires_grad)]
        grads = torch.autograd.grad(out, wanted, cotangents, allow_unused=True)
        return [*out, *(torch.zeros_like(w) if g is None else g for w, g in zip(wanted, grads, strict=True))]

    truth = outputs_and_gradients(eager, exact, F64)
    errors = []
    for way in (fused, eager):
        results = outputs_and_gradients(way, copy.deepcopy(low), dtype)
        spk, *rest = results
        assert spk.dtype == dtype and {s.dtype for s in rest[: len(states)]} == {F32}
        errors.append([(r.to(F64) - t).abs() for r, t in zip(results, truth, strict=True)])
    eps = torch.finfo(dtype).eps
    for error, other, value in zip(*errors, truth, strict=True):
        assert (error <= eps * value.abs() + 1e-4 * eps**0.5 * (1 + value.abs().max())).all()
        assert error.mean() <= 2 * other.mean() + eps * value.abs().mean()


# -- what is asked for

PARTS = {"spk": lambda out: out[0], "mem": lambda out: out[-1], "final mem": lambda out: out[-1][-1],
         "first spk": lambda out: out[0][0], "state": lambda out: out[1]}  # fmt: skip
MAIN = [row_named(name) for name in
        ("Leaky-learn-integers", "Leaky-zero-now", "Synaptic-learn", "Alpha-learn", "Lapicque-learn-beta-R",
         "Adaptive-user", "DeltaLeaky-learn-graded", "RLeaky-one-to-one-now-vector", "RLeaky-linear-now-learn",
         "SLSTM-zero", "SConv2dLSTM-subtract", "StateLeaky-learn")]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
@rows(MAIN)
def test_loss_on_one_output(row, part):
    grads = []
    for way in (fused, eager):
        neuron, x = row.make(F64), row.input(T, B, F64).requires_grad_()
        states = initial(row, neuron, F64)
        out = PARTS[part](flat(way(row, neuron, x, *nested(row, states))))
        grads.append(gradients(out, x, neuron, *states))
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("reduce", [lambda spk: spk.sum(), lambda spk: spk.mean(0).square().sum(),
                                    lambda spk: spk[::2].sum()], ids=["sum", "mean", "part"])  # fmt: skip
@rows(MAIN)
def test_expanded_gradients(row, reduce):
    """`spk.sum().backward()` hands the kernel one number, expanded."""
    grads = []
    for way in (fused, eager):
        neuron, x = row.make(F64), row.input(T, B, F64).requires_grad_()
        grads.append(gradients(reduce(flat(way(row, neuron, x))[0]), x, neuron))
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


@rows([r for r in MAIN if not r.takes_sequence])
def test_static_input(row):
    results = []
    for way in ("fused", "eager"):
        neuron, x = row.make(F64), row.input(1, B, F64)[0].requires_grad_()
        states = initial(row, neuron, F64)
        with snn.backend(way):
            out = snn.unroll(neuron, x, *nested(row, states), num_steps=T)
        results.append([flat(out), gradients(out, x, neuron, *states)])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


@rows([r for r in MAIN if not r.takes_sequence])
def test_single_steps(row):
    """The unmodified loop through the kernels."""

    def steps(row, neuron, x, *states):
        with snn.backend("fused"):
            return looped(row, neuron, x, *states)

    found, d_found, expected, d_expected = both(row, F64, steps)
    torch.testing.assert_close([found, d_found], [expected, d_expected], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("output", [False, True], ids=["spikes-only", "with-states"])
@pytest.mark.parametrize("cls", [snn.Leaky, snn.Synaptic, snn.Alpha, snn.RLeaky, snn.SLSTM])
def test_stored_states_with_wanted_and_unwanted_traces(cls, output):
    """The final state alone carries the gradient of steps whose course nobody asked for."""
    kwargs = {snn.Leaky: dict(beta=0.9, learn_beta=True), snn.Synaptic: dict(alpha=0.8, beta=0.6, learn_alpha=True),
              snn.Alpha: dict(alpha=0.85, beta=0.6), snn.RLeaky: dict(beta=0.9, linear_features=FEATURES),
              snn.SLSTM: dict(input_size=FEATURES, hidden_size=FEATURES, threshold=0.1)}[cls]  # fmt: skip
    torch.manual_seed(0)
    first = cls(**kwargs, init_hidden=True, output=output).to(F64)
    results = []
    for way in ("fused", "eager"):
        neuron = copy.deepcopy(first)
        x = (2 * torch.randn(T, B, FEATURES, dtype=F64, generator=torch.Generator().manual_seed(0))).requires_grad_()
        with snn.backend(way):
            spk = flat(snn.unroll(neuron, x))[0]
            again = flat(snn.unroll(neuron, x))[0]  # the second segment starts from the stored states
        total = sum((getattr(neuron, name) ** 2).sum() for name in neuron.states)
        grads = gradients([total, again], x, neuron)
        results.append([spk, again, grads])
        assert grads["x"][0].any()
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


class Powers(snn.SpikingNeuron):
    """The gradient of all that it returns is computed from x, that of the state alone from the new state."""

    states = ("mem",)

    @staticmethod
    def step(x, mem):
        return x * x + mem, (2 * x).exp()


@pytest.mark.parametrize("single", [True, False], ids=["single", "over time"])
@pytest.mark.parametrize("wanted", [(0,), (1,), (0, 1)], ids=str)
def test_gradients_of_some_of_the_outputs(wanted, single):
    results = []
    for way in ("fused", "eager"):
        x = torch.linspace(-1, 1, T * B, dtype=F64).reshape(T, B).requires_grad_()
        mem = torch.full((B,), 0.5, dtype=F64, requires_grad=True)
        with snn.backend(way):
            out = Powers()(x[0], mem) if single else snn.unroll(Powers(), x, mem)
        total = sum((k + 1) * out[k].sum() for k in wanted)
        results.append(torch.autograd.grad(total, (x, mem), materialize_grads=True))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


# -- how memory lies


def transposed(x):
    return x.transpose(0, 1).contiguous().transpose(0, 1)  # [B, T, ...] in memory


def channels_last(x):
    return x.movedim(-1, 1).contiguous().movedim(1, -1)


LAYOUTS = {
    "transposed": transposed,
    "features first": channels_last,
    "expanded over time": lambda x: x[:1].expand_as(x),
    "expanded over the batch": lambda x: x[:, :1].expand_as(x),
    "every second step": lambda x: x.repeat_interleave(2, 0)[::2],
    "every second neuron": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "flipped": lambda x: x.flip(0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@rows([row_named("Leaky-learn-integers"), row_named("Synaptic-learn"), row_named("RLeaky-linear-now-learn")])
def test_layouts_of_input_states_and_gradients(row, layout):
    place = LAYOUTS[layout]
    results = []
    for way in (fused, eager):
        neuron, leaf = row.make(F64), row.input(T, B, F64).requires_grad_()
        leaves = initial(row, neuron, F64)
        states = [s.t().contiguous().t() for s in leaves]  # not contiguous either
        out = flat(way(row, neuron, place(leaf), *states))
        grads = gradients([place(o) for o in out], leaf, neuron, *leaves)
        results.append([out, grads])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


def turned(t):
    return t.t().contiguous().t()


@pytest.mark.parametrize("input_turned", [False, True])
def test_single_steps_whose_states_lie_otherwise_than_the_input(input_turned):
    results = []
    for way in ("fused", "eager"):
        draw = torch.Generator().manual_seed(0)
        x, *states = (torch.rand(3, 4, dtype=F64, generator=draw).requires_grad_() for _ in range(3))
        given = (turned(x), *states) if input_turned else (x, *map(turned, states))
        with snn.backend(way):
            out = snn.Synaptic(0.9, 0.8).double()(*given)
        weights = [torch.rand(3, 4, dtype=F64, generator=draw) for _ in out]
        results.append(torch.autograd.grad(out, [x, *states], weights))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


@rows([r for r in FUSED if len(r.shape) == 3])
def test_channels_last_images(row):
    results = []
    for way in (fused, eager, looped):
        neuron = row.make(F64)
        leaf = row.input(T, B, F64).requires_grad_()
        x = leaf.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (T, B))
        out = flat(way(row, neuron, x, *start(row, neuron)))
        results.append([out, gradients(out, leaf, neuron)])
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-10, atol=1e-10)


def test_a_state_given_as_one_number():
    """A state that broadcasts gets the sum of its copies' gradients."""
    results = []
    for way in ("fused", "eager"):
        x = torch.rand(T, B, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
        mem = torch.tensor([[0.5]], dtype=F64, requires_grad=True)
        with snn.backend(way):
            spk, course = snn.unroll(snn.Leaky(0.9).to(F64), x, mem)
        results.append([spk, course, *torch.autograd.grad((spk * course).sum(), mem)])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


# -- sizes


BLOCK, LARGE = {"numba": (4096, [(40, (2, 5000))]), "triton": (64, [])}[PACKAGES["cpu"]]


@pytest.mark.parametrize(("steps", "shape"), [
    (1, (1,)), (1, (B, FEATURES)), (2, (1, 1)), (9, ()),
    (3, (BLOCK - 1,)), (3, (BLOCK,)), (3, (BLOCK + 1,)), (2, (3, BLOCK + 1)), *LARGE,
], ids=str)  # fmt: skip
def test_sizes_around_the_block(steps, shape):
    """Also above the size from which several threads share the work."""
    results = []
    for way in ("fused", "eager"):
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(steps, *shape, dtype=F64, generator=generator).requires_grad_()
        mem = torch.rand(shape, dtype=F64, generator=generator).requires_grad_()
        lif = snn.Leaky(0.9, learn_beta=True).to(F64)
        with snn.backend(way):
            out = snn.unroll(lif, x, mem)
        results.append([out, gradients(out, x, lif, mem)])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(0, 5), (2, 0)], ids=str)
def test_nothing_to_compute(shape):
    spk, mem = snn.unroll(snn.Leaky(0.9, learn_beta=True), torch.rand(4, *shape), torch.zeros(0))
    assert spk.shape == mem.shape == (4, *shape)
    mem.sum().backward()


@pytest.mark.parametrize("size", [per_neuron(0.5, 0.9), per_neuron(0.5, 0.9)[None], torch.tensor([[0.8]]),
                                  torch.full((B, 1), 0.7), torch.rand(B, FEATURES)],
                         ids=lambda size: str(tuple(size.shape)))  # fmt: skip
def test_parameters_of_every_shape(size):
    results = []
    for way in ("fused", "eager"):
        lif = snn.Leaky(beta=size, threshold=size, learn_beta=True, learn_threshold=True).to(F64)
        x = row_named("Leaky-learn-integers").input(T, B, F64).requires_grad_()
        with snn.backend(way):
            out = snn.unroll(lif, x, torch.zeros(0))
        results.append([out, gradients(out, x, lif)])
        assert results[-1][1]["beta"].shape == size.shape
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


def test_a_parameter_larger_than_the_states_is_named():
    lif, x = snn.Leaky(beta=torch.full((B, 4), 0.9)), torch.rand(T, 1, 4)
    with pytest.raises(ValueError, match=r"beta of shape \(3, 4\) does not broadcast to the shape \(1, 4\)"):
        snn.unroll(lif, x)


def test_one_channel_per_group_of_pixels():
    """A parameter that broadcasts in the middle of the shape."""
    results = []
    for way in ("fused", "eager"):
        lif = snn.Leaky(beta=per_channel(0.5, 0.9), learn_beta=True).to(F64)
        x = torch.rand(T, B, CHANNELS, 6, 5, dtype=F64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        with snn.backend(way):
            out = snn.unroll(lif, x, torch.zeros(0))
        results.append([out, gradients(out, x, lif)])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


# -- surrogates


class Boxcar(torch.autograd.Function):
    """A user's surrogate, in the way of PyTorch's tutorials."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * (x.abs() < 0.5).to(x.dtype) / 0.5


class BoxcarOfWidth:
    """A surrogate with a setting that its owner may change."""

    def __init__(self, width):
        self.width = width

    def __call__(self, x):
        smooth = (x / self.width).clamp(-0.5, 0.5)
        return (x > 0).to(x.dtype) + smooth - smooth.detach()


def closure(width):
    return surrogate.custom_surrogate(lambda x, grad, spk: grad * (1 + width * spk) / (1 + (width * x).abs()))


SURROGATES = {
    **{name: make for name, make in surrogate.FACTORIES.items() if name != "SSO"},
    "custom_surrogate": lambda: closure(2.5),
    "learnable_width": lambda: surrogate.learnable_width(surrogate.sigmoid(4), 1.5),
    "learnable_width per neuron": lambda: surrogate.learnable_width(surrogate.atan(), per_neuron(0.5, 2)),
    "autograd.Function": lambda: Boxcar.apply,
    "object": lambda: BoxcarOfWidth(2.0),
    "lambda": lambda: lambda x: torch.sigmoid(3 * x),
}


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogates(name):
    results = []
    for way in ("fused", "eager"):
        lif = snn.Leaky(0.9, spike_grad=SURROGATES[name](), learn_threshold=True).to(F64)
        x = row_named("Leaky-learn-integers").input(T, B, F64).requires_grad_()
        with snn.backend(way):
            out = snn.unroll(lif, x, torch.zeros(0))
        results.append([out, gradients(out, x, lif)])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


def test_a_surrogate_that_draws_runs_step_by_step_with_right_gradients():
    """SSO draws at backward: the step is not a function of its arguments."""
    spike, x = surrogate.SSO(mean=0.3, variance=0.5), torch.full((1, 20, 50), -0.5, requires_grad=True)
    lif = snn.Leaky(0.9, spike_grad=spike, threshold=0.1)
    (path,) = paths(lif, x, torch.zeros(0))
    assert path.path == "stepped"
    assert "rand_like" in path.reason
    spk, _ = snn.unroll(lif, x, torch.zeros(0))
    spk.sum().backward()
    assert bool(((x.grad >= -0.1) & (x.grad <= 0.4)).all())  # (u + 0.3) * 0.5 with u in [-1/2, 1/2]
    assert x.grad.unique().numel() > 500


def test_a_surrogate_the_engine_cannot_read_keeps_its_gradient():
    """An opaque callable: no fusion, the gradient it defines."""
    lif = snn.Leaky(0.9, spike_grad=lambda x: torch.cumsum(torch.tanh(x), -1))
    x = torch.rand(T, B, 4, requires_grad=True)
    (path,) = paths(lif, x, torch.zeros(0))
    assert path.path == "stepped" and "cumsum" in path.reason
    out = snn.unroll(lif, x, torch.zeros(0))
    with snn.backend("eager"):
        expected = snn.unroll(lif, x, torch.zeros(0))
    torch.testing.assert_close([out, gradients(out, x, lif)], [expected, gradients(expected, x, lif)])


# -- special values


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@rows(
    [
        row_named(name)
        for name in ("Leaky-learn-clamped", "Synaptic-learn", "Alpha-learn", "SLSTM-zero", "Adaptive-user")
    ]
)
def test_values_that_are_not_finite(row, bad):
    results = []
    for way in (fused, eager):
        x = row.input(T, B)
        x[2, 0, 0] = bad
        with torch.no_grad():
            results.append(flat(way(row, row.make(), x)))
    torch.testing.assert_close(*results, equal_nan=True, rtol=1e-5, atol=1e-5)


def test_finite_differences_of_a_smooth_spike():
    """gradcheck through the kernel: no autograd formula in common with it."""
    lif = snn.Leaky(0.8, spike_grad=surrogate_free, learn_beta=True, learn_threshold=True, reset_mechanism="none")
    lif = lif.to(F64)
    x = torch.rand(4, 2, 3, dtype=F64).requires_grad_()
    mem = torch.rand(2, 3, dtype=F64).requires_grad_()

    def call(x, mem, beta, threshold):
        step = copy.copy(lif)
        step._parameters = {"beta": beta, "threshold": threshold}
        with snn.backend("fused"):
            return snn.unroll(step, x, mem)

    assert torch.autograd.gradcheck(call, (x, mem, lif.beta, lif.threshold))


def surrogate_free(x):
    return torch.sigmoid(4 * x)


def test_segments_equal_the_whole_and_slots_do_not_matter():
    lif, x = snn.Synaptic(0.8, 0.6).to(F64), torch.rand(12, 5, 4, dtype=F64)
    with snn.backend("fused"):
        whole = snn.unroll(lif, x, torch.zeros(0), torch.zeros(0))
        for cut in (1, 5, 11):
            first = snn.unroll(lif, x[:cut], torch.zeros(0), torch.zeros(0))
            second = snn.unroll(lif, x[cut:], first[1][-1], first[2][-1])
            for w, parts in zip(whole, zip(first, second, strict=True), strict=True):
                assert torch.equal(w, torch.cat(parts))
        order = torch.tensor([3, 1, 4, 0, 2])
        for w, moved in zip(whole, snn.unroll(lif, x[:, order], torch.zeros(0), torch.zeros(0)), strict=True):
            assert torch.equal(w[:, order], moved)


def test_a_net_of_every_kind_of_layer():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), snn.Leaky(0.9, init_hidden=True), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 10), snn.RLeaky(0.9, linear_features=10, init_hidden=True),
        nn.Linear(10, 6), snn.Synaptic(0.8, 0.6, init_hidden=True, output=True),
    ).to(F64)  # fmt: skip
    results = []
    for way in ("fused", "eager"):
        copied, x = copy.deepcopy(net), torch.linspace(0, 6, T * 2 * 64, dtype=F64).sin().view(T, 2, 1, 8, 8)
        x = (3 * x).requires_grad_()
        with snn.backend(way):
            out = snn.unroll(copied, x)
        results.append([out, gradients(out, x, copied)])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)
    assert results[0][0][0].any()


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("keeps", [True, False])
def test_states_of_another_dtype_are_taken(dtype, keeps):
    """Parameters and states follow the input's dtype."""
    lif, mem = snn.Leaky(0.9), torch.rand(B, 4)
    x = torch.rand(T, B, 4, dtype=dtype)
    with snn.backend("fused"), torch.set_grad_enabled(keeps):
        spk, course = snn.unroll(lif, x, mem)
    assert spk.dtype == course.dtype == dtype
