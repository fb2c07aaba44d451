"""What is written so that other readers understand it: gains in the weights, dense and square kernels, delays."""

import dataclasses
from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import snntorch as snn
from snntorch import utils
from snntorch._layers.delay import Delay
from snntorch._layers.integrator import SynapticIntegrator
from snntorch._nir.exporting import nir_node

nir = pytest.importorskip("nir")

from snntorch.export_nir import Part, export_to_nir  # noqa: E402
from snntorch.import_nir import import_from_nir  # noqa: E402

T, B = 60, 3
ZERO = {"reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def run(net, x):
    utils.reset(net)
    with torch.no_grad():
        outputs = [net(x_t) for x_t in x]
    return torch.stack([out[0] if isinstance(out, tuple) else out for out in outputs])


def strong(net):
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() > 1:
                p.mul_(3)
    return net


# -- the gain inside the weights

FOLDED = [
    lambda: nn.Sequential(nn.Linear(4, 5), snn.Leaky(torch.rand(5), **ZERO)),
    lambda: nn.Sequential(nn.Linear(4, 5, bias=False), snn.Synaptic(torch.rand(5), torch.rand(5), **ZERO)),
    lambda: nn.Sequential(nn.Linear(4, 5), snn.RLeaky(0.75, linear_features=5, **ZERO)),
    lambda: nn.Sequential(nn.Linear(4, 5), snn.RSynaptic(0.5, 0.75, V=0.4, all_to_all=False, **ZERO)),
    lambda: nn.Sequential(nn.Linear(4, 5), snn.Leaky(1.0, **ZERO), nn.Linear(5, 5), snn.Leaky(0.9, **ZERO)),
    lambda: nn.Sequential(snn.Leaky(0.8, threshold=0.3, **ZERO), snn.Leaky(torch.rand(4), threshold=0.4, **ZERO)),
    lambda: nn.Sequential(nn.Linear(4, 5), snn.Leaky(0.5, reset_mechanism="none", init_hidden=True)),
]


@pytest.mark.parametrize("make", FOLDED)
def test_gains_go_into_the_weights(make):
    """Spikes and dtypes as before, `r` one throughout; and the graph without the option is as it was."""
    net, x = strong(make()), 2 * torch.rand(T, B, 4)
    plain, graph = export_to_nir(net, x[0]), export_to_nir(net, x[0], fold_gain=True)
    assert any((node.r != 1).any() for node in plain.nodes.values() if hasattr(node, "r"))
    assert all((node.r == 1).all() for node in graph.nodes.values() if hasattr(node, "r"))
    expected = run(net, x)
    assert 0.02 < expected.mean() < 0.98
    torch.testing.assert_close(run(import_from_nir(graph), x), expected, rtol=0, atol=0)


def test_a_reader_that_ignores_r_finds_the_same_spikes():
    """Norse's rule: v += dt / tau (v_leak - v + I), whatever r says; without the option it finds few."""
    net, x, dt = strong(nn.Sequential(nn.Linear(4, 5), snn.Leaky(0.9, **ZERO))), torch.rand(T, B, 4), 1e-3
    expected = run(net, x).numpy()
    for fold_gain, same in ((True, True), (False, False)):
        graph = export_to_nir(net, x[0], dt=dt, fold_gain=fold_gain)
        linear, lif = graph.nodes["0"], graph.nodes["1"]
        v, spikes = np.zeros((B, 5)), []
        for x_t in x.numpy():
            v = v + dt / lif.tau * (lif.v_leak - v + x_t @ linear.weight.T + linear.bias)
            spikes.append((v > lif.v_threshold).astype(float))
            v = np.where(spikes[-1] > 0, lif.v_reset, v)
        assert (np.stack(spikes) == expected).all() == same
    assert expected.mean() > 0.05 and np.mean(spikes) < expected.mean() / 4


def test_gains_that_differ_within_a_channel_or_meet_no_weights_are_a_scale():
    lif = snn.Leaky(torch.rand(3, 4, 4), threshold=0.3, **ZERO)
    net, x = strong(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), lif)), torch.rand(T, B, 2, 4, 4)
    graph = export_to_nir(net, x[0], fold_gain=True)
    assert type(graph.nodes["1.gain"]).__name__ == "Scale" and set(graph.edges) == {
        ("input", "0"), ("0", "1.gain"), ("1.gain", "1"), ("1", "output"),
    }  # fmt: skip
    torch.testing.assert_close(run(import_from_nir(graph), x), run(net, x), rtol=0, atol=0)
    lif.beta = torch.rand(3, 1, 1)
    graph = export_to_nir(net, x[0], fold_gain=True)
    assert set(graph.nodes) == {"input", "0", "1", "output"}
    torch.testing.assert_close(run(import_from_nir(graph), x), run(net, x), rtol=0, atol=0)


