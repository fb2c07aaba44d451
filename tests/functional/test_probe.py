"""Monitors on plain layers, the recorder on neurons."""

import gc
import weakref

import pytest
import torch
from torch import nn

import snntorch as snn
from rows import every_class, every_step_class
from snntorch import spikeplot, utils
from snntorch.functional.probe import (
    AttributeMonitor,
    GradInputMonitor,
    GradOutputMonitor,
    InputMonitor,
    OutputMonitor,
    Recorder,
    unpack_len1_tuple,
)


def make_net():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2), nn.Tanh()))


class Pair(nn.Module):
    """Returns two tensors, as a neuron does."""

    def forward(self, x, *, y=None):
        return 2 * x, x - 1 if y is None else y


def test_outputs_are_recorded_in_call_order_under_their_names():
    net = make_net()
    monitor = OutputMonitor(net, (nn.Linear, nn.Tanh))
    xs = torch.randn(2, 5, 3)
    ys = [net(x) for x in xs]
    assert monitor.monitored_layers == ["0", "2.0", "2.1"] and len(monitor.hooks) == 3
    assert monitor.name_records_index == {"0": [0, 3], "2.0": [1, 4], "2.1": [2, 5]}
    assert monitor["2.1"][0] is ys[0] and monitor[5] is ys[1]  # neither detached nor copied
    assert monitor[-2] is monitor["2.0"][1]
    assert torch.equal(monitor[0], net[0](xs[0]))


def test_indexing_errors():
    monitor = OutputMonitor(make_net(), nn.ReLU)
    with pytest.raises(KeyError):
        monitor["0"]
    with pytest.raises(ValueError, match="an integer or a layer's name, got \\('x',\\)"):
        monitor["x",]
    with pytest.raises(IndexError):
        monitor[0]


@pytest.mark.parametrize("instance", [nn.Linear, nn.Linear(1, 1), (nn.Linear,), (nn.Linear(1, 1), nn.Conv1d)])
def test_an_example_serves_as_its_class(instance):
    assert OutputMonitor(make_net(), instance).monitored_layers == ["0", "2.0"]


@pytest.mark.parametrize("kind", [OutputMonitor, InputMonitor, GradInputMonitor, GradOutputMonitor])
def test_the_net_itself_is_the_default(kind):
    monitor = kind(nn.Linear(3, 2))
    assert monitor.monitored_layers == [""]
    assert AttributeMonitor("weight", False, nn.Linear(3, 2)).monitored_layers == [""]


def test_enable_disable_clear_and_remove():
    net = make_net()
    monitor = OutputMonitor(net, nn.Linear)
    x = torch.randn(5, 3)
    assert monitor.is_enable()
    monitor.disable()
    net(x)
    assert not monitor.is_enable() and monitor.records == []
    monitor.enable()
    net(x)
    assert len(monitor.records) == 2
    monitor.clear_recorded_data()
    assert monitor.records == [] and monitor["0"] == []
    net(x)
    assert len(monitor["0"]) == 1 and monitor["0"][0] is monitor[0]
    monitor.remove_hooks()
    net(x)
    assert len(monitor.records) == 2 and monitor.hooks == []


def test_hooks_go_with_the_monitor_and_with_its_block():
    net = make_net()
    monitor = OutputMonitor(net, nn.Linear)
    reference = weakref.ref(monitor)
    del monitor
    gc.collect()
    assert reference() is None and not any(m._forward_hooks for m in net.modules())
    with InputMonitor(net, nn.Linear) as monitor:
        net(torch.randn(5, 3))
    net(torch.randn(5, 3))
    assert len(monitor.records) == 2 and not any(m._forward_hooks for m in net.modules())


