"""A step that is known to stand for all others is called once, for all steps; what turns out otherwise is recorded."""

import copy
import random

import pytest
import torch
from test_steps import ALIKE, DIFFER, GLOBAL, MORE, ONCE, CountsInClass, Net, T, made
from test_zoo import assert_same, build, leaves, loop, results
from torch import nn
from zoo import STEPS

import snntorch as snn
from snntorch._time import at_once
from snntorch._time.modules import Recorder


@pytest.fixture
def recordings(monkeypatch):
    """One item a call that was recorded."""
    runs, run = [], Recorder.run
    monkeypatch.setattr(Recorder, "run", lambda *args: runs.append(args) or run(*args))
    return runs


class Deep(Net):
    """Layers, functions and neurons of many kinds, branches, and what is the same at every step."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.norm = nn.Conv1d(1, 3, 3, padding=1), nn.MaxPool1d(2), nn.LayerNorm(6)
        self.weighted = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4))
        self.synaptic = snn.Synaptic(0.7, 0.8, init_hidden=True, output=True)
        self.recurrent = snn.RLeaky(0.9, linear_features=4, init_hidden=True)

    def forward(self, x):
        images = self.pool(self.conv(x.unsqueeze(1)))
        spk, syn, mem = self.synaptic(self.norm(images.flatten(1)))
        spk = self.recurrent(self.weighted(spk + 0.3 * syn.tanh() - mem.sigmoid()))
        with torch.no_grad():
            held = torch.cat([spk, x], -1).mean(-1, keepdim=True)
        held = held * 0.5 if x.requires_grad else held
        gain = self.fc.weight.abs().mean(0)
        return {"a": (self.step(spk * gain + held), mem), "b": [torch.where(spk > 0.5, x, -x).transpose(0, 1), gain]}


class Chosen(Net):
    """Does what its attribute says."""

    def __init__(self, what="plain"):
        super().__init__()
        self.what, self.kept = what, None
        self.noisy, self.second = snn.NoisyLeaky(0.8, init_hidden=True), snn.Leaky(0.9)
        self.drawn = snn.NoisyLeaky(0.8, init_hidden=True, generator=torch.Generator().manual_seed(0))
        self.drop, self.act = nn.Dropout(0.4), nn.ReLU(inplace=True)
        self.register_buffer("scale", torch.ones(6))

    def forward(self, x):
        spk = self.lif(self.fc(self.noisy(x) + self.drawn(x)))
        if self.what == "attribute":
            self.kept = spk
        elif self.what == "reset":
            self.lif.reset_mem()
        elif self.what == "draws":
            spk = torch.nn.functional.dropout(self.drop(spk), 0.3)
        elif self.what == "in place":
            spk += 0.25
        elif self.what == "writes":
            spk = self.act(spk - 0.5)
        elif self.what == "buffer":
            self.fc.bias.data.mul_(0.9)
        elif self.what == "modules":
            self.fc, self.other = self.fc, nn.Identity()
        elif self.what == "looks":
            spk = spk * (2.0 if spk.sum() > 5 else 0.5)
        elif self.what == "twice":
            spk = self.lif(spk)
        elif self.what == "where":
            spk = spk + len(torch.where(spk)[0])
        elif self.what == "explicit":
            spk, _ = self.second(spk, self.second.init_leaky())
        elif self.what == "past the module":
            spk = self.lif.forward(spk)
        elif self.what == "a part":
            spk[:, :2] = 3.0
        elif self.what == "draws alike":
            spk = spk * torch.nn.functional.dropout(torch.ones(6), 0.3)
        elif self.what == "rows":
            spk = torch.stack([row + k for k, row in enumerate(spk)])
        elif self.what == "caught":
            try:
                spk = spk.roll(1, -1)
            except Exception:
                spk = spk * 0.5
        elif self.what == "reads states":
            spk = spk + snn.utils.get_states(self)["lif.mem"]
        elif self.what == "out":
            spk = spk * torch.mul(self.scale, 0.9, out=self.scale)
        return self.last(self.out(spk))


GIVEN_UP = [
    "attribute", "reset", "draws alike", "a part", "in place", "writes", "buffer", "modules", "looks", "twice", "where",
    "explicit", "past the module", "rows", "caught", "reads states", "out",
]  # fmt: skip
KINDS = {kind.__name__: kind for kind in [*ALIKE, *ONCE, *MORE, *DIFFER, Deep]}
AT_ONCE = {"Plain", "Feeds", "Deep", "sew block", "attention", "u-net", "branches", "normalised", "Scales"}


def make(name):
    random.seed(3)
    GLOBAL["steps"] = CountsInClass.steps = 0
    return made(KINDS[name]) if name in KINDS else build(STEPS[name][0], (T, *STEPS[name][1]))


def both(make):
    """What the loop gives, and `unroll` of a net that is told to fit, which are the same."""
    found = []
    for call in (loop, snn.unroll):
        net, x = make()
        at_once.tell(net, fits=True)
        found.append(results(net, call, x))
    assert_same(found[1], found[0])
    return found


@pytest.mark.parametrize("name", [*KINDS, *(name for name in STEPS if name != "hooked")])
def test_it_is_the_loop_or_is_given_up(name, recordings):
    """Also where nobody has told that it fits."""

    def evaluated():
        net, x = make(name)
        return net.eval(), x

    want, _ = both(evaluated)
    assert any(t.any() for t in leaves(want[0]))
    assert (not recordings) == (name in AT_ONCE)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # PyTorch's own, which it hides by other means
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, "autocast"])
def test_from_the_second_call_on(static, dtype, recordings):
    net, x = make("Deep")
    half = dtype == "autocast"
    x, net = (x.float(), net.float()) if half else (x.to(dtype), net.to(dtype))
    other = copy.deepcopy(net)
    for call, size in enumerate((4, 4, 3, 4)):  # the last batch is smaller
        snn.utils.reset(net)
        snn.utils.reset(other)
        now = (x[0] if static else x)[..., :size, :]
        with torch.autocast("cpu", enabled=half):
            got = snn.unroll(net, now, num_steps=T) if static else snn.unroll(net, now)
            want = loop(other, now.expand(T, *now.shape) if static else now)
        for a, b in zip(leaves(got), leaves(want), strict=True):
            torch.testing.assert_close(a, b)
        assert len(recordings) == 1, call


@pytest.mark.parametrize("what", GIVEN_UP)
def test_what_changes_after_a_recording(what, recordings):
    """The states, the attributes and PyTorch's draws are those of a call that was only recorded."""
    nets = []
    for tried in (True, False):
        torch.manual_seed(0)
        net, x = Chosen(), torch.rand(T, 4, 4)
        with torch.no_grad():
            net.fc.weight.mul_(4)
            net.out.bias.add_(0.5)
        snn.unroll(net, x)
        if not tried:
            at_once.tell(net, fits=False)
        net.what = what
        recordings.clear()
        torch.manual_seed(1)
        out = [snn.unroll(net, x), snn.unroll(net, x)]
        assert len(recordings) == 2  # it was tried no second time
        nets.append((out, torch.rand(3), net))
    (got, drawn, net), (want, expected, other) = nets
    for a, b in zip([*got, drawn], [*want, expected], strict=True):
        assert torch.equal(a, b)
    assert got[0].any()
    for name, state in snn.utils.get_states(net).items():
        assert torch.equal(state, snn.utils.get_states(other)[name]), name
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert net.kept is None if what != "attribute" else net.kept.shape == (4, 6)


