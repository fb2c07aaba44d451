"""The table of a network: its numbers, its words, and that it leaves no trace."""

import pytest
import torch
from torch import nn

import snntorch as snn
from snntorch.functional.probe import Recorder
from snntorch.metrics import EnergyModel, Workload, summary


def make_net():
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), snn.Leaky(0.9, init_hidden=True), nn.Dropout(0.5),
        nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), snn.RLeaky(0.9, init_hidden=True, linear_features=4),
    )  # fmt: skip
    return net.train()


def test_rows_are_the_layers_in_order():
    net = make_net()
    table = summary(net, torch.rand(6, 5, 1, 4, 4))
    assert [(row.name, row.kind, row.shape, row.parameters) for row in table.layers] == [
        ("0", "Conv2d", (3, 2, 2), 30), ("1", "Leaky", (3, 2, 2), 0), ("2", "Dropout", (3, 2, 2), 0),
        ("3.0", "Flatten", (12,), 0), ("3.1", "Linear", (4,), 52), ("4", "RLeaky", (4,), 20),
    ]  # fmt: skip
    assert (table.steps, table.samples, table.parameters) == (6, 5, 30 + 52 + 20)
    assert sum(row.parameters for row in table.layers) == table.parameters


def test_counts_are_the_workloads():
    net, x = make_net().eval(), torch.rand(6, 5, 1, 4, 4)
    table, workload = summary(net, x), Workload(net)
    with workload.batch(5), torch.no_grad():
        snn.utils.reset(net)
        snn.unroll(net, x)
    by_name = {row.name: row for row in table.layers}
    assert by_name["0"].synops == workload.layers["0"].macs / 5 == 6 * 3 * 9 * 4
    assert by_name["4"].synops == workload.layers["4.recurrent"].acs / 5
    assert by_name["2"].synops is by_name["2"].energy is by_name["2"].firing_rate is None
    assert by_name["1"].membrane_updates == workload.layers["1"].membrane_updates / 5
    assert table.energy == workload.energy()
    assert table.energy.total == pytest.approx(sum(row.energy for row in table.layers if row.energy), rel=1e-12)
    zero = EnergyModel(mac=0, ac=0, membrane_update=0, byte=0)
    assert summary(net, x, energy=zero).energy.total == 0


def test_a_static_input_counts_as_the_loop_over_it():
    net, x = make_net(), torch.rand(5, 1, 4, 4)
    static, repeated = summary(net, x, num_steps=6), summary(net, x.expand(6, *x.shape))
    assert static.to_dict() == repeated.to_dict() and static.samples == 5


def test_a_network_with_a_loop_of_its_own():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(3, 4), snn.Leaky(0.9)

        def forward(self, x):
            mem, spikes = None, []
            for _ in range(7):
                spk, mem = self.lif(self.fc(x), mem)
                spikes.append(spk)
            return torch.stack(spikes)

    table = summary(Net(), torch.rand(5, 3), run=lambda net, x: net(x))
    assert (table.steps, table.samples) == (7, 5)
    assert table.layers[1].membrane_updates == 7 * 4


def test_neurons_that_take_the_whole_sequence():
    net = nn.Sequential(nn.Linear(3, 4), snn.LeakyParallel(4, 5))
    table = summary(net, torch.rand(7, 2, 3), run=lambda net, x: net(x))
    assert (table.steps, table.samples) == (7, 2)
    assert [row.shape for row in table.layers] == [(4,), (5,)]
    assert table.remarks[-1] == "Not counted are the operations of 1.rnn."


class Whole(nn.Module):
    """A network that takes a whole sequence, with a loop for one part of it."""

    takes_sequence = True

    def __init__(self):
        super().__init__()
        self.fc1, self.norm, self.lif1 = nn.Linear(3, 6), snn.BatchNormTT1d(6, 8), snn.LeakyParallel(6, 6, beta=0.9)
        self.fc2, self.lif2 = nn.Linear(6, 2), snn.Leaky(0.9, init_hidden=True)

    def forward(self, x):
        return torch.stack([self.lif2(self.fc2(spk)) for spk in self.lif1(self.norm(self.fc1(x)))])


def test_a_network_that_takes_whole_sequences_is_looked_into(capsys):
    net, x = Whole(), torch.rand(8, 5, 3)
    rows = {row.name: row for row in summary(net, x).layers}
    assert [rows[name].shape for name in ("fc1", "lif1", "fc2", "lif2")] == [(6,), (6,), (2,), (2,)]
    assert rows["lif2"].membrane_updates == 16 and rows["fc1"].firing_rate is None
    assert "" not in rows and not [name for name, row in rows.items() if row.kind.startswith("BatchNorm") and row.dead]
    with Recorder(net) as recorder:
        net(x)
    assert {name: spikes.shape[:2] for name, spikes in recorder.spikes.items()} == {"lif1": (8, 5), "lif2": (8, 5)}
    snn.explain(net, x)
    assert "Whole  whole sequence" in " ".join(capsys.readouterr().out.split()).replace("Whole whole", "Whole  whole")


