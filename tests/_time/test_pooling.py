"""Max pooling over time keeps where its maxima were, and not its input; else it is PyTorch's."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import snntorch as snn
from snntorch._time import pooling
from snntorch._time.pooling import pooled

T, B = 5, 3


def loop(net, x):
    return torch.stack([net(now) for now in x])


def net(*pooling):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), *pooling, snn.Leaky(0.5, threshold=0.1, init_hidden=True)).double()


class Functional(nn.Module):
    def __init__(self, pool):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.lif = nn.Conv2d(2, 4, 3), snn.Leaky(0.5, threshold=0.1, init_hidden=True)
        self.pool = pool

    def forward(self, x):
        return self.lif(self.pool(self.conv(x)))


NETS = {
    "layer": lambda: net(nn.MaxPool2d(2)),
    "overlap": lambda: net(nn.MaxPool2d(3, stride=(1, 2), padding=1, dilation=2, ceil_mode=True)),
    "function": lambda: Functional(lambda x: F.max_pool2d(x, 2)).double(),
    "one number": lambda: net(nn.MaxPool2d([2], [3], [1])),
    "settings": lambda: Functional(lambda x: F.max_pool2d(x, (2, 3), stride=1, ceil_mode=True)).double(),
    "builtin": lambda: Functional(lambda x: torch.max_pool2d(x, 3, padding=1)).double(),
    "indices": lambda: Functional(lambda x: F.max_pool2d(x, 2, return_indices=True)[0]).double(),
}


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("piece", [pooling._PIECE, 1200])  # elements: all samples at once, or a few and a rest
def test_it_is_the_loop(make, channels_last, piece, monkeypatch):
    """First and second derivatives too."""
    monkeypatch.setattr(pooling, "_PIECE", piece)
    found = []
    for run in (snn.unroll, loop):
        module = make()
        x = torch.randn(T, B, 2, 9, 8, dtype=torch.double, generator=torch.Generator().manual_seed(1))
        if channels_last:
            x = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (T, B))
        x.requires_grad_()
        out = run(module, x)
        (grad,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        grad.square().sum().backward()
        found.append([out.detach(), grad.detach(), *(p.grad for p in module.parameters())])
    assert found[0][0].any() and found[0][1].any()
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [10, 140, 300])  # places of one byte, of two where windows are of 3 x 3, and of two
@pytest.mark.parametrize("channels_last", [False, True])
def test_results_and_gradients_are_pytorchs_to_the_last_bit(dtype, size, channels_last, monkeypatch):
    """Of several maxima the same one; they lie in memory alike."""
    monkeypatch.setattr(pooling, "_PIECE", 1 << 10)  # piece by piece
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(5, 1 if size > 100 else 5, size, size).round().to(dtype).to(memory_format=layout)
    x[1, 0, 3, 4] = math.nan
    for settings in ({"kernel_size": 2}, {"kernel_size": 3, "stride": 1, "padding": 1}):
        found = []
        for run in (pooled, lambda function, x, **kwargs: function(x, **kwargs)):
            leaf = x.clone().requires_grad_()
            out = run(F.max_pool2d, leaf, **settings)
            out.backward(torch.ones_like(out) / 3)
            found += [(out.nan_to_num(9), leaf.grad, torch.tensor(out.stride()), torch.tensor(leaf.grad.stride()))]
        assert all(map(torch.equal, *found))


@pytest.mark.parametrize("width", [10, 30])
def test_what_is_kept(width):
    """Whatever the plane's size."""
    kept = []
    module = NETS["layer"]()
    x = torch.rand(T, B, 2, 10, width, dtype=torch.double)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        snn.unroll(module, x)
    shapes = [t.shape for t in kept]
    pooled = T * B, 4, 4, width // 2 - 1
    assert (T * B, 4, 8, width - 2) not in shapes
    assert sum(t.nbytes for t in kept if t.shape == pooled) == math.prod(pooled)  # a byte each


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, for its first dual number
def test_other_ways_to_differentiate():
    x = torch.rand(T, B, 2, 10, 10, dtype=torch.double)

    leaf, first, second = x.clone().requires_grad_(), NETS["layer"](), NETS["layer"]()
    snn.unroll(first, leaf).sum().backward()
    assert torch.equal(torch.func.grad(lambda x: snn.unroll(second, x).sum())(x), leaf.grad)
    with torch.autograd.forward_ad.dual_level(), snn.backend("eager"):
        dual = torch.autograd.forward_ad.make_dual(x.requires_grad_(), torch.ones_like(x))
        assert torch.autograd.forward_ad.unpack_dual(pooled(F.max_pool2d, dual[0], kernel_size=2)).tangent is not None