def test_weights_that_others_use_as_well_keep_their_values():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.a, self.b = nn.Linear(4, 4), snn.Leaky(0.5, **ZERO), snn.Leaky(0.9, **ZERO)

        def forward(self, x):
            h = self.fc(x)
            return self.a(h) + self.b(h) + self.b.threshold * h

    net, x = strong(Net()), torch.rand(T, B, 4)
    graph = export_to_nir(net, x[0], fold_gain=True)
    np.testing.assert_array_equal(graph.nodes["fc"].weight, net.fc.weight.detach().numpy())
    torch.testing.assert_close(run(import_from_nir(graph), x), run(net, x))


# -- convolutions that nir reads


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, groups=2, padding=1), nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.Conv2d(4, 2, (1, 3)),
        nn.Conv2d(4, 4, (5, 3), padding=(2, 1), groups=4), nn.Conv2d(4, 2, (2, 4), stride=2, dilation=(2, 1)),
        nn.Conv2d(4, 2, (3, 1), padding="valid"), nn.Conv2d(4, 2, (3, 5), padding="same"),
    ],
)  # fmt: skip
def test_grouped_and_oblong_convolutions_are_read_by_nir(conv, tmp_path):
    net, x = nn.Sequential(conv).double(), torch.rand(2, B, 4, 9, 8)
    graph = export_to_nir(net, x[0])
    nir.write(tmp_path / "conv.nir", graph)
    read = nir.read(tmp_path / "conv.nir")
    assert read.nodes["0"].groups == 1
    again = import_from_nir(read)
    assert torch.equal(run(again, x), run(net, x))
    layer = again.get_submodule("0")
    assert (layer.groups, layer.kernel_size, layer.weight.shape) == (conv.groups, conv.kernel_size, conv.weight.shape)
    read.nodes["0"].metadata = {}
    dense = import_from_nir(read)
    torch.testing.assert_close(run(dense, x), run(net, x))
    assert dense.get_submodule("0").groups == 1


def test_groups_that_the_weights_no_longer_have_are_not_believed():
    net, x = nn.Sequential(nn.Conv2d(4, 4, (1, 3), groups=2)), torch.rand(1, B, 4, 5, 5)
    graph = export_to_nir(net, x[0])
    graph.nodes["0"].weight[0, 3, 0, 0] = 5.0
    conv = import_from_nir(graph).get_submodule("0")
    assert conv.groups == 1 and conv.kernel_size == (3, 3) and conv.weight[0, 3, 0, 0] == 5


@pytest.mark.parametrize("kernel", [2, (2, 3), (4, 1)])
def test_recurrent_convolutions_with_even_kernels(kernel):
    lif = snn.RLeaky(0.8, conv2d_channels=2, kernel_size=kernel, threshold=0.4, **ZERO)
    net, x = strong(nn.Sequential(lif)), torch.rand(T, B, 2, 5, 5)
    expected = run(net, x)
    assert 0.05 < expected.mean() < 0.95
    assert torch.equal(run(import_from_nir(export_to_nir(net, x[0])), x), expected)


# -- functions


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.kernel, self.bias = nn.Parameter(torch.randn(3, 2, 3, 3)), nn.Parameter(torch.randn(3))
        self.matrix = nn.Parameter(torch.randn(5, 48))

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (lambda m, x: F.avg_pool2d(x, 2), ["AvgPool2d"]),
        (lambda m, x: F.avg_pool2d(input=x, kernel_size=3, stride=1, padding=1), ["AvgPool2d"]),
        (lambda m, x: F.avg_pool2d(x, (2, 4), divisor_override=1), ["SumPool2d"]),
        (lambda m, x: F.adaptive_avg_pool2d(x, (1, 2)), ["AvgPool2d"]),
        (lambda m, x: F.conv2d(x, m.kernel, m.bias, padding=1), ["Conv2d"]),
        (lambda m, x: F.linear(F.conv2d(x, m.kernel, stride=2, padding=1).flatten(1)[..., :] * 1, m.matrix), None),
        (lambda m, x: F.linear(F.conv2d(x, m.kernel, stride=2, padding=1).flatten(1), m.matrix),
         ["Conv2d", "Flatten", "Linear"]),
    ],
)  # fmt: skip
def test_functions_of_layers_are_layers(function, kinds):
    net, x = Functional(function), torch.rand(2, B, 2, 8, 8)
    if kinds is None:
        with pytest.raises(NotImplementedError, match="getitem"):
            export_to_nir(net, x[0])
        return
    graph = export_to_nir(net, x[0])
    assert [type(node).__name__ for node in graph.nodes.values()][1:-1] == kinds
    torch.testing.assert_close(run(import_from_nir(graph), x), run(net, x))


