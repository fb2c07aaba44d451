"""What is kept for backward, by count and by bytes; what is written without a gradient."""

import math
import platform

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import snntorch as snn
from snntorch._engine import memory

T, B, F = 16, 3, 40
N = B * F
FLOAT = 4  # bytes


def kept(call):
    """Data pointers and elements of the memory that a call saves for backward, once each; and the call's result."""
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes() // FLOAT
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = call()
    return found, out


# Sequences that the gradient needs, by definition of the step: each state enters its own surrogate or its own decay's
# gradient, or it enters nothing.
CASES = {
    "Leaky": (lambda: snn.Leaky(0.9), 1),  # mem, for the surrogate
    "Leaky learning": (lambda: snn.Leaky(0.9, learn_beta=True, learn_threshold=True), 1),
    "Leaky to zero": (lambda: snn.Leaky(0.9, reset_mechanism="zero", learn_beta=True), 1),
    "Lapicque": (lambda: snn.Lapicque(beta=0.9), 1),
    "Synaptic": (lambda: snn.Synaptic(0.9, 0.8), 1),  # syn is linear in all it depends on
    "Synaptic learning": (lambda: snn.Synaptic(0.9, 0.8, learn_alpha=True, learn_beta=True), 2),
    "Alpha": (lambda: snn.Alpha(0.9, 0.8), 1),
    "Alpha learning": (lambda: snn.Alpha(0.9, 0.8, learn_alpha=True, learn_beta=True), 3),
    "RLeaky one to one": (lambda: snn.RLeaky(0.9, all_to_all=False, V=0.5), 2),  # spk, for V's gradient
}


@pytest.mark.parametrize("name", CASES)
def test_at_most_one_sequence_a_state_and_never_the_input(name):
    make, sequences = CASES[name]
    neuron, x = make(), torch.rand(T, B, F, requires_grad=True)
    found, _ = kept(lambda: snn.unroll(neuron, x, *[torch.zeros(0)] * len(neuron.states)))
    large = [elements for elements in found.values() if elements >= T * N]
    assert len(large) == sequences
    assert set(large) == {T * N}
    assert x.untyped_storage().data_ptr() not in found
    small = sum(found.values()) - sum(large)
    assert small <= len(neuron.states) * N + 16  # the initial states and the scalars


def test_leaky_keeps_its_membrane_course_itself():
    """The tensor that is returned is the one that is kept: no second copy."""
    x = torch.rand(T, B, F, requires_grad=True)
    found, (spk, mem) = kept(lambda: snn.unroll(snn.Leaky(0.9), x, torch.zeros(0)))
    assert mem.untyped_storage().data_ptr() in found
    assert spk.untyped_storage().data_ptr() not in found


@pytest.mark.parametrize(
    "neuron",
    [snn.Leaky(0.9, reset_delay=False), snn.Lapicque(beta=0.9, learn_beta=True)],
    ids=lambda n: type(n).__name__,
)
def test_the_two_whose_gradient_reads_the_input(neuron):
    """A state after its reset does not tell the one before it, from which the spike came; and a learnt leak multiplies
    `R x - mem`. Their gradients need one sequence besides the state's: the input, which is there already.
    """
    x = torch.rand(T, B, F, requires_grad=True)
    found, (_, mem) = kept(lambda: snn.unroll(neuron, x, torch.zeros(0)))
    large = {pointer for pointer, elements in found.items() if elements >= T * N}
    assert large == {x.untyped_storage().data_ptr(), mem.untyped_storage().data_ptr()}


def test_layers_of_a_net_keep_one_sequence_each():
    net = nn.Sequential(
        nn.Linear(F, F), snn.Leaky(0.9, init_hidden=True), nn.Linear(F, F), snn.Leaky(0.9, init_hidden=True)
    )
    found, _ = kept(lambda: snn.unroll(net, torch.rand(T, B, F)))
    large = [elements for elements in found.values() if elements == T * N]
    assert len(large) == 4  # each Linear its input (the data, the hidden spikes), each Leaky its membrane course


