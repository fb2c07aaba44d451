"""The run of a step: dtypes on both paths."""

import copy
import io

import pytest
import torch

import snntorch as snn
from helpers import flat
from rows import STEP_ROWS, one_per_class, rows
from snntorch import surrogate
from snntorch._engine import run

T, B, F = 40, 3, 5
LOW = [torch.float16, torch.bfloat16]


class Mixing(snn.SpikingNeuron):
    """A step that autocast would take in half precision."""

    states = ("mem",)

    @staticmethod
    def step(x, mem, *, threshold, spike):
        mem = 0.5 * mem + x @ torch.eye(F) * 1.001
        return spike(mem - threshold), mem


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize("steps", [0, T])
@pytest.mark.parametrize("make", [lambda: snn.Leaky(0.999, learn_beta=True), Mixing], ids=["Leaky", "Mixing"])
def test_half_inputs_are_computed_in_float32(make, steps, dtype, autocast):
    """Only inputs are rounded, and the outputs that are no states: bit for bit the float32 run on the same inputs."""
    neuron = make()
    x, mem = torch.rand((steps, B, F) if steps else (B, F)).to(dtype), 2 * torch.rand(B, F)
    arguments = neuron.step_arguments(torch.float32)
    with snn.backend("eager"):
        (spk, course), (final,) = run(neuron, (x.float(),), (mem,), arguments, steps=steps)
    for backend in ("eager", "auto"):
        with snn.backend(backend), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            (found, path), (last,) = run(neuron, (x,), (mem,), arguments, steps=steps)
        assert (found.dtype, path.dtype, last.dtype) == (dtype, torch.float32, torch.float32)
        assert torch.equal(found, spk.to(dtype)) and torch.equal(path, course) and torch.equal(last, final)


def test_what_does_not_vary_is_rounded_no_further():
    lif, x, mem = snn.Leaky(0.999), torch.rand(B, F).bfloat16(), torch.zeros(B, F)
    arguments = lif.step_arguments(torch.float32)
    found = []
    for backend in ("eager", "fused"):
        with snn.backend(backend):
            found.append(run(lif, (x,), (mem,), arguments, steps=T, varies=(False,)))
    ((spk, course), (last,)), ((spk_fused, course_fused), (last_fused,)) = found
    assert spk_fused.dtype == spk.dtype == torch.bfloat16 and course_fused.dtype == torch.float32
    assert torch.equal(spk, spk_fused) and torch.equal(course, course_fused) and torch.equal(last, last_fused)


# -- who follows each operation, and what is not its memory


