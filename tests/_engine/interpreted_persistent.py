"""Recurrent layers in one kernel for all steps, by Triton's interpreter: `test_triton.py` runs this file by it."""

import math

import pytest
import torch
from torch import Tensor, nn
from triton.runtime.errors import OutOfResources

import snntorch as snn
from snntorch._engine import persistent
from snntorch._engine.gpu import Kernel
from snntorch._time.explain import paths

F64 = torch.float64


class Gated(snn.SpikingNeuron):
    """A user's neuron of two states and two inputs; where there is no neuron, its parameter gives 0/0."""

    states = ("mem", "slow")

    def __init__(self, features: int) -> None:
        super().__init__(threshold=0.3, learn_threshold=True)
        self.input, self.recurrent = nn.Linear(features, 2 * features), nn.Linear(features, 2 * features)
        self.register_value("tau", torch.linspace(1.5, 3, features), learn=True)

    def project(self, input_: Tensor) -> Tensor:
        return self.input(input_)

    def drive(self, projected: Tensor, mem: Tensor, slow: Tensor) -> tuple[Tensor, ...]:
        return (projected + self.recurrent(slow)).chunk(2, -1)

    @property
    def linear_feedback(self) -> tuple[int, Tensor, Tensor]:
        return 1, self.recurrent.weight, self.recurrent.bias

    @staticmethod
    def step(x, gate, mem, slow, *, tau, threshold, spike):
        slow = (slow + torch.sigmoid(gate) * x) / tau
        mem = 0.9 * mem + slow
        spk = spike(mem - threshold)
        return spk, mem - spk * threshold, slow


LAYERS = {
    "RLeaky": lambda n: snn.RLeaky(0.9, linear_features=n, learn_beta=True, learn_threshold=True),
    "RSynaptic": lambda n: snn.RSynaptic(torch.linspace(0.5, 0.9, n), 0.9, linear_features=n, learn_alpha=True),
    "SLSTM": lambda n: snn.SLSTM(n, n, threshold=0.1, learn_threshold=True),
    "a user's": Gated,
}


@pytest.fixture(autouse=True)
def launched(monkeypatch):
    """The names of the arrays of each launch; what a kernel is to write is NaN before, and so shows where it is not."""
    calls, launch = [], Kernel.launch

    def record(self, programs, options, steps, numbers, tensors):
        calls.append(self.source.pointers)
        for name, tensor in zip(self.source.pointers, tensors, strict=True):
            spare = name == "R0" and tensor is not tensors[self.source.pointers.index("W0")]
            if spare or name.startswith(("Y", "F", "DX", "DS")) or name[:2] in ("D0", "D1"):
                tensor.fill_(float("nan"))
        launch(self, programs, options, steps, numbers, tensors)

    monkeypatch.setattr(Kernel, "launch", record)
    with snn.backend("auto"):
        yield calls


def results(backend: str, neuron, x: Tensor, states=(), num_steps=None) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and gradients of input, states and parameters."""
    states = states or [x.new_zeros(0)] * len(neuron.states)
    leaves = [t.detach().clone().requires_grad_() for t in (x, *states)]
    with snn.backend(backend):
        out = list(snn.unroll(neuron, *leaves, num_steps=num_steps))
    leaves += [p for p in neuron.parameters() if p.requires_grad]
    weights = [torch.linspace(-1, 1.5, o.numel()).to(o.dtype).view_as(o) for o in out]
    return out, list(torch.autograd.grad(out, [leaf for leaf in leaves if leaf.numel()], weights))


@pytest.fixture
def wide(monkeypatch):
    """No layer's weight has a place in fast memory, and its rows are read by sixteen."""
    for name, value in {"memory": lambda *_: math.inf, "_CHUNK": 0, "_WIDEST": 8}.items():
        monkeypatch.setattr(persistent, name, value)


