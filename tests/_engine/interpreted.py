"""What `test_triton.py` runs by Triton's interpreter beside the engine's other tests."""

import copy

import pytest
import torch

import snntorch as snn
from helpers import Rooted
from snntorch._engine import gpu, ops
from snntorch._engine.gpu import Kernel
from snntorch._engine.target import PACKAGES
from snntorch._time.explain import paths

T, B, N = 5, 3, 70  # 210 neurons: more than one block of 64, and a part of one


@pytest.fixture
def launched(monkeypatch):
    """What kernels are called with: for each call its tensors by name."""
    calls = []
    launch = Kernel.launch

    def record(self, programs, options, steps, numbers, tensors):
        calls.append(dict(zip(self.source.pointers, tensors, strict=True)))
        for name, tensor in calls[-1].items():
            if name.startswith(("Y", "F", "DX", "DS")):
                tensor.fill_(float("nan"))  # so that an element that is not written shows
        launch(self, programs, options, steps, numbers, tensors)

    monkeypatch.setattr(Kernel, "launch", record)
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


@pytest.mark.parametrize("steps", [1, 3, 4, 9])
def test_rounds_of_several_steps_and_of_one_compute_the_same(monkeypatch, steps):
    lif = snn.Synaptic(torch.full((N,), 0.9), 0.8, learn_alpha=True)
    x = torch.rand(steps, B, N, requires_grad=True)
    results, options, choose = [], [], Kernel.options
    monkeypatch.setattr(Kernel, "options", lambda *args: options.append(choose(*args)) or options[-1])
    for programs in (gpu._PROGRAMS, 1):
        monkeypatch.setattr(gpu, "_PROGRAMS", programs)
        out = snn.unroll(lif, x, *[torch.zeros(0)] * 2)
        results.append([*out, *torch.autograd.grad(out[0].sum() + out[2].sum(), (x, lif.alpha))])
    assert [found["UNROLL"] for found in options] == [4, 4, 1, 1]
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_and_written_as_it_is_and_states_kept_in_float32(launched, dtype):
    x = torch.rand(T, B, N).to(dtype).requires_grad_()
    spk = snn.unroll(snn.Leaky(0.9, init_hidden=True), x)
    spk.sum().backward()
    forward, backward = ({name: t.dtype for name, t in call.items()} for call in launched)
    assert forward["X0"] == forward["Y0"] == backward["G0"] == backward["DX0"] == spk.dtype == x.grad.dtype == dtype
    assert forward["S0"] == forward["B0"] == backward["B0"] == backward["A0"] == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("size", "begin"), [(64, 1), (64, 2), (63, 0), (63, 1), (1, 1)])
def test_halves_between_words_are_read_to_the_bit(monkeypatch, dtype, size, begin):
    """Input and cotangents; where they begin beside where memory is given, and where rows have odd lengths."""
    noise = torch.randn(2, begin + 9 * size, generator=torch.Generator().manual_seed(0)).to(dtype)
    x, cotangent = (row[begin:].view(9, size) for row in noise.unbind())
    results, options, choose = [], [], Kernel.options
    for words in (True, False):

        def choice(*args, words=words):
            options.append(choose(*args))
            return {**options[-1], "WORDS": words}

        monkeypatch.setattr(Kernel, "options", choice)
        leaf, lif = x.detach().requires_grad_(), NEURONS["Synaptic"]()
        assert leaf.data_ptr() == x.data_ptr()
        spk = snn.unroll(lif, leaf)
        results.append([spk, *torch.autograd.grad(spk, (leaf, lif.alpha), cotangent)])
    assert [chosen["WORDS"] for chosen in options] == [True] * 4
    assert all(map(torch.equal, *results))


def again_and_read(monkeypatch, launched, call):
    """Results where the states are computed again on the way back, and where their courses are kept."""
    results = []
    for again in (True, False):
        launched.clear()
        if not again:
            monkeypatch.setattr(ops, "fewer_bytes", lambda *args: False)
        results.append(call())
        assert any("B0" in arrays for arrays in launched) is again
    return results


NEURONS = {
    "Leaky": lambda: snn.Leaky(torch.linspace(0.5, 0.99, N), learn_beta=True, init_hidden=True),
    "Synaptic": lambda: snn.Synaptic(0.9, 0.8, learn_alpha=True, init_hidden=True),
    "Alpha": lambda: snn.Alpha(0.9, 0.8, learn_beta=True, init_hidden=True),
    "rooted": lambda: Rooted(init_hidden=True),
}


@pytest.mark.parametrize(("kind", "dtype"), [
    ("Leaky", torch.bfloat16), ("Synaptic", torch.float32), ("Alpha", torch.bfloat16), ("rooted", torch.float32),
])  # fmt: skip
def test_states_computed_again_are_those_that_were(monkeypatch, launched, kind, dtype):
    """To the last bit, whatever the length leaves of a chunk, and with cotangents of the final states."""
    for steps in (3, 8, 17):
        x = (1.5 * torch.rand(steps, 1, N)).to(dtype).requires_grad_()

        def results(x=x):
            neuron = NEURONS[kind]()
            first, second = snn.unroll(neuron, x), snn.unroll(neuron, x[:3] * 1)
            learnt = [p for p in neuron.parameters() if p.requires_grad]
            weights = [torch.linspace(-1, 2, o.numel()).to(dtype).view_as(o) for o in (first, second)]
            return [first, second, *torch.autograd.grad([first, second], [x, *learnt], weights)]

        with monkeypatch.context() as patch:
            found, expected = again_and_read(patch, launched, results)
        assert all(map(torch.equal, found, expected))


