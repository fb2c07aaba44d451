"""A network from NIR, and what else is a graph of layers and sums, runs over time without being recorded."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import fx, nn

import snntorch as snn
from snntorch._nir.importing import Node
from snntorch._nir.network import wired
from snntorch._time.modules import Recorder

T, B = 9, 2


def network(edges, **modules):
    """As it is imported."""
    values = {"shape": np.array([3])}
    nodes = {"input": Node("input", "Input", values, {}, 1e-4), "output": Node("output", "Output", values, {}, 1e-4)}
    nodes |= {name: Node(name, "LIF", {"v_threshold": np.ones(3)}, {}, 1e-4) for name in modules}
    return wired(nodes, edges, modules)


def lif(kind=snn.Leaky, **settings):
    return kind(beta=0.8, init_hidden=True, **settings)


CHAIN = [("input", "fc"), ("fc", "lif"), ("lif", "out"), ("out", "last"), ("last", "output")]
SKIP = [*CHAIN, ("input", "lif"), ("lif", "last")]
LOOP = [*CHAIN, ("last", "fc")]


def made(edges=SKIP):
    torch.manual_seed(0)
    layers = {"fc": nn.Linear(3, 3), "lif": snn.Synaptic(0.7, 0.8, init_hidden=True), "out": nn.Linear(3, 3)}
    net = network(edges, **layers, last=lif(reset_mechanism="zero")).double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(4.0 if p.dim() else 1.0)
    return net


def recompiled(net):
    """Its graph edited: what the first layer gives is added twice."""
    node = next(n for n in net.graph.nodes if n.target == "fc")
    with net.graph.inserting_after(node):
        twice = net.graph.call_function(torch.add, (node, node))
    node.replace_all_uses_with(twice, lambda user: user is not twice)
    net.recompile()
    return net


def not_compiled(net):
    """Its graph edited, its code not: that is what runs."""
    node = next(n for n in net.graph.nodes if n.target == "out")
    node.args = (next(n for n in net.graph.nodes if n.target == "fc"),)
    return net


def replaced(net):
    net.out = nn.Sequential(nn.Linear(3, 3), nn.ReLU()).double()
    return net


def by_another_neuron(net):
    net.lif = snn.Leaky(beta=0.5, init_hidden=True).double()
    return net


def hooked(net):
    net.fc.register_forward_hook(lambda module, given, out: 2 * out)
    return net


def watched(net):
    net.last.register_full_backward_hook(lambda module, given, got: tuple(g / 2 for g in given))
    return net


def own_forward(net):
    forward = net.forward
    net.forward = lambda x, state=None: tuple(reversed(forward(x, state)))
    return net


def trained(net):
    net.out = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).double()
    return net


def traced(net):
    """A user's own graph."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif, self.out, self.last = net.fc, net.lif, net.out, net.last

        def forward(self, x):
            first = self.lif(self.fc(x))
            return first, self.last(self.out(first) + x)

    class Tracer(fx.Tracer):
        def is_leaf_module(self, module, name):
            return True

    return fx.GraphModule(own := Net(), Tracer().trace(own))


def twice(net):
    """One neuron under two names."""
    net.lif = net.last
    return net


CASES = {  # and whether it runs without a record
    "chain": (lambda: made(CHAIN), True),
    "sums": (made, True),
    "copied": (lambda: copy.deepcopy(made()), True),
    "pickled": (lambda: pickle.loads(pickle.dumps(made())), True),
    "graph edited": (lambda: recompiled(made()), True),
    "graph edited after a run": (lambda: recompiled(ran(made())), True),
    "graph edited, not compiled": (lambda: not_compiled(made()), False),
    "graph edited after a run, not compiled": (lambda: not_compiled(ran(made())), True),
    "traced": (lambda: traced(made()), True),
    "loop": (lambda: made(LOOP), False),
    "another layer": (lambda: replaced(made()), False),
    "another neuron": (lambda: by_another_neuron(made()), False),
    "hook": (lambda: hooked(made()), False),
    "backward hook": (lambda: watched(made()), False),
    "another forward": (lambda: own_forward(made()), False),
    "norm in training": (lambda: trained(made()), False),
    "one neuron twice": (lambda: twice(made()), False),
}


