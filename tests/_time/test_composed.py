"""Networks that are put together at random: the loop, `unroll` and `layerwise` give the same."""

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_zoo import assert_same, over_time, results, stacked
from torch import nn

import snntorch as snn

T, B, N = 5, 2, 4
F64 = torch.float64


class Layer(nn.Module):
    """A layer without a memory, by its number."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.fc = kind, nn.Linear(N, N)

    def forward(self, x):
        made = self.fc(x)
        if self.kind == "attend":
            return (made.unsqueeze(2) @ x.unsqueeze(1)).softmax(-1).sum(1) * x
        if self.kind == "concatenate":
            return torch.cat([made, x], dim=1).unflatten(1, (2, N)).transpose(1, 2).flatten(1)[:, 1 : N + 1]
        if self.kind == "write":
            made[:, 1] = x[:, 0]
            made += 0.5
        return made


class Part(nn.Module):
    """A layer, then a neuron, with what leads past or back to them."""

    def __init__(self, kind, neuron, way):
        super().__init__()
        self.layer, self.lif, self.way = Layer(kind), neuron, way
        self.branch = nn.Linear(N, N)

    def forward(self, x):
        if self.way == "feedback":  # what the neuron holds of the step before
            mem = self.lif.mem
            x = x + 0.3 * mem if mem.shape == x.shape else x
        out = self.lif(self.layer(x))
        if self.way == "residual":
            return out + x
        if self.way == "branch":
            return out * torch.tanh(self.branch(x))
        return self.lif(self.branch(out)) if self.way == "again" else out


class Net(nn.Module):
    """Parts in a row; the first one's neuron may serve others."""

    def __init__(self, parts):
        super().__init__()
        torch.manual_seed(len(parts))
        made = {
            "leaky": lambda: snn.Leaky(0.8, init_hidden=True, learn_beta=True),
            "synaptic": lambda: snn.Synaptic(0.7, 0.8, init_hidden=True, reset_mechanism="zero"),
            "recurrent": lambda: snn.RLeaky(0.8, linear_features=N, init_hidden=True),
        }
        neurons = []
        for _, kind, _ in parts:
            neurons.append(neurons[0] if kind == "shared" and neurons else made.get(kind, made["leaky"])())
        layers = [Part(kind, neuron, way) for (kind, _, way), neuron in zip(parts, neurons, strict=True)]
        self.parts = nn.ModuleList(layers)
        self.double()
        with torch.no_grad():
            for p in self.parameters():
                if p.dim() > 1:
                    p.mul_(2.5)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x, self.parts[-1].lif.mem


PARTS = st.tuples(
    st.sampled_from(["plain", "attend", "concatenate", "write"]),
    st.sampled_from(["leaky", "synaptic", "recurrent", "shared"]),
    st.sampled_from(["row", "residual", "branch", "feedback", "again"]),
)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(st.lists(PARTS, min_size=1, max_size=3), st.booleans())
def test_composed_networks(parts, late):
    net, x = Net(parts), torch.rand(T, B, N, dtype=F64) * 2

    def loop(net, x):
        outs = []
        for now in x:
            out = net(now)
            outs.append(out)
            if late:  # a step between the steps
                net.parts[0].lif.detach_mem() if len(outs) == 2 else None
        return stacked(outs)

    others = [copy.deepcopy(net) for _ in range(3)]
    with snn.backend("eager"):
        want, plain = results(net, loop, x), results(others[0], over_time, x)
    assert_same(results(others[1], snn.layerwise(loop), x), want)
    assert_same(results(others[2], lambda net, x: snn.unroll(net, x), x), plain)
