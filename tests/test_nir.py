"""NIR graphs out of networks and networks out of NIR graphs."""

import copy
import itertools
import pathlib
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snntorch as snn
from snntorch import surrogate, utils
from snntorch._layers.delay import Delay
from snntorch._layers.graded_spikes import GradedSpikes
from snntorch._layers.integrator import LeakyIntegrator, SynapticIntegrator
from snntorch._layers.scale import Scale
from snntorch._layers.threshold import Threshold
from snntorch.functional import quant

nir = pytest.importorskip("nir")

from snntorch.export_nir import export_to_nir  # noqa: E402
from snntorch.import_nir import import_from_nir  # noqa: E402

T, B = 60, 3
FILES = pathlib.Path(__file__).parent / "nir_files"


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def run(net, x):
    """Outputs over time, [T, B, ...], of a network that keeps its states; the first of what it returns."""
    utils.reset(net)
    outputs = []
    with torch.no_grad():
        for x_t in x:
            out = net(x_t)
            outputs.append(out[0] if isinstance(out, tuple) else out)
    return torch.stack(outputs)


def round_trip(net, x, path, **kwargs):
    """The network that comes back through a file, having checked that it is the same function of the input."""
    graph = export_to_nir(net, x[0], **kwargs)
    nir.write(path, graph)
    again = import_from_nir(nir.read(path, type_check=False))
    expected = run(net, x)
    assert expected.abs().sum() > 0 and expected.std() > 0  # the test sees something
    torch.testing.assert_close(run(import_from_nir(graph), x), expected, rtol=0, atol=0)
    torch.testing.assert_close(run(again, x), expected, rtol=0, atol=0)
    return graph, again


def kinds(graph):
    return {name: type(node).__name__ for name, node in graph.nodes.items()}


def hidden(neuron, *args, **kwargs):
    return neuron(*args, init_hidden=True, **kwargs)


# -- round trips: the network that comes back gives the same numbers, to the last bit

EXACT = [
    lambda n: hidden(snn.Leaky, 0.9, reset_mechanism="zero"),
    lambda n: hidden(snn.Leaky, 0.37, threshold=0.7, reset_mechanism="zero", reset_delay=False),
    lambda n: hidden(snn.Leaky, torch.rand(n), threshold=torch.rand(n), reset_mechanism="zero"),
    lambda n: hidden(snn.Leaky, torch.tensor([0.5]), threshold=torch.tensor([0.6]), reset_mechanism="zero"),
    lambda n: hidden(snn.Leaky, 1.0, reset_mechanism="zero"),
    lambda n: hidden(snn.Leaky, 0.0, threshold=0.3, reset_mechanism="zero"),
    lambda n: hidden(snn.Leaky, 1.7, reset_mechanism="zero"),
    lambda n: hidden(snn.Leaky, torch.linspace(0.5, 1, n), reset_mechanism="zero"),
    lambda n: hidden(snn.Leaky, 0.9, reset_mechanism="none"),
    lambda n: hidden(snn.Leaky, 1.0, reset_mechanism="none"),
    lambda n: hidden(snn.Leaky, 0.9, reset_mechanism="zero", graded_spikes_factor=0.3),
    lambda n: hidden(snn.Leaky, 0.9, reset_mechanism="none", graded_spikes_factor=torch.rand(n)),
    lambda n: hidden(snn.Leaky, 0.9, reset_mechanism="zero", spike_grad=surrogate.fast_sigmoid(5)),
    lambda n: hidden(snn.Leaky, 0.9, reset_mechanism="zero", spike_grad=surrogate.learnable_width(surrogate.atan())),
    lambda n: hidden(snn.Leaky, 0.9, reset_mechanism="zero", learn_beta=True, learn_threshold=True),
    lambda n: hidden(snn.Synaptic, 0.8, 0.9, reset_mechanism="zero", reset_delay=False),
    lambda n: hidden(snn.Synaptic, torch.rand(n), torch.rand(n), reset_mechanism="zero", reset_delay=False),
    lambda n: hidden(snn.Synaptic, 1.0, 0.6, threshold=3.0, reset_mechanism="zero", reset_delay=False),
    lambda n: hidden(snn.Synaptic, 0.6, 0.7, reset_mechanism="none"),
    lambda n: hidden(snn.Lapicque, R=1.5, C=4.0, time_step=0.5, threshold=0.1, reset_mechanism="none"),
    lambda n: hidden(snn.RLeaky, 0.9, V=0.4, all_to_all=False, reset_mechanism="zero", reset_delay=False),
    lambda n: hidden(snn.RLeaky, 0.9, V=torch.randn(n), all_to_all=False, reset_mechanism="zero", reset_delay=False),
    lambda n: hidden(snn.RLeaky, 0.9, linear_features=n, reset_mechanism="zero", reset_delay=False),
    lambda n: hidden(snn.RLeaky, 0.9, linear_features=n, reset_mechanism="none"),
    lambda n: hidden(snn.RSynaptic, 0.5, 0.9, linear_features=n, reset_mechanism="zero", reset_delay=False),
    lambda n: hidden(snn.RSynaptic, 0.5, 0.9, V=-0.5, all_to_all=False, reset_mechanism="zero", reset_delay=False),
]
NOTED = [  # resets that NIR cannot say
    lambda n: hidden(snn.Leaky, 0.9),
    lambda n: hidden(snn.Leaky, 0.9, threshold=torch.rand(n) + 0.2, reset_delay=False),
    lambda n: hidden(snn.Leaky, 1.0),
    lambda n: hidden(snn.Synaptic, 0.8, 0.9),
    lambda n: hidden(snn.Synaptic, 0.8, 0.9, reset_mechanism="zero"),
    lambda n: hidden(snn.Lapicque, R=1.5, C=4.0, time_step=0.7, threshold=0.1),
    lambda n: hidden(snn.Lapicque, R=1.5, C=4.0, time_step=0.7, threshold=0.1, reset_mechanism="zero"),
    lambda n: hidden(snn.Lapicque, 0.7, threshold=0.1, learn_beta=True),
    lambda n: hidden(snn.RLeaky, 0.9, linear_features=n, reset_mechanism="subtract"),
    lambda n: hidden(snn.RLeaky, 0.9, V=0.3, all_to_all=False, reset_mechanism="zero"),
    lambda n: hidden(snn.RSynaptic, 0.8, 0.9, linear_features=n, reset_delay=False),
]


def test_beta_is_clamped_as_in_the_step():
    graph = export_to_nir(hidden(snn.Leaky, -0.5, reset_mechanism="zero"), torch.zeros(1, 2))
    assert graph.nodes["leaky"].tau.tolist() == [1e-4, 1e-4]
    graph = export_to_nir(hidden(snn.Leaky, 1.7, reset_mechanism="zero"), torch.zeros(1, 2))
    assert kinds(graph)["leaky"] == "IF"


@pytest.mark.parametrize("neuron", EXACT)
def test_round_trip_of_what_nir_can_say(neuron, tmp_path):
    net = nn.Sequential(nn.Linear(6, 5), neuron(5), nn.Linear(5, 4), neuron(4))
    with torch.no_grad():
        for p in net[0].parameters():
            p.mul_(3)
        net[2].weight.mul_(4)
        net[2].bias.abs_()
    round_trip(net, torch.rand(T, B, 6), tmp_path / "net.nir", ignore_dims=[0])


