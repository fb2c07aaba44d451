"""What training on long sequences holds: bytes in use, which grow with the number of steps by what must grow alone."""

import ctypes
import gc
from typing import Any

import pytest
import torch
from torch import nn

import snntorch as snn
from snntorch import backprop, metrics

LENGTH, BATCH, IN, HIDDEN, OUT = 20, 8, 32, 128, 2
COURSE = 4 * BATCH * HIDDEN  # bytes of one hidden layer's membrane potentials, a step


class _Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


mallinfo: Any = getattr(ctypes.CDLL(None), "mallinfo2", None)
pytestmark = pytest.mark.skipif(mallinfo is None, reason="no mallinfo2, which counts bytes in use")
if mallinfo is not None:
    mallinfo.restype = _Info


most = 0  # bytes in use


class Watching(nn.Module):
    """The first layer: bytes to floats; notes how many bytes are in use whenever it is called."""

    def forward(self, x):
        global most
        info = mallinfo()
        most = max(most, info.uordblks + info.hblkhd)
        return x.float()


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        Watching(),
        nn.Linear(IN, HIDDEN), snn.Leaky(0.9, init_hidden=True),
        nn.Linear(HIDDEN, HIDDEN), snn.RLeaky(0.9, linear_features=HIDDEN, init_hidden=True),
        nn.Linear(HIDDEN, OUT), snn.Leaky(0.9, init_hidden=True),
    )  # fmt: skip


def frames(steps):
    """Bytes, piece by piece."""
    for start in range(0, steps, LENGTH):
        yield torch.rand(min(LENGTH, steps - start), BATCH, IN) < 0.3


def whole(net, steps, **options):
    snn.unroll(net, torch.cat(list(frames(steps))), **options).sum(0).square().sum().backward()


def chunks(net, steps):
    for x in frames(steps):
        snn.unroll(net, x).sum(0).square().sum().backward()
        snn.utils.detach(net)


def online(rule):
    def learn(net, steps):
        rule(net, (x for chunk in frames(steps) for x in chunk), torch.zeros(()), lambda out, y: (out - y).sum())

    return learn


def counted(net, steps):
    metrics.summary(net, frames(steps))


def held(run, steps):
    """The most bytes in use at the start of a segment or a step, above those before."""
    global most
    net = network()
    run(net, LENGTH)
    net.zero_grad()
    snn.utils.reset(net)
    gc.collect()
    most = 0
    net[0](torch.zeros(0))
    before, most = most, 0
    gc.disable()  # what waits for the collector is held: Python 3.13 calls it seldom
    try:
        run(net, steps)
    finally:
        gc.enable()
    return most - before


def growth(run, few=5 * LENGTH, many=15 * LENGTH):
    """Bytes a step."""
    return (held(run, many) - held(run, few)) / (many - few)


def assert_growth(run, least, most, **lengths):
    """Bytes a step, in one of three runs: what else is in the process comes and goes."""
    found = [growth(run, **lengths)]
    while not least <= found[-1] <= most and len(found) < 3:
        found.append(growth(run, **lengths))
    assert least <= found[-1] <= most, found


def test_a_whole_sequence_holds_what_layers_read_and_the_courses_of_neurons():
    """So that what is counted is what is there: the second call looks, while the graph of the first is kept."""

    def run(net, steps):
        out = snn.unroll(net, torch.cat(list(frames(steps - 1))))
        (out.sum() + snn.unroll(net, torch.ones(1, BATCH, IN)).sum()).backward()

    kept = 5 * BATCH * IN + 4 * COURSE  # the input twice; spk and mem of two neurons
    assert_growth(run, 0.98 * kept, 1.5 * kept)  # what Python makes in one run and not in the other is of 20 kB


def test_recompute_holds_the_input_the_outputs_and_a_state_a_segment():
    """And some notes of each segment, in Python and in PyTorch."""
    must = BATCH * IN + 4 * BATCH * OUT + 3 * COURSE / LENGTH
    most = must + 35_000 / LENGTH  # Python 3.10 takes the most
    assert most <= 4 * COURSE / 6
    assert_growth(lambda net, steps: whole(net, steps, recompute=LENGTH), must, most)


@pytest.mark.parametrize(
    "run", [chunks, online(backprop.eprop), online(backprop.ottt), counted], ids=["chunks", "eprop", "ottt", "summary"]
)
def test_what_takes_a_sequence_piece_by_piece_holds_nothing_of_it(run):
    assert_growth(run, -COURSE / 50, COURSE / 50, few=2 * LENGTH, many=6 * LENGTH)


def test_recompute_holds_what_it_returns_once():
    """With states that are passed, which are returned at every step."""

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.fc, self.lif = Watching(), nn.Linear(IN, HIDDEN), snn.Leaky(0.9)

        def forward(self, x, mem):
            return self.lif(self.fc(self.first(x)), mem)

    def run(_, steps):
        x, mem = torch.cat(list(frames(steps))), torch.zeros(BATCH, HIDDEN, requires_grad=True)
        spk, mem = snn.unroll(Step(), x, mem, recompute=LENGTH)
        spk[:, :, 0].sum().backward()

    returned, gradient = 2 * COURSE, COURSE
    notes = (3 * COURSE + 35_000) / LENGTH
    assert_growth(run, returned, returned + gradient + BATCH * IN + notes)
