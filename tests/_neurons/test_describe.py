"""What neurons show of themselves, where they are imported from, and whom their warnings point at."""

import ast
import inspect
import warnings

import pytest
import torch
from torch import nn

import snntorch as snn
from snntorch import backprop


@pytest.mark.parametrize(
    ("neuron", "expected"),
    [
        (lambda: snn.Leaky(0.9), "Leaky(beta=0.9)"),
        (
            lambda: snn.Leaky(torch.rand(3), threshold=0.5, learn_beta=True, reset_mechanism="zero"),
            "Leaky(beta=Tensor[3], threshold=0.5, learn_beta=True, reset_mechanism='zero')",
        ),
        (lambda: snn.Leaky(0.9, spike_grad="sigmoid"), "Leaky(beta=0.9, spike_grad=Sigmoid(25))"),
        (lambda: snn.Leaky(0.9, surrogate_disable=True), "Leaky(beta=0.9, surrogate_disable=True)"),
        (lambda: snn.Lapicque(R=5.0, C=2.0), "Lapicque(beta=0.904837, R=5, C=2)"),
        (lambda: snn.DeltaLeaky(0.5, beta=0.9), "DeltaLeaky(delta_threshold=0.5, beta=0.9)"),
        (lambda: snn.DeltaLeaky(beta=0.9, output=False), "DeltaLeaky(output=False, beta=0.9)"),
        (lambda: snn.StateLeaky(0.9, 3, learn_beta=True), "StateLeaky(beta=0.9, channels=3, learn_beta=True)"),
    ],
)
def test_repr_shows_what_differs_from_the_defaults(neuron, expected):
    assert repr(neuron()) == expected


def test_repr_of_recurrent_neurons_and_on_the_meta_device():
    assert "beta=0.9, linear_features=3" in repr(snn.RLeaky(0.9, linear_features=3))
    frozen = snn.RLeaky(0.9, V=0.5, all_to_all=False, learn_recurrent=False)
    assert "beta=0.9, V=0.5, all_to_all=False, learn_recurrent=False" in repr(frozen)
    assert repr(snn.Leaky(0.9).to("meta")).startswith("Leaky(beta=Tensor[]")


def test_public_import_paths():
    from snntorch._layers.graded_spikes import GradedSpikes
    from snntorch._neurons import LIF, Leaky, SpikingNeuron

    assert (Leaky, LIF, SpikingNeuron, GradedSpikes) == (snn.Leaky, snn.LIF, snn.SpikingNeuron, snn.GradedSpikes)
    with pytest.raises(ImportError):
        from snntorch._neurons import functional  # noqa: F401


@pytest.mark.parametrize(
    "build",
    [
        lambda: snn.Leaky(0.9, inhibition=True),
        lambda: snn.Lapicque(R=0.5, C=1.0),
        lambda: snn.StateLeaky(0.9, 3, output=False, graded_spikes_factor=2.0),
        lambda: snn.LinearLeaky(0.9, 4, 3, output=False, graded_spikes_factor=torch.tensor([1.0, 2.0, 1.0])),
    ],
)
def test_warnings_point_at_the_caller(build):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build()
    assert [w.filename for w in caught] == [__file__]


def test_a_state_leaky_without_spikes_warns_of_nothing_else():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        snn.StateLeaky(0.9, 3, output=False, graded_spikes_factor=torch.ones(3))


def test_type_checkers_know_every_lazy_submodule_and_no_other_name():
    tree = ast.parse(inspect.getsource(snn))
    known = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(known.test) == "TYPE_CHECKING"
    assert [alias.name for node in known.body for alias in node.names] == list(snn._LAZY)
    assert [node.name for node in known.orelse] == ["__getattr__"]  # which would make every name known
    assert "__getattr__" not in [getattr(node, "name", None) for node in tree.body]


class Doubling(snn.Leaky):
    def fire(self, mem):
        return 2 * super().fire(mem)


def test_learning_forward_in_time_refuses_methods_that_it_would_not_follow():
    net = nn.Sequential(nn.Linear(3, 2), Doubling(0.9, init_hidden=True))
    with pytest.raises(NotImplementedError, match="Doubling overrides fire"):
        backprop.eprop(net, torch.rand(4, 2, 3), torch.tensor([0, 1]), nn.functional.cross_entropy)


def test_nir_refuses_methods_that_it_would_not_write():
    pytest.importorskip("nir")
    neuron = snn.Leaky(0.9, init_hidden=True)
    neuron.fire = lambda mem: mem
    with pytest.raises(NotImplementedError, match="overrides fire"):
        snn.export_nir.export_to_nir(nn.Sequential(nn.Linear(3, 2), neuron), torch.rand(1, 3))


def test_animations_and_summaries_show_themselves_in_notebooks():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert "<img" in snn.spikeplot.animator(torch.rand(2, 3, 3), figure, figure.subplots())._repr_html_()
    table = snn.metrics.summary(nn.Sequential(nn.Linear(3, 2), snn.Leaky(0.9, init_hidden=True)), torch.rand(4, 2, 3))
    assert table._repr_html_().startswith("<pre>") and "Leaky" in table._repr_html_()