@pytest.mark.parametrize("neuron", NOTED)
def test_round_trip_of_what_metadata_say(neuron, tmp_path):
    net = nn.Sequential(nn.Linear(6, 5), neuron(5), nn.Linear(5, 4))
    net[0].weight.data.mul_(3)
    with pytest.warns(UserWarning, match=r"layer '1'.*metadata"):
        graph, _ = round_trip(net, torch.rand(T, B, 6), tmp_path / "net.nir")
    note = next(node.metadata["snntorch"] for node in graph.nodes.values() if node.metadata)
    assert note["reset_mechanism"] == net[1].reset_mechanism
    assert note["reset_delay"] == getattr(net[1], "reset_delay", True)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_round_trip_of_random_networks(data):
    draw = data.draw
    torch.manual_seed(draw(st.integers(0, 2**16)))
    sizes = draw(st.lists(st.integers(1, 7), min_size=2, max_size=4))
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers.append(nn.Linear(n_in, n_out, bias=draw(st.booleans())))
        if draw(st.booleans()):
            layers[-1] = nn.Sequential(layers[-1], draw(st.sampled_from([nn.Identity(), nn.Dropout(0.5)])))
        layers.append(draw(st.sampled_from(EXACT))(n_out))
    net = nn.Sequential(*layers).eval()
    x = 3 * torch.randn(T, B, sizes[0])
    dt = draw(st.sampled_from([1e-4, 1e-3, 1.0, 0.37]))
    expected = run(net, x)
    graph = export_to_nir(net, x[0], dt=dt)
    torch.testing.assert_close(run(import_from_nir(graph), x), expected, rtol=0, atol=0)


class Conv(nn.Module):
    """Every layer with spatial dimensions."""

    def __init__(self, recurrent=False):
        super().__init__()
        zero = dict(reset_mechanism="zero", reset_delay=False)
        self.conv = nn.Conv2d(2, 6, 3, stride=1, padding=1, groups=2)
        self.lif1 = hidden(snn.Leaky, torch.rand(6, 1, 1), **zero)
        self.pool = nn.AvgPool2d(2, stride=2, padding=1)
        self.conv2 = nn.Conv2d(6, 4, (3, 2), padding="same", bias=False, dilation=(1, 2))
        self.lif2 = hidden(snn.RLeaky, 0.8, conv2d_channels=4, kernel_size=3, threshold=0.2, **zero)
        self.sum = nn.AvgPool2d(2, divisor_override=1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(8, 5)
        self.out = hidden(snn.Leaky, 0.9, **zero)

    def forward(self, x):
        x = self.pool(self.lif1(self.conv(x)))
        return self.out(self.fc(self.flatten(self.sum(self.lif2(self.conv2(x))))))


def test_round_trip_of_convolutions_pooling_and_convolutional_recurrence(tmp_path):
    net = Conv()
    net.conv.weight.data.mul_(4)
    graph, again = round_trip(net, torch.rand(T, B, 2, 5, 7), tmp_path / "net.nir")
    assert kinds(graph) == {
        "input": "Input", "conv": "Conv2d", "lif1": "LIF", "pool": "AvgPool2d", "conv2": "Conv2d", "lif2.lif": "LIF",
        "lif2.w_rec": "Conv2d", "sum": "SumPool2d", "flatten": "Flatten", "fc": "Affine", "out": "LIF",
        "output": "Output",
    }  # fmt: skip
    assert graph.nodes["flatten"].start_dim == 0 and graph.nodes["flatten"].end_dim == -1
    assert graph.nodes["conv"].input_shape == (5, 7)
    assert isinstance(again.lif2_lif, snn.RLeaky) and isinstance(again.lif2_lif.recurrent, nn.Conv2d)
    assert again.conv.in_channels == 2 and again.conv2.padding == "same"
    assert isinstance(graph.nodes["pool"].kernel_size, np.ndarray) and graph.nodes["pool"].padding.tolist() == [1, 1]


def test_a_file_of_square_ungrouped_convolutions_passes_nirs_type_check(tmp_path):
    zero = dict(reset_mechanism="zero", reset_delay=False)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), hidden(snn.RLeaky, 0.9, conv2d_channels=4, kernel_size=3, **zero), nn.AvgPool2d(2),
        nn.Conv2d(4, 3, 2, stride=2, padding=1), hidden(snn.Synaptic, 0.5, 0.9, **zero), nn.Flatten(), nn.Linear(12, 2),
    )  # fmt: skip
    nir.write(tmp_path / "net.nir", export_to_nir(net, torch.rand(B, 2, 8, 8), ignore_dims=[0]))
    x = torch.rand(T, B, 2, 8, 8)
    torch.testing.assert_close(run(import_from_nir(nir.read(tmp_path / "net.nir")), x), run(net, x), rtol=0, atol=0)
    torch.testing.assert_close(run(import_from_nir(tmp_path / "net.nir"), x), run(net, x), rtol=0, atol=0)


def test_round_trip_of_one_dimensional_convolutions(tmp_path):
    lif = hidden(snn.Leaky, torch.rand(9), threshold=0.2, reset_mechanism="zero")
    net = nn.Sequential(nn.Conv1d(3, 4, 3, stride=2, padding=1, dilation=2), lif, nn.Conv1d(4, 2, 2, padding="valid"))
    graph, _ = round_trip(net, torch.rand(T, B, 3, 19), tmp_path / "net.nir")
    assert graph.nodes["0"].input_shape == 19 and graph.output_type["output"].tolist() == [2, 8]


def test_round_trip_of_layers_that_are_no_neurons(tmp_path):
    net = nn.Sequential(
        Scale(torch.rand(2, 3)), Delay(torch.tensor([[0, 1, 2], [3, 0, 1]]), init_hidden=True), Threshold(0.3),
        nn.Flatten(), GradedSpikes(6), Delay(2, init_hidden=True), LeakyIntegrator(0.5, gain=2.0, init_hidden=True),
        LeakyIntegrator(1.0, gain=0.25, init_hidden=True), LeakyIntegrator(torch.rand(6), rest=0.5, init_hidden=True),
        SynapticIntegrator(0.5, torch.rand(6), gain=0.1, rest=-1.0, init_hidden=True),
    )  # fmt: skip
    graph, again = round_trip(net, torch.rand(T, B, 2, 3), tmp_path / "net.nir")
    assert list(kinds(graph).values()) == [
        "Input", "Scale", "Delay", "Threshold", "Flatten", "Scale", "Delay", "LI", "I", "LI", "CubaLI", "Output"
    ]  # fmt: skip
    assert [type(again.get_submodule(name)) for name, _ in net.named_children()] == [type(m) for m in net]


