"""Of steps that are alike the last recorded one stands for all others; where they may differ, each is recorded."""

import operator
import random
from collections import deque

import pytest
import torch
from test_zoo import assert_same, leaves, loop, results
from torch import nn
from zoo import STEPS, B

import snntorch as snn
from snntorch._time.modules import Recorder

T = 12
GLOBAL = {"steps": 0}


class Net(nn.Module):
    """One step; the forwards below make of it what they do."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 6), snn.Leaky(beta=0.9, init_hidden=True)
        self.out, self.last = nn.Linear(6, 3), snn.Leaky(beta=0.8, init_hidden=True)

    def step(self, x, gain=1.0):
        return self.last(self.out(self.lif(self.fc(x)) * gain))

    forward = step


def gain_at(step):
    return 0.5 if step > T // 2 else 1.5


class Plain(Net):
    def forward(self, x):
        for _ in range(2):
            x = x + 0.1
        return self.step(x, gain_at(3))


class Helped(Net):
    """Functions, a bound method, a lambda, closures, a constant."""

    def __init__(self):
        super().__init__()
        self.scale, self.how, self.sizes = lambda x: x * 1.5, self.step, [6, 3]

    def forward(self, x):
        def shifted(x):
            return x + len(self.sizes) / 10

        return torch.relu(self.how(self.scale(shifted(x)), gain=sum(v for v in (0.5, 0.7))))


class OwnState(Net):
    """Keeps the last spikes as an attribute, and in a list that it makes anew."""

    def forward(self, x):
        last = getattr(self, "previous", [None])[0]
        self.previous = [self.step(x if last is None else x + last.sum(-1, keepdim=True))]
        return self.previous[0]


class Stats(Net):
    """Its states go in and out beside what is in hidden ones."""

    def __init__(self):
        super().__init__()
        self.mean = snn.Leaky(beta=0.7)

    def forward(self, x, mem=None):
        spk, mem = self.mean(x, mem) if mem is not None else self.mean(x)
        return self.step(spk), mem


class ReadsMembranes(Net):
    """Every step's, and none at the first one."""

    first = True

    def forward(self, x):
        spk = self.lif(self.fc(x))
        mem, self.first = torch.zeros_like(spk) if self.first else self.lif.mem, False
        return self.last(self.out(spk + mem.tanh())), mem


class GivesTheLast(Net):
    """What the step before gave, and zeros at first."""

    def forward(self, x):
        last, self.previous = getattr(self, "previous", torch.zeros(B, 3, dtype=torch.float64)), self.step(x)
        return last


class Keeps(Net):
    """Lists in a tuple."""

    def forward(self, x):
        spk = self.step(x)
        self.kept = spk, [x, self.lif.mem]
        return spk


class KeepsTheLast(Net):
    """A step's and the one's before."""

    def forward(self, x):
        spk = self.step(x)
        self.kept, self.previous = (spk, [getattr(self, "previous", spk)]), spk
        return spk


class SharesItsNeuron(Net):
    def forward(self, x):
        for _ in range(2):
            x = self.lif(self.fc(x)[:, :4])
        return x, x[:, 1]


class Sorts(Net):
    """A function of several outputs, and a stack of what is called."""

    def forward(self, x):
        return self.step(x.sort(-1).values), torch.stack([x, x.cumsum(-1)])


ALIKE = [
    Plain, Helped, OwnState, ReadsMembranes, GivesTheLast, Keeps, KeepsTheLast, SharesItsNeuron, Sorts,
]  # fmt: skip


class Scales(Net):
    """By what is new at each step, and in every step the same."""

    def __init__(self):
        super().__init__()
        self.lif.output = True
        self.register_buffer("scale", torch.rand(6))

    def forward(self, x):
        fresh = torch.zeros_like(x) + self.fc.weight[0]
        spk, mem = self.lif(self.fc(x + fresh.tanh()) * self.scale)
        return self.last(self.out(spk + mem.tanh())), {"last": (mem, self.scale)}


class Feeds(Net):
    """Spikes back within the neuron, which keeps them as a state."""

    def __init__(self):
        super().__init__()
        self.lif = snn.RLeaky(0.9, linear_features=6, init_hidden=True)


ONCE = [Plain, Sorts, Scales, Feeds]  # of which one step tells all


class Resets(Net):
    """What the step before left, so that each begins anew."""

    def forward(self, x):
        self.lif.reset_mem()
        return self.step(x)


class ResetsAfterwards(Net):
    def forward(self, x):
        out = self.step(x)
        snn.utils.reset(self)
        return out


class StartsAnew(Net):
    """With states of its own in a neuron that keeps none."""

    def __init__(self):
        super().__init__()
        self.lif = snn.Leaky(beta=0.9)

    def forward(self, x):
        spk, mem = self.lif(self.fc(x), self.lif.init_leaky())
        return self.last(self.out(spk + mem.tanh()))


class Detaches(Net):
    def forward(self, x):
        out = self.step(x)
        self.last.detach_mem()
        return out


