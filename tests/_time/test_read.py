"""What a reading tells of a network's call."""

import copy

import pytest
import torch
from torch import nn

import snntorch as snn
from snntorch._time.read import Ref, read


class Net(nn.Module):
    """A forward given by a function of the module and its input."""

    def __init__(self, function):
        super().__init__()
        self.function, self.fc, self.lif = function, nn.Linear(3, 3), snn.Leaky(0.9)
        self.register_buffer("seen", torch.zeros(2, 3))

    def forward(self, x, *further):
        return self.function(self, x, *further)


X = torch.rand(2, 3)


def names(reading, of=None):
    return [reading.calls[n].name for n in (reading.needed(of) if of else reading.calls)][1:]


def test_calls_tell_where_their_arguments_come_from():
    net = Net(lambda m, x, gain: (torch.relu(m.fc(x)) * gain.exp(), {"sum": x + x}))
    reading = read(net, X, [torch.tensor(2.0)])
    product, total = reading.output[0], reading.output[1]["sum"]
    assert names(reading) == ["linear", "relu", "mul", "add"]
    linear, relu, mul, add = list(reading.calls.values())[1:]
    assert linear.args[0] == Ref(1, 0) and linear.args[1] is net.fc.weight and linear.owner is net.fc
    assert reading.calls[mul.args[0].call] is relu
    torch.testing.assert_close(mul.args[1], torch.tensor(2.0).exp())  # what is constant is computed
    assert add.args == (Ref(1, 0), Ref(1, 0)) and reading.meta(total).shape == (2, 3)
    assert names(reading, total) == ["add"] and names(reading, product) == ["linear", "relu", "mul"]
    assert reading.where(linear) == "linear in 'fc'" and reading.where(relu) == "relu"


def test_modules_as_a_whole_and_the_states_of_neurons():
    net = Net(lambda m, x: m.lif(m.fc(x), m.lif.init_leaky()))
    values = []
    reading = read(net, X, whole=lambda m: isinstance(m, nn.Linear), watch=lambda call, outs: values.append(outs))
    fc, lif = list(reading.calls.values())[1:]
    assert (fc.module, lif.module, lif.states) == (net.fc, net.lif, {"mem": 1})
    spk, mem = reading.output
    assert (spk.out, mem.out) == (0, 1)
    torch.testing.assert_close(values[1], list(net.lif(net.fc(X), net.lif.init_leaky())))


def written(m, x):
    h = m.fc(x)
    h.view(-1)[0] += 1
    return h


def kept(m, x):
    m.seen.mul_(0.9).add_(m.fc(x))
    return m.seen * 2


@pytest.mark.parametrize("function", [written, kept])
def test_what_is_written_in_place_is_seen_by_who_reads_it(function):
    net = Net(function)
    reading = read(net, X)
    assert len(reading.needed(reading.output)) > 3 and names(reading, reading.output)[0] == "linear"
    assert not net.seen.any()


def test_a_layer_that_needs_values_is_a_call():
    class Counts(nn.Module):
        def forward(self, x):
            return x * x.sum().item()

    reading = read(nn.Sequential(Counts(), nn.Identity()), X, whole=lambda m: isinstance(m, Counts))
    assert names(reading) == ["Counts"] and reading.output == Ref(2, 0)


@pytest.mark.parametrize(
    "function", [lambda m, x: m.fc(x).sum().item(), lambda m, x: x if (m.fc(x) > 0).any() else 2 * x]
)
def test_a_value_that_is_read_is_an_error_that_says_where(function):
    net = Net(lambda m, x: function(m, x)).train()
    before = copy.deepcopy(net)
    with pytest.raises(NotImplementedError, match=r"(item|bool) reads a value that depends on the sample"):
        read(net, X)
    assert net.training and net.fc.training
    for old, new in zip(before.buffers(), net.buffers(), strict=True):
        assert torch.equal(old, new)


def test_a_reading_keeps_no_values():
    shapes = []
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    reading = read(net, X, watch=lambda call, outs: shapes.append(tuple(outs[0].shape)))
    assert shapes == [(2, 4), (2, 4), (2, 2)]
    held = [a for call in reading.calls.values() for a in call.args if isinstance(a, torch.Tensor)]
    assert {id(t) for t in held} == {id(p) for p in net.parameters()}