def test_a_potential_used_as_output_is_an_integrator(tmp_path):
    class Readout(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(4, 5), nn.Linear(5, 2)
            self.lif1 = snn.Leaky(0.9, reset_mechanism="zero", init_hidden=True)
            self.lif2 = snn.Leaky(0.8, reset_mechanism="none", init_hidden=True, output=True)

        def forward(self, x):
            _, mem = self.lif2(self.fc2(self.lif1(self.fc1(x))))
            return mem

    graph, again = round_trip(Readout(), 3 * torch.rand(T, B, 4), tmp_path / "net.nir")
    assert kinds(graph)["lif2"] == "LI" and isinstance(again.lif2, LeakyIntegrator)
    assert len(graph.nodes) == 6  # the threshold behind it, which nothing uses, is left out


def test_batch_norm_is_folded(tmp_path, double):
    def trained(norm):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        if norm.affine:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
        return norm

    net = nn.Sequential(
        trained(nn.BatchNorm2d(2)), nn.Conv2d(2, 3, 2, bias=False), trained(nn.BatchNorm2d(3)), nn.Flatten(),
        nn.Linear(12, 4), trained(nn.BatchNorm1d(4, affine=False)), trained(nn.BatchNorm1d(4)),
    ).eval()  # fmt: skip
    x = torch.randn(5, B, 2, 3, 3)
    graph = export_to_nir(net.train(), x[0])
    assert net.training and net[2].training
    assert kinds(graph) == {
        "input": "Input",
        "0": "Conv2d",
        "1": "Conv2d",
        "3": "Flatten",
        "4": "Affine",
        "output": "Output",
    }
    torch.testing.assert_close(run(import_from_nir(graph), x), run(net.eval(), x), rtol=1e-12, atol=1e-12)
    net = nn.Sequential(nn.Conv1d(2, 2, 1), Scale(1.0), trained(nn.BatchNorm1d(2)))
    x = torch.randn(5, B, 2, 3)
    torch.testing.assert_close(run(import_from_nir(export_to_nir(net, x[0])), x), run(net.eval(), x))


# -- networks that are no chain


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Module()
        for name in ("a", "b", "c"):
            setattr(self.inner, name, nn.Linear(4, 4))
        zero = dict(reset_mechanism="zero", init_hidden=True)
        self.lif, self.last = snn.Leaky(0.8, threshold=0.3, **zero), snn.Leaky(0.9, **zero)

    def forward(self, x):
        h = self.lif(self.inner.a(x))
        h = self.inner.b(h) + h
        return self.last(sum([self.inner.c(h), h, torch.tensor([2.0, 1.0, 0.5, -1.0]) * x, x / 4]))


def test_sums_and_factors_are_edges_and_scales(tmp_path):
    graph, again = round_trip(Residual(), torch.rand(T, B, 4), tmp_path / "net.nir")
    into = {node: sorted(a for a, b in graph.edges if b == node) for node in graph.nodes}
    assert into["inner.c"] == ["inner.b", "lif"]
    assert into["last"] == ["inner.b", "inner.c", "lif", "scale", "scale_1"]
    assert hasattr(again, "inner_c") and not hasattr(again, "inner")


def test_explicit_states_extra_arguments_and_stateless_layers_used_twice(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.pool = nn.Linear(8, 8), nn.AvgPool2d(1)
            self.lif = snn.Synaptic(0.5, 0.9, reset_mechanism="zero", reset_delay=False)

        def forward(self, x, syn=None, mem=None, gain=1):
            if x.sum(dim=-1).shape[0] > 100:
                raise AssertionError
            x = self.pool(self.pool(x[:, None] if x.dim() < 2 else x).contiguous()) * gain
            spk, syn, mem = self.lif(self.fc(x.view(x.shape[0], -1)), syn, mem)
            self.rate = spk.mean()  # what is not used does not matter
            return spk, syn, mem

    net, x = Net(), 2 * torch.rand(T, B, 2, 4)
    net.lif.threshold.fill_(0.5)
    graph = export_to_nir(net, x[0], "named", [None, None, 3], [0])
    assert kinds(graph) == {
        "input": "Input", "pool": "AvgPool2d", "pool_1": "AvgPool2d", "scale": "Scale", "flatten": "Flatten",
        "fc": "Affine", "lif": "CubaLIF", "output": "Output",
    }  # fmt: skip
    assert graph.metadata["snntorch"] == {"dt": 1e-4, "model_name": "named"}
    state, expected = (None, None), []
    for x_t in x:
        spk, *state = net(x_t, *state, 3)
        expected.append(spk)
    torch.testing.assert_close(run(import_from_nir(graph), x), torch.stack(expected), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Linear(3, 2), (3,)), (nn.Conv2d(2, 3, 1), (2, 4, 4)), (hidden(snn.Leaky, 0.5, reset_mechanism="zero"), (3,))],
)
def test_a_lone_layer_without_a_batch(layer, shape):
    graph = export_to_nir(layer, torch.rand(shape))
    name = type(layer).__name__.lower()
    assert graph.edges == [("input", name), (name, "output")]
    assert graph.input_type["input"].tolist() == list(shape)


def test_dimensions_of_no_sample():
    net = nn.Sequential(nn.Flatten(2), nn.Linear(6, 4), hidden(snn.Leaky, 0.9, reset_mechanism="zero"))
    graph = export_to_nir(net, torch.rand(7, B, 2, 3), ignore_dims=[0, 1])
    assert graph.input_type["input"].tolist() == [2, 3] and graph.nodes["0"].start_dim == 0
    assert graph.output_type["output"].tolist() == [4]


def test_modules_named_input_and_output():
    net = nn.Sequential()
    net.input, net.output = nn.Linear(2, 3), nn.Linear(3, 2)
    graph = export_to_nir(net, torch.rand(1, 2))
    assert graph.edges == [("input_1", "input"), ("input", "output"), ("output", "output_1")]
    again = import_from_nir(graph)
    x = torch.rand(1, 1, 2)
    torch.testing.assert_close(run(again, x), run(net, x))


def test_export_leaves_the_network_as_it_was():
    net = nn.Sequential(
        nn.Linear(2, 3), nn.Dropout(0.5), snn.Synaptic(0.8, 0.9, reset_mechanism="none", init_hidden=True)
    )
    net(torch.rand(1, 2))
    net[1].eval()
    before = copy.deepcopy(net)
    export_to_nir(net, torch.rand(4, 2))
    assert net.training and not net[1].training and net[2].training
    torch.testing.assert_close(net[2].mem, before[2].mem, rtol=0, atol=0)
    torch.testing.assert_close(net[2].syn, before[2].syn, rtol=0, atol=0)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_parameters_are_arrays_of_the_layers_shape_in_double_precision():
    graph = export_to_nir(hidden(snn.Synaptic, 0.75, 0.5, reset_mechanism="zero", reset_delay=False), torch.rand(2, 3))
    node = graph.nodes["synaptic"]
    np.testing.assert_allclose(node.tau_syn, np.full(3, 4e-4), rtol=1e-12)
    np.testing.assert_allclose(node.tau_mem, np.full(3, 2e-4), rtol=1e-12)
    np.testing.assert_allclose(node.w_in, np.full(3, 4.0), rtol=1e-12)
    np.testing.assert_allclose(node.r, np.full(3, 2.0), rtol=1e-12)
    assert node.v_threshold.tolist() == [1.0] * 3 and node.v_reset.tolist() == node.v_leak.tolist() == [0.0] * 3
    lapicque = hidden(snn.Lapicque, R=2.0, C=3.0, time_step=0.5, reset_mechanism="none")
    node = export_to_nir(lapicque, torch.rand(2, 3), dt=1e-3).nodes["lapicque"]
    np.testing.assert_allclose([node.tau, node.r], [np.full(3, 0.012), np.full(3, 2.0)], rtol=1e-7)


def test_spikes_of_half_precision_networks():
    net = nn.Sequential(nn.Linear(3, 2), hidden(snn.Leaky, 0.5, reset_mechanism="zero")).to(torch.bfloat16)
    graph = export_to_nir(net, torch.rand(2, 3, dtype=torch.bfloat16))
    assert graph.nodes["0"].weight.dtype == np.float32
    np.testing.assert_array_equal(graph.nodes["0"].weight, net[0].weight.detach().float().numpy())


# -- what export refuses, by name


class Function(nn.Module):
    def __init__(self, function, init_hidden=True):
        super().__init__()
        self.function, self.fc = function, nn.Linear(4, 4)
        self.lif = snn.Leaky(0.9, reset_mechanism="zero", reset_delay=True, init_hidden=init_hidden, output=True)

    def forward(self, x):
        return self.function(self, x)


