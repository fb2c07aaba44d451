"""Our counts are NeuroBench's own, to the last digit, whether the network steps or unrolls."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

import snntorch as snn
from snntorch.metrics import Workload, connection_sparsity, footprint

neurobench = pytest.importorskip("neurobench", reason="NeuroBench is in the test extra")
from neurobench.benchmarks import Benchmark  # noqa: E402
from neurobench.metrics.static import ConnectionSparsity, Footprint  # noqa: E402
from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations  # noqa: E402
from neurobench.models import SNNTorchModel  # noqa: E402

LIF = {"init_hidden": True, "threshold": 0.3}


def mlp():
    return nn.Sequential(
        nn.Linear(12, 20), snn.Leaky(0.8, **LIF), nn.Linear(20, 6, bias=False), snn.Synaptic(0.7, 0.8, **LIF)
    )


def pruned():
    net = mlp()
    for layer in (net[0], net[2]):
        prune.random_unstructured(layer, "weight", amount=0.4)
        prune.remove(layer, "weight")
    return net


def resets():
    return nn.Sequential(
        nn.Linear(12, 8), snn.Leaky(0.0, reset_mechanism="zero", **LIF), nn.Linear(8, 8), snn.Alpha(0.9, 0.8, **LIF),
        nn.Linear(8, 4), snn.Lapicque(0.9, **LIF),
    )  # fmt: skip


def recurrent():
    return nn.Sequential(
        nn.Linear(12, 8), snn.RLeaky(0.8, linear_features=8, **LIF),
        nn.Linear(8, 8), snn.RSynaptic(0.6, 0.8, all_to_all=False, V=0.5, **LIF),
    )  # fmt: skip


def relu():
    return nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 9), nn.Sigmoid(), nn.Linear(9, 3))


def conv():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), snn.Leaky(0.8, **LIF), nn.AvgPool2d(2),
        nn.Conv2d(6, 6, 3, padding="same", groups=3, dilation=2), snn.Leaky(0.8, **LIF), nn.MaxPool2d(2),
        nn.Sequential(nn.Flatten(), nn.Linear(24, 5)), snn.Leaky(0.8, **LIF),
    )  # fmt: skip


def conv_padded():
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=2, padding=1, padding_mode="circular"), snn.Leaky(0.8, **LIF),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), snn.RLeaky(0.8, conv2d_channels=4, kernel_size=2, **LIF),
    )  # fmt: skip


def conv1d():
    return nn.Sequential(nn.Conv1d(8, 5, 3), snn.Leaky(0.8, **LIF), nn.Conv1d(5, 4, 2), snn.Leaky(0.8, **LIF))


def conv3d():
    return nn.Sequential(nn.Conv3d(1, 3, 2), snn.Leaky(0.8, **LIF), nn.Conv3d(3, 2, 2, padding=1), nn.ReLU())


FEATURES, IMAGE, CHANNELS, VOLUME = (12,), (2, 8, 8), (8, 8), (1, 4, 4, 4)
CASES = [
    (mlp, FEATURES), (pruned, FEATURES), (resets, FEATURES), (recurrent, FEATURES), (relu, FEATURES),
    (conv, IMAGE), (conv_padded, IMAGE), (conv1d, CHANNELS), (conv3d, VOLUME),
]  # fmt: skip


class Looped(nn.Module):
    """NeuroBench's data are [B, T, ...], ours [T, B, ...]."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, data):
        snn.utils.reset(self.net)
        return torch.stack([self.net(x) for x in data.transpose(0, 1)])


@torch.no_grad()
def theirs(net, data, batch_size):
    loader = DataLoader(TensorDataset(data, torch.zeros(len(data))), batch_size=batch_size)
    metrics = [[Footprint, ConnectionSparsity], [ActivationSparsity, SynapticOperations, MembraneUpdates]]
    return Benchmark(SNNTorchModel(Looped(net), custom_forward=True), loader, [], [], metrics).run(quiet=True)


@torch.no_grad()
def ours(net, data, batch_size, unrolled):
    workload = Workload(net)
    for batch in data.split(batch_size):
        with workload.batch(len(batch)):
            if unrolled:
                snn.utils.reset(net)
                snn.unroll(net, batch.transpose(0, 1))
            else:
                Looped(net)(batch)
    return workload


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("unrolled", [False, True], ids=["loop", "unroll"])
@pytest.mark.parametrize("binary", [False, True], ids=["real", "spikes"])
@pytest.mark.parametrize(("make", "shape"), CASES, ids=lambda x: getattr(x, "__name__", ""))
def test_every_metric_equals_neurobench(make, shape, binary, unrolled):
    torch.manual_seed(1)
    net = make().eval()
    data = torch.randn(8, 9, *shape).relu()
    data = (data > 0.4).float() if binary else data
    for batch_size in (8, 7):  # then 7 and 1
        expected = theirs(net, data, batch_size)
        workload = ours(net, data, batch_size, unrolled)
        operations = expected["SynapticOperations"]
        assert (workload.macs, workload.acs, workload.dense) == (
            operations["Effective_MACs"], operations["Effective_ACs"], operations["Dense"],
        )  # fmt: skip
        assert workload.membrane_updates == expected["MembraneUpdates"]
        # NeuroBench weights each batch's sparsity by its share of the samples, which rounds; not if the share is 8 / 8.
        tolerance = 0 if batch_size == 8 else 1e-15
        assert workload.activation_sparsity == pytest.approx(expected["ActivationSparsity"], rel=tolerance, abs=0)
        assert expected["Footprint"] == footprint(net)
        assert expected["ConnectionSparsity"] == round(connection_sparsity(net), 4)
        assert workload.uncounted == []
        assert (workload.macs > 0) or binary


def test_where_neurobench_surprises():
    """What the docstrings say of NeuroBench's definitions, on NeuroBench itself."""
    layer = nn.Sequential(nn.Linear(3, 2, bias=False))
    nn.init.ones_(layer[0].weight)

    def operations(data):
        net = nn.Sequential(layer, snn.Leaky(0.9, init_hidden=True))
        return theirs(net, data, len(data))["SynapticOperations"]

    spikes, real = torch.ones(1, 1, 3), torch.full((1, 1, 3), 0.5)
    assert operations(spikes) == {"Effective_MACs": 0, "Effective_ACs": 6, "Dense": 6}
    assert operations(torch.zeros(1, 1, 3))["Dense"] == 6
    # One real-valued sample turns the spikes that share its batch into MACs.
    assert operations(torch.cat([spikes, real])) == {"Effective_MACs": 6, "Effective_ACs": 0, "Dense": 6}


def test_neurobench_rounds_large_counts_where_we_do_not():
    net = nn.Sequential(nn.Linear(4099, 4099), snn.Leaky(0.9, init_hidden=True))  # 4099 ** 2 > 2 ** 24, odd
    data = torch.ones(1, 1, 4099)
    assert ours(net, data, 1, False).dense == 4099**2
    assert theirs(net, data, 1)["SynapticOperations"]["Dense"] != 4099**2
