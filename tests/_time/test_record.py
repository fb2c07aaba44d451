"""Recording: where it ends, what it notices, what it leaves behind, what it says."""

import collections
import copy
import gc
import re
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import loop
from snntorch._engine import choices
from snntorch._neurons.recorder import recorder_now
from snntorch._time import later
from snntorch._time.arguments import leaves
from snntorch._time.explain import paths

T, B = 6, 3
F64 = torch.float64


class Net(nn.Module):
    """Two layers, a hook for what a test does between the steps."""

    def __init__(self, between=lambda net, t, spk: None):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.lif1 = nn.Linear(4, 6), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(6, 3), snn.Leaky(beta=0.8)
        self.between = between
        self.double()
        with torch.no_grad():
            for p in self.parameters():
                p.mul_(3)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for t, now in enumerate(x):
            spk1, mem1 = self.lif1(self.fc1(now), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(mem2)
            self.between(self, t, spk2)
        return torch.stack(out)


def test_after_a_look_functions_pass_by():
    """What runs eagerly from there runs at its own speed."""
    modes = []

    def look(net, t, spk):
        modes.append(torch.overrides._get_current_function_mode())
        assert spk.sum() >= 0

    net, x = Net(look), torch.rand(T, B, 4, dtype=F64)
    assert torch.equal(snn.layerwise(net)(x), net(x))
    assert modes[0] is not None and modes[2 : 2 * T] == [None] * (2 * T - 2)


@pytest.mark.parametrize(("looks", "expected"), [(99, [0, 2, 5, 10, 19]), (1, [0, *range(2, 20)])])
def test_what_looks_at_once_is_seldom_recorded(looks, expected, capsys):
    """Nothing is gained by it; where only the first calls look, as to print, all after them are."""
    calls = []

    def look(net, t, spk):
        if t == 0:
            calls.append(recorder_now() is not None)
        assert len(calls) > looks or spk.sum() >= 0

    net, other, x = Net(look), Net(), torch.rand(T, B, 4, dtype=F64)
    fast = snn.layerwise(net)
    for _ in range(20):
        torch.testing.assert_close(fast(x), other(x), rtol=1e-12, atol=1e-12)
    assert [k for k, recorded in enumerate(calls) if recorded] == expected
    if looks > 1:
        snn.explain(fast, x)
        assert calls[-1] and "needs a value" in capsys.readouterr().out


def scale_weights(net, t, spk):
    with torch.no_grad():
        net.fc2.weight.mul_(0.9)


def fill_threshold(net, t, spk):
    net.lif1.threshold.fill_(0.5 + t / 4)


def set_threshold(net, t, spk):
    net.lif1.threshold = torch.tensor(0.5 + t / 4, dtype=F64)


def set_mechanism(net, t, spk):
    net.lif1.reset_mechanism = ("zero", "subtract", "none")[t % 3]


def exchange_layer(net, t, spk):
    if t == 2:
        net.fc1 = nn.Linear(4, 6).double()


def reset_now(net, t, spk):
    if t == 3:
        snn.utils.reset(net.lif2)


def scale_data(net, t, spk):
    net.fc2.weight.data.mul_(0.9)


def scale_row(net, t, spk):
    with torch.no_grad():
        net.fc2.weight[0] *= 0.9


def exchange_weight(net, t, spk):
    if t == 2:
        net.fc2.weight = nn.Parameter(2 * net.fc2.weight.detach())


def exchange_data(net, t, spk):
    net.fc2.weight.data = 0.9 * net.fc2.weight.data


def exchange_forward(net, t, spk):
    if t == 2:
        net.fc1.forward = lambda x: torch.relu(nn.functional.linear(x, net.fc1.weight))


def hook_layer(net, t, spk):
    if t == 2:
        net.fc1.register_forward_hook(lambda module, args, out: 2 * out)


@pytest.mark.parametrize(
    "between",
    [
        scale_weights, scale_data, scale_row, fill_threshold, set_threshold, set_mechanism, exchange_layer,
        exchange_weight, exchange_data, exchange_forward, hook_layer, reset_now,
    ],
)  # fmt: skip
def test_what_changes_inside_the_loop_is_noticed(between):
    x = torch.rand(T, B, 4, dtype=F64)
    results = []
    for wrap in (lambda net: net, snn.layerwise):
        net = wrap(Net(between))
        with torch.no_grad():
            results.append(net(x))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


def test_what_is_known_before_its_value():
    told = []

    class Asking(Net):
        def forward(self, x):
            mem = self.lif1.init_leaky()
            for now in x:
                spk, mem = self.lif1(self.fc1(now), mem)
                told.extend(
                    (t.requires_grad, t.shape, t.ndim, t.dtype, t.device, t.is_contiguous(), len(t))
                    for t in (now, spk, mem, mem.detach(), 2 * mem)
                )
            return mem

    net, x = Asking(), torch.rand(T, B, 4, dtype=F64)
    net(x)
    want = told.copy()
    told.clear()
    snn.layerwise(net)(x)
    assert told == want


def test_modules_that_are_called_as_a_whole_ask_for_gradients():
    """As their parameters do, whatever they take."""

    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.cell = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.GRUCell(4, 4)

        def forward(self, x):
            held = torch.zeros(B, 4)
            for now in x:
                held = self.cell(now, held.detach())
                told.extend(t.requires_grad for t in (now, self.fc(now), held, held.detach()))
            return held

    told = []
    snn.layerwise(Asking())(torch.rand(3, B, 4))
    assert told == [False, True, True, False] * 3


@pytest.mark.parametrize("way", ["loop", "layerwise", "unroll", "unroll again"])
def test_results_lie_where_the_loops_do(way):
    """So that nothing else changes where one is written in place."""

    class Gives(Net):
        def forward(self, x):
            mem, *lists = self.lif1.init_leaky(), [], [], [], []
            for now in x:
                spk, mem = self.lif1(self.fc1(now), mem)
                for held, value in zip(lists, (now, spk, spk.flatten(), self.fc1.weight), strict=True):
                    held.append(value)
            stacked = torch.stack(lists[1])
            return *map(torch.stack, lists), stacked, stacked, torch.stack(lists[0][2:4])

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = snn.Leaky(0.9, init_hidden=True)

        def forward(self, x):
            spk = self.lif(x)
            return x, spk, spk.flatten(), self.lif.beta, spk, x[:, 0]

    x = torch.rand(T, B, 4, dtype=F64)
    if way in ("loop", "layerwise"):
        out = (Gives() if way == "loop" else snn.layerwise(Gives()))(x)
        assert out[4] is out[5]
        out = (*out[:5], out[6])
    else:
        net = Step()
        out = [snn.unroll(net, x) for _ in range(1 + (way != "unroll"))][-1]
    assert len({t.untyped_storage().data_ptr() for t in (x, *out)}) == 1 + len(out)


def clipped(x, limit: float = 0.8):
    return x.clamp(max=limit) * torch.sigmoid(x)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_functions_of_torchscript(monkeypatch):
    monkeypatch.setitem(globals(), "clipped", torch.jit.script(clipped))
    traced = torch.jit.trace(lambda x: x.sin() + 1.0, torch.rand(B, 4, dtype=F64))

    class Scripted(Net):
        looks = False

        def forward(self, x):
            mem, out, gain = self.lif1.init_leaky(), [], clipped(torch.ones(6, dtype=F64))
            for now in x:
                spk, mem = self.lif1(clipped(traced(self.fc1(now)), limit=0.5) * gain, mem)
                out.append(traced(spk) if not self.looks or spk.sum() >= 0 else spk)
            return torch.stack(out)

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = snn.Leaky(0.9, init_hidden=True)

        def forward(self, x):
            return clipped(self.lif(clipped(3.0 * x)))

    net, step = Scripted(), Step()
    x = torch.rand(T, B, 4, dtype=F64, requires_grad=True)
    for net.looks in (False, True):
        want, got = net(x), snn.layerwise(net)(x)
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(*[torch.autograd.grad(out.sum(), x)[0] for out in (got, want)])
    for _ in range(2):
        want = torch.stack([step(now) for now in x])
        snn.utils.reset(step)
        torch.testing.assert_close(snn.unroll(step, x), want, rtol=1e-12, atol=1e-12)
        snn.utils.reset(step)


def test_where_of_one_tensor_looks_at_it():
    class Places(Net):
        def forward(self, x):
            mem, found = self.lif1.init_leaky(), 0.0
            for now in x:
                spk, mem = self.lif1(self.fc1(now), mem)
                found = found + spk.sum() * len(torch.where(spk)[0]) + torch.where(spk > 0, now[:, :1], 0.5).sum()
            return found

    net, x = Places(), 3 * torch.rand(T, B, 4, dtype=F64)
    want = net(x)
    assert want > T
    torch.testing.assert_close(snn.layerwise(net)(x), want, rtol=1e-12, atol=1e-12)


def test_two_threads_run_one_net():
    """One ends while the other is on its way, and has left its states in the neurons."""
    x, found = torch.rand(2, T, B, 4, dtype=F64), []
    thread = threading.Thread(target=lambda: found.append(fast(x[1])))
    begun, ahead = threading.Event(), threading.Event()

    def other_thread(net, t, spk):
        if threading.current_thread() is thread and t == T - 1:
            begun.set()
            ahead.wait(10)
        elif threading.current_thread() is not thread and t == 2:
            thread.start()
            begun.wait(10)
        elif threading.current_thread() is not thread and t == 3:
            ahead.set()
            thread.join()
            assert recorder_now().pending  # what this one recorded still waits

    net = Net(other_thread)
    fast = snn.layerwise(net)
    found.append(fast(x[0]))
    for got, inputs in zip(found, x.flip(0), strict=True):
        torch.testing.assert_close(got, Net()(inputs), rtol=1e-12, atol=1e-12)


def test_a_view_of_what_is_written_is_read():
    linear = nn.Linear(4, 3).double()

    def forward(x):
        kept, out = torch.zeros(2, B, 3, dtype=F64), []
        first = kept[0]
        for now in x:
            kept[0] += linear(now)
            out.append(first + 1)
        kept[1] -= linear(x[0])
        return torch.stack(out), kept

    x = torch.rand(T, B, 4, dtype=F64)
    for a, b in zip(snn.layerwise(forward)(x), forward(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_calls_from_the_same_state():
    """Of several next steps one is taken: each begins where the last one that was taken ended."""

    class Tries(Net):
        def forward(self, x):
            mem, out = self.lif1.init_leaky(), []
            for now in x:
                tried = [self.lif1(self.fc1(now) * k, mem) for k in range(3)]
                mem = tried[1][1]
                out += [spk for spk, _ in tried] + [mem]
            return torch.stack(out)

    net, x = Tries(), torch.rand(T, B, 4, dtype=F64)
    torch.testing.assert_close(snn.layerwise(net)(x), net(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_a_setting_that_changes_at_every_step_leaves_learning_as_it_is(backend):
    """What was called before runs at once, and none of that is recorded."""

    class Raised(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = snn.LeakyIntegrator(0.8, init_hidden=True)
            self.lif = snn.Leaky(0.9, learn_beta=True, init_hidden=True, output=True)

        def forward(self, x):
            x = self.first(x)
            self.lif.threshold = self.lif.threshold + 0.1
            return self.lif(x)

    torch.manual_seed(0)
    x = torch.rand(T, B, 4, dtype=F64).mul(3).requires_grad_()

    def run(loop):
        net = Raised().double()
        _, mem = loop(net)
        return [mem, *torch.autograd.grad((mem**2).sum(), [x, *net.parameters()])]

    with snn.backend("eager"):
        expected = run(lambda net: [torch.stack(out) for out in zip(*map(net, x), strict=True)])
    with snn.backend(backend):
        found = run(lambda net: snn.unroll(net, x))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_a_net_whose_calls_wait_for_each_other_is_seldom_recorded():
    """Unless they are large: then it is not their recording that takes the time."""

    class FedBack(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif, self.norm, self.recorded = snn.Leaky(0.9), nn.LayerNorm(4), []

        def forward(self, x):
            self.recorded.append(recorder_now() is not None)
            mem = torch.zeros_like(x[0])
            for now in x:
                spk, mem = self.lif(now, mem)
                mem = self.norm(mem) - 0.1 * spk
            return mem

    for samples, expected in (B, [True, False, True, False, False, True]), (1 << 14, [True] * 6):
        net = FedBack()
        fast = snn.layerwise(net)
        for _ in expected:
            fast(torch.rand(3, samples, 4))
        assert net.recorded == expected


class Bounded(snn.Leaky):
    """A decay that a weight makes at every step, as people write it."""

    def __init__(self, **kwargs):
        super().__init__(beta=0.5, **kwargs)
        self.w = nn.Parameter(torch.tensor(0.3))

    def forward(self, x, mem=None):
        self.beta = torch.clamp(self.w.sigmoid(), 0.01, 0.99)
        return super().forward(x, mem)


def test_a_setting_that_a_weight_makes_is_one_for_all_steps():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif, self.out = nn.Linear(4, 5), Bounded(), Bounded()

        def forward(self, x):
            mem, rest, trace = torch.zeros(B, 5, dtype=x.dtype), torch.zeros(B, 5, dtype=x.dtype), []
            for now in x:
                spk, mem = self.lif(self.fc(now), mem)
                _, rest = self.out(spk, rest)
                trace.append(rest)
            return torch.stack(trace)

    torch.manual_seed(0)
    net, x = Net().double(), torch.rand(T, B, 4, dtype=F64) * 4
    run = snn.layerwise(net)
    found, expected = ([out := way(x), *torch.autograd.grad((out**2).sum(), net.parameters())] for way in (run, net))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert type(net.lif.beta) is torch.Tensor
    with snn.backend("auto"), choices() as made:
        run(x)
    assert {path for who, path, _ in made if isinstance(who, Bounded)} == {"fused cpu"}


def test_after_settings_at_some_steps_the_rest_runs_as_it_is_called(capsys):
    class Scheduled(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = snn.Leaky(0.9, init_hidden=True)

        def forward(self, x):
            snn.utils.reset(self)
            out = []
            for t, now in enumerate(x):
                self.lif.threshold = torch.tensor(1 + 0.1 * t, dtype=x.dtype)
                out.append(self.lif(now))
            return torch.stack(out)

    net, x = Scheduled().double(), torch.rand(T, B, 4, dtype=F64) * 2
    assert torch.equal(snn.layerwise(net)(x), net(x))
    with snn.backend("auto"):
        snn.explain(snn.layerwise(net), x)
    assert re.search(r"Leaky +stepped +its threshold is set at every step", capsys.readouterr().out)


def test_no_class_changes_while_a_call_is_recorded():
    """Else Python forgets what it looked up in all layers' classes, and after a thousand times looks it up always."""
    held, kinds = [], [*snn.Leaky.__mro__, nn.Linear, torch.Tensor]
    if hasattr(torch.autograd.Function.apply, "__code__"):  # else, as in PyTorch 2.14, there is none to exchange
        kinds.append(torch.autograd.Function)

    def look(net, t, spk):
        held.append([dict(vars(kind)) for kind in kinds])

    net, x = Net(look), torch.rand(2, B, 4, dtype=F64)
    net(x)
    snn.layerwise(net)(x)
    snn.unroll(net.lif1, net.fc1(x[0]), num_steps=2)
    assert all(now == held[0] for now in held) and len(held) == 4


def test_a_method_that_a_forward_replaces_is_called_from_then_on():
    def replace(net, t, spk):
        if t == 2 and net.lif1 not in replaced:
            replaced.append(net.lif1)
            net.lif1.fire = lambda mem: net.lif1.spike_grad(mem - 0.5) / 2

    x, out, replaced = torch.rand(T, B, 4, dtype=F64), [], []
    for wrap in (lambda net: net, snn.layerwise):
        net = Net(replace)
        run = wrap(net)
        out.append([run(x), run(x)])
        assert net.lif1.overrides == ("fire",)
    torch.testing.assert_close(*out, rtol=1e-12, atol=1e-12)
    assert not torch.equal(*out[0])


@pytest.mark.parametrize("way", ["wrapped", "in place"])
def test_a_compiled_layer_is_called_as_it_is(way):
    """Nothing of the recorder is compiled with it."""
    net, x = Net(), torch.rand(2, B, 4, dtype=F64)
    want = net(x)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    if way == "wrapped":
        net.fc1 = torch.compile(net.fc1, backend="eager")
    else:
        net.fc1.compile(backend="eager")
    torch.testing.assert_close(snn.layerwise(net)(x), want, rtol=1e-12, atol=1e-12)
    counted = torch._dynamo.utils.counters
    assert not counted["graph_break"] and counted["stats"]["unique_graphs"] <= 4
    assert counted["stats"]["calls_captured"] == counted["stats"]["unique_graphs"]  # one product each


def test_explain_names_the_line_that_looks(capsys):
    def look(net, t, spk):
        if t == 1 and spk.sum() > -1:
            pass

    snn.explain(snn.layerwise(Net(look)), torch.rand(T, B, 4, dtype=F64))
    assert "test_record.py" in (printed := capsys.readouterr().out) and "needs a value" in printed


@pytest.mark.parametrize("look", [print, str, bool, float, lambda spk: spk.numpy(), lambda spk: spk.tolist()])
def test_looking_is_right(look, capsys):
    net = Net(lambda net, t, spk: look(spk.detach().sum()) if t == 2 else None)
    x = torch.rand(T, B, 4, dtype=F64)
    torch.testing.assert_close(snn.layerwise(net)(x), net(x), rtol=1e-12, atol=1e-12)


def test_backward_inside_the_loop():
    def learn(net, t, spk):
        if t == T - 1:
            spk.sum().backward()

    x = torch.rand(T, B, 4, dtype=F64)
    grads = []
    for wrap in (lambda net: net, snn.layerwise):
        net = wrap(Net(learn))
        net(x)
        grads.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


def exchanged():
    """What is another one while anybody records."""
    apply = vars(torch.autograd.Function)["apply"]
    return nn.Module.__call__.__code__, apply, getattr(torch.autograd.Function.apply, "__code__", None)


def test_errors_are_those_of_the_loop_and_leave_no_trace():
    net = Net(lambda net, t, spk: (_ for _ in ()).throw(KeyError("mine")) if t == 2 else None)
    before = exchanged()
    with pytest.raises(KeyError, match="mine"):
        snn.layerwise(net)(torch.rand(T, B, 4, dtype=F64))
    assert type(net.lif1.mem) is torch.Tensor and recorder_now() is None
    assert exchanged() == before
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        snn.layerwise(Net())(torch.rand(T, B, 5, dtype=F64))


def test_what_somebody_keeps_stands_for_its_value():
    kept = []
    net = Net(lambda net, t, spk: kept.append(spk))
    x = torch.rand(T, B, 4, dtype=F64)
    snn.layerwise(net)(x)
    recorded, kept[:] = list(kept), []
    net(x)
    for a, b in zip(recorded, kept, strict=True):
        assert torch.equal(a + 0, b) and a.sum().item() == b.sum().item()


class Own(list):
    """A user's kind of list."""


@pytest.mark.parametrize("make", [dict, collections.OrderedDict, lambda: collections.defaultdict(list), Own])
def test_what_is_returned_is_of_the_kind_that_the_forward_made(make):
    class Collects(Net):
        def forward(self, x):
            out, mem = make(), super().forward(x)
            out.extend(mem) if isinstance(out, list) else out.update(first=mem[0], others=[mem[1:]])
            return out

    x = torch.rand(T, B, 4, dtype=F64)
    got, want = snn.layerwise(Collects())(x), Collects()(x)
    assert type(got) is type(want) is type(make()) and len(got) == len(want)
    for a, b in zip(*map(leaves, (got, want)), strict=True):
        assert type(a) is torch.Tensor
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


class Alone(nn.Module):
    """One that is called as a whole, step by step."""

    memoryless = False

    def __init__(self):
        super().__init__()
        self.lif = snn.Leaky(0.9, init_hidden=True)

    def forward(self, x, t):
        return self.lif(x) * t


def test_what_is_asked_of_one_call_runs_no_other():
    """Of a module that is told the step, each call is one of its own."""
    net = Alone().double()

    def run(x):
        return torch.stack([net(2 * now, t) for t, now in enumerate(x)])

    x = torch.rand(T, B, 4, dtype=F64)
    want = run(x)
    snn.utils.reset(net)
    got = snn.layerwise(run)(x)
    assert type(got) is type(net.lif.mem) is torch.Tensor
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_layer_of_torchscript():
    results = []
    for run in (loop, snn.unroll, snn.layerwise(loop)):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), snn.Leaky(0.9, init_hidden=True)).double()
        net[1] = torch.jit.script(net[1])
        out = run(nn.Sequential(net), torch.rand(T, B, 4, dtype=F64))
        results.append([out, *net[1].buffers()])
    for found in results[1:]:
        torch.testing.assert_close(found, results[0], rtol=1e-12, atol=1e-12)


class Doubles(nn.Module):
    memoryless = True

    def forward(self, x):
        return 2 * x


@pytest.mark.parametrize("layer", [nn.Identity(), Doubles(), nn.Sequential(nn.ReLU())], ids=str)
def test_hooks_of_the_backward_pass_see_every_step(layer):
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif, self.layer = nn.Linear(4, 3), snn.Leaky(0.9, init_hidden=True), copy.deepcopy(layer)

        def forward(self, x):
            return self.layer(self.lif(self.fc(x)) + x[:, :3])

    results = []
    for run in (loop, snn.unroll, snn.layerwise(loop)):
        torch.manual_seed(0)
        net, x, seen = Step().double(), torch.rand(T, B, 4, dtype=F64, requires_grad=True), []
        net.layer.register_full_backward_hook(lambda m, of_x, of_out, seen=seen: (seen.append(m), (of_x[0] / 2,))[1])
        out = run(net, x)
        results.append([out, *torch.autograd.grad(out.sin().sum(), [x, *net.parameters()])])
        assert len(seen) == T
    for found in results[1:]:
        torch.testing.assert_close(found, results[0], rtol=1e-10, atol=1e-12)


def test_threads_record_by_themselves():
    x = torch.rand(T, B, 4, dtype=F64)
    nets = [snn.layerwise(Net()) for _ in range(4)]
    want, results = Net()(x), [None] * 4

    def work(k):
        results[k] = [nets[k](x) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert all(torch.allclose(out, want) for found in results for out in found)


def test_unroll_inside_layerwise():
    class Layers(Net):
        def forward(self, x):
            spk, _ = snn.unroll(self.lif1, snn.unroll(self.fc1, x), self.lif1.init_leaky())
            return snn.unroll(self.lif2, self.fc2(spk), self.lif2.init_leaky())[1]

    x = torch.rand(T, B, 4, dtype=F64)
    torch.testing.assert_close(snn.layerwise(Layers())(x), Net()(x), rtol=1e-12, atol=1e-12)


def test_functions_and_classes_are_decorated():
    net = Net()

    @snn.layerwise
    def run(x, *, scale):
        return Net.forward(net, x) * scale

    x = torch.rand(T, B, 4, dtype=F64)
    torch.testing.assert_close(run(x, scale=2.0), 2 * net(x), rtol=1e-12, atol=1e-12)
    fast = snn.layerwise(type("Decorated", (Net,), {}))()
    torch.testing.assert_close(fast(x), net(x), rtol=1e-12, atol=1e-12)
    with snn.backend("auto"):
        for run in (lambda net, x: net(x), lambda net, x: net(x, lengths=None)):
            assert {p.path for p in paths(fast, x, run=run)} >= {"folded", "fused cpu"}
        looped = paths(net, x, run=lambda net, x: net(x))
    assert {(p.path, p.reason) for p in looped} == {("stepped", "a kernel for each step")}
    with pytest.raises(TypeError, match="a module or a function, got int"):
        snn.layerwise(3)


class Draw(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (torch.rand_like(x) < x).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad


@pytest.mark.parametrize("draw", [Draw.apply, torch.bernoulli, lambda x: torch.dropout(x, 0.5, True)])
def test_every_step_draws_by_itself(draw):
    @snn.layerwise
    def run(x):
        return torch.stack([draw(x) for _ in range(T)])

    spikes = run(torch.full((100,), 0.5))
    assert len({tuple(s.tolist()) for s in spikes}) == T


def test_generators_run_as_they_are():
    class Steps(Net):
        def forward(self, x):
            mem1 = self.lif1.init_leaky()
            for now in x:
                spk1, mem1 = self.lif1(self.fc1(now), mem1)
                yield spk1

    x = torch.rand(T, B, 4, dtype=F64)
    assert torch.equal(torch.stack(list(snn.layerwise(Steps())(x))), torch.stack(list(Steps()(x))))


def test_hidden_layers_write_only_what_is_asked_for():
    """The potentials of a layer whose spikes alone are used are no course, unless the gradient needs them."""
    calls = []
    net = snn.layerwise(Net())
    over_time = net.lif1.over_time
    object.__setattr__(net.lif1, "over_time", lambda *a: calls.append(a[4]) or over_time(*a))
    with torch.no_grad():
        net(torch.rand(T, B, 4, dtype=F64))
    assert calls == [[True, False]]


@pytest.mark.parametrize("memoryless", [False, None])
def test_what_is_asked_before_a_module_runs_leaves_no_trace_in_it(memoryless):
    """What it counts in buffers, attributes and lists is how often it was called, not how often it was asked."""

    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))
            self.calls, self.seen = 0, []
            self.memoryless = memoryless

        def forward(self, x):
            self.count.add_(1)
            self.calls += 1
            self.seen.append(self.calls)
            return x * self.count.clone()

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.counts, self.norm = Counts(), snn.SequenceBatchNorm1d(3, momentum=1.0)

        def forward(self, x):
            return self.norm(self.counts(x))

    net, x = Step(), torch.rand(4, 2, 3)
    snn.unroll(net, x)
    assert net.counts.count == net.counts.calls == 4 and net.counts.seen == [1, 2, 3, 4]
    assert net.norm.num_batches_tracked == 1
    torch.testing.assert_close(net.norm.running_mean, (x * torch.arange(1.0, 5).view(4, 1, 1)).mean((0, 1)))


def test_what_is_recorded_is_freed_with_the_results(new_objects_only):
    """Not by the collector of cycles, which may come many steps later."""

    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(3, 4), snn.Leaky(0.9, init_hidden=True)

        def forward(self, x):
            return self.lif(self.fc(x)) * 2

    net = Doubled()
    snn.unroll(net, torch.rand(6, 2, 3)).sum().backward()
    gc.collect()
    gc.disable()
    try:
        snn.unroll(net, torch.rand(6, 2, 3))
        snn.utils.reset(net)
        hollow = {id(meta.hollow) for meta in later._metas.values()}  # which have no memory
        found = [o for o in gc.get_objects() if type(o) is torch.Tensor and o.shape[:2] == (6, 2)]
        assert not sum(id(o) not in hollow for o in found)
    finally:
        gc.enable()


def test_what_somebody_keeps_keeps_nothing_else():
    """As a count that a hook adds up, over calls."""
    kept = [torch.zeros(())]

    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(3, 4), snn.Leaky(0.9, init_hidden=True)

        def forward(self, x):
            spk = self.lif(self.fc(x))
            kept[0] = kept[0] + spk.detach().sum()
            return spk

    net = Counted()
    for _ in range(3):
        snn.unroll(net, torch.rand(6, 2, 3))
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o).__name__ in ("Recorder", "NeuronGroup")]


def test_the_first_call_of_a_process_imports_nothing_heavy():
    program = """
import sys, torch, snntorch as snn
from torch import nn
lif = snn.Leaky(0.9, init_hidden=True)
net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3), lif)
run = snn.layerwise(lambda x: torch.stack([net(x * 2) + 1 for _ in range(3)]))
with torch.no_grad():
    assert run(torch.rand(2, 1, 8, 8)).shape == (3, 2, 3)
assert not {"sympy", "torch._dynamo"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_spikes_in_half_precision_passed_on_are_the_state(capsys):
    """So that a recurrent layer in a loop runs as a whole under autocast."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(6, 5), snn.RLeaky(beta=0.9, linear_features=5, threshold=0.3)

        def forward(self, x):
            spk, mem = self.lif.init_rleaky()
            out = []
            for now in x:
                spk, mem = self.lif(self.fc(now), spk, mem)
                out.append((spk, mem))
            return [torch.stack(of) for of in zip(*out, strict=True)]

    net, x = Net(), torch.rand(9, 3, 6)
    for graded in 1.0, 0.3:
        net.lif.graded_spikes_factor = torch.tensor(graded)
        with torch.autocast("cpu", torch.bfloat16):
            found, expected = snn.layerwise(net)(x), net(x)
            with snn.backend("auto"):
                snn.explain(net, x, run=lambda net, x: snn.layerwise(net)(x))
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
        assert "what it takes depends on its states, at every step" in capsys.readouterr().out


@pytest.mark.parametrize("T", [2, 8])
@pytest.mark.parametrize("way", ["attribute", "loop"])
def test_the_sign_of_a_zero_tells_calls_apart(way, T):
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.zero = 0.0

        def forward(self, x):
            self.zero = -self.zero
            return x / self.zero

    x = torch.ones(T, 3)
    if way == "loop":
        found = snn.layerwise(lambda x: torch.stack([x[t] / (-0.0 if t % 2 == 0 else 0.0) for t in range(T)]))(x)
    else:
        found = snn.unroll(Turned(), x)
    assert torch.equal(found[:, 0], torch.tensor([-torch.inf, torch.inf]).repeat(T // 2))


def test_explain_tells_of_modules_alone(capsys):
    """And not of the functions between them, which a loop calls while no module runs, unless they step."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.lif = nn.Conv2d(1, 2, 3), snn.Leaky(beta=0.9)

        def forward(self, x):
            mem, out = self.lif.init_leaky(), []
            for _ in range(T):
                spk, mem = self.lif(nn.functional.max_pool2d(self.conv(x), 2), mem)
                out.append(spk)
            return torch.stack(out)

    snn.explain(Net(), torch.rand(B, 1, 6, 6), run=lambda net, x: snn.layerwise(net)(x))
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [["conv", "Conv2d"], ["lif", "Leaky"]]