class OwnStep(snn.Leaky):
    @staticmethod
    def step(x, mem, *, beta):
        return x, beta * mem


class Steep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.sigmoid(10 * x)


REFUSED = [
    (nn.ReLU(), NotImplementedError, r"'relu' \(ReLU\)"),
    (nn.Sequential(nn.Linear(4, 4), nn.MaxPool1d(2)), NotImplementedError, r"'1' \(MaxPool1d\)"),
    (snn.Alpha(0.9, 0.8, init_hidden=True), NotImplementedError, "Alpha"),
    (OwnStep(0.9, init_hidden=True), NotImplementedError, "OwnStep"),
    (hidden(snn.Leaky, 0.9, state_quant=quant.state_quant(4)), NotImplementedError, "quantised states"),
    (hidden(snn.Leaky, 0.9, spike_grad=Steep.apply), NotImplementedError, "spikes other than 1"),
    (nn.AvgPool1d(2), NotImplementedError, "AvgPool1d"),
    (nn.Conv1d(4, 4, 1, padding_mode="circular"), NotImplementedError, "circular"),
    (Function(lambda m, x: torch.relu(m.fc(x))), NotImplementedError, "relu"),
    (Function(lambda m, x: m.fc(x) + 1), NotImplementedError, "add"),
    (Function(lambda m, x: (y := m.fc(x), y.view(-1).add_(1))[0]), NotImplementedError, "of add"),  # by a view
    (Function(lambda m, x: m.fc(x).T), NotImplementedError, "T"),
    (Function(lambda m, x: m.lif(m.fc(x))[1]), NotImplementedError, "mem with reset 'zero'"),
    (Function(lambda m, x: x * x), NotImplementedError, "mul"),
    (Function(lambda m, x: 1 / x), NotImplementedError, "reciprocal|rtruediv|rdiv"),
    (Function(lambda m, x: torch.div(x, 2, rounding_mode="floor")), NotImplementedError, "div"),
    (Function(lambda m, x: nn.functional.dropout(m.fc(x))), NotImplementedError, "dropout"),
    (Function(lambda m, x: m.fc(x * x.sum().item())), NotImplementedError, "item"),
    (Function(lambda m, x: x + x), NotImplementedError, "twice"),
    (Function(lambda m, x: x if m.fc(x).sum() > 0 else m.fc(x)), NotImplementedError, "bool"),
    (Function(lambda m, x: torch.stack([m.lif(x)[0] for _ in range(3)])), ValueError, "more than once"),
    (Function(lambda m, x: m.fc(torch.ones(1, 4))), ValueError, "does not depend"),
    (Function(lambda m, x: m.lif(x, m.fc(x))), TypeError, "init_hidden"),
    (nn.Flatten(0), ValueError, "mixes samples"),
    (hidden(snn.Leaky, 0.9, threshold=-1.0, reset_mechanism="zero", reset_delay=False), NotImplementedError, "below"),
    (
        hidden(snn.RLeaky, 0.9, V=1.0, all_to_all=False, threshold=-1.0, reset_mechanism="zero"),
        NotImplementedError,
        "RLeaky where the threshold is below",
    ),
    (hidden(snn.Leaky, torch.rand(2, 4), reset_mechanism="zero"), ValueError, "beta of shape"),
]