CASES = [
    ("RLeaky", 1, 3, 5, False), ("RLeaky", 5, 1, 17, True), ("RLeaky", 17, 3, 17, False),
    ("RSynaptic", 5, 3, 33, False), ("SLSTM", 1, 3, 5, True), ("SLSTM", 5, 3, 17, False),
    ("a user's", 1, 1, 17, False), ("a user's", 5, 3, 5, True), ("a user's", 6, 3, 17, False),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "steps", "batch", "features", "static"), CASES)
def test_it_is_the_loop_over_time(launched, kind, steps, batch, features, static):
    """In float64: spikes alike, states and gradients to rounding, as sums of products come in another order."""
    torch.manual_seed(steps)
    neuron, x = LAYERS[kind](features).double(), torch.randn(steps, batch, features, dtype=F64)
    states = [torch.rand(batch, features, dtype=F64) for _ in neuron.states]
    x, num_steps = (x[0], steps) if static else (x, None)
    found, expected = (results(backend, neuron, x, states, num_steps) for backend in ("auto", "eager"))
    assert len(launched) == 2
    assert torch.equal(found[0][0], expected[0][0]) and 0 < found[0][0].mean() < 1
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-10, atol=1e-10)


WIDE = [
    ("RLeaky", 2, 66, 17, False), ("RLeaky", 2, 3, 5, True), ("RSynaptic", 5, 3, 48, False), ("SLSTM", 4, 3, 17, False),
    ("a user's", 5, 3, 33, True),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "steps", "batch", "features", "static"), WIDE)
def test_it_is_that_where_the_weight_is_read_at_every_step(wide, launched, kind, steps, batch, features, static):
    assert persistent.shares(1, features, batch, F64, 227 << 10)[1] == 16
    test_it_is_the_loop_over_time(launched, kind, steps, batch, features, static)


@pytest.mark.parametrize("kind", ["RLeaky", "a user's"])
def test_single_precision_until_a_spike_differs(launched, kind):
    """Which it may where the membrane is within rounding of the threshold, and there the two go their own ways."""
    torch.manual_seed(0)
    neuron, x = LAYERS[kind](33), torch.randn(8, 7, 33)
    (found, _), (expected, _) = (results(backend, neuron, x) for backend in ("auto", "eager"))
    assert len(launched) == 2
    differs = (found[0] != expected[0]).any(-1)  # [T, B]
    alike = differs.cumsum(0) == 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a[alike], b[alike], rtol=1e-5, atol=1e-5)
    first = differs & (differs.cumsum(0) == 1)
    assert not first.any() or (found[1] - expected[1]).abs()[first].amin(-1).max() < 1e-5
    assert alike[-1].sum() >= 6  # of 7 samples


class Rounded(snn.RLeaky):
    """What drives a step in half precision: the input with its bias, then both with the product, rounded each time."""

    def drive(self, projected: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        given = (projected + self.recurrent.bias).bfloat16().double()
        return ((given + state[0] @ self.recurrent.weight.mT).bfloat16().double(),)


def test_half_precision(launched):
    """In float64, but with what drives a step rounded: spikes alike, states and gradients to their rounding."""
    torch.manual_seed(0)
    neuron, reference = (cls(0.9, linear_features=33) for cls in (snn.RLeaky, Rounded))
    neuron.bfloat16()
    reference.load_state_dict(neuron.state_dict())
    x = torch.randn(9, 3, 33).bfloat16()
    found, expected = results("auto", neuron, x), results("eager", reference.double(), x.double())
    assert len(launched) == 2
    assert found[0][0].dtype == torch.bfloat16 and torch.equal(found[0][0].double(), expected[0][0])
    torch.testing.assert_close(found[0][1].double(), expected[0][1], rtol=1e-6, atol=1e-6)
    for a, b in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2e-2, atol=5e-3 * float(b.abs().max()))


def test_half_precision_where_the_weight_is_read_at_every_step(wide, launched):
    test_half_precision(launched)


def test_what_is_asked_alone_is_written(launched):
    neuron, x = snn.RLeaky(0.9, linear_features=5, init_hidden=True), torch.rand(4, 3, 5)
    with torch.no_grad():
        snn.unroll(neuron, x)
    snn.utils.reset(neuron)
    snn.unroll(neuron, x.requires_grad_()).sum().backward()
    written = [{name for name in arrays if name[0] in "YD"} for arrays in launched]
    assert written == [{"Y0"}, {"Y0", "Y1", "Y2"}, {"DX0"}]