def test_errors_of_the_users_code_are_its_own(recordings):
    class Raises(Net):
        fails = False

        def forward(self, x):
            out = self.step(x)
            if self.fails:
                raise KeyError("mine")
            return out

    net, x = made(Raises)
    snn.unroll(net, x)
    mem = net.lif.mem, net.last.mem
    net.fails = True
    recordings.clear()
    with pytest.raises(KeyError, match="mine"):
        snn.unroll(net, x)
    assert net.lif.mem is mem[0] and net.last.mem is mem[1]
    net.fails = False
    snn.unroll(net, x)
    assert not recordings


def test_what_somebody_keeps_is_a_value(recordings):
    """Of a step, as in a loop, and not what stood for it while all were called at once."""
    kept = []

    class Told(Net):
        def forward(self, x):
            out = self.step(x)
            torch.utils.checkpoint.checkpoint(kept.append, out, use_reentrant=False) if self.tells else None
            return out

        tells = False

    net, x = made(Told)
    snn.unroll(net, x)
    net.tells = True
    out = snn.unroll(net, x)
    assert len(recordings) == 2
    assert torch.equal(torch.stack([*kept]), out)


def test_training_and_evaluation_are_known_apart(recordings):
    torch.manual_seed(0)
    net, x = Chosen("reset"), torch.rand(T, 4, 4)
    for training, what, more in (
        (True, "plain", 1), (True, "plain", 0), (True, "reset", 1), (True, "plain", 1), (False, "plain", 1),
        (False, "plain", 0),
    ):  # fmt: skip
        net.train(training)
        net.what = what
        recordings.clear()
        snn.unroll(net, x)
        assert len(recordings) == more, (training, what)