@pytest.mark.parametrize(("module", "error", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_export_names_what_it_cannot_say(module, error, message):
    with pytest.raises(error, match=message):
        export_to_nir(
            module, torch.rand(2, 4) if not isinstance(module, nn.Conv1d | nn.AvgPool1d) else torch.rand(2, 4, 4)
        )
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


class OwnFire(snn.Leaky):
    def fire(self, mem):
        return super().fire(mem) * 2


@pytest.mark.parametrize(("module", "shape", "message"), [
    (nn.BatchNorm1d(4, track_running_stats=False), (2, 4), "without running statistics"),
    (nn.Linear(4, 3), (2, 5, 4), "along the last of several dimensions"),
    (nn.AvgPool2d(2, ceil_mode=True), (2, 1, 4, 4), "ceil_mode"),
    (nn.AvgPool2d(2, divisor_override=3), (2, 1, 4, 4), "divisor_override=3"),
    (OwnFire(0.9, init_hidden=True), (2, 4), "OwnFire, which overrides fire"),
    (Function(lambda m, x: m.lif(m.fc(x), m.fc(x))[0], init_hidden=False), (2, 4), "its states must not"),
])  # fmt: skip
def test_export_names_what_it_cannot_say_of_other_inputs(module, shape, message):
    with pytest.raises(NotImplementedError, match=message):
        export_to_nir(module, torch.rand(shape))


def test_zero_and_reversed_operands_are_nothing():
    net = Function(lambda m, x: m.lif(torch.tensor(2.0) * (0 + m.fc(x).contiguous()))[0])
    assert set(kinds(export_to_nir(net, torch.rand(2, 4))).values()) == {"Input", "Affine", "Scale", "LIF", "Output"}


def test_export_refuses_inhibition_and_what_is_no_input():
    with pytest.warns(UserWarning, match="inhibition"):
        lif = hidden(snn.Leaky, 0.9, inhibition=True)
    with pytest.raises(NotImplementedError, match="inhibition"):
        export_to_nir(lif, torch.rand(1, 3))
    with pytest.raises(TypeError, match="sample_data"):
        export_to_nir(nn.Linear(2, 2), [1, 2])
    for dt in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="dt"):
            export_to_nir(nn.Linear(2, 2), torch.rand(2), dt=dt)
    with pytest.warns(UserWarning, match="unstable"):
        unstable = hidden(snn.Lapicque, R=1.0, C=0.5, reset_mechanism="none")
    with pytest.raises(ValueError, match="time_step > R"):
        export_to_nir(unstable, torch.rand(1, 3))


def test_what_hooks_do_is_seen():
    net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    net[0].register_forward_hook(lambda module, args, out: out * 2)
    net[0].register_forward_pre_hook(lambda module, args: args[0] / 4)
    graph, x = export_to_nir(net, torch.rand(1, 3)), torch.rand(1, B, 3)
    assert list(kinds(graph).values()) == ["Input", "Scale", "Affine", "Scale", "Output"]
    torch.testing.assert_close(run(import_from_nir(graph), x), run(net.eval(), x))
    net[0].register_forward_hook(lambda module, args, out: out.exp())
    with pytest.raises(NotImplementedError, match="exp"):
        export_to_nir(net, x[0])


def test_metadata_name_the_surrogate():
    for spike_grad, name in [
        (surrogate.atan(3.0), "ATan(3.0)"),
        (surrogate.learnable_width(surrogate.atan()), "LearnableWidth"),
        (surrogate.custom_surrogate(lambda x, grad, spk: grad), "CustomSurrogate"),
    ]:
        lif = hidden(snn.Leaky, 0.9, reset_mechanism="zero", spike_grad=spike_grad)
        assert export_to_nir(lif, torch.rand(1, 3)).nodes["leaky"].metadata["snntorch"]["spike_grad"] == name


# -- graphs written with nir's own classes, against its differential equations in Euler steps


def euler(node, x, dt):
    """Outputs of one NIR neuron over time, in its own variables: v starts at v_leak; [T, ..., N] in, the same out."""
    kind = type(node).__name__
    p = {
        name: np.asarray(value, float)
        for name, value in vars(node).items()
        if "_type" not in name and name != "metadata"
    }
    v = np.zeros(x.shape[1:]) + p.get("v_leak", 0)
    current, outputs = np.zeros(x.shape[1:]), []
    for drive in x:
        if "tau_syn" in p:
            current = current + dt / p["tau_syn"] * (-current + p["w_in"] * drive)
            drive = current
        if "tau" in p or "tau_mem" in p:
            v = v + dt / p.get("tau", p.get("tau_mem")) * (p["v_leak"] - v + p["r"] * drive)
        else:
            v = v + dt * p["r"] * drive
        outputs.append(v)
        if kind.endswith("F"):
            outputs[-1] = (v > p["v_threshold"]).astype(float)
            v = np.where(v > p["v_threshold"], p["v_reset"], v)
    return np.stack(outputs)


def between(low, high, n=5):
    return np.random.default_rng(0).uniform(low, high, n)


def neurons():
    """Neurons whose gain, leak and threshold all differ from neuron to neuron, with dt = 1e-3."""
    leak = between(-0.3, 0.3)
    tau, syn, r, w = between(0.002, 0.05), between(0.0015, 0.02), between(0.5, 3), between(0.5, 2)
    firing = dict(v_leak=leak, v_reset=leak, v_threshold=leak + between(0.05, 0.3))
    return [
        nir.LIF(tau=tau, r=r, **firing),
        nir.LI(tau=tau, r=r, v_leak=leak),
        nir.CubaLIF(tau_syn=syn, tau_mem=tau, r=r, w_in=w, **firing),
        nir.CubaLI(tau_syn=syn, tau_mem=tau, r=-r, w_in=w, v_leak=leak),
        nir.IF(r=np.full(5, 1e3), v_threshold=between(0.5, 4), v_reset=np.zeros(5)),
        nir.I(r=np.full(5, 1e3)),
    ]


@pytest.mark.parametrize("node", neurons(), ids=lambda node: type(node).__name__)
def test_neurons_follow_their_differential_equation(node, double, tmp_path):
    x = torch.rand(200, B, 5)
    expected = euler(node, x.numpy(), 1e-3)
    assert expected.std() > 0.05
    nir.write(tmp_path / "node.nir", nir.NIRGraph.from_list(node))
    for graph in (nir.NIRGraph.from_list(node), nir.read(tmp_path / "node.nir"), tmp_path / "node.nir"):
        out = run(import_from_nir(graph, dt=1e-3), x)
        if type(node).__name__.endswith("F"):
            assert (out.numpy() != expected).sum() == 0
        else:
            np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("node", neurons(), ids=lambda node: type(node).__name__)
def test_what_was_imported_exports_again(node, double):
    """Gains and leaks go into the threshold of a neuron that spikes, so the numbers differ, not the function."""
    x = torch.rand(100, B, 5)
    net = import_from_nir(nir.NIRGraph.from_list(node), dt=1e-3)
    again = export_to_nir(net, x[0], dt=2.0)
    assert {type(node).__name__} == set(kinds(again).values()) - {"Input", "Output"}
    torch.testing.assert_close(run(import_from_nir(again), x), run(net, x))


@pytest.mark.parametrize("recurrent", [False, True])
def test_neurons_that_spike_without_input(recurrent, double):
    """The threshold lies below the resting potential."""
    weight, x = -np.ones((3, 3)), torch.randn(100, B, 3)
    edges = [("input", "lif"), ("lif", "output"), *[("lif", "w_rec"), ("w_rec", "lif")] * recurrent]
    graph = wired(edges, lif=lif(3, threshold=-0.3), **{"w_rec": nir.Linear(weight)} if recurrent else {})
    spk, mem, expected = torch.zeros(B, 3), torch.zeros(B, 3), []
    for x_t in x:
        spk, mem = fire(mem, x_t + recurrent * spk @ torch.tensor(weight).T, threshold=-0.3)
        expected.append(spk)
    net = import_from_nir(graph)
    torch.testing.assert_close(run(net, x), torch.stack(expected), rtol=0, atol=0)
    torch.testing.assert_close(run(import_from_nir(export_to_nir(net, x[0])), x), torch.stack(expected), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [nir.IF, nir.I])
def test_integrators_gain(kind):
    """r = 1 (norse, sinabs) and r = 1 / dt (the equation) are a gain of 1, any other r is the gain."""
    firing = {"v_threshold": np.array([1.0, 1, 1])} if kind is nir.IF else {}
    net = import_from_nir(nir.NIRGraph.from_list(kind(r=np.array([1.0, 500, 0.25]), **firing)), dt=2e-3)
    neuron = next(m for m in net.children() if hasattr(m, "mem"))
    expected = [1, 1, 4] if kind is nir.IF else [1, 1, 0.25]
    assert (neuron.threshold if kind is nir.IF else neuron.gain).tolist() == expected and (neuron.beta == 1).all()


def test_scalar_parameters(double):
    node = nir.LIF(*(np.array(v) for v in (0.01, 2.0, 0.1, 0.3, 0.1)))
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "output")]
    nodes = {"input": nir.Input({"input": np.array([2])}), "fc": nir.Linear(between(0, 1, (5, 2))), "lif": node}
    graph = nir.NIRGraph(nodes | {"output": nir.Output({"output": np.array([5])})}, edges, type_check=False)
    x = torch.rand(100, B, 2)
    expected = euler(node, x.numpy() @ nodes["fc"].weight.T, 1e-3)
    assert (run(import_from_nir(graph, dt=1e-3), x).numpy() == expected).all() and 0 < expected.mean() < 1


def test_dt_of_the_file_unless_another_is_given(tmp_path):
    lif = hidden(snn.Leaky, 0.9, reset_mechanism="zero")
    graph = export_to_nir(lif, torch.rand(1, 2), dt=1e-3)
    nir.write(tmp_path / "lif.nir", graph)
    assert import_from_nir(tmp_path / "lif.nir").leaky.beta.tolist() == pytest.approx([0.9, 0.9])
    assert import_from_nir(graph).leaky.beta.tolist() == pytest.approx([0.9, 0.9])
    assert import_from_nir(graph, dt=5e-4).leaky.beta.tolist() == pytest.approx([0.95, 0.95])
    graph.metadata = {}
    assert import_from_nir(graph).leaky.beta.tolist() == pytest.approx([0.99, 0.99])


def test_decays_and_thresholds_come_back_to_the_last_bit():
    """Also of neurons without leak among leaky ones, and from files that hold single precision."""
    beta, threshold = torch.cat([torch.rand(500), torch.tensor([0.0, 1.0])]), torch.rand(502)
    lif = hidden(snn.Leaky, beta, threshold=threshold, reset_mechanism="zero")
    graph = export_to_nir(lif, torch.rand(1, 502))
    back = import_from_nir(graph).leaky
    assert torch.equal(back.beta, beta) and torch.equal(back.threshold, threshold)
    node = graph.nodes["leaky"]
    node.tau, node.r = node.tau.astype(np.float32), node.r.astype(np.float32)
    back = import_from_nir(graph).leaky
    torch.testing.assert_close(back.beta, beta, rtol=0, atol=2e-7)
    assert torch.equal(back.threshold, threshold)


def test_surrogates_are_chosen_at_import():
    graph = export_to_nir(
        nn.Sequential(hidden(snn.Leaky, 0.9, reset_mechanism="zero"), Threshold(0.5)), torch.rand(1, 2)
    )
    net = import_from_nir(graph, spike_grad="sigmoid")
    assert net.get_submodule("0").spike_grad == net.get_submodule("1").spike_grad == surrogate.sigmoid()