def test_second_derivatives(launched):
    """The gradient is then made of operations that autograd sees, and what it keeps gets a gradient too."""
    torch.manual_seed(0)
    neuron, x = LAYERS["SLSTM"](5).double(), torch.randn(4, 3, 5, dtype=F64, requires_grad=True)

    def twice(backend):
        with snn.backend(backend):
            out = snn.unroll(neuron, x, *[torch.zeros(0)] * 2)
        (first,) = torch.autograd.grad(out[2].square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), [x, *neuron.lstm_cell.parameters()])

    torch.testing.assert_close(twice("auto"), twice("eager"), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["SLSTM"])
def test_where_it_does_not_fit_a_product_is_made_at_every_step(monkeypatch, launched, kind):
    torch.manual_seed(0)
    neuron, x = LAYERS[kind](17).double(), torch.randn(3, 3, 17, dtype=F64)
    found = results("auto", neuron, x)
    assert len(launched) == 2
    (path,) = paths(neuron, x, *[torch.zeros(0)] * 2)
    assert (path.path, path.reason) == ("fused cpu", "")
    monkeypatch.setattr(persistent, "_ROOM", 4096)
    persistent._room.cache_clear()
    launched.clear()
    expected = results("auto", neuron, x)
    assert len(launched) == 6
    (path,) = paths(neuron, x, *[torch.zeros(0)] * 2)
    assert path.reason == "around a matrix product at every step"
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    persistent._room.cache_clear()


def test_a_device_without_room_after_all_takes_the_other_way(monkeypatch, launched):
    """Which Triton tells when it has compiled the kernel; the next time it is not asked."""
    neuron, x = LAYERS["RLeaky"](5).double(), torch.randn(3, 3, 5, dtype=F64)
    expected, asked = results("auto", neuron, x), []

    def refuse(self, *args):
        asked.append(self)
        raise OutOfResources(300 << 10, 227 << 10, "shared memory")

    monkeypatch.setattr(persistent.Kernel, "__call__", refuse)
    for _ in range(2):
        torch.testing.assert_close(results("auto", neuron, x), expected, rtol=1e-10, atol=1e-10)
    assert len(asked) == len(set(asked)) == 2
    for kernel in asked:
        kernel._refused.clear()  # which is kept for layers of the same form


WRITES = {f"aten::{name}" for name in ("copy_", "zero_", "sum", "mul", "add", "cat", "mm", "bmm", "addmm_", "baddbmm")}


def test_launches_beside_the_kernels(monkeypatch):
    """Of other operators as few for any number of steps: in training the two kernels are two launches of eleven."""
    monkeypatch.setattr(persistent.Kernel, "__call__", lambda *args: None)
    neuron = snn.RLeaky(0.9, linear_features=33, init_hidden=True)

    def launches(call):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            result = call()
        names = [event.name for event in profile.events()]
        return result, sorted(n for n in names if n in WRITES), [n for n in names if n.startswith("snntorch: ")]

    snn.unroll(neuron, torch.rand(1, 3, 33))  # after which the states' zeros are there
    for steps in (7, 100):
        x = torch.rand(steps, 3, 33, requires_grad=True)
        snn.utils.reset(neuron)
        spk, *forward = launches(lambda x=x: snn.unroll(neuron, x))
        ones, leaves = torch.ones_like(spk), [x, *neuron.recurrent.parameters()]
        _, *backward = launches(lambda ones=ones, spk=spk, leaves=leaves: torch.autograd.grad(spk, leaves, ones))
        assert forward == [["aten::add", *["aten::copy_"] * 3], ["snntorch: forward of RLeaky"]]
        weight_and_bias = ["aten::addmm_", "aten::mm", "aten::sum"]
        assert backward == [[*weight_and_bias, "aten::zero_", "aten::zero_"], ["snntorch: backward of RLeaky"]]