def test_what_draws_draws_for_each_step(recordings):
    class Drops(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif, self.drop = snn.Leaky(0.9, init_hidden=True), nn.Dropout(0.3)

        def forward(self, x):
            return torch.nn.functional.dropout(self.drop(self.lif(x)), 0.3, self.training)

    net, found = Drops(), []
    for _ in range(3):
        torch.manual_seed(1)
        found.append(snn.unroll(net, torch.full((T, 4, 6), 9.0)))
    assert len(recordings) == 1 and torch.equal(found[1], found[2])
    assert len({tuple(row) for row in found[1].flatten(1).tolist()}) == T
    assert 0.3 < (found[1] > 0).float().mean() < 0.7


class Vain(nn.Module):
    """Computes more than it gives, which a recording leaves out."""

    def __init__(self):
        super().__init__()
        self.vain, self.fc, self.out = (nn.Linear(4, n) for n in (4, 4, 3))
        self.lif = snn.Leaky(0.9, init_hidden=True, output=True)

    def forward(self, x):
        _spk, mem = self.lif(self.vain(x))
        mem.tanh()
        return self.out(self.fc(x).sigmoid())


@pytest.mark.parametrize("cut", [True, False])
def test_what_runs_again_in_the_backward_pass_is_what_ran_in_the_forward(cut):
    """It was recorded there, and a checkpoint expects the same tensors."""
    net, x = Vain().double(), torch.rand(T, 3, 4, dtype=torch.float64)
    net.lif.beta = net.lif.beta.double()

    def run(x):
        snn.utils.reset(net)
        return snn.unroll(net, x)

    again = torch.utils.checkpoint.checkpoint
    grads = []
    for call in (loop, lambda net, x: snn.unroll(net, x, recompute=5) if cut else again(run, x, use_reentrant=False)):
        snn.utils.reset(net)
        grads.append(torch.autograd.grad(call(net, x).square().sum(), net.fc.parameters()))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def of_batch(x):
    return x * x.shape[0] + x.sum(0)


class Layers(Net):
    """A layer to which somebody gave a forward, and one of several outputs."""

    def __init__(self):
        super().__init__()
        self.same, self.pool = nn.Identity(), nn.MaxPool1d(2, return_indices=True)
        self.fc.forward = of_batch
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        pooled, indices = self.pool(x.unsqueeze(1))
        return self.step(x), pooled, indices, x * 2 if self.same(x) is x is x.double() else -x


def test_layers_that_are_not_what_most_are(recordings):
    both(lambda: made(Layers))
    assert not recordings


class OfRank(Net):
    """For steps of three dimensions, or such as lie in one piece."""

    def forward(self, x):
        return self.step(x), {
            "sum": lambda x: x.sum(-3), "unsqueeze": lambda x: x.unsqueeze(-4), "view": lambda x: x.mT.view(-1),
            "flip": lambda x: x.flip(-3), "stack": lambda x: torch.stack([x, x], -4),
            "transpose": lambda x: x.transpose(0, -3),
        }[self.what](x)  # fmt: skip

    what = "sum"


@pytest.mark.parametrize("what", ["sum", "unsqueeze", "transpose", "flip", "stack", "view"])
def test_time_is_no_dimension_of_a_step(what):
    net, x = made(OfRank)
    net.what = what
    for call in (loop, snn.unroll):
        at_once.tell(net, fits=True)
        with pytest.raises((IndexError, RuntimeError)) as raised:
            call(net, x)
        assert "Dimension out of range" in str(raised.value) or "view size is not compatible" in str(raised.value)


class Half(Net):
    """Single numbers, which do not decide a dtype beside what has dimensions."""

    def forward(self, x):
        return self.step(x), x.float() / x.abs().max(), x.float().sum() * self.fc.weight.sum()


def test_single_numbers_decide_no_dtype():
    want, got = both(lambda: made(Half))
    assert [t.dtype for t in leaves(got[0])] == [t.dtype for t in leaves(want[0])]