class ReadsByAName(Net):
    """A state that is empty at first."""

    def forward(self, x):
        return self.step(x, 0.5 if operator.attrgetter("m" + "em")(self.lif).dim() == 1 else 1.5)


class ReadsAttributes(Net):
    def forward(self, x):
        return self.step(x, 0.5 if self.lif.__dict__["mem"].dim() == 1 else 1.5)


class WritesAState(Net):
    """The spikes of a neuron that keeps them."""

    def __init__(self):
        super().__init__()
        self.lif = snn.RLeaky(0.9, V=0.3, all_to_all=False, init_hidden=True)

    def forward(self, x):
        return self.last(self.out(self.lif(self.fc(x)).mul_(0.5)))


class Swaps(Net):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(4, 6)

    def forward(self, x):
        self.fc, self.other = self.other, self.fc
        return self.step(x)


class Decays(Net):
    """A buffer after it was read, or before."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(6))

    def forward(self, x):
        out = self.last(self.out(self.lif(self.fc(x)) + self.scale))
        self.scale.mul_(0.9)
        return out


class Turns(Net):
    """Its modules to evaluation and back."""

    def forward(self, x):
        self.train(not self.training)
        return self.step(x, 0.5 if self.training else 1.5)


MORE = [
    Resets, ResetsAfterwards, StartsAnew, Detaches, ReadsByAName, ReadsAttributes, WritesAState, Swaps, Decays, Turns,
]  # fmt: skip


class Counts(Net):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, x):
        self.steps += 1
        return self.step(x, gain_at(self.steps))


class CountsInBuffer(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        self.steps += 1
        return self.step(x, gain_at(self.steps))


class CountsInList(Net):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(1)
        return self.step(x, gain_at(len(self.seen)))


class CountsInClass(Net):
    steps = 0

    def forward(self, x):
        type(self).steps = type(self).steps % T + 1
        return self.step(x, gain_at(type(self).steps))


class CountsInClassList(Net):
    seen: list = []  # noqa: RUF012

    def forward(self, x):
        self.seen.append(1)
        return self.step(x, gain_at(len(self.seen) % T))


class CountsGlobally(Net):
    def forward(self, x):
        GLOBAL["steps"] = GLOBAL["steps"] % T + 1
        return self.step(x, gain_at(GLOBAL["steps"]))


def counter():
    steps = 0

    def count():
        nonlocal steps
        steps = steps % T + 1
        return steps

    return count


class CountsInClosure(Net):
    def __init__(self):
        super().__init__()
        self.count = counter()

    def forward(self, x):
        return self.step(x, gain_at(self.count()))


class CountsInProperty(Counts):
    @property
    def gain(self):
        GLOBAL["steps"] = GLOBAL["steps"] % T + 1
        return gain_at(GLOBAL["steps"])

    def forward(self, x):
        return self.step(x, self.gain)


class Takes(Net):
    """An object that changes as it is used."""

    def __init__(self):
        super().__init__()
        self.gains = deque(gain_at(t) for t in range(T + 1))

    def forward(self, x):
        return self.step(x, self.gains.popleft())


class TakesByMethod(Net):
    """By a method of a container of Python's, which is built in."""

    def __init__(self):
        super().__init__()
        self.next_gain = deque(gain_at(t) for t in range(T + 1)).popleft

    def forward(self, x):
        return self.step(x, self.next_gain())


class Ages(Net):
    """A helper that isn't a module."""

    class Clock:
        time = 0

        def tick(self):
            self.time += 1
            return self.time

    def __init__(self):
        super().__init__()
        self.clock = self.Clock()

    def forward(self, x):
        return self.step(x, gain_at(self.clock.tick()))


class Draws(Net):
    """From Python's generator."""

    def forward(self, x):
        return self.step(x, 0.5 if random.random() < 0.5 else 1.5)


class DrawsATensor(Net):
    """And reads it."""

    def forward(self, x):
        return self.step(x, 0.5 if torch.rand(()).item() < 0.3 else 1.5)


class Looks(Net):
    """At a value of its input."""

    def forward(self, x):
        return self.step(x, 0.5 if x.sum() < 14 else 1.5)


class ByName(Net):
    """Calls what it finds by a name that it makes."""

    def step_of_time(self, x):
        GLOBAL["steps"] = GLOBAL["steps"] % T + 1
        return self.step(x, gain_at(GLOBAL["steps"]))

    def forward(self, x):
        return getattr(self, "_".join(["step", "of", "time"]))(x)


class SetsAnother(Net):
    """Counts in a module that it holds."""

    def forward(self, x):
        self.fc.steps = getattr(self.fc, "steps", 0) + 1
        return self.step(x, gain_at(self.fc.steps))


def count_in(module):
    module.steps = getattr(module, "steps", 0) + 1
    return module.steps


class CountsByAHelper(Net):
    """A function that sets an attribute of what it is given."""

    def forward(self, x):
        return self.step(x, gain_at(count_in(self.fc.weight)))