@pytest.mark.parametrize("name", ["relu", "max_pool2d", "softmax", "gelu", "interpolate", "batch_norm"])
def test_other_functions_are_refused_by_name(name):
    further = {"max_pool2d": (2,), "softmax": (1,), "interpolate": (4,), "batch_norm": (torch.zeros(2), torch.ones(2))}
    with pytest.raises(NotImplementedError, match=name):
        export_to_nir(Functional(lambda m, x: getattr(F, name)(x, *further.get(name, ()))), torch.rand(1, 2, 8, 8))


def test_weights_made_from_the_sample_are_refused():
    with pytest.raises(NotImplementedError, match="linear"):
        export_to_nir(Functional(lambda m, x: F.linear(x, x)), torch.rand(2, 2))


def test_adaptive_pooling_with_windows_of_several_sizes_is_refused():
    with pytest.raises(NotImplementedError, match="adaptive pooling"):
        export_to_nir(nn.AdaptiveAvgPool2d(3), torch.rand(1, 2, 8, 8))


# -- delays


@pytest.mark.parametrize(("steps", "becomes"), [(1.5, 2), (0.4, 0), (2.6, 3)])
def test_a_delay_between_steps_warns(steps, becomes):
    graph = nir.NIRGraph.from_list(nir.Delay(np.array([steps * 1e-3, 3e-3])))
    with pytest.warns(UserWarning, match=rf"'delay'.*{steps} steps.*becomes {becomes} \(1 of 2"):
        net = import_from_nir(graph, dt=1e-3)
    assert net.delay.steps.tolist() == [becomes, 3]


def test_a_delay_between_steps_warns_when_it_is_written():
    delay = Delay(torch.tensor([1, 2]), init_hidden=True)
    net = nn.Sequential(delay)
    graph = export_to_nir(net, torch.rand(1, 2))
    np.testing.assert_allclose(graph.nodes["0"].delay, [1e-4, 2e-4])


# -- nodes and layers of one's own


class Doubling(nn.Module):
    def forward(self, x):
        return 2 * x


def test_own_exporters_and_importers():
    def export(layer, context):
        factor = context.array(2.0, "factor")
        return Part({"a": nir.Scale(factor), "b": nir.Scale(factor / 2)}, {"out": "b"}, [("a", "b")], entry="a")

    class Own(snn.Leaky):
        pass

    def make(node):
        return Own(beta=1 - node.dt / node.tensor("tau"), threshold=node.tensor("v_threshold"), **ZERO)

    net, x = nn.Sequential(Doubling(), snn.Leaky(0.5, **ZERO)), torch.rand(T, B, 3)
    graph = export_to_nir(net, x[0], exporters={Doubling: export})
    assert [name for name in graph.nodes] == ["input", "0.a", "0.b", "1", "output"]
    again = import_from_nir(graph, importers={"LIF": make})
    assert type(again.get_submodule(again.meta["names"]["1"])) is Own
    assert torch.equal(run(again, x), run(net, x))


def test_nan_is_not_written():
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="'0': weight holds NaN"):
        export_to_nir(net, torch.rand(1, 2))


def test_neurons_without_leak_of_the_published_export():
    """It writes tau = r = infinity for beta = 1."""
    ones = np.ones(2)
    lif = nir.LIF(tau=np.inf * ones, r=np.inf * ones, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones)
    net = import_from_nir(nir.NIRGraph.from_list(lif))
    assert net.lif.beta.tolist() == net.lif.threshold.tolist() == [1, 1]


def test_an_older_nir_gets_what_it_has(monkeypatch):
    """nir 1.0.4, which sinabs pins, has no v_reset, no CubaLI, and metadata of some nodes alone."""
    fields = ["tau", "r", "v_leak", "v_threshold"]
    older = make_dataclass(
        "LIF", fields, bases=(nir.NIRNode,), eq=False, namespace={"__post_init__": lambda self: None}
    )
    assert "v_reset" not in {field.name for field in dataclasses.fields(older)}
    monkeypatch.setattr(nir, "LIF", older)
    monkeypatch.delattr(nir, "CubaLI")
    node = nir_node("LIF", tau=1, r=2, v_leak=0, v_threshold=1, v_reset=0)
    assert type(node) is older and (node.tau, node.r) == (1, 2)
    with pytest.raises(NotImplementedError, match=r"nir .* has no CubaLI"):
        export_to_nir(SynapticIntegrator(0.5, 0.5, init_hidden=True), torch.rand(1, 2))
