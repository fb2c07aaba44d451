"""Spikes kept for backward as bits: exact, and counted to the byte."""

import copy
import functools
import itertools
from unittest import mock

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

import snntorch as snn
from helpers import assert_equal
from snntorch._time import packed

T, B = 12, 6
N = 5000
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def bits(tensor):
    """The words that a tensor's elements are."""
    return tensor.view({1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])


def there_and_back(tensor):
    """What is kept of a tensor, and what is made of that again, as if nobody else had it any more."""
    with mock.patch.object(packed, "_while_it_lives", lambda *_: lambda: None):
        kept = packed._pack(tensor)
    return kept.tensor, packed._unpack(kept)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("dtype", [*FLOATS, torch.bool, torch.int64])
@pytest.mark.parametrize("size", [1024, 1031, (1 << 16) + 256, (1 << 17) + 13])
@pytest.mark.parametrize(("factor", "silent"), [(1.0, 0), (0.37, 700)])
def test_a_spike_takes_a_bit(backend, dtype, size, factor, silent):
    spk = ((torch.rand(size) < 0.3) * (factor if dtype.is_floating_point else 1)).to(dtype)
    spk[:silent] = 0
    with snn.backend(backend):
        kept, again = there_and_back(spk)
    width = 8 * dtype.itemsize
    assert kept.untyped_storage().nbytes() == -(-size // width) * dtype.itemsize
    assert again.dtype == dtype and torch.equal(bits(again), bits(spk))


@pytest.mark.parametrize("dtype", FLOATS)
def test_small_integers_take_a_byte(dtype):
    counts = torch.randint(-5, 100, (N,)).to(dtype)
    kept, again = there_and_back(counts)
    assert kept.untyped_storage().nbytes() == N and torch.equal(bits(again), bits(counts))


def test_other_values_take_what_is_exact():
    quarters, indices = torch.randint(0, 5, (N,)) / 4, torch.randint(0, 300, (N,))
    for tensor, width in ((quarters, 2), (indices, 2), (indices + 70000, 4), (indices - (1 << 40), 8)):
        kept, again = there_and_back(tensor)
        assert (
            kept.untyped_storage().nbytes() == width * N and torch.equal(again, tensor) and again.dtype == tensor.dtype
        )
    for tensor in (
        torch.rand(N), torch.randn(N).double(), torch.zeros(N, dtype=torch.cfloat), torch.rand(80, 80).to_sparse(),
    ):  # fmt: skip
        assert there_and_back(tensor)[0] is tensor
    assert there_and_back(small := torch.zeros(100))[0] is small


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -0.0, 1e30, -1e30, 3e9, 256.0, 1e-45, 1 + 2**-23, -1.0])
def test_one_odd_element_is_kept(odd):
    for tensor in (torch.zeros(N), torch.ones(N), torch.rand(N).round()):
        tensor[3000] = odd
        assert torch.equal(bits(there_and_back(tensor)[1]), bits(tensor))


def test_what_somebody_else_has_is_not_made_again():
    """Unless it was changed meanwhile."""
    x = torch.rand(2, 30, 50).round()
    kept = packed._pack(x.flatten(0, 1))
    assert kept.tensor.untyped_storage().nbytes() < x.nbytes and packed._unpack(kept).data_ptr() == x.data_ptr()
    before = x.clone()
    x.zero_()
    assert torch.equal(packed._unpack(kept), before.flatten(0, 1))


def test_silence_takes_nothing():
    kept, again = there_and_back(torch.zeros(N))
    assert not kept.untyped_storage().nbytes() and torch.equal(again, torch.zeros(N))


def test_the_order_in_memory_is_kept():
    image = torch.rand(4, 5, 6, 70).round()
    for tensor in (
        image.to(memory_format=torch.channels_last), image.transpose(0, 3), image[1:], image[..., ::2], image[:, :1],
        image[:1].expand(9, -1, -1, -1),
    ):  # fmt: skip
        again = there_and_back(tensor)[1]
        assert torch.equal(again, tensor) and again.stride() == tensor.stride()


# -- nets


def mlp(**kwargs):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(100, 80), snn.Leaky(0.9, init_hidden=True, **kwargs),
        nn.Linear(80, 40), snn.Leaky(0.9, init_hidden=True, **kwargs),
    )  # fmt: skip