def test_layers_with_memory_and_shapes(double):
    graph = nir.NIRGraph.from_list(
        nir.Conv2d((6, 8), between(-1, 1, (4, 1, 3, 3)), (2, 1), 1, (1, 2), 2, between(-1, 1, 4)),
        nir.SumPool2d(np.array([3, 2]), np.array([1, 2]), np.array([1, 0])),
        nir.Flatten({"input": np.array([4, 3, 3])}, 1, 2),
        nir.Flatten({"input": np.array([4, 9])}, 0, -1),
        nir.Delay(np.tile([0.0, 1.2e-3, 1.7e-3, 0.3e-3], 9)),
        nir.Scale(between(-1, 1, 36)),
        nir.Threshold(between(-0.2, 0.2, 36)),
        type_check=False,
    )
    x = torch.randn(10, B, 2, 6, 8)
    with pytest.warns(UserWarning, match=r"'delay'.*1.2 steps.*becomes 1 \(27 of 36"):
        net = import_from_nir(graph, dt=1e-3)
    conv, _, _, _, _, scale, threshold = list(graph.nodes.values())[1:-1]
    y = nn.functional.conv2d(x.flatten(0, 1), torch.tensor(conv.weight), torch.tensor(conv.bias), (2, 1), 1, (1, 2), 2)
    y = 6 * nn.functional.avg_pool2d(y, (3, 2), (1, 2), (1, 0))
    y = y.flatten(1).unflatten(0, (10, B))
    delayed = torch.zeros_like(y)
    for neuron, steps in enumerate([0, 1, 2, 0] * 9):
        delayed[steps:, :, neuron] = y[: 10 - steps, :, neuron]
    expected = (delayed * torch.tensor(scale.scale) > torch.tensor(threshold.threshold)).double()
    torch.testing.assert_close(run(net, x), expected)


@pytest.mark.parametrize("padding", ["same", "valid", 1])
def test_one_dimensional_convolution(padding, double):
    conv = nir.Conv1d(9, between(-1, 1, (4, 2, 3)), 1, padding, 1, 1, between(-1, 1, 4))
    net, x = import_from_nir(nir.NIRGraph.from_list(conv)), torch.randn(2, B, 2, 9)
    expected = nn.functional.conv1d(x[0], torch.tensor(conv.weight), torch.tensor(conv.bias), padding=padding)
    torch.testing.assert_close(run(net, x)[0], expected)


# -- loops


def lif(n, threshold=0.4, beta=0.8, dt=1e-4):
    tau = np.full(n, dt / (1 - beta))
    return nir.LIF(tau=tau, r=tau / dt, v_leak=np.zeros(n), v_threshold=np.full(n, threshold), v_reset=np.zeros(n))


def wired(edges, **nodes):
    nodes = {"input": nir.Input({"input": np.array([3])}), **nodes, "output": nir.Output({"output": np.array([3])})}
    return nir.NIRGraph(nodes, edges)


def fire(mem, x, beta=0.8, threshold=0.4):
    mem = beta * mem + x
    spk = (mem > threshold).to(x.dtype)
    return spk, mem * (1 - spk)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("diagonal", [False, True])
def test_a_weight_around_a_neuron_takes_the_last_steps_spikes(diagonal, bias, double):
    weight, b = between(-1, 1, (3, 3)), between(-0.5, 0.5, 3)
    weight = np.diag(np.diag(weight)) if diagonal else weight
    w_rec = nir.Affine(weight, b) if bias else nir.Linear(weight)
    graph = wired([("input", "lif"), ("w_rec", "lif"), ("lif", "w_rec"), ("lif", "output")], w_rec=w_rec, lif=lif(3))
    net, x = import_from_nir(graph), torch.rand(100, B, 3)
    assert isinstance(net.lif, snn.RLeaky) and net.lif.all_to_all is not (diagonal and not bias)
    spk, mem, expected = torch.zeros(B, 3), torch.zeros(B, 3), []
    for x_t in x:
        spk, mem = fire(mem, x_t + spk @ torch.tensor(weight).T + bias * torch.tensor(b))
        expected.append(spk)
    torch.testing.assert_close(run(net, x), torch.stack(expected), rtol=0, atol=0)


def test_a_loop_through_two_neurons_and_one_inside_it(double):
    """a -> w1 -> b -> w2 -> a, and b <-> w3 <- a: forward connections act at once, the way back a step later."""
    w1, w2, w3 = (between(-1, 1, (3, 3)) + shift for shift in (0.3, -0.2, 0.1))
    edges = [
        ("input", "a"), ("a", "w1"), ("w1", "b"), ("b", "w2"), ("w2", "a"), ("b", "w3"), ("a", "w3"), ("w3", "b"),
        ("b", "output"),
    ]  # fmt: skip
    weights = {f"w{i}": nir.Linear(w) for i, w in enumerate((w1, w2, w3), 1)}
    graph = wired(edges, a=lif(3), b=lif(3), **weights)
    net, x = import_from_nir(graph), torch.rand(100, B, 3)
    w1, w2, w3 = (torch.tensor(w).T for w in (w1, w2, w3))
    a = b = mem_a = mem_b = torch.zeros(B, 3)
    expected = []
    for x_t in x:
        a, mem_a = fire(mem_a, x_t + b @ w2)
        b, mem_b = fire(mem_b, a @ w1 + (a + b) @ w3)
        expected.append(b)
    expected = torch.stack(expected)
    assert 0.1 < expected.mean() < 0.9
    torch.testing.assert_close(run(net, x), expected, rtol=0, atol=0)
    again = export_to_nir(net, x[0])
    assert set(again.edges) == set(edges)
    torch.testing.assert_close(run(import_from_nir(again), x), expected, rtol=0, atol=0)


def test_a_loop_without_a_neuron_is_refused():
    graph = wired(
        [("input", "a"), ("a", "b"), ("b", "a"), ("a", "output")], a=nir.Linear(np.eye(3)), b=nir.Scale(np.ones(3))
    )
    with pytest.raises(ValueError, match="'a' -> 'b' holds no neuron"):
        import_from_nir(graph)


def test_subgraphs(tmp_path, double):
    inner = wired(
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
        lif=lif(3), w_rec=nir.Linear(between(-1, 1, (3, 3))),
    )  # fmt: skip
    middle = wired(
        [("input", "w"), ("w", "inner"), ("inner", "output"), ("input", "output")], w=nir.Linear(np.eye(3)), inner=inner
    )
    graph = wired([("input", "sub"), ("sub", "last"), ("last", "output")], sub=middle, last=lif(3))
    before = copy.deepcopy(graph.to_dict())
    net, x = import_from_nir(graph), torch.rand(60, B, 3)
    assert isinstance(net.sub_inner_lif, snn.RLeaky)
    np.testing.assert_equal(graph.to_dict(), before)
    mem, spk, last, expected = *[torch.zeros(B, 3)] * 3, []
    for x_t in x:
        spk, mem = fire(mem, x_t + spk @ torch.tensor(inner.nodes["w_rec"].weight).T)
        out, last = fire(last, spk + x_t)
        expected.append(out)
    torch.testing.assert_close(run(net, x), torch.stack(expected), rtol=0, atol=0)
    nir.write(tmp_path / "sub.nir", graph)
    torch.testing.assert_close(run(import_from_nir(tmp_path / "sub.nir"), x), torch.stack(expected), rtol=0, atol=0)


# -- the network that comes out