def test_dead_and_saturated_layers_are_named():
    net = nn.Sequential(
        nn.Linear(2, 4), snn.Leaky(0.5, init_hidden=True), nn.Linear(4, 3), snn.Leaky(0.5, init_hidden=True)
    )
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        net[0].bias.copy_(torch.tensor([2.0, 3.0, 4.0, 0.0]))
    table = summary(net, torch.rand(10, 5, 2))
    assert table.remarks == [
        "Layer '1' (Leaky) is mostly saturated: 75% of its neurons fired in every step (10 steps, 5 samples).",
        "Layer '3' (Leaky) is dead: none of its neurons fired (10 steps, 5 samples).",
    ]
    assert (table.layers[1].dead, table.layers[1].saturated, table.layers[3].dead) == (0.25, 0.75, 1.0)
    assert table.remarks[1] in str(table)


def test_nothing_of_the_network_changes():
    net = make_net()
    net[2].eval()
    snn.unroll(net, torch.rand(3, 2, 1, 4, 4))
    before = {key: value.clone() for key, value in snn.utils.get_states(net).items()}
    summary(net, torch.rand(6, 5, 1, 4, 4))
    after = snn.utils.get_states(net)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert [module.training for module in net] == [True, True, False, True, True]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_columns_are_of_one_length_and_an_ann_has_no_rates():
    table = summary(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.rand(5, 3), run=lambda net, x: net(x))
    columns = table.to_dict()
    assert set(map(len, columns.values())) == {2}
    assert columns["firing_rate"] == [None, None] and table.steps is None and table.samples == 5
    assert summary(nn.Sequential(nn.Linear(3, 2)), torch.rand(4, 5, 3)).samples == 5


def test_paths_are_those_that_explain_prints(capsys):
    net, x = make_net().eval(), torch.rand(6, 5, 1, 4, 4)
    by_name = {row.name: row.path for row in summary(net, x).layers}
    assert by_name["0"] == by_name["3.1"] == "folded"
    snn.explain(net, x)
    printed = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert {name for name, _, _ in printed} == set(by_name)
    assert all(rest.startswith(by_name[name]) for name, _, rest in printed)
    ours = summary(net, x, run=lambda net, x: snn.unroll(net, x))
    assert {row.name: row.path for row in ours.layers} == by_name


def test_a_single_layer_is_a_network():
    table = summary(snn.Leaky(0.9, init_hidden=True), torch.zeros(4, 2, 3))
    assert table.layers[0].name == "" and table.remarks[0].startswith("Leaky is dead")


def test_named_errors():
    net = make_net()
    with pytest.raises(ValueError, match="num_steps is for a static input"):
        summary(net, torch.rand(5, 1, 4, 4), num_steps=3, run=lambda net, x: net(x))
    with pytest.raises(ValueError, match="no activation to count: Tanh"):
        summary(nn.Tanh(), torch.rand(5, 3))


def test_chunks_count_as_the_whole_sequence():
    net, x = make_net(), torch.rand(12, 5, 1, 4, 4)
    whole = summary(net, x)
    for lengths in ([12], [5, 1, 6], [1] * 12):
        parts = summary(net, iter(x.split(lengths)))
        assert (parts.to_dict(), parts.workload.layers) == (whole.to_dict(), whole.workload.layers)
        assert (parts.steps, parts.samples, parts.energy, parts.remarks) == (12, 5, whole.energy, whole.remarks)


def test_chunks_of_a_network_with_a_loop_of_its_own():
    def run(net, x):
        return torch.stack([net(now) for now in x])

    net, x = Whole(), torch.rand(8, 5, 3)
    own = nn.Sequential(nn.Linear(3, 4), snn.Leaky(0.9, init_hidden=True))
    assert summary(own, x.split([3, 5]), run=run).to_dict() == summary(own, x, run=run).to_dict()
    assert summary(net, [x]).to_dict() == summary(net, x).to_dict()
    with pytest.raises(ValueError, match="x must be one tensor for BatchNormTT1d, which keeps no state between chunks"):
        summary(net, x.split(4))


def test_errors_of_chunks():
    net = make_net()
    with pytest.raises(ValueError, match="x must hold at least one chunk, got none"):
        summary(net, [])
    with pytest.raises(ValueError, match=r"all chunks of x must have 5 samples, got shape \(2, 4, 1, 4, 4\)"):
        summary(net, [torch.rand(2, 5, 1, 4, 4), torch.rand(2, 4, 1, 4, 4)])
    with pytest.raises(ValueError, match="num_steps is for a static input, a tensor"):
        summary(net, [torch.rand(2, 5, 1, 4, 4)], num_steps=3)
