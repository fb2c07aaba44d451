"""Networks of every form: run over time they give what the loop gives."""

import copy
import gc
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn
from zoo import LOOPS, STEPS, T

import snntorch as snn
from snntorch._time import infer

F64 = torch.float64
MODES = "train", "eval", "eager"  # the last with every kernel off, in training


def leaves(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for v in value.values() for t in leaves(v)]
    return [t for v in value for t in leaves(v)] if isinstance(value, tuple | list) else []


def structure(value):
    if isinstance(value, torch.Tensor):
        return value.shape, value.dtype
    if isinstance(value, dict):
        return {k: structure(v) for k, v in value.items()}
    return type(value), [structure(v) for v in value]


def results(net, call, x):
    """Everything that a call leaves behind: outputs, gradients, states, buffers."""
    x = x.clone().requires_grad_()
    torch.manual_seed(0)
    out = call(net, x)
    tensors = [t for t in leaves(out) if t.is_floating_point()]
    draw = torch.Generator().manual_seed(0)
    loss = sum((t * torch.randn(t.shape, dtype=t.dtype, generator=draw)).sum() for t in tensors)
    wrt = {"x": x, **dict(net.named_parameters())}
    grads = torch.autograd.grad(loss, list(wrt.values()), allow_unused=True)
    states = {name: state.detach() for name, state in snn.utils.get_states(net).items()}
    return out, dict(zip(wrt, grads, strict=True)), states, {k: b.detach().clone() for k, b in net.named_buffers()}


def loop(net, x):
    with snn.backend("eager"):
        return over_time(net, x)


def over_time(net, x):
    return stacked([net(now) for now in x])


def stacked(outs):
    first = outs[0]
    if isinstance(first, torch.Tensor):
        return torch.stack(outs)
    if isinstance(first, dict):
        return {k: stacked([o[k] for o in outs]) for k in first}
    items = [stacked(list(c)) for c in zip(*outs, strict=True)]
    return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)


def assert_same(got, want, exact=True):
    for kind, (a, b) in enumerate(zip(got, want, strict=True)):
        if kind == 0:
            assert structure(a) == structure(b)
            a, b = dict(enumerate(leaves(a))), dict(enumerate(leaves(b)))
        assert a.keys() == b.keys()
        for key in a:
            if a[key] is None or b[key] is None:
                assert a[key] is None and b[key] is None, key
                continue
            assert type(a[key]) is torch.Tensor
            tolerance = 1e-12 if kind == 0 else 1e-10
            torch.testing.assert_close(a[key], b[key], rtol=tolerance, atol=tolerance, msg=lambda m, k=key: f"{k}: {m}")


def build(make, shape, seed=0):
    torch.manual_seed(seed)
    net = make().double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3.0)
    return net, 2 * torch.rand(shape, dtype=F64)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOOPS)
