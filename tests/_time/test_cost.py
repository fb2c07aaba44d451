"""What a recorded forward runs is what one would fold by hand: operators, nodes of the graph and bytes are counted."""

import copy
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile
from zoo import B, T, Tutorial

import snntorch as snn
from snntorch._time import at_once


class FullyConnected(Tutorial):
    """The fifth tutorial's net."""

    def by_hand(self, x):
        spk1, _ = snn.unroll(self.lif1, self.fc1(x), num_steps=T)
        return snn.unroll(self.lif2, self.fc2(spk1))


class Convolutional(nn.Module):
    """The sixth tutorial's net."""

    def __init__(self):
        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(1, 3, 3), snn.Leaky(beta=0.9)
        self.conv2, self.lif2 = nn.Conv2d(3, 3, 2), snn.Leaky(beta=0.9)  # more channels are pooled in another order
        self.fc1, self.lif3 = nn.Linear(3, 5), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        spk_rec, mem_rec = [], []
        for _ in range(T):
            spk1, mem1 = self.lif1(F.max_pool2d(self.conv1(x), 2), mem1)
            spk2, mem2 = self.lif2(F.max_pool2d(self.conv2(spk1), 2), mem2)
            spk3, mem3 = self.lif3(self.fc1(spk2.view(x.size(0), -1)), mem3)
            spk_rec.append(spk3)
            mem_rec.append(mem3)
        return torch.stack(spk_rec), torch.stack(mem_rec)

    def by_hand(self, x):
        spk1, _ = snn.unroll(self.lif1, F.max_pool2d(self.conv1(x), 2), num_steps=T)
        spk2, _ = snn.unroll(self.lif2, F.max_pool2d(self.conv2(spk1.flatten(0, 1)), 2).unflatten(0, (T, -1)))
        return snn.unroll(self.lif3, self.fc1(spk2.view(T, x.size(0), -1)))


class Indexed(FullyConnected):
    """An input that changes, and a readout that is averaged."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        mem_rec = []
        for t in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[t]), mem1)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            mem_rec.append(mem2)
        return (torch.stack(mem_rec).mean(0),)

    def by_hand(self, x):
        spk1, _ = snn.unroll(self.lif1, self.fc1(x))
        return (snn.unroll(self.lif2, self.fc2(spk1))[1].mean(0),)


VIEWS = {  # and what does no work: `to` copies by `_to_copy`
    "view", "_unsafe_view", "reshape", "flatten", "unflatten", "expand", "select", "transpose", "t", "as_strided",
    "unsqueeze", "permute", "alias", "detach", "narrow", "slice", "movedim", "to", "empty_strided",
}  # fmt: skip
NETS = {
    "fully connected": (FullyConnected, (B, 5)),
    "convolutional": (Convolutional, (B, 1, 8, 8)),
    "indexed": (Indexed, (T, B, 5)),
}


def operators(run):
    """The operators that a function calls, but for views, with how often."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        result = run()
    names = {e.key.removeprefix("aten::"): e.count for e in profiled.key_averages() if e.key.startswith("aten::")}
    return {name: count for name, count in names.items() if name not in VIEWS}, result


def nodes(outputs):
    """The names of the nodes of a graph, but for views'."""
    seen, todo = set(), [t.grad_fn for t in outputs]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [before for before, _ in node.next_functions]
    views = {name.replace("_", "") for name in VIEWS}
    # how our max pooling, which keeps no input, calls itself
    names = [node.name().replace("_MaxPoolBackward", "MaxPool2DWithIndices").split("Backward")[0] for node in seen]
    return sorted(name for name in names if name.lower() not in views)


