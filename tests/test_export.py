"""Steps and unrolled networks as other programs: by torch.export, read back from a file, and by ONNX in onnxruntime."""

import io
import subprocess
import sys
from collections.abc import Iterator

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import snntorch as snn
from helpers import assert_equal, flat, start
from rows import ROWS, STEP_ROWS, one_per_class, row_named, rows

T, B = 3, 3
BATCH, TIME = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("time", min=2, max=64)
MIXING = {snn.RLeaky, snn.RSynaptic, snn.SLSTM, snn.SConv2dLSTM}  # by a weight between one step and the next
RESETS = [r for r in ROWS if r.cls is snn.Leaky and "reset_mechanism" in r.kwargs][1:]  # the first is its class's

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "The tensor attributes? .* assigned during export:UserWarning",  # a program keeps no states
        "`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",  # copying a program
        "`torch.jit.script_method` is deprecated:DeprecationWarning",  # in the exporter's own gradient of a scan
        "# The axis name. .* will not be used:UserWarning",  # inputs that share an open dimension
    )
]


@pytest.fixture(autouse=True)
def auto() -> Iterator[None]:
    """Programs with the operator, whatever the backend of the other tests."""
    with snn.backend("auto"):
        yield


class Step(nn.Module):
    """One step, whose states are passed."""

    def __init__(self, neuron):
        super().__init__()
        self.neuron = neuron

    def forward(self, x, *states):
        return self.neuron(x, *states)


class Unrolled(nn.Module):
    """A whole sequence, from zeros."""

    def __init__(self, module, *states, **options):
        super().__init__()
        self.module, self.given, self.options = module, states, options

    def forward(self, x):
        snn.utils.reset(self)
        return snn.unroll(self.module, x, *self.given, **self.options)


def unrolled(row):
    neuron = row.make().eval()
    return neuron if row.takes_sequence else Unrolled(neuron, *start(row, neuron)).eval()


def export(module, *args, time=False):
    """The program, with the batch open, and the number of steps where they are to be."""

    def dims(x):
        return {0: BATCH} if isinstance(x, Tensor) else tuple(map(dims, x))

    whole = {0: TIME, 1: BATCH} if time else {1: BATCH}
    shapes = (dims(args[0]), dims(args[1:])) if isinstance(module, Step) else (whole,)
    return torch.export.export(module, args, dynamic_shapes=shapes)


def reread(program):
    """As written to a file and read back."""
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


def onnx(model, *args, **options):
    """The ONNX program as a function of the same arguments, by onnxruntime."""
    file = io.BytesIO()
    torch.onnx.export(model, args, dynamo=True, verbose=False, **options).save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    names = [i.name for i in session.get_inputs()]

    def call(*args):
        return [
            torch.tensor(y) for y in session.run(None, dict(zip(names, (x.numpy() for x in flat(args)), strict=True)))
        ]

    return call


def operators(program):
    """Names of the operators that the program calls."""
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


def in_the_middle(row, batch):
    """An input, and states that some neurons have left at zero and others have not."""
    neuron, x, states = row.make(), row.input(T, batch), start(row, row.make())
    for now in x:
        states = neuron(now, *states)[-len(states) :]
    return x[0], *states


@rows(one_per_class(STEP_ROWS))
@torch.no_grad()
def test_step(row):
    """Its outputs and new states; as ONNX where `test_unrolled` does not write the same operations."""
    module = Step(row.make()).eval()
    program = export(module, *in_the_middle(row, B))
    exported = reread(program).module()
    in_onnx = onnx(program) if row.cls in {snn.Leaky, snn.IntegerLeaky, snn.EIF, *MIXING} else None
    for batch in (B, B + 4):
        args = in_the_middle(row, batch)
        expected = module(*args)
        torch.testing.assert_close(exported(*args), expected)
        if in_onnx:
            torch.testing.assert_close(in_onnx(*args), flat(expected))


@rows([
    r for r in (*one_per_class(), *RESETS, row_named("RLeaky-conv-even"), row_named("SConv2dLSTM-max-pool"))
    if r.cls is not snn.NoisyLeaky  # its draws fix the number of steps
])  # fmt: skip
@torch.no_grad()
def test_unrolled(row):
    module = unrolled(row)
    program = export(module, row.input(T, B), time=True)
    if row.cls is not snn.SlidingPSN:  # a matrix product
        assert any(name.startswith("snntorch.") for name in operators(program))
    exported, in_onnx = reread(program).module(), None if row in RESETS else onnx(program)
    for steps, batch in ((T, B), (T + 5, B + 4)):
        x = row.input(steps, batch)
        expected = module(x)
        torch.testing.assert_close(exported(x), expected)
        if in_onnx:
            torch.testing.assert_close(in_onnx(x), flat(expected))


def test_a_network_that_has_run_before():
    """Nothing of the states that it keeps goes into the program, and nothing of the program into them."""
    linear, lif = nn.Linear(5, 8), snn.Leaky(0.9, init_hidden=True)
    net = Unrolled(nn.Sequential(linear, lif, nn.Linear(8, 2), snn.Synaptic(0.8, 0.9, init_hidden=True, output=True)))
    x = 3 * torch.rand(T, B, 5)
    expected = net.eval()(x)
    mem = lif.mem
    exported = export(net, x, time=True)
    in_onnx = onnx(net, x, dynamic_shapes=({0: TIME, 1: BATCH},))
    assert lif.mem is mem
    for _ in range(2):
        assert_equal(exported.module()(x), expected)
        torch.testing.assert_close(in_onnx(x), list(expected))
    other = 3 * torch.rand(2 * T, 2 * B, 5)
    assert_equal(exported.module()(other), net(other))
    torch.testing.assert_close(in_onnx(other), list(net(other)))


@torch.no_grad()
def test_a_static_input():
    net, x = Unrolled(snn.Leaky(0.9), num_steps=T).eval(), 0.3 * torch.rand(B, 5)
    torch.testing.assert_close(onnx(net, x)(x), list(net(x)))


@torch.no_grad()
def test_the_eager_backend_exports_plain_operators():
    net, x = Unrolled(snn.Leaky(0.9)), torch.rand(T, B, 5)
    with snn.backend("eager"):
        program = export(net, x)
    assert all(name.startswith(("aten.", "<built-in")) for name in operators(program))
    torch.testing.assert_close(program.module()(x), net(x))


def test_a_spike_is_a_comparison_whatever_its_surrogate():
    """The program calls what that of a step without any surrogate calls."""

    def called(name):
        row = row_named(f"Leaky-{name}")
        program = export(Step(row.make()), *in_the_middle(row, B)).run_decompositions()
        return [node.target for node in program.graph.nodes if node.op == "call_function"]

    without = called("surrogate_disable")
    assert torch.ops.aten.gt.Scalar in without
    for name in ("subtract-delay", "SpikeRateEscape", "LeakySpikeOperator", "custom_surrogate"):
        assert called(name) == without


def test_a_program_runs_where_only_the_package_is_imported(tmp_path):
    net, x = Unrolled(snn.Leaky(0.9)), torch.rand(T, B, 5)
    torch.export.save(export(net, x), tmp_path / "net.pt2")
    torch.save(x, tmp_path / "x.pt")
    code = "import torch, snntorch; torch.save(torch.export.load('net.pt2').module()(torch.load('x.pt')), 'out.pt')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert_equal(torch.load(tmp_path / "out.pt"), net(x))