def test_functions_are_applied_before_storing():
    net = make_net()
    x = torch.randn(5, 3)
    outputs = OutputMonitor(net, nn.Tanh, lambda y: y.detach().sum())
    inputs = InputMonitor(net, nn.ReLU, torch.abs)
    weights = AttributeMonitor("weight", True, net, nn.Linear, torch.Tensor.numel)
    grad_in = GradInputMonitor(net, nn.Tanh, torch.Tensor.norm)
    grad_out = GradOutputMonitor(net, nn.Tanh, torch.Tensor.norm)
    y = net(x)
    y.sum().backward()
    assert torch.equal(outputs[0], y.sum().detach())
    assert weights.records == [12, 8]
    assert torch.equal(inputs[0], net[0](x).abs())
    torch.testing.assert_close(grad_in[0], (1 - y**2).norm().detach())
    torch.testing.assert_close(grad_out[0], torch.ones_like(y).norm())


def test_several_outputs_and_inputs_are_recorded_whole():
    net, x, y = Pair(), torch.ones(2), torch.zeros(2)
    outputs, inputs = OutputMonitor(net), InputMonitor(net)
    given = net(x, y=y)
    net(y=y, x=x)
    assert outputs[0] == given and isinstance(outputs[0], tuple)
    assert inputs[0] == (x, y) and inputs[1] == (y, x)
    assert unpack_len1_tuple((x,)) is x and unpack_len1_tuple(given) is given


def test_attributes_before_and_after_are_copies():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.mem, self.calls = torch.zeros(2), 0
            self.inner = nn.Linear(1, 1)

        def forward(self, x):
            self.mem += x  # in place
            self.calls += 1
            return self.mem

    net = nn.Sequential(Counter())
    before, after = (AttributeMonitor("mem", pre, net, Counter) for pre in (True, False))
    calls = AttributeMonitor("calls", False, net, Counter)
    inner = AttributeMonitor("inner.bias", False, net, Counter)
    live = AttributeMonitor("mem", False, net, Counter, lambda mem: mem)
    with torch.no_grad():
        for _ in range(3):
            net(torch.ones(2))
    assert [mem[0].item() for mem in before.records] == [0, 1, 2]
    assert [mem[0].item() for mem in after.records] == [1, 2, 3]
    assert calls["0"] == [1, 2, 3]
    assert not inner[0].requires_grad and inner[0] == net[0].inner.bias
    assert all(mem is net[0].mem for mem in live.records)


def test_gradients_come_in_backward_order():
    net = make_net()
    x = torch.randn(5, 3, requires_grad=True)
    grad_in, grad_out = GradInputMonitor(net, nn.Linear), GradOutputMonitor(net, nn.Linear)
    hidden = net[1](net[0](x))
    hidden.retain_grad()
    net[2](hidden).pow(2).sum().backward()
    assert grad_in.name_records_index == grad_out.name_records_index == {"0": [1], "2.0": [0]}
    torch.testing.assert_close(grad_in["2.0"][0], hidden.grad)
    torch.testing.assert_close(grad_in["0"][0], x.grad)
    torch.testing.assert_close(grad_out["0"][0], hidden.grad * (hidden > 0))
    torch.testing.assert_close(grad_out["0"][0].T @ x, net[0].weight.grad)


def test_gradients_of_layers_in_a_loop_and_of_unused_outputs():
    net = nn.Sequential(nn.Linear(3, 3), Pair())
    monitor = GradOutputMonitor(net, Pair)
    single = GradOutputMonitor(net, nn.Linear)
    outputs = [net(torch.randn(4, 3))[0] for _ in range(3)]  # the second output is not used
    sum((t + 1) * y.sum() for t, y in enumerate(outputs)).backward()
    assert [g[1] for g in monitor.records] == [None] * 3
    assert sorted(g[0][0, 0].item() for g in monitor.records) == [1, 2, 3]
    assert sorted(g[0, 0].item() for g in single.records) == [2, 4, 6]
    with torch.no_grad():
        net(torch.randn(4, 3))
    assert len(monitor.records) == 3
    monitor.disable()
    net(torch.randn(4, 3))[0].sum().backward()
    assert len(monitor.records) == 3