def test_layerwise_is_the_loop(name, mode):
    make, shape = LOOPS[name]
    net, x = build(make, shape)
    net.train(mode != "eval")
    other = copy.deepcopy(net)
    with snn.backend("eager"):
        want = results(other, lambda net, x: net(x), x)
    for _ in range(2):  # what the first call left is no hindrance to the second
        with snn.backend("eager" if mode == "eager" else "auto"):
            got = results(net, lambda net, x: snn.layerwise(net)(x), x)
        if mode == "eval" or _ == 0:
            assert_same(got, want)
    assert any(t.abs().sum() > 0 for t in leaves(want[0]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", STEPS)
def test_unroll_is_the_loop(name, mode):
    make, shape = STEPS[name]
    net, x = build(make, (T, *shape))
    net.train(mode != "eval")
    if name == "normalised" and mode != "eval":
        net.eval()(x[0])  # the vectors of the spectral norm are there
        snn.utils.reset(net.train())
    other = copy.deepcopy(net)
    want = results(other, loop, x)
    getattr(net, "seen", []).clear()  # the copy's hooks write there too
    with snn.backend("eager" if mode == "eager" else "auto"):
        got = results(net, lambda net, x: snn.unroll(net, x), x)
    assert_same(got, want)
    if name == "hooked":
        assert [k for k, _ in net.seen].count("fc") == [k for k, _ in net.seen].count("lif") == T


@pytest.mark.parametrize("name", LOOPS)
def test_nothing_recorded_outlives_the_call(name, new_objects_only):
    make, shape = LOOPS[name]
    net, x = build(make, shape)
    net = snn.layerwise(net)

    def count():
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    with torch.no_grad():
        net(x)
        before = count()
        for _ in range(3):
            net(x)
        assert count() <= before


def test_a_layerwise_module_is_the_module():
    net, x = build(*LOOPS["over steps"])
    fast = snn.layerwise(net)
    assert isinstance(fast, type(net)) and type(fast).__name__ == type(net).__name__
    assert list(fast.state_dict()) == list(net.state_dict()) and snn.layerwise(fast) is fast
    assert fast.fc1 is net.fc1
    for copied in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert torch.equal(copied(x), net(x)) and type(copied) is type(fast) and copied.fc1 is not net.fc1
    fast.eval()
    assert not net.training


@pytest.mark.parametrize("name", [*LOOPS, *STEPS])
def test_in_inference_mode(name, monkeypatch):
    """Where tensors tell nothing of what is written to them; for what was never called before, too."""
    monkeypatch.setattr(infer, "_known", OrderedDict())
    make, shape = LOOPS[name] if name in LOOPS else STEPS[name]
    net, x = build(make, shape if name in LOOPS else (T, *shape))
    other = copy.deepcopy(net).eval()
    with torch.inference_mode():
        torch.manual_seed(0)
        got = snn.layerwise(net.eval())(x) if name in LOOPS else snn.unroll(net.eval(), x)
        torch.manual_seed(0)
        want = other(x) if name in LOOPS else loop(other, x)
    assert structure(got) == structure(want)
    for a, b in zip(leaves(got), leaves(want), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        assert a.is_inference()


@pytest.mark.parametrize("train", [True, False])
def test_where_parametrised_weights_are_kept(train):
    """As in `torch.nn.utils.parametrize.cached`: what is tried on tensors without values does not get there."""
    net, x = build(*STEPS["normalised"])
    net, x = net.train(train), x.expand(T, *x.shape)
    other = copy.deepcopy(net)
    with nn.utils.parametrize.cached():
        want = results(other, loop, x)
    with nn.utils.parametrize.cached():
        assert_same(results(net, snn.unroll, x), want)


def test_the_last_smaller_batch():
    net, x = build(*LOOPS["over steps"])
    fast = snn.layerwise(net)
    for batch in (x, x[:, :2], x[:, :1]):
        assert torch.equal(fast(batch), net(batch))


@pytest.mark.parametrize("name", STEPS)
def test_a_static_input(name):
    make, shape = STEPS[name]
    net, x = build(make, shape)
    net.eval()
    want = results(copy.deepcopy(net), lambda net, x: over_time(net, [x] * T), x)
    assert_same(results(net, lambda net, x: snn.unroll(net, x, num_steps=T), x), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["over steps", "functional conv", "recurrent"])
def test_other_dtypes(name, dtype):
    """The spikes differ nowhere, or where rounding of a larger product brings a potential over the threshold."""
    make, shape = LOOPS[name]
    net, x = build(make, shape)
    net, x = net.to(dtype), x.to(dtype)
    want, got = net(x), snn.layerwise(net)(x)
    assert got.dtype == want.dtype
    torch.testing.assert_close(got, want, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", ["tutorial", "functional conv"])
def test_autocast(name):
    make, shape = LOOPS[name]
    net, x = build(make, shape)
    net, x = net.float(), x.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        want, got = net(x), snn.layerwise(net)(x)
    assert structure(got) == structure(want)
    for a, b in zip(leaves(got), leaves(want), strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)
