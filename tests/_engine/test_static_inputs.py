"""An input that is the same at every step: no state's course is kept, the way back computes the states again.

To the last bit what comes of kept courses, whose bytes are counted beside.
"""

import contextlib
from functools import partial

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import Rooted, assert_equal
from snntorch._engine import cpu, ops

T, N = 9, 4500  # neurons: more than a block
PATCHED = ["again", "kept"]


@contextlib.contextmanager
def way(name):
    """How courses come to be read: computed again, or kept."""
    with pytest.MonkeyPatch.context() as patch:
        if name == "kept":
            patch.setattr(ops, "fewer_bytes", lambda *args: False)
        yield


def kept_by(call):
    """Bytes of each memory that a call saves for backward, once each; and the call's result."""
    found = {}

    def pack(tensor):
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = call()
    return sorted(found.values()), out


NEURONS = {
    "Leaky": lambda: snn.Leaky(0.9),
    "Leaky learning": lambda: snn.Leaky(torch.linspace(0.5, 0.99, N), learn_beta=True, learn_threshold=True),
    "Leaky, at once, to zero": lambda: snn.Leaky(0.9, reset_delay=False, reset_mechanism="zero"),
    "Synaptic": lambda: snn.Synaptic(0.9, 0.8, learn_alpha=True).double(),
    "AdEx": snn.AdEx,
}


@pytest.mark.parametrize("name", NEURONS)
def test_gradients_are_those_of_kept_courses(name):
    torch.manual_seed(0)
    states = len(NEURONS[name]().states)
    dtype = torch.float64 if name == "Synaptic" else torch.float32
    given = [(2500 if name == "AdEx" else 2) * torch.rand(2, N, dtype=dtype)]
    given += [(-70 if name == "AdEx" else 0) + torch.rand(2, N, dtype=dtype) for _ in range(states)]
    weights = [torch.randn(T, 2, N, dtype=dtype), *(torch.randn(2, N, dtype=dtype) for _ in range(states))]
    results, sizes = [], []
    for found in PATCHED:
        neuron, leaves = NEURONS[name](), [g.clone().requires_grad_() for g in given]
        with way(found):
            call = partial(neuron.over_time, leaves[0], leaves[1:], T, True, [True, *[False] * states])
            size, ((spk, *_), finals) = kept_by(call)
            leaves += [p for p in neuron.parameters() if p.requires_grad]
            results.append([spk, *finals, *torch.autograd.grad([spk, *finals], leaves, weights)])
        sizes.append(size)
    assert_equal(*results)
    assert results[0][0].any()
    course = T * given[0].nbytes
    assert sizes[0][-1] == given[0].nbytes and sizes[1][-1] == course
    assert sum(sizes[0]) == sum(size for size in sizes[1] if size < course)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads(threads, monkeypatch):
    """Each works in memory of its own."""
    monkeypatch.setattr(cpu, "_WORTH_A_THREAD", 0)
    before, results = torch.get_num_threads(), []
    x = torch.rand(5, 8000)
    try:
        for count, found in ((threads, "again"), (1, "kept")):
            torch.set_num_threads(count)
            neuron, now = snn.Synaptic(0.9, 0.8, init_hidden=True), x.clone().requires_grad_()
            with way(found):
                spk = snn.unroll(neuron, now, num_steps=T)
                results.append([spk, *torch.autograd.grad(spk.cumsum(0).square().sum(), now)])
    finally:
        torch.set_num_threads(before)
    assert_equal(*results)


def test_a_learnt_leak_has_the_gradient_of_a_repeated_input():
    x, results = torch.rand(3, 40), []
    for static in (True, False):
        lif = snn.Leaky(torch.linspace(0.5, 0.99, 40), learn_beta=True, init_hidden=True)
        spk = snn.unroll(lif, x, num_steps=T) if static else snn.unroll(lif, x.repeat(T, 1, 1))
        results.append([spk, *torch.autograd.grad(spk.cumsum(0).square().sum(), lif.beta)])
    assert_equal(*results)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), snn.Leaky(0.9, threshold=0.3, init_hidden=True, learn_beta=True), nn.Flatten(),
        nn.Linear(144, 10), snn.Synaptic(0.9, 0.8, threshold=0.1, init_hidden=True),
    )  # fmt: skip