def ran(net):
    snn.unroll(net, inputs())
    snn.utils.reset(net)
    return net


def inputs():
    return 2 * torch.rand(T, B, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def loop(net, x, *states):
    """What `unroll` means."""
    outs = []
    with snn.backend("eager"):
        for now in x:
            outs.append(net(now, *states))
            states = outs[-1][-1:] if states else ()
    return stacked(outs)


def stacked(outs):
    first = outs[0]
    if isinstance(first, dict):
        return {key: stacked([out[key] for out in outs]) for key in first}
    if isinstance(first, tuple | list):
        return type(first)(stacked(column) for column in zip(*outs, strict=True))
    return torch.stack(outs) if isinstance(first, torch.Tensor) else first


def tensors(value):
    if isinstance(value, dict):
        return [t for key in value for t in tensors(value[key])]
    if isinstance(value, tuple | list):
        return [t for v in value for t in tensors(v)]
    return [value] if isinstance(value, torch.Tensor) else []


@pytest.fixture
def recorded(monkeypatch):
    runs = []
    run = Recorder.run
    monkeypatch.setattr(Recorder, "run", lambda self, *call: (runs.append(call), run(self, *call))[1])
    return runs


@pytest.mark.parametrize("name", CASES)
def test_a_graph_over_time_is_the_loop(name, recorded):
    make, known = CASES[name]
    found = []
    for way in (loop, snn.unroll):
        torch.manual_seed(3)
        net, x = make(), inputs().requires_grad_()
        recorded.clear()
        halves = [way(net, part) for part in (x[:4], x[4:])]
        out = tensors(halves)
        gradients = torch.autograd.grad(sum((t.sin()).sum() for t in out), [x, *net.parameters()], allow_unused=True)
        found.append((halves, out, gradients, snn.utils.get_states(net)))
    assert bool(recorded) != known
    (want, *_), (got, *_) = found
    assert str(type(want)) == str(type(got))
    for a, b in zip(found[0][1:3], found[1][1:3], strict=True):
        assert len(a) == len(b) > 1
        for k, (p, q) in enumerate(zip(a, b, strict=True)):
            if p is None:
                assert q is None or not q.any(), k
            else:
                torch.testing.assert_close(q, p, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[1][3], found[0][3], rtol=1e-12, atol=1e-12)
    assert found[0][1][0].any()


@pytest.mark.parametrize("batch", [(B,), ()])
def test_states_go_in_by_name_and_come_out_at_every_step(batch, recorded):
    net, x = made(), inputs() if batch else inputs()[:, 0]
    given = {"lif": tuple(torch.full((*batch, 3), v, dtype=torch.float64) for v in (0.3, 0.6))}  # the other's are zero
    want = loop(net, x, given)
    net.last.mem = torch.ones_like(net.last.mem)  # does not matter
    got = snn.unroll(net, x, given)
    assert not recorded and list(got[1]) == list(want[1]) == ["lif", "last"]
    for a, b in zip(tensors(got), tensors(want), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="state names other"):
        snn.unroll(net, x, {"other": ()})


def test_what_is_not_one_step_of_a_sequence_is_as_before(recorded):
    """A static input, and samples that end."""
    net, x = made(), inputs()
    want = loop(net, x[:1].expand(T, B, 3))[0]
    snn.utils.reset(net)
    torch.testing.assert_close(snn.unroll(net, x[0], num_steps=T)[0], want)
    snn.utils.reset(net)
    want = snn.unroll(net, x[:, 1:])[0]
    snn.utils.reset(net)
    got = snn.unroll(net, x, lengths=[3, T])[0]
    torch.testing.assert_close(got[:, 1:], want)
    assert not got[3:, 0].any()
