"""Operations counted by hand, however the network is run."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import snntorch as snn
from snntorch.metrics import EnergyModel, LayerCount, Workload


def count(net, x, samples=1):
    workload = Workload(net)
    with workload.batch(samples), torch.no_grad():
        net(x)
    return workload


def test_linear_counts_pairs_of_nonzeros():
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0, -2.0], [0.5, 0.0, 0.0]]))  # 2, 0 and 1 targets
    assert count(layer, torch.tensor([[1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])).layers[""] == LayerCount(acs=5, dense=12)
    assert count(layer, torch.tensor([[0.5, 1.0, 0.0]])).layers[""] == LayerCount(macs=2, dense=6)
    assert count(layer, torch.zeros(4, 3)).layers[""] == LayerCount(dense=24)


def test_conv_counts_no_padding():
    layer = nn.Conv2d(1, 1, 3, padding=1)
    # Along each axis of 5, the window covers 3 pixels inside and 2 at both borders: 13.
    assert count(layer, torch.ones(1, 1, 5, 5)).layers[""] == LayerCount(acs=13**2, dense=13**2)
    one = torch.zeros(1, 1, 5, 5)
    one[0, 0, 2, 2] = 1
    assert count(layer, one).acs == 9
    assert count(layer, one[0]).acs == 9  # without a batch


def test_grouped_conv_connects_within_groups():
    layer = nn.Conv1d(6, 4, 1, groups=2)
    x = torch.zeros(1, 6, 1)
    x[0, 0] = 1
    assert count(layer, x).layers[""] == LayerCount(acs=2, dense=12)


def test_a_parametrized_layer_counts_its_weights_as_they_act():
    class Mask(nn.Module):
        def forward(self, w):
            return w * (torch.arange(w.numel()).view_as(w) % 2)

    for layer, x in ((nn.Linear(4, 3), torch.ones(2, 4)), (nn.Conv1d(1, 3, 4), torch.ones(2, 1, 4))):
        parametrize.register_parametrization(layer, "weight", Mask())
        assert count(layer, x).layers[""] == LayerCount(acs=12, dense=24)
        assert layer(x).shape[0] == 2 and layer.weight.shape[0] == 3  # the layer itself is as it was


def test_totals_add_up_over_batches_and_a_failed_batch_leaves_no_hook():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    workload = Workload(net)
    for samples in (2, 3):
        with workload.batch(samples):
            net(torch.ones(samples, 3))
    assert workload.samples == 5 and workload.acs == workload.dense == 12
    with pytest.raises(RuntimeError, match="stop"), workload.batch(1):
        raise RuntimeError("stop")
    assert workload.samples == 5
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_membrane_updates_are_changes():
    lif = snn.Leaky(beta=0.5, threshold=10.0, init_hidden=True)
    workload = Workload(lif)
    drive = torch.zeros(4, 1, 3)
    drive[1, 0, 0] = 1.0  # decays through steps 2 and 3
    with workload.batch(1):
        for x in drive:
            lif(x)
    assert workload.membrane_updates == 3 + 1 + 1 + 1
    assert workload.activation_sparsity == 1.0


def test_explicit_states_count_as_stored_ones():
    lif = snn.Leaky(beta=0.9)
    workload = Workload(lif)
    with workload.batch(2):
        mem = None
        for x in torch.rand(5, 2, 3):
            _, mem = lif(x, mem)
    assert workload.membrane_updates == 5 * 3 and workload.layers[""].activations == 30


def test_sequence_neurons_count_their_activations():
    net = nn.Sequential(nn.Linear(3, 4), snn.LeakyParallel(4, 5))
    workload = count(net, torch.rand(6, 2, 3), samples=2)
    assert workload.layers["1"].activations == 6 * 2 * 5
    assert workload.uncounted == ["1.rnn"]


def test_layers_that_were_not_called_are_named():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)
            self.embedding = nn.Embedding(3, 2)

        def forward(self, x):
            return nn.functional.linear(x, self.fc.weight)

    workload = Workload(Functional())
    assert workload.uncounted == ["embedding", "fc"]


def test_energy_is_the_estimate_of_the_counts():
    net = nn.Sequential(nn.Linear(3, 4), snn.Leaky(beta=0.9, init_hidden=True))
    workload = Workload(net)
    with workload.batch(2):
        snn.unroll(net, torch.ones(10, 2, 3))
    model = EnergyModel(mac=1e3, ac=2, membrane_update=3, byte=5, weight_bytes=7, state_bytes=11)
    assert workload.energy(model) == (2 * 120 + 3 * 40, 5 * (7 * 120 + 22 * 40))
    assert workload.energy().total == pytest.approx(0.9e-12 * 120 + 4.6e-12 * 40 + 2.5e-12 * 4 * (120 + 2 * 40))


def test_named_errors():
    with pytest.raises(ValueError, match=r"no activation to count: Tanh"):
        Workload(nn.Tanh())
    workload = Workload(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"run the network inside batch"):
        _ = workload.acs
    with pytest.raises(ValueError, match=r"samples must be a positive int, got 0"), workload.batch(0):
        pass


class Residual(nn.Module):
    """One step of a module that looks at no value, with a norm over all steps or none."""

    def __init__(self, norm):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), norm
        self.lif = snn.Leaky(beta=0.9, threshold=0.3, init_hidden=True)

    def forward(self, x):
        return self.lif(self.norm(self.conv(x))) + x


def test_counting_looks_at_no_value_before_the_end():
    """So that what runs together over time still does, and a norm over all steps gets them all."""
    torch.manual_seed(0)
    x = torch.rand(4, 2, 3, 6, 6)
    net = Residual(nn.Identity())
    counted = []
    for run in (lambda: [net(now) for now in x], lambda: snn.unroll(net, x)):
        snn.utils.reset(net)
        workload = Workload(net)
        with workload.batch(2):
            run()
        counted.append(workload.layers)
    assert counted[0] == counted[1]
    assert all(type(n) is int for layer in counted[1].values() for n in vars(layer).values())

    net = Residual(snn.SequenceBatchNorm2d(3))
    workload = Workload(net)
    with workload.batch(2):
        snn.unroll(net, x)
    layers = workload.layers
    assert layers["lif"].activations == x.numel() and 0 < layers["lif"].nonzero < x.numel()
    assert layers["conv"].macs == layers["conv"].dense == 4 * 2 * 9 * 16**2