def make_spiking_net(**kwargs):
    kwargs = {"beta": 0.9, "init_hidden": True} | kwargs
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 6),
        snn.Leaky(**kwargs),
        nn.Sequential(nn.Linear(6, 4), snn.Synaptic(alpha=0.8, **kwargs)),
    )


def test_recorder_sees_what_a_loop_sees():
    net, x = make_spiking_net(threshold=0.3), torch.rand(12, 5, 3)
    expected = {"1": [], "2.1": []}
    mem, syn = [], []
    with Recorder(net, states=("mem", "syn")) as recorder:
        for step in x:
            net(step)
            mem.append(net[1].mem.clone())
            syn.append(net[2][1].syn.clone())
    utils.reset(net)
    for step in x:
        expected["1"].append(net[1](net[0](step)))
        expected["2.1"].append(net[2](expected["1"][-1]))
    assert list(recorder.spikes) == ["1", "2.1"]
    for name, spikes in expected.items():
        assert torch.equal(recorder.spikes[name], torch.stack(spikes)) and recorder.spikes[name].sum() > 0
        assert not recorder.spikes[name].requires_grad
    assert list(recorder.states["mem"]) == ["1", "2.1"] and list(recorder.states["syn"]) == ["2.1"]
    assert torch.equal(recorder.states["mem"]["1"], torch.stack(mem))
    assert torch.equal(recorder.states["syn"]["2.1"], torch.stack(syn))


def test_recorder_and_unroll():
    net, x = make_spiking_net(threshold=0.3), torch.rand(12, 5, 3)
    records = []
    for run in (lambda: [net(step) for step in x], lambda: snn.unroll(net, x)):
        utils.reset(net)
        with Recorder(net) as recorder:
            run()
        records.append({**recorder.spikes, **{f"mem {k}": v for k, v in recorder.states["mem"].items()}})
    torch.testing.assert_close(records[0], records[1])
    assert records[0]["1"].shape == (12, 5, 6)


def test_recorder_gradients_are_those_of_the_spikes():
    net, x = make_spiking_net(), torch.rand(6, 5, 3)
    kept = []

    def keep(module, args, output):
        output.retain_grad()
        kept.append(output)

    with Recorder(net, gradients=True) as recorder, net[1].register_forward_hook(keep):
        loss = sum((t + 1) * net(step).sum() for t, step in enumerate(x))
    assert not recorder.gradients["1"].any()  # no backward pass yet
    loss.backward()
    assert torch.equal(recorder.gradients["1"], torch.stack([spikes.grad for spikes in kept]))
    assert torch.equal(recorder.gradients["2.1"], torch.arange(1.0, 7)[:, None, None].expand(6, 5, 4))
    assert recorder.gradients["1"].abs().sum() > 0
    with torch.no_grad(), Recorder(net, gradients=True) as recorder:
        net(x[0])
    assert recorder.gradients["1"].shape == (1, 5, 6) and not recorder.gradients["1"].any()


def test_recorder_with_states_passed_by_hand():
    lif, x, mem = snn.Leaky(beta=0.9), torch.rand(7, 5, 3), None
    mems = []
    with Recorder(lif) as recorder:
        for step in x:
            _, mem = lif(step, mem)
            mems.append(mem)
    assert torch.equal(recorder.states["mem"][""], torch.stack(mems))


class Sequence(nn.Module):
    """A neuron of the user's that takes a whole sequence in one call."""

    takes_sequence = True

    def forward(self, x):
        self.mem = x.cumsum(0)
        return torch.sigmoid(self.mem), self.mem


@pytest.mark.parametrize(
    "make",
    [
        Sequence,
        lambda: snn.StateLeaky(beta=4.0, channels=6),
        lambda: snn.LinearLeaky(beta=4.0, in_features=6, out_features=6),
        lambda: snn.LeakyParallel(6, 6),
        lambda: snn.AssociativeLeaky(6, d_value=2, d_key=3, num_spiking_neurons=6, use_q_projection=False),
    ],
)
def test_recorder_takes_whole_sequences(make):
    net, x = nn.Sequential(nn.Linear(3, 6), make()), torch.rand(12, 5, 3)
    with Recorder(net, states=(), gradients=True) as recorder:
        output = net(x)
    spikes = output[0] if isinstance(output, tuple) else output
    spikes.sum().backward()
    assert torch.equal(recorder.spikes["1"], spikes) and spikes.shape == (12, 5, 6)
    assert torch.equal(recorder.gradients["1"], torch.ones(12, 5, 6))