class Allocations(TorchDispatchMode):
    """Elements of every tensor that is made, by operation."""

    def __init__(self):
        self.made = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor) and not any(tensor is a for a in args):
                self.made.append((func._opname, tensor.numel()))
        return out


@pytest.fixture
def allocated(monkeypatch):
    """Elements that the engine's kernels are given memory for."""
    sizes, empty = [], torch.empty

    def counted(*args, **kwargs):
        out = empty(*args, **kwargs)
        sizes.append(out.numel())
        return out

    monkeypatch.setattr(torch, "empty", counted)
    return sizes


def test_without_gradient_only_what_is_asked_for(allocated):
    x, lif = torch.rand(T, B, F), snn.Leaky(0.9, init_hidden=True)
    with torch.no_grad():
        snn.unroll(lif, x)
    assert [size for size in allocated if size >= T * N] == [T * N]  # the spikes
    allocated.clear()
    with torch.no_grad():
        snn.unroll(snn.Synaptic(0.9, 0.8), x, torch.zeros(0), torch.zeros(0))
    assert [size for size in allocated if size >= T * N] == [T * N] * 3  # spk, syn, mem are all returned


def test_hidden_layers_write_no_membrane_course(allocated):
    layers = [(nn.Linear(F, F), snn.Synaptic(0.9, 0.8, init_hidden=True)) for _ in range(3)]
    net = nn.Sequential(*(layer for pair in layers for layer in pair))
    with torch.no_grad():
        snn.unroll(net, torch.rand(T, B, F))
    assert [size for size in allocated if size >= T * N] == [T * N] * 3  # one train of spikes a layer


def test_operators_seen_without_gradient():
    """All that one neuron makes over time is what its operator returns."""
    lif, x = snn.Leaky(0.9, init_hidden=True), torch.rand(T, B, F)
    with torch.no_grad(), Allocations() as log:
        snn.unroll(lif, x)
    assert [made for made in log.made if made[1] >= T * N] == [("run", T * N)]
    assert ("run", N) in log.made  # the final state


@pytest.mark.parametrize("cls", [snn.RLeaky, snn.RSynaptic])
def test_recurrent_layers_keep_their_states_only(cls):
    kwargs = {"alpha": 0.8} if cls is snn.RSynaptic else {}
    layer, x = cls(beta=0.9, linear_features=F, **kwargs), torch.rand(T, B, F, requires_grad=True)
    found, _ = kept(lambda: snn.unroll(layer, x, *[torch.zeros(0)] * len(layer.states)))
    assert sum(elements >= T * N for elements in found.values()) <= len(layer.states)
    assert x.untyped_storage().data_ptr() not in found


def copied(call):
    """The most elements that a call copies at once, and its result."""
    with torch.autograd.profiler.profile(record_shapes=True) as profile:
        out = call()
    copies = [event.input_shapes[0] for event in profile.function_events if event.name == "aten::copy_"]
    return max((math.prod(shape) for shape in copies), default=0), out


@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last], ids=["channels first", "last"])
def test_images_are_copied_in_no_memory_format(format):
    lif = snn.Leaky(torch.tensor([0.5, 0.8, 0.9]).reshape(3, 1, 1), learn_beta=True)
    x = torch.rand(T * B, 3, 8, 8).to(memory_format=format).unflatten(0, (T, B)).requires_grad_()
    forward, (spk, mem) = copied(lambda: snn.unroll(lif, x, torch.zeros(0)))
    weights = torch.rand_like(mem)
    backward, grads = copied(lambda: torch.autograd.grad((spk, mem), x, (weights, weights)))
    assert spk.stride() == mem.stride() == grads[0].stride() == x.stride()
    assert max(forward, backward) == x[0].numel()  # the initial state and the parameter
    plain = snn.Leaky(0.9)
    assert copied(lambda: plain(x[1], mem[0]))[0] <= 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="that of glibc")
def test_memory_that_is_free_again_keeps_its_pages():
    import resource

    size = 48 << 20
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [memory.empty((size,), torch.uint8), torch.zeros(size, dtype=torch.uint8)]
        tensors = [t.fill_(1) for t in tensors]
        del tensors
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < size // 4096 // 10