def test_states_computed_again_have_second_derivatives(monkeypatch, launched):
    x = torch.rand(9, 1, N, dtype=torch.float64, requires_grad=True)

    def results():
        lif = NEURONS["Synaptic"]().double()
        (first,) = torch.autograd.grad(snn.unroll(lif, x).square().sum(), x, create_graph=True)
        return [first, *torch.autograd.grad(first.square().sum(), (x, lif.alpha))]

    found, expected = again_and_read(monkeypatch, launched, results)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "dtype", "bytes"),
    [("Leaky", torch.float32, 4), ("Leaky", torch.bfloat16, 2.5), ("Synaptic", torch.float32, 5),
     ("Synaptic", torch.bfloat16, 3), ("Synaptic", torch.float64, 10)],
)  # fmt: skip
def test_bytes_kept_for_each_neuron_and_step(kind, dtype, bytes):
    steps, shape = 32, (3, N)
    x, kept = torch.rand(steps, *shape).to(dtype).requires_grad_(), []
    neuron = NEURONS[kind]()
    neuron = neuron.double() if dtype == torch.float64 else neuron
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        snn.unroll(neuron, x)
    kept = [t for t in kept if t.dim() == 3]
    assert sum(t.nbytes for t in kept) == bytes * x.numel()


WRITES = {"aten::copy_", "aten::fill_", "aten::zero_", "aten::sum", "aten::mul", "aten::add"}  # each a launch on a GPU


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_few_launches_beside_the_kernel(monkeypatch, dtype):
    """A copy of a state that the kernel writes over, forward; backward zeros for its cotangent. Half costs no cast."""
    monkeypatch.setattr(Kernel, "__call__", lambda *args: None)
    lif, x = snn.Leaky(0.9, init_hidden=True), torch.rand(T, B, N, dtype=dtype, requires_grad=True)
    snn.unroll(lif, x)

    def launches(call):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            result = call()
        return result, [event.name for event in profile.events() if event.name in WRITES]

    snn.utils.reset(lif)
    spk, forward = launches(lambda: snn.unroll(lif, x))
    ones = torch.ones_like(spk)
    _, backward = launches(lambda: torch.autograd.grad(spk, x, ones))
    assert (forward, backward) == (["aten::copy_"], ["aten::zero_"])


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


@pytest.mark.parametrize("autocast", [False, True], ids=["half weights", "autocast"])
@pytest.mark.parametrize("cls", [snn.RLeaky, snn.RSynaptic, snn.SLSTM])
def test_recurrence_in_half_precision_keeps_states_in_float32(launched, cls, autocast):
    """Against float64 no worse than a loop over time that rounds its states at every step."""
    torch.manual_seed(0)
    kwargs = {snn.RLeaky: dict(beta=0.9, linear_features=N),
              snn.RSynaptic: dict(alpha=0.8, beta=0.7, linear_features=N),
              snn.SLSTM: dict(input_size=N, hidden_size=N, threshold=0.1)}[cls]  # fmt: skip
    low = cls(**kwargs) if autocast else cls(**kwargs).to(torch.bfloat16)
    x = torch.randn(T, B, N).to(torch.bfloat16)

    def outputs_and_gradients(backend, neuron, dtype):
        leaf = x.to(dtype).requires_grad_()
        with snn.backend(backend), torch.autocast("cpu", torch.bfloat16, enabled=autocast and dtype != torch.float64):
            out = snn.unroll(neuron, leaf, *[torch.zeros(0)] * len(neuron.states))
        leaves = [leaf, *neuron.parameters()]
        weights = [torch.linspace(-1, 1.5, o.numel()).to(o.dtype).view_as(o) for o in out]
        results = [*out, *torch.autograd.grad(out, leaves, weights)]
        kept = torch.promote_types(dtype, torch.float32)
        spikes, *states = out
        assert spikes.dtype == dtype and all(s.dtype == kept for s in states)
        assert [r.dtype for r in results[len(out) :]] == [leaf.dtype for leaf in leaves]
        return results

    truth = outputs_and_gradients("eager", copy.deepcopy(low).double(), torch.float64)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        (path,) = paths(low, x, *[torch.zeros(0)] * len(low.states))
    assert (path.path, path.reason) == ("fused cpu", "")
    launched.clear()
    ours = outputs_and_gradients("auto", copy.deepcopy(low), torch.bfloat16)
    forward, _ = launched
    assert forward["S0"].dtype == torch.float32 and forward["X0"].dtype == torch.bfloat16
    looped = outputs_and_gradients("eager", copy.deepcopy(low), torch.bfloat16)
    for found, other, value in zip(ours, looped, truth, strict=True):
        error, rounded = ((r.double() - value).abs().mean() for r in (found, other))
        assert error <= 1.5 * rounded + torch.finfo(torch.bfloat16).eps * value.abs().mean()


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


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # opcheck's own, in torch 2.14
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_operators_are_registered_as_pytorch_wants(dtype):
    lif = snn.Leaky(0.9)
    arguments = lif.step_arguments(torch.float32)
    from snntorch._engine.plans import plan

    program = plan(lif, (True,), 1, arguments, torch.float32, torch.device("cpu"), costly=True, fixed=True).program
    params = [v for v in arguments.values() if isinstance(v, torch.Tensor)]
    x = torch.rand(T, B, N).to(dtype).requires_grad_()
    states = [torch.rand(B, N).requires_grad_()]
    written = ops.written(program, (True, *[False] * len(params)), (True, True))
    torch.library.opcheck(torch.ops.snntorch.run, (program.text, T, list(written), [x], states, params))
