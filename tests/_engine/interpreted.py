"""What `test_triton.py` runs by Triton's interpreter beside the engine's other tests."""

import pytest
import torch

import snntorch as snn
from snntorch._engine import ops
from snntorch._engine.gpu import Kernel
from snntorch._engine.target import PACKAGES

T, B, N = 5, 3, 70  # 210 neurons: more than one block of 64, and a part of one


@pytest.fixture
def launched(monkeypatch):
    """What kernels are called with: for each call its tensors by name."""
    calls = []
    call = Kernel.__call__

    def record(self, steps, size, tensors, strides):
        calls.append(dict(zip(self.source.pointers, tensors, strict=True)))
        for name, tensor in calls[-1].items():
            if name.startswith(("Y", "F", "DX", "DS")):
                tensor.fill_(float("nan"))  # so that an element that is not written shows
        call(self, steps, size, tensors, strides)

    monkeypatch.setattr(Kernel, "__call__", record)
    return calls


def test_triton_is_what_runs(launched):
    assert PACKAGES["cpu"] == "triton"
    snn.unroll(snn.Leaky(0.9), torch.rand(T, B, N))
    assert len(launched) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(1,), (B, N), (64,), (65,)], ids=str)
def test_every_element_is_written(launched, dtype, shape):
    lif = snn.Synaptic(torch.tensor(0.9), 0.8, learn_alpha=True)
    x = torch.rand(T, *shape).to(dtype).requires_grad_()
    spk, syn, mem = snn.unroll(lif, x)
    (spk.sum() + syn.sum() + mem.sum()).backward()
    assert len(launched) == 2
    for result in (spk, syn, mem, x.grad, lif.alpha.grad):
        assert result.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_and_written_as_it_is_and_states_kept_in_float32(launched, dtype):
    x = torch.rand(T, B, N).to(dtype).requires_grad_()
    spk = snn.unroll(snn.Leaky(0.9, init_hidden=True), x)
    spk.sum().backward()
    forward, backward = ({name: t.dtype for name, t in call.items()} for call in launched)
    assert forward["X0"] == forward["Y0"] == backward["G0"] == backward["DX0"] == spk.dtype == x.grad.dtype == dtype
    assert forward["S0"] == forward["Y1"] == backward["N0"] == backward["A0"] == torch.float32


@pytest.mark.parametrize("cls", ["Leaky", "RLeaky"])
def test_autocast(cls):
    torch.manual_seed(0)
    neuron = snn.Leaky(0.9) if cls == "Leaky" else snn.RLeaky(0.9, linear_features=N)
    net, x = torch.nn.Linear(4, N), torch.rand(T, B, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = snn.unroll(neuron, net(x))
        snn.utils.reset(neuron)
        with snn.backend("eager"):
            expected = snn.unroll(neuron, net(x))
    assert [f.dtype for f in found] == [e.dtype for e in expected]
    torch.testing.assert_close(found[-1][0], expected[-1][0])  # later steps: eager rounds its states


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_whole(dtype):
    lif, x = snn.Leaky(0.9, learn_beta=True, init_hidden=True), torch.rand(T, B, N).to(dtype)
    gradients = []
    for function in (snn.unroll, torch.compile(snn.unroll, backend="aot_eager", fullgraph=True)):
        snn.utils.reset(lif)
        leaf = x.clone().requires_grad_()
        out = function(lif, leaf)
        assert out.dtype == dtype
        gradients.append((out, *torch.autograd.grad(out.sum(), (leaf, lif.beta))))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_operators_are_registered_as_pytorch_wants(dtype):
    lif = snn.Leaky(0.9)
    arguments = lif.step_arguments(torch.float32)
    from snntorch._engine import dispatch

    program = dispatch._plan(lif, (True,), 1, arguments, torch.float32, False).program
    params = [v for v in arguments.values() if isinstance(v, torch.Tensor)]
    x = torch.rand(T, B, N).to(dtype).requires_grad_()
    states = [torch.rand(B, N).requires_grad_()]
    written = ops.written(program, (True, *[False] * len(params)), (True, True))
    torch.library.opcheck(torch.ops.snntorch.run, (program.text, T, list(written), [x], states, params))
