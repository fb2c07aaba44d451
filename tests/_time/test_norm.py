"""Batch normalisation in training over time: the loop's numbers, its running statistics included, in one call."""

import copy
import functools

import pytest
import torch
from test_steps import nodes
from test_zoo import assert_same, loop, results
from torch import nn
from zoo import B

import snntorch as snn
from snntorch._time import norm, normalised

T = 7
F64 = torch.float64


class Normed(nn.Module):
    """Several normalisations of an image, one of them twice at a step."""

    def __init__(self, norm, kind=nn.Conv2d, twice=False):
        super().__init__()
        self.conv, self.norm = kind(2, 4, 3, padding=1), norm(4)
        self.again = self.norm if twice else nn.Identity()
        self.lif = snn.Leaky(beta=0.8, init_hidden=True)

    def forward(self, x):
        return self.lif(self.again(self.norm(self.conv(x)) * 2))


class Warm(nn.Module):
    """Reads how often it has normalised, and by what."""

    def __init__(self):
        super().__init__()
        self.norm, self.lif = nn.BatchNorm2d(2), snn.Leaky(beta=0.8, init_hidden=True)

    def forward(self, x):
        x = self.norm(x)
        return self.lif(x + 2 if self.norm.num_batches_tracked > 4 else x) - self.norm.running_mean.mean()


class Alternating(nn.Module):
    """In training at some calls, in evaluation at others."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.norm(x)
        self.norm.eval()
        z = self.norm(x)
        self.norm.train()
        return y + z


NETS = {
    "plain": (functools.partial(Normed, nn.BatchNorm2d), (2, 5, 5)),
    "average": (lambda: Normed(functools.partial(nn.BatchNorm2d, momentum=None)), (2, 5, 5)),
    "no momentum": (lambda: Normed(functools.partial(nn.BatchNorm2d, momentum=0.0)), (2, 5, 5)),
    "not affine": (lambda: Normed(functools.partial(nn.BatchNorm2d, affine=False)), (2, 5, 5)),
    "not tracking": (lambda: Normed(functools.partial(nn.BatchNorm2d, track_running_stats=False)), (2, 5, 5)),
    "twice": (functools.partial(Normed, nn.BatchNorm2d, twice=True), (2, 5, 5)),
    "of lines": (functools.partial(Normed, nn.BatchNorm1d, nn.Conv1d), (2, 5)),
    "of volumes": (functools.partial(Normed, nn.BatchNorm3d, nn.Conv3d), (2, 3, 3, 3)),
    "of features": (lambda: nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh()), (2,)),
    "warm": (Warm, (2, 3, 3)), "alternating": (Alternating, (2, 3, 3)), "alone": (lambda: nn.BatchNorm2d(2), (2, 3, 3)),
}  # fmt: skip


def made(name):
    torch.manual_seed(0)
    make, shape = NETS[name]
    return make().double(), torch.rand(T, B, *shape, dtype=F64)


@pytest.fixture(params=["in one call", "all at once", "one by one"])
def in_one_call(request, monkeypatch):
    """As a GPU does it too; or a call a step, as in half precision."""
    monkeypatch.setattr(normalised, "at_once", lambda x: request.param == "all at once")
    if request.param == "one by one":
        monkeypatch.setattr(norm, "takes", lambda module, x: False)


@pytest.mark.usefixtures("in_one_call")
@pytest.mark.parametrize("name", NETS)
def test_a_normalisation_is_the_loops(name):
    for mode in True, False:
        net, x = made(name)
        net.train(mode)
        other = copy.deepcopy(net)
        for _ in range(2):  # with statistics of before
            assert_same(results(net, lambda net, x: snn.unroll(net, x), x), results(other, loop, x))
            snn.utils.reset(net)
            snn.utils.reset(other)


class Reading(nn.Module):
    """Reads, beside a layer's output, what the layer changes at each call."""

    def __init__(self, layer, read):
        super().__init__()
        self.layer, self.read = layer, read

    def forward(self, x):
        before = x * self.read(self.layer)
        return self.layer(x) * before.sum() + self.read(self.layer)