class Net(torch.nn.Module):
    """A loop, or a whole run, from a fresh state."""

    def __init__(self, over_time):
        super().__init__()
        self.linear, self.lif, self.over_time = torch.nn.Linear(4, F), snn.Leaky(0.9), over_time

    def forward(self, x):
        x = self.linear(x)
        return (snn.unroll if self.over_time else self.step)(self.lif, x, torch.zeros(0))[0]

    @staticmethod
    def step(lif, x, state):
        return lif(x[0], state)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("over_time", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_torch_jit_trace_records_the_steps(over_time, grad):
    net, x, other = Net(over_time), torch.rand(3, B, 4), 5 * torch.rand(3, B, 4)
    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(net, (x,))
        assert torch.equal(traced(other), net(other))
        assert net(other).any()


@rows([row for row in one_per_class(STEP_ROWS) if row.cls is not snn.NoisyLeaky])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Converting a tensor:torch.jit.TracerWarning")
def test_torch_jit_trace_in_the_middle_of_training(row):
    """As TensorBoard's `add_graph`. Its check traces twice, from the same states, and runs the neuron once."""
    neuron, twin = (row.make(init_hidden=True, output=True) for _ in range(2))
    for now in row.input(3, 2).requires_grad_():
        neuron(now), twin(now)
    first, second = row.input(2, 2, generator=1)
    traced = torch.jit.trace(neuron, (first,))
    torch.testing.assert_close(flat(traced(second)), flat(copy.deepcopy(twin)(second)))
    twin(first)
    torch.testing.assert_close(flat(neuron(second)), flat(twin(second)))
    torch.jit.trace(neuron, (first,), check_trace=False)
    torch.testing.assert_close(flat(neuron(second)), flat(twin(second)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore:.*legacy")
def test_the_old_onnx_exporter_records_the_steps():
    runtime = pytest.importorskip("onnxruntime")
    net, x, other = Net(True), torch.rand(3, B, 4), 5 * torch.rand(3, B, 4)
    file = io.BytesIO()
    torch.onnx.export(net, (x,), file, dynamo=False)
    session = runtime.InferenceSession(file.getvalue())
    (found,) = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    assert torch.equal(torch.from_numpy(found), net(other)) and net(other).any()


def negative(shape):
    """Minus what lies in memory."""
    found = torch.view_as_complex(torch.rand(*shape, 2)).conj().imag
    assert found.is_neg()
    return found


@pytest.mark.parametrize("make", [negative, torch._efficientzerotensor], ids=["negative", "zero"])
@pytest.mark.parametrize("where", ["input", "state", "parameter"])
@pytest.mark.parametrize("steps", [0, T])
def test_tensors_that_are_not_their_memory(make, where, steps):
    shape = (steps, B, F) if steps else (B, F)
    x = make(shape) if where == "input" else torch.rand(shape)
    mem = make((B, F)) if where == "state" else torch.rand(B, F)
    lif = snn.Leaky(0.9)
    arguments = lif.step_arguments(torch.float32)
    if where == "parameter":
        arguments["beta"] = make((F,))
    results = []
    for backend in ("eager", "auto"):
        with snn.backend(backend):
            results.append(run(lif, (x,), (mem,), arguments, steps=steps))
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize("name", [*surrogate.FACTORIES, "disabled"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning")
def test_every_surrogate_compiles_with_and_without_gradients(name):
    kwargs = {"surrogate_disable": True} if name == "disabled" else {"spike_grad": name}
    lif, x, mem = snn.Leaky(0.9, **kwargs), 3 * torch.rand(2, B, F), torch.rand(B, F)

    def both(x):
        """A single step, and several."""
        return (*lif(x[0], mem), *snn.unroll(lif, x, mem))

    ways = [(torch.enable_grad, True)]
    if name in ("disabled", "atan", "SFS"):  # of no, one and two parameters, for all: without gradients each is H(x)
        ways += [(torch.inference_mode, False), (torch.no_grad, True), (torch.enable_grad, False)]
    for mode, leaf in ways:
        torch._dynamo.reset()
        x.requires_grad_(leaf)
        with mode():
            found, expected = torch.compile(both, fullgraph=True, backend="eager")(x), both(x)
        assert all(map(torch.equal, found, expected)) and expected[0].any() and expected[2].any()
        if leaf and expected[3].requires_grad and name != "SSO":  # whose gradient is drawn
            torch.testing.assert_close(
                *(torch.autograd.grad(out[2].sum() + out[0].sum(), x) for out in (found, expected))
            )


GAIN = torch.tensor(1.0)


class Gained(snn.SpikingNeuron):
    """A step that reads a global tensor."""

    states = ("mem",)

    @staticmethod
    def step(x, mem, *, threshold, spike):
        mem = 0.5 * mem + GAIN * x
        return spike(mem - threshold), mem


@pytest.mark.parametrize("steps", [0, 3])
def test_a_captured_tensor_is_the_one_that_its_name_means_now(steps, monkeypatch):
    neuron, x, mem = Gained(), torch.rand((steps, B, F) if steps else (B, F)), torch.rand(B, F)
    for gain in (torch.tensor(2.0), torch.rand(F), torch.tensor(3.0)):
        monkeypatch.setitem(globals(), "GAIN", gain)
        results = []
        for backend in ("eager", "auto"):
            with snn.backend(backend):
                results.append(run(neuron, (x,), (mem,), neuron.step_arguments(torch.float32), steps=steps))
        torch.testing.assert_close(*results, rtol=0, atol=0)
    monkeypatch.setitem(globals(), "GAIN", torch.tensor(1.0, device="meta"))
    with pytest.raises(RuntimeError, match="the backend is fused, but one tensor is on meta"), snn.backend("fused"):
        run(neuron, (x,), (mem,), neuron.step_arguments(torch.float32), steps=steps)
