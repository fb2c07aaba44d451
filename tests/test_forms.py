"""A net of one time step and one whose forward runs whole sequences are the same to every tool, by one flag."""

import pytest
import torch
from torch import nn

import snntorch as snn
from snntorch import backprop, functional
from snntorch._time.explain import paths
from snntorch.export_nir import export_to_nir
from snntorch.functional.probe import OutputMonitor, Recorder
from snntorch.metrics import summary

T, B = 6, 4


class Step(nn.Module):
    """One time step."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 3)
        self.lif = snn.Leaky(0.9, init_hidden=True, output=True, reset_mechanism="zero", reset_delay=False)

    def forward(self, x):
        return self.lif(self.fc(x))


class Whole(Step):
    """The loop over time; that it is one it says by the flag."""

    takes_sequence = True

    def forward(self, x):
        spk, mem = zip(*[super(Whole, self).forward(now) for now in x], strict=True)
        return torch.stack(spk), torch.stack(mem)


def summarised(net, x):
    found = summary(net, x)
    return [(row.name, row.shape, row.firing_rate, row.synops, row.membrane_updates) for row in found.layers]


def exported(net, x):
    graph = export_to_nir(net, x if net.takes_sequence else x[0])
    return {name: type(node).__name__ for name, node in graph.nodes.items()}, sorted(graph.edges)


def trained(train, **options):
    def run(net, x):
        batches = [(x, torch.arange(B) % 3)] * 2
        optimizer = torch.optim.SGD(net.parameters(), 0.5)
        loss = train(net, batches, optimizer, functional.ce_rate_loss(), **options)
        return [loss.detach(), *(p.detach() for p in net.parameters())]

    return run


def recorded(net, x):
    with Recorder(net) as recorder:
        snn.unroll(net, x)
    return recorder.spikes["lif"], recorder.states["mem"]["lif"]


def monitored(net, x):
    with OutputMonitor(net, snn.Leaky) as monitor:
        snn.unroll(net, x)
    return torch.stack([spk for spk, _ in monitor["lif"]])


TOOLS = {
    "explain": lambda net, x: {path.name for path in paths(net, x)} >= {"lif"},
    "summary": summarised,
    "nir": exported,
    "bptt": trained(backprop.BPTT),
    "tbptt": trained(backprop.TBPTT, K=4),
    "rtrl": trained(backprop.RTRL),
    "recorder": recorded,
    "monitor": monitored,
}


def both():
    step, whole = Step(), Whole()
    step.takes_sequence = False
    whole.load_state_dict(step.state_dict())
    return step, whole, 4 * torch.rand(T, B, 5)


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_take_both_forms(tool):
    torch.manual_seed(0)
    step, whole, x = both()
    expected, found = TOOLS[tool](step, x), TOOLS[tool](whole, x)
    if tool in ("explain", "summary", "nir"):
        assert found == expected
    else:
        torch.testing.assert_close(found, expected)


def test_explain_says_which_form_it_met():
    step, whole, x = both()
    assert [(path.name, path.path) for path in paths(step, x)] == [("fc", "folded"), ("lif", "fused cpu")]
    assert ("", "whole sequence") in [(path.name, path.path) for path in paths(whole, x)]


@pytest.mark.parametrize("tool", TOOLS)
def test_a_sequences_forward_that_is_stepped_by_mistake_is_told(tool):
    _, whole, x = both()
    whole.takes_sequence = False
    if tool == "nir":
        with pytest.raises(ValueError, match=r"called more than once.*takes_sequence = True"):
            TOOLS[tool](whole, x)
    else:
        with pytest.warns(UserWarning, match="takes the batch for time"):
            TOOLS[tool](whole, x)


def test_explain_says_what_a_loop_over_time_needs():
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.lif = nn.BatchNorm2d(2), snn.Leaky(beta=0.9)

        def forward(self, x):
            mem = self.lif.init_leaky()
            spikes = []
            for now in x:
                spk, mem = self.lif(self.norm(now), mem)
                spikes.append(spk)
            return torch.stack(spikes)

    x = torch.rand(4, 3, 2, 5, 5)
    with pytest.raises(ValueError, match=r"4D input .*\nexplain ran Loop as one time step.*snntorch.layerwise"):
        snn.explain(Loop(), x)
    snn.explain(snn.layerwise(Loop()), x)
    snn.explain(Loop(), x, run=lambda net, x: net(x))