def small():
    zero = dict(reset_mechanism="zero", reset_delay=False)
    recurrent = hidden(snn.RSynaptic, 0.5, 0.9, linear_features=4, **zero)
    net = nn.Sequential(
        nn.Linear(3, 4), recurrent, Delay(2, init_hidden=True), nn.Linear(4, 2), hidden(snn.Leaky, 0.8, **zero)
    )
    with torch.no_grad():
        net[0].weight.mul_(3)
        net[3].weight.abs_()
    return net


class Whole(nn.Module):
    """The loop over time in the forward; layers of single steps and of whole sequences."""

    takes_sequence = True

    def __init__(self):
        super().__init__()
        self.conv, self.flatten, self.fc = nn.Conv2d(1, 2, 3), nn.Flatten(2), nn.Linear(18, 3)
        self.lif = snn.Leaky(0.9, reset_mechanism="zero")
        self.out = snn.Leaky(0.8, reset_mechanism="zero", init_hidden=True)

    def forward(self, x):
        mem, recorded = self.lif.init_leaky(), []
        x = self.fc(self.flatten(snn.unroll(self.conv, x))) * 3
        for now in x:
            spk, mem = self.lif(now, mem)
            recorded.append(spk)
        return snn.unroll(self.out, torch.stack(recorded))


def test_a_network_that_takes_whole_sequences_is_the_graph_of_one_step():
    net, x = Whole(), 3 * torch.rand(T, B, 1, 5, 5)
    graph = export_to_nir(net, x)
    assert graph.input_type["input"].tolist() == [1, 5, 5] and graph.output_type["output"].tolist() == [3]
    assert [type(node).__name__ for node in list(graph.nodes.values())[1:-1]] == [
        "Conv2d", "Flatten", "Affine", "Scale", "LIF", "LIF"
    ]  # fmt: skip
    assert (graph.nodes["flatten"].start_dim, graph.nodes["flatten"].end_dim) == (0, -1)
    expected = net(x)
    assert 0.05 < expected.mean() < 0.95
    torch.testing.assert_close(run(import_from_nir(graph), x), expected, rtol=0, atol=0)
    net.takes_sequence = False
    with pytest.raises(ValueError, match=r"'lif' is called more than once.*takes_sequence = True"):
        export_to_nir(net, x)


@pytest.mark.parametrize(("form", "output"), [("whole", True), ("whole", False), ("one step", False)])
def test_layers_of_whole_sequences_are_membranes_without_reset(form, output, double):
    class Half(nn.Module):  # the layer's potential goes on as well
        def __init__(self):
            super().__init__()
            self.state = snn.StateLeaky(torch.tensor([0.7, 0.9, 0.5]), 3, threshold=0.5, graded_spikes_factor=2.0)

        def forward(self, x):
            spk, mem = self.state(x)
            return 0.5 * mem + spk

    layers = [nn.Linear(4, 3), Half(), snn.LinearLeaky(0.8, 3, 2, output=output)]
    x, sample = 3 * torch.rand(T, B, 4), torch.rand(T, B, 4)
    if form == "one step":  # beside a neuron of single steps the net's call is one step
        layers, sample = [*layers, hidden(snn.Leaky, 0.9, reset_mechanism="zero")], sample[0]
    net = nn.Sequential(*layers)
    graph = export_to_nir(net, sample)
    assert kinds(graph)["2.linear"] == "Affine" and kinds(graph)["2"] == kinds(graph)["1.state"] == "LI"
    expected = snn.unroll(net, x)
    expected = expected[0] if output else expected
    assert expected.unique().numel() > 1
    torch.testing.assert_close(run(import_from_nir(graph), x), expected)


def test_what_differs_from_step_to_step_or_has_its_own_length_is_refused():
    lif = hidden(snn.Leaky, 0.9, reset_mechanism="zero")
    tebn, bntt = snn.TemporalEffectiveBatchNorm1d(4, 3), snn.BatchNormTT1d(4, 3)
    for layer in (tebn, bntt, snn.PSN(3), snn.StateLeaky(0.9, 4, kernel_truncation_steps=2, output=False)):
        name = "kernel_truncation_steps" if isinstance(layer, snn.StateLeaky) else type(layer).__name__
        with pytest.raises(NotImplementedError, match=name):
            export_to_nir(nn.Sequential(nn.Linear(4, 4), layer, lif), torch.rand(2, 4))
    with pytest.raises(ValueError, match=r"taken for one step.*input_ must be \[T, B, 4\]"):
        export_to_nir(nn.Sequential(snn.StateLeaky(0.9, 4, output=False), lif), torch.rand(3, 2, 4))


def test_states_pass_through_the_dict_and_stay_in_the_neurons():
    net, x = import_from_nir(export_to_nir(small(), torch.rand(B, 3))), torch.rand(20, B, 3)
    assert isinstance(net, torch.fx.GraphModule)
    whole = run(net, x)
    utils.reset(net)
    state, outputs = {}, []  # an empty state: everything starts at zero
    for x_t in x:
        for name in ("1_lif", "2", "4"):  # what the neurons keep does not matter where a state is given
            for attribute in net.get_submodule(name).states:
                getattr(net.get_submodule(name), attribute).fill_(7)
        out, state = net(x_t, state)
        outputs.append(out)
        state = {name: tuple(s.detach().clone() for s in states) for name, states in state.items()}
    torch.testing.assert_close(torch.stack(outputs), whole, rtol=0, atol=0)
    assert list(state) == ["1_lif", "2", "4"] and [len(s) for s in state.values()] == [3, 1, 1]
    utils.reset(net)
    halves = torch.cat([torch.stack([net(x_t)[0] for x_t in part]) for part in (x[:9], x[9:])])
    torch.testing.assert_close(halves, whole, rtol=0, atol=0)
    with pytest.raises(ValueError, match="state names lif"):
        net(x[0], {"lif": ()})
    with pytest.raises(ValueError, match="tuple of spk, syn, mem"):
        net(x[0], {"1_lif": (x[0],)})


def test_the_network_unrolls_copies_pickles_and_trains():
    x = torch.rand(20, B, 3)
    net = import_from_nir(export_to_nir(small(), x[0]))
    expected = run(net, x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        utils.reset(other)
        out, *_ = snn.unroll(other, x)
        torch.testing.assert_close(out, expected, rtol=0, atol=0)
        out.sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in other.parameters())
        assert all(p.grad is None for p in net.parameters())
    double = run(net.double(), x.double())
    assert double.dtype == torch.float64
    assert run(net.float(), x[:, 0]).shape == (20, 2)  # without a batch


def test_names_that_a_module_cannot_bear():
    names = ["a.b", "a_b", "lambda", "forward", "set_states", "training", "2 fc"]
    edges = list(itertools.pairwise(["input", *names, "output"]))
    net = import_from_nir(wired(edges, **{name: nir.Scale(np.full(3, 2.0)) for name in names}))
    out, _ = net(torch.ones(1, 3))
    assert out.tolist() == [[128.0] * 3]
    assert {"a_b", "a_b_1", "lambda_", "forward_", "2_fc"} < dict(net.named_children()).keys()
    assert all(isinstance(net.get_submodule(net.meta["names"][name]), nn.Module) for name in names)


def test_nothing_is_printed(capsys):
    import_from_nir(export_to_nir(small(), torch.rand(B, 3)))
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


# -- what import refuses, by name


def broken(node, **changes):
    for name, value in changes.items():
        setattr(node, name, value)
    return nir.NIRGraph.from_list(node)


