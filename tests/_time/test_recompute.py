"""`unroll(..., recompute=K)`: the same numbers, a fraction of the memory."""

import pytest
import torch
from torch import nn

import snntorch as snn

T, B = 12, 3


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8),
        snn.Leaky(0.9, init_hidden=True, learn_beta=True),
        nn.Dropout(0.0),
        nn.Sequential(nn.Linear(8, 6), snn.RLeaky(0.8, linear_features=6, init_hidden=True)),
        nn.Linear(6, 2),
        snn.Synaptic(0.9, 0.8, init_hidden=True, output=True),
    )


def run(net, x, **options):
    net, x = net.double(), x.double().requires_grad_()  # gradients are summed in another order
    out = snn.unroll(net, x, **options)
    sum(o.square().sum() for o in out).backward()
    states = [net[1].mem, net[3][1].spk, net[3][1].mem, net[5].syn, net[5].mem]
    return [*out, x.grad, *states, *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("length", [1, 4, 5, 12, 100])
def test_same_numbers_and_states(length):
    x = torch.rand(T, B, 4) * 3
    torch.testing.assert_close(run(network(), x, recompute=length), run(network(), x))


def test_static_input():
    x = torch.rand(B, 4) * 3
    torch.testing.assert_close(run(network(), x, num_steps=T, recompute=5), run(network(), x, num_steps=T))


def test_explicit_states():
    lif, x, mem = snn.Leaky(0.9), torch.rand(T, B, 4) * 2, torch.rand(B, 4, requires_grad=True)
    grads = []
    for options in ({}, {"recompute": 5}):
        spk, trace = snn.unroll(lif, x, mem, **options)
        grads.append(torch.autograd.grad(trace.square().sum() + spk.sum(), mem)[0])
    torch.testing.assert_close(grads[1], grads[0])


def kept_bytes(net, x, **options) -> int:
    """Bytes of distinct memory that autograd keeps, the input and the parameters aside."""
    known = {t.untyped_storage().data_ptr() for t in (x, *net.parameters(), *net.buffers())}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = (storage.nbytes(), tensor)  # holding it keeps its address its own
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = snn.unroll(net, x, **options)
    assert out.requires_grad
    return sum(size for size, _ in storages.values())


def test_memory_falls_with_the_segments():
    x = torch.rand(64, 2, 16)

    def net():
        return nn.Sequential(nn.Linear(16, 32), snn.Leaky(0.9, init_hidden=True), nn.Linear(32, 32),
                             snn.Leaky(0.9, init_hidden=True))  # fmt: skip

    whole, parts = kept_bytes(net(), x), kept_bytes(net(), x, recompute=8)
    state = 2 * 32 * 4  # bytes of one layer's membrane potential
    assert whole >= 64 * state * 2  # a course for each layer
    assert parts <= whole / 8


def test_refuses_what_it_would_change():
    net = nn.Sequential(nn.BatchNorm1d(4), snn.Leaky(0.9, init_hidden=True))
    with pytest.raises(ValueError, match="running statistics of 0"):
        snn.unroll(net, torch.rand(T, B, 4), recompute=4)
    snn.unroll(net.eval(), torch.rand(T, B, 4), recompute=4)
    with pytest.raises(ValueError, match="recompute must be a positive int, got 0"):
        snn.unroll(net, torch.rand(T, B, 4), recompute=0)
    with pytest.raises(ValueError, match="the sequence that 0 takes as a whole"):
        snn.unroll(nn.Sequential(snn.StateLeaky(0.9, 4)), torch.rand(T, B, 4), recompute=4)