def conv():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), snn.Leaky(0.5, threshold=0.2, init_hidden=True), nn.AvgPool2d(2),
        nn.Conv2d(4, 4, 3), nn.MaxPool2d(2),
        snn.Synaptic(0.5, 0.5, threshold=0.05, init_hidden=True), nn.Flatten(), nn.Linear(36, 5),
        snn.RLeaky(0.5, linear_features=5, threshold=0.1, init_hidden=True),
    )  # fmt: skip


def inputs(net):
    x = torch.rand(T, B, 100)
    return (
        (x < 0.3).float()
        if isinstance(net[0], nn.Linear)
        else (x < 0.5).float().view(T, B, 1, 10, 10).repeat(1, 1, 1, 2, 2)[..., :16, :16]
    )


def trained(run, net, x):
    """What a net gives and its gradients, from fresh states."""
    torch._dynamo.reset()
    net = copy.deepcopy(net)
    x = x.clone().requires_grad_()
    out = run(net, x)
    out.square().sum().backward()
    return [out.detach(), x.grad, *(p.grad for p in net.parameters())]


class Looped(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return torch.stack([self.net(now) for now in x])


RUNS = {
    "unroll": snn.unroll,
    "loop": lambda net, x: torch.stack([net(now) for now in x]),
    "recompute": lambda net, x: snn.unroll(net, x, recompute=5),
    "layerwise": lambda net, x: snn.layerwise(Looped(net))(x),
    "compile": lambda net, x: torch.compile(lambda x: snn.unroll(net, x), fullgraph=True, backend="aot_eager")(x),
}


NETS = {"mlp": mlp, "graded": lambda: mlp(graded_spikes_factor=0.37), "conv": conv}


@pytest.mark.parametrize(("how", "make", "autocast"), [
    *itertools.product(sorted(set(RUNS) - {"compile"}), NETS, (False, True)),
    ("compile", "mlp", False),  # in which nothing is packed
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, while it compiles
def test_gradients_are_exactly_those_without(how, make, autocast):
    net = NETS[make]()
    x = inputs(net)

    def plain(net, x):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return RUNS[how](net, x)

    def packing(net, x):
        with snn.packed_spikes():
            return plain(net, x)

    expected = trained(plain, net, x)
    assert expected[0].any()
    assert_equal(trained(packing, net, x), expected)


def test_the_argument_is_the_context():
    net = mlp()
    x = inputs(net)
    for options in ({}, {"recompute": 5}):
        expected = trained(functools.partial(snn.unroll, **options), net, x)
        assert_equal(trained(functools.partial(snn.unroll, pack_spikes=True, **options), net, x), expected)
    compiled = torch.compile(lambda x: snn.unroll(net, x, pack_spikes=True), fullgraph=True, backend="aot_eager")
    assert_equal(compiled(x), snn.unroll(copy.deepcopy(mlp()), x))


def test_bytes_that_are_kept(monkeypatch):
    """Linear layers keep a bit a spike; neurons their membrane course, as without."""
    net = mlp()
    x = inputs(net)
    large = {}

    def pack(tensor):
        kept = real(tensor)
        storage = kept.tensor.untyped_storage()
        if tensor.numel() >= T * B * 40:
            large[storage.data_ptr()] = storage
        return kept

    real = packed._pack
    monkeypatch.setattr(packed, "_pack", pack)
    out = snn.unroll(net, x, pack_spikes=True)
    courses = 4 * T * B * (80 + 40)
    weights = 4 * 80 * 40  # of the second layer, as it is; the first one's is not needed
    spikes = sum(4 * -(-T * B * n // 32) for n in (100, 80))
    assert sum(s.nbytes() for s in large.values()) == courses + weights + spikes
    out.sum().backward()


def test_what_was_changed_in_place_raises():
    net = mlp()
    with snn.packed_spikes():
        out = snn.unroll(net, inputs(net))
    with torch.no_grad():
        net[2].weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_second_derivatives():
    net = mlp()
    x = inputs(net)

    def penalty(net, x):
        (grad,) = torch.autograd.grad(snn.unroll(net, x).sum(), x, create_graph=True)
        return grad

    def packing(net, x):
        with snn.packed_spikes():
            return penalty(net, x)

    assert_equal(trained(packing, net, x), trained(penalty, net, x))


def test_inside_other_hooks_and_transforms():
    net, seen = mlp(), []
    x = inputs(net)
    with saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t), snn.packed_spikes():
        assert_equal(snn.unroll(net, x), snn.unroll(mlp(), x))
    assert not seen
    snn.utils.reset(net)
    with torch.no_grad():
        grad = torch.func.grad(lambda x: snn.unroll(mlp(), x, pack_spikes=True).sum())(x)
    assert grad.shape == x.shape