def looped(net, x):
    snn.utils.reset(net)
    return torch.stack([net(x) for _ in range(T)])


def unrolled(net, x, **kwargs):
    snn.utils.reset(net)
    return snn.unroll(net, x, num_steps=T, **kwargs)


def autocast(net, x):
    with torch.autocast("cpu", torch.bfloat16):
        return unrolled(net, x).float()


WAYS = {
    "unroll": unrolled,
    "layerwise": lambda net, x: snn.layerwise(looped)(net, x),
    "packed": lambda net, x: unrolled(net, x, pack_spikes=True),
    "recompute": lambda net, x: unrolled(net, x, recompute=4),
    "autocast": autocast,
}


@pytest.mark.parametrize("name", WAYS)
def test_nets_train_alike_with_batches_of_any_size(name):
    results = []
    for found in PATCHED:
        model = net()
        with way(found):
            for size in (5, 1, 3):
                x = torch.rand(size, 1, 8, 8, generator=torch.Generator().manual_seed(size))
                out = WAYS[name](model, x)
                out.cumsum(0).square().mean().backward()
                results.append([out.detach(), *[p.grad.clone() for p in model.parameters()]])
    assert_equal(results[:3], results[3:])
    assert all(result[0].any() for result in results)


@pytest.mark.parametrize("name", ["unroll", "layerwise"])
def test_the_first_layer_of_a_net_keeps_no_course(name):
    x = torch.rand(5, 1, 8, 8)
    with way("again"):
        again, _ = kept_by(lambda: WAYS[name](net(), x))
    with way("kept"):
        kept, _ = kept_by(lambda: WAYS[name](net(), x))
    assert sum(kept) - sum(again) == T * 5 * 4 * 36 * 4


def test_a_hook_sees_what_it_saw_and_a_freed_graph_says_so():
    seen, model, x = [], net(), torch.rand(3, 1, 8, 8)
    model[1].register_full_backward_hook(lambda *args: seen.append(args[2][0].clone()))
    out = unrolled(model, x).sum()
    out.backward()
    assert seen
    with pytest.raises(RuntimeError, match="second time"):
        out.backward()


def test_second_derivatives():
    x, results = torch.rand(2, 6, dtype=torch.float64), []
    for backend in ("auto", "eager"):
        neuron, now = snn.Synaptic(0.9, 0.8, learn_alpha=True, init_hidden=True).double(), x.clone().requires_grad_()
        with snn.backend(backend):
            spk = snn.unroll(neuron, now, num_steps=T)
            (first,) = torch.autograd.grad(spk.cumsum(0).square().sum(), now, create_graph=True)
            results.append([first, *torch.autograd.grad(first.square().sum(), (now, neuron.alpha))])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


def test_where_the_last_steps_are_taken_apart():
    x, results = torch.rand(2, 6), []
    for found in PATCHED:
        now = x.clone().requires_grad_()
        with way(found):
            spk = snn.unroll(Rooted(init_hidden=True), now, num_steps=T)
            results.append([spk, *torch.autograd.grad(spk.sum(), now)])
    assert_equal(*results)
    assert results[0][1].isfinite().all()


def test_of_one_step_the_state_is_kept():
    """To compute it again would gain nothing, and read parameters as they are by then."""
    x, neuron = torch.rand(N, requires_grad=True), snn.Leaky(0.9, init_hidden=True)
    kept = [kept_by(lambda n=n: snn.unroll(neuron, x, num_steps=n))[0] for n in (1, 2)]
    assert [sizes.count(4 * N) for sizes in kept] == [2, 2]  # the states before and after it; of two, input and state
    assert max(kept[1]) == 4 * N