@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        (lambda: broken(lif(2), v_reset=np.array([0.0, 0.1])), NotImplementedError, "'lif'.*resting potential"),
        (lambda: broken(lif(2), v_leak=np.array([0.0, 0.1])), NotImplementedError, "'lif'.*resting potential"),
        (lambda: broken(lif(2), tau=np.array([1e-3, 0.5e-4])), ValueError, "'lif'.*constants.*smaller dt"),
        (lambda: broken(lif(2), tau=np.array([1e-3, np.nan])), ValueError, "'lif'.*tau must not hold NaN"),
        (lambda: broken(lif(2), r=np.array([1.0, -1.0])), ValueError, "'lif'.*the gain"),
        (lambda: broken(lif(2), v_threshold=np.array([1.0, np.nan])), ValueError, "'lif'.*threshold must not hold"),
        (lambda: broken(nir.CubaLIF(*np.ones((4, 2)), np.zeros(2)), v_leak=np.ones(2), v_reset=np.ones(2)),
         NotImplementedError, "'cubalif'.*below v_leak"),
        (lambda: broken(nir.IF(np.ones(2), np.ones(2)), v_reset=np.ones(2)), NotImplementedError, "'if'"),
        (lambda: broken(lif(2), v_leak=np.ones(2), metadata={"snntorch": {"reset_mechanism": "subtract"}}),
         NotImplementedError, "'subtract'"),
        (lambda: broken(nir.Linear(np.ones((2, 3, 4)))), NotImplementedError, "'linear'.*out, in"),
        (lambda: broken(nir.Delay(np.array([-1.0]))), ValueError, "'delay'.*must not be negative"),
        (lambda: nir.LIF, TypeError, "graph must be"),
        (lambda: nir.NIRGraph({"a": nir.Scale(np.ones(2))}, [], type_check=False), ValueError, "no Input"),
    ],
)  # fmt: skip
def test_import_names_what_it_cannot_do(graph, error, message):
    with pytest.raises(error, match=message):
        import_from_nir(graph())


def test_import_refuses_graphs_that_do_not_hold_together():
    edges = [("input", "a"), ("a", "output")]
    graph = wired(edges, a=nir.Scale(np.ones(3)))
    graph.edges = [*edges, ("b", "output")]
    with pytest.raises(ValueError, match="'b'"):
        import_from_nir(graph)
    graph.edges = [("input", "output")]
    with pytest.raises(ValueError, match="'a' has no input"):
        import_from_nir(graph)
    graph.edges, graph.nodes["more"] = edges, nir.Input({"input": np.array([3])})
    with pytest.raises(NotImplementedError, match="several Input nodes"):
        import_from_nir(graph)
    for dt in (0, float("inf")):
        with pytest.raises(ValueError, match="dt"):
            import_from_nir(wired(edges, a=nir.Scale(np.ones(3))), dt=dt)


# -- networks of other libraries, recorded by the scripts in tests/nir_files


def recorded(name, dt=None, **changes):
    graph = nir.read(FILES / f"{name}.nir")
    for parameter, value in changes.items():
        setattr(graph.nodes["1"], parameter, value)
    data = np.load(FILES / f"{name}.npz")
    return run(import_from_nir(graph, dt=dt), torch.from_numpy(data["x"])), torch.from_numpy(data["out"])


def test_norse_lif_and_readout():
    out, expected = recorded("norse_lif", dt=1e-3)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


def test_norse_integrate_and_fire():
    out, expected = recorded("norse_if")
    assert torch.equal(out, expected) and 0.05 < expected.mean() < 0.95


def test_norse_current_based():
    """Its file says w_in = 1; the synapse that norse runs jumps by its whole input, which is w_in = tau_syn / dt."""
    out, expected = recorded("norse_cubalif", dt=1e-3, w_in=np.full(5, 5.0))
    assert torch.equal(out, expected) and 0.05 < expected.mean() < 0.95
    assert not torch.equal(recorded("norse_cubalif", dt=1e-3)[0], expected)


def test_sinabs_convolution_and_integrate_and_fire():
    out, expected = recorded("sinabs_iaf")
    assert torch.equal(out, expected) and 0.05 < expected.mean() < 0.95


def test_sinabs_leaky():
    """Its decay is exp(-1 / tau), the exact solution and no Euler step: the dt for which both agree."""
    out, expected = recorded("sinabs_lif", dt=8 * (1 - np.exp(-1 / 8)))
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kinds", ["", "_rleaky_one", "_rsynaptic", "_rsynaptic_one"])
def test_published_snntorch(kinds):
    """Leaky, Synaptic, and recurrent neurons, from all or one to one; upstream's own import wires them wrongly."""
    out, expected = recorded(f"snntorch_1{kinds}")
    assert torch.equal(out, expected) and 0.05 < expected.mean() < 0.95


SUBTRACTS = {"snntorch": {"reset_mechanism": "subtract", "reset_delay": False}}


def other(name):
    data = np.load(FILES / f"{name}.npz")
    graph = nir.read(FILES / f"{name}.nir", type_check=False)
    return graph, torch.from_numpy(data["x"]), torch.from_numpy(data["out"])


def test_rockpool_membranes():
    """Rockpool decays by exp(-dt / tau), adds the whole input and subtracts the threshold; its file says none of it.

    Its graph's input has the shape of the whole batch, which nir.read refuses and our reader takes.
    """
    graph, x, expected = other("rockpool_lif")
    assert import_from_nir(FILES / "rockpool_lif.nir", dt=1e-3)(x[0])[0].shape == expected[0].shape
    node = graph.nodes["1_LIFNeuronTorch"]
    node.tau = 1e-3 / (1 - np.exp(-1e-3 / node.tau.astype(float)))
    node.r, node.metadata = node.tau / 1e-3, SUBTRACTS
    assert torch.equal(run(import_from_nir(graph, dt=1e-3), x), expected) and 0.05 < expected.mean() < 0.95


def test_rockpool_synapses():
    """As its membranes; the synapse decays after its input arrives, so its gain is exp(-dt / tau_syn)."""
    graph, x, expected = other("rockpool_cubalif")
    node = graph.nodes["1_LIFTorch"]
    decay = np.exp(-1e-3 / node.tau_syn.astype(float))
    node.tau_syn, node.w_in = 1e-3 / (1 - decay), decay / (1 - decay)
    node.tau_mem = 1e-3 / (1 - np.exp(-1e-3 / node.tau_mem.astype(float)))
    node.r, node.metadata = node.tau_mem / 1e-3, SUBTRACTS
    assert torch.equal(run(import_from_nir(graph, dt=1e-3), x), expected) and expected.mean() > 0.05


@pytest.mark.parametrize("recurrent", [False, True])
def test_spyx(recurrent):
    """Spyx emits a spike one step after the potential crossed, adds the whole input and subtracts the threshold.

    Its file says r = beta. The input of a recurrent layer passes through the recurrent weight there, where Spyx itself
    gives it to the neuron; with that edge where it belongs the layer is an `RLeaky`.
    """
    graph, x, expected = other("spyx_rlif" if recurrent else "spyx_lif")
    net = import_from_nir(graph, dt=1)
    assert run(net, x).shape == expected.shape and not torch.equal(run(net, x)[:-1], expected[1:])
    node = graph.nodes["layer_1"]
    if recurrent:
        node.edges = [(a, "layer_1.lif" if a == "layer_1.input" else b) for a, b in node.edges]
        node = node.nodes["layer_1.lif"]
    node.r, node.metadata = node.tau, {"snntorch": {"reset_mechanism": "subtract", "reset_delay": True}}
    net = import_from_nir(graph, dt=1)
    assert any(isinstance(module, snn.RLeaky) for module in net.modules()) == recurrent
    assert torch.equal(run(net, x)[:-1], expected[1:]) and 0.05 < expected.mean() < 0.95