CHANGING = {
    "instance norm": (lambda: nn.InstanceNorm1d(4, track_running_stats=True), lambda m: m.running_var.sum()),
    "batch norm": (lambda: nn.BatchNorm1d(4), lambda m: m.running_var.sum()),
    "spectral norm": (lambda: nn.utils.spectral_norm(nn.Linear(4, 4)), lambda m: m.weight_u[0] * 1),
    "parametrised": (
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
        lambda m: m.parametrizations.weight[0]._u[0] * 1,
    ),
    "embedding": (lambda: nn.Embedding(8, 4, max_norm=0.1), lambda m: m.weight.detach().sum()),
}


@pytest.mark.usefixtures("in_one_call")
@pytest.mark.parametrize("name", CHANGING)
def test_what_layers_change_is_read_when_it_is(name):
    layer, read = CHANGING[name]
    net = Reading(layer(), read).double()
    other = copy.deepcopy(net)
    x = torch.randint(8, (T, B, 4)) if name == "embedding" else torch.rand(T, B, 4, *[5] * (name == "instance norm"))
    x = x if name == "embedding" else x.double()
    with torch.no_grad():
        torch.testing.assert_close(snn.unroll(net, x), torch.stack([other(now) for now in x]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", ["channels last", "samples first", "every second", "static"])
def test_any_layout(layout):
    net, x = made("alone")
    if layout == "channels last":
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, B))
    elif layout == "samples first":
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    elif layout == "every second":
        x = x[..., ::2]
    steps = T if layout == "static" else None
    other = copy.deepcopy(net)
    want = results(other, lambda net, x: loop(net, [x] * T if steps else x), x[0] if steps else x)
    got = results(net, lambda net, x: snn.unroll(net, x, num_steps=steps), x[0] if steps else x)
    assert_same(got, want)


@pytest.mark.usefixtures("in_one_call")
@pytest.mark.parametrize("name", NETS)
def test_the_same_input_at_every_step_is_the_loops(name):
    net, x = made(name)
    other = copy.deepcopy(net)
    for _ in range(2):
        got = results(net, lambda net, x: snn.unroll(net, x, num_steps=T), x[0])
        assert_same(got, results(other, lambda net, x: loop(net, [x] * T), x[0]))
        snn.utils.reset(net)
        snn.utils.reset(other)


def test_the_same_input_at_every_step_is_normalised_once(monkeypatch, capsys):
    """So that what follows runs once too."""
    calls = []
    forward = normalised._forward
    monkeypatch.setattr(normalised, "_forward", lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs))
    net = nn.Sequential(nn.BatchNorm2d(2), nn.MaxPool2d(2), snn.Leaky(beta=0.8, init_hidden=True))
    run = snn.layerwise(lambda x: torch.stack([net(x) for _ in range(T)]))
    run(torch.rand(B, 2, 4, 4))
    assert len(calls) == 1
    assert net[0].num_batches_tracked == T
    snn.explain(net, torch.rand(B, 2, 4, 4), run=lambda net, x: run(x))
    assert "MaxPool2d    folded     runs once for all steps" in capsys.readouterr().out


def test_one_operation_whatever_the_number_of_steps():
    counts = []
    for steps in (6, 30):
        net, x = nn.BatchNorm2d(2), torch.rand(steps, B, 2, 3, 3, requires_grad=True)
        counts.append(nodes(snn.unroll(net, x)))
    assert counts[0] == counts[1] < 8


def test_it_can_be_differentiated_twice():
    net, x = made("alone")
    x.requires_grad_()
    found = []
    for run in (loop, snn.unroll):
        out = run(net, x)
        (grad,) = torch.autograd.grad((out**3).sum(), x, create_graph=True)
        found.append(torch.autograd.grad((grad**2).sum(), [x, *net.parameters()]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_other_dtypes_and_errors_are_its_own():
    net = nn.BatchNorm1d(3)
    x = torch.rand(T, B, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(snn.unroll(net, x), loop(net, x))
    half = copy.deepcopy(net).bfloat16()
    torch.testing.assert_close(snn.unroll(half, x.bfloat16()), loop(half, x.bfloat16()))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        snn.unroll(net, x[:, :1])
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        snn.unroll(net, torch.rand(T, B, 3, 4, 4))
    with pytest.raises(RuntimeError, match="running_mean should contain 5 elements"):
        snn.unroll(net, torch.rand(T, B, 5))


def test_explain_tells_of_it(capsys):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    snn.explain(net, torch.rand(5, 2, 1, 6, 6))
    assert "folded  each step by its own statistics" in capsys.readouterr().out