def kept(run):
    """The bytes that a function keeps for the backward pass."""
    memories = {}

    def pack(tensor):
        memory = tensor.untyped_storage()
        memories[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = run()
    return sum(memories.values()), out


class Losses(FullyConnected):
    """Losses of every step, summed as the fifth tutorial does, within what is recorded."""

    def forward(self, x):
        y, total = torch.arange(len(x)), torch.zeros(1)
        for trace in super().forward(x):
            for t in range(T):
                total += F.cross_entropy(trace[t], y)
        return total


def test_losses_of_every_step_are_one_call():
    counted = nodes([snn.layerwise(Losses())(torch.rand(B, 5))])
    assert counted.count("LogSoftmax") == 1
    assert counted.count("Add") == 2 * T  # the sum is the loop's own, into a tensor that was there


@pytest.mark.parametrize("name", NETS)
def test_it_costs_what_it_costs_by_hand(name):
    make, shape = NETS[name]
    torch.manual_seed(0)
    net, x = make(), torch.rand(shape)
    fast = snn.layerwise(net)
    ways = {"layerwise": lambda: fast(x), "by hand": lambda: (snn.utils.reset(net), net.by_hand(x))[1]}
    counted = {}
    for way, run in ways.items():
        run()[0].sum().backward()  # kernels, gradients and states of training are there
        forward, out = operators(run)
        backward, _ = operators(lambda out=out: sum(t.sum() for t in out).backward())
        counted[way] = {"forward": forward, "backward": backward, "nodes": nodes(out), "bytes": kept(run)[0]}
    for what in "forward", "backward":
        ours, allowed = counted["layerwise"][what], Counter(counted["by hand"][what])
        if name == "convolutional":  # maxima are kept as places in their windows
            allowed.update({"_to_copy": 2, "copy_": 2, "sub_": 2, "add_": 2})
            allowed.update({"arange": 4, "resize_": 4, "mul": 4, "sub": 4, "add": 2, "empty": 2})  # of one plane
        if name != "indexed" and what == "backward":  # computes the first neurons again, in memory for that
            allowed.update({"empty": 1, "unbind": 1})
        more = {n: c - allowed[n] for n, c in ours.items() if c > allowed[n]}
        assert not more, what
    assert counted["layerwise"]["nodes"] == counted["by hand"]["nodes"]
    assert 0 < counted["layerwise"]["bytes"] <= counted["by hand"]["bytes"]


def test_a_recurrent_neuron_between_whose_steps_something_stands_is_as_deep_as_in_the_loop():
    """Each step is the single one, not a sequence of one."""

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rlif, self.norm = snn.RLeaky(0.9, linear_features=5), nn.LayerNorm(5)

        def forward(self, x):
            spk, mem = torch.zeros_like(x[0]), torch.zeros_like(x[0])
            for now in x:
                spk, mem = self.rlif(now, spk, mem)
                mem = self.norm(mem)
            return [mem]

    net, x = Normed(), torch.rand(T, B, 5)
    ways = [nodes(way(x)) for way in (net, snn.layerwise(net))]
    for name in set(ways[0]) - {"AccumulateGrad"}:
        assert ways[1].count(name) <= ways[0].count(name), name
    assert "Feedback" not in ways[1]


def test_places_in_the_code_are_looked_for_at_the_first_steps_only(monkeypatch):
    from snntorch._time import modules, record, sites

    looked = []
    for user in (modules, record):
        monkeypatch.setattr(user, "site", lambda: looked.append(1) or sites.site())
    net, counts = snn.layerwise(Indexed()), []
    for steps in (5, 5, 50):  # at the first time neurons have no states yet
        net(torch.rand(steps, B, 5))
        counts.append(len(looked))
        looked.clear()
    assert 0 < counts[1] == counts[2]


def test_a_neuron_whose_states_are_there_asks_the_recorder_for_nothing_else(monkeypatch):
    from snntorch._time import record

    asked, recorder = [], record.FunctionRecorder
    tell = recorder.__torch_function__

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.leaky = snn.Leaky(0.9, init_hidden=True)
            self.synaptic = snn.Synaptic(0.8, 0.9, init_hidden=True, output=True)

        def forward(self, x):
            return self.synaptic(self.leaky(x))

    net, x = Two(), torch.rand(T, B, 5)
    snn.unroll(net, x)  # from now on the neurons keep states of this shape
    at_once.tell(net, fits=False)  # so that it is recorded again
    loop = copy.deepcopy(net)
    with monkeypatch.context() as patch:
        patch.setattr(recorder, "__torch_function__", lambda s, f, *rest: asked.append(f) or tell(s, f, *rest))
        found = snn.unroll(net, x)
    assert [f.__name__ for f in asked] == ["__get__", "__getitem__"]  # the sequence's shape, and its first step
    for k, outputs in enumerate(zip(*[loop(now) for now in x], strict=True)):
        torch.testing.assert_close(found[k], torch.stack(outputs))
    torch.testing.assert_close(net.leaky.mem, loop.leaky.mem)


class Irregular(nn.Module):
    """Calls that come in another order at some steps, and a layer that changes between them."""

    def __init__(self):
        super().__init__()
        self.fc1, self.act, self.fc2, self.lif = nn.Linear(5, 5), nn.LeakyReLU(0.1), nn.Linear(5, 5), snn.Leaky(0.9)

    def forward(self, x):
        self.act.negative_slope, self.act.note = 0.1, "a"
        mem, out = self.lif.init_leaky(), []
        for t, now in enumerate(x.unbind()):
            if t % 3 == 1:
                now = self.act(self.fc2(now)) + 0.5
            now = self.act(self.fc1(now))
            if t % 4 < 2:
                now = torch.relu(self.fc2(now)) * (t % 2 + 1)
            if t > 8:
                self.act.negative_slope = 0.1 * t
            if t == 5:
                del self.act.note
                self.act.another = "b"
            if t == 12:
                self.act.forward = torch.tanh
            spk, mem = self.lif(now, mem)
            out += [spk, mem]
        del self.act.another, self.act.forward
        return torch.stack(out)


def test_calls_in_another_order_are_told_apart():
    net, x = Irregular().double(), torch.rand(17, B, 5, dtype=torch.float64)
    found = []
    for run in (net, snn.layerwise(net)):
        net.zero_grad()
        out = run(x)
        out.square().sum().backward()
        found.append([out.detach(), *[p.grad for p in net.parameters() if p.grad is not None]])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-10, rtol=0)