class Delayed(Net):
    """The spikes of two steps before."""

    def forward(self, x):
        older, self.older = getattr(self, "older", 0), getattr(self, "newer", 0)
        self.newer = self.step(x)
        return self.newer + older


DIFFER = [
    Counts, CountsInBuffer, CountsInList, CountsInClass, CountsInClassList, CountsGlobally, CountsInClosure,
    CountsInProperty, Takes, TakesByMethod, Ages, Draws, DrawsATensor, Looks, ByName, SetsAnother, CountsByAHelper,
    Delayed,
]  # fmt: skip


def made(kind):
    torch.manual_seed(0)
    net = kind().double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3.0)
    return net, 2 * torch.rand(T, B, 4, dtype=torch.float64)


@pytest.fixture
def recorded(monkeypatch):
    """How often each module was called while its calls were recorded."""
    calls = {}
    module = Recorder.module

    def count(self, call, called, args, kwargs):
        calls[called] = calls.get(called, 0) + 1
        return module(self, call, called, args, kwargs)

    monkeypatch.setattr(Recorder, "module", count)
    return calls


@pytest.mark.parametrize("kind", ALIKE + ONCE[2:] + MORE + DIFFER)
def test_steps_are_those_of_the_loop(kind, recorded):
    found = []
    for call in (loop, lambda net, x: snn.unroll(net, x)):
        random.seed(3)
        GLOBAL["steps"] = CountsInClass.steps = 0
        net, x = made(kind)
        torch.manual_seed(5)
        found.append(results(net, call, x))
    assert_same(found[1], found[0])
    assert any(t.any() for t in leaves(found[0][0]))
    if kind in ONCE:
        assert recorded[net] == 1
    elif kind in ALIKE:
        assert 1 < recorded[net] < 4
    elif kind in MORE:
        assert recorded[net] > 1
    else:
        assert recorded[net] in (T, *range(6, T)) or kind is Looks


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("kind", ALIKE)
def test_twice_within_what_is_recorded(kind, static):
    """The same input again goes on from the states that are there, of whose steps one stood for many."""
    steps = {"num_steps": T} if static else {}

    def forward(net, x, call):
        out = call(net, x), net.lif.mem * 1.5
        return out, call(net, x), torch.stack([net.lif.mem, out[1]])

    def unrolled(net, x):
        return snn.layerwise(lambda x: forward(net, x, lambda net, x: snn.unroll(net, x, **steps)))(x)

    def looped(net, x):
        return forward(net, x, lambda net, x: loop(net, x.expand(T, *x.shape) if static else x))

    found = []
    for call in (looped, unrolled):
        net, x = made(kind)
        found.append(results(net, call, x[0] if static else x))
    assert_same(found[1], found[0])


def test_a_loop_counts_every_step():
    """What is counted is there afterwards."""
    for kind, count in ((Counts, lambda n: n.steps), (CountsInList, lambda n: len(n.seen))):
        net, x = made(kind)
        snn.unroll(net, x)
        assert count(net) == T


def test_states_that_go_in_and_out(recorded):
    net, x = made(Stats)
    mem = torch.zeros(B, 4, dtype=torch.float64)
    want, other = [], made(Stats)[0]
    with snn.backend("eager"):
        state = mem
        for now in x:
            spk, state = other(now, state)
            want.append((spk, state))
    got = snn.unroll(net, x, mem)
    for a, b in zip(got, zip(*want, strict=True), strict=True):
        torch.testing.assert_close(a, torch.stack(b), rtol=1e-12, atol=1e-12)
    assert recorded[net] < 5
    torch.testing.assert_close(net.last.mem, other.last.mem, rtol=1e-12, atol=1e-12)


def nodes(*outputs):
    """How many operations autograd keeps."""
    seen, todo = set(), [t.grad_fn for t in outputs if t.grad_fn is not None]
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += [n for n, _ in node.next_functions if n is not None]
    return len(seen)


def by_hand(net, x):
    """The attention block of the zoo over `[T, B, N, D]`."""

    def heads(x):
        return x.unflatten(-1, (net.heads, -1)).transpose(-3, -2)

    q, k, v = (heads(snn.unroll(net.lifs[i], fc(x))) for i, fc in enumerate((net.q, net.k, net.v)))
    mixed = snn.unroll(net.lifs[3], ((q @ k.transpose(-2, -1)) @ v * 0.25).transpose(-3, -2).flatten(-2))
    return x + snn.unroll(net.lifs[4], net.proj(mixed))


@snn.backend("auto")
def test_a_module_becomes_as_many_operations_as_folded_by_hand():
    make, shape = STEPS["attention"]
    torch.manual_seed(0)
    net, counts = make(), []
    for steps in (6, 40):
        x = torch.rand(steps, *shape)
        want = by_hand(net, x)
        snn.utils.reset(net)
        got = snn.unroll(net, x)
        torch.testing.assert_close(got, want)
        counts += [nodes(want), nodes(got)]
        snn.utils.reset(net)
    assert counts[0] == counts[2] and counts[1] == counts[3] <= counts[0] + 3