def test_recorder_joins_sequences_and_their_states():
    net, x = Sequence(), torch.rand(12, 5, 3)
    with Recorder(net) as recorder:
        parts = [net(part)[1] for part in x.split(5)]
    assert torch.equal(recorder.states["mem"][""], torch.cat(parts))


def test_recorder_feeds_the_overview():
    figure = pytest.importorskip("matplotlib.figure")
    net, x = make_spiking_net(), torch.rand(12, 5, 3)
    with Recorder(net) as recorder:
        snn.unroll(net, x)
    drawn = spikeplot.overview({"input": x, **recorder.spikes}, fig=figure.Figure(layout="constrained"))
    titles = [ax.get_title() for ax in drawn.axes]
    assert any("2.1" in title for title in titles)


def test_recorder_clear_end_and_choice_of_modules():
    net, x = make_spiking_net(), torch.rand(5, 3)
    with Recorder(net, instance=(snn.Leaky, nn.Linear)) as recorder:
        net(x)
        recorder.clear()
        assert recorder.spikes == {} and recorder.states == {"mem": {}}
        net(x)
    net(x)
    assert {name: len(spikes) for name, spikes in recorder.spikes.items()} == {"0": 1, "1": 1, "2.0": 1}
    assert list(recorder.states["mem"]) == ["1"]
    with pytest.raises(ValueError, match="net has no neuron to record: Linear"):
        Recorder(nn.Linear(2, 2))


@every_step_class
def test_recorder_on_every_neuron_in_a_loop_and_under_unroll(row):
    net = nn.Sequential(row.make(init_hidden=True, output=True))
    x = row.input(9, 4)
    outputs, states = [], {name: [] for name in row.states}
    for step in x:
        outputs.append(net(step)[0])
        for name, values in states.items():
            values.append(getattr(net[0], name).detach().clone())
    for run in (lambda: [net(step) for step in x], lambda: snn.unroll(net, x)):
        utils.reset(net)
        with Recorder(net, states=row.states) as recorder:
            run()
        torch.testing.assert_close(recorder.spikes, {"0": torch.stack(outputs).detach()})
        torch.testing.assert_close(
            recorder.states, {name: {"0": torch.stack(values)} for name, values in states.items()}
        )


@every_class
def test_every_neuron_feeds_the_summary_and_the_overview(row):
    figure = pytest.importorskip("matplotlib.figure")
    keeps = {} if row.takes_sequence else {"init_hidden": True, "output": False}
    net, x = nn.Sequential(row.make(**keeps)), row.input(9, 4)
    with Recorder(net) as recorder:
        net(x) if row.takes_sequence else snn.unroll(net, x)
    rate = utils.firing_rates(recorder.spikes)["0"]
    assert 0 <= rate.mean <= rate.max <= 1
    assert rate.total == pytest.approx((recorder.spikes["0"] != 0).sum().item() / x.shape[1])
    if x.dim() > 2:  # the overview needs neurons
        drawn = spikeplot.overview({"input": x > 0, **recorder.spikes}, fig=figure.Figure())
        assert any(ax.get_title().startswith("0:") for ax in drawn.axes)


def test_recorder_reads_the_membrane_of_neurons_that_take_sequences():
    x = torch.rand(12, 5, 6)
    neuron = snn.StateLeaky(beta=4.0, channels=6)
    with Recorder(neuron) as recorder:
        parts = [neuron(part) for part in x.split(7)]
    assert torch.equal(recorder.spikes[""], torch.cat([spk for spk, _ in parts]))
    assert torch.equal(recorder.states["mem"][""], torch.cat([mem for _, mem in parts]))
