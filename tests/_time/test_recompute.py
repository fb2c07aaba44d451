"""`unroll(..., recompute=K)`: the same numbers, a fraction of the memory."""

import pytest
import torch
from torch import nn

import snntorch as snn

T, B = 12, 3


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8),
        snn.Leaky(0.9, init_hidden=True, learn_beta=True),
        nn.Dropout(0.0),
        nn.Sequential(nn.Linear(8, 6), snn.RLeaky(0.8, linear_features=6, init_hidden=True)),
        nn.Linear(6, 2),
        snn.Synaptic(0.9, 0.8, init_hidden=True, output=True),
    )


def run(net, x, **options):
    net, x = net.double(), x.double().requires_grad_()  # gradients are summed in another order
    out = snn.unroll(net, x, **options)
    sum(o.square().sum() for o in out).backward()
    states = [net[1].mem, net[3][1].spk, net[3][1].mem, net[5].syn, net[5].mem]
    return [*out, x.grad, *states, *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("length", [1, 4, 5, 12, 100])
def test_same_numbers_and_states(length):
    x = torch.rand(T, B, 4) * 3
    torch.testing.assert_close(run(network(), x, recompute=length), run(network(), x))


def test_buffers_that_modules_share_stay_shared():
    class Counting(nn.Module):
        def __init__(self, count):
            super().__init__()
            self.register_buffer("count", count)

        def forward(self, x):
            self.count.add_(1)
            return x * self.count.clone()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            count = torch.zeros(())
            self.a, self.b = Counting(count), Counting(count)

        def forward(self, x):
            return self.b(self.a(x))

    net, x = Net(), torch.ones(T, B, 4, requires_grad=True)
    out = snn.unroll(net, x, recompute=5)
    out.sum().backward()
    assert net.a.count is net.b.count and net.a.count == 2 * T
    want = torch.tensor([(2.0 * t + 1) * (2 * t + 2) for t in range(T)])
    assert torch.equal(out[:, 0, 0], want) and torch.equal(x.grad[:, 0, 0], want)


def test_static_input():
    x = torch.rand(B, 4) * 3
    torch.testing.assert_close(run(network(), x, num_steps=T, recompute=5), run(network(), x, num_steps=T))


def test_explicit_states():
    lif, x, mem = snn.Leaky(0.9), torch.rand(T, B, 4) * 2, torch.rand(B, 4, requires_grad=True)
    grads = []
    for options in ({}, {"recompute": 5}):
        spk, trace = snn.unroll(lif, x, mem, **options)
        grads.append(torch.autograd.grad(trace.square().sum() + spk.sum(), mem)[0])
    torch.testing.assert_close(grads[1], grads[0])


def kept_bytes(net, x, **options) -> int:
    """Bytes of distinct memory that autograd keeps, the input and the parameters aside."""
    known = {t.untyped_storage().data_ptr() for t in (x, *net.parameters(), *net.buffers())}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = (storage.nbytes(), tensor)  # holding it keeps its address its own
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = snn.unroll(net, x, **options)
    assert out.requires_grad
    return sum(size for size, _ in storages.values())


def test_memory_falls_with_the_segments():
    x = torch.rand(64, 2, 16)

    def net():
        return nn.Sequential(nn.Linear(16, 32), snn.Leaky(0.9, init_hidden=True), nn.Linear(32, 32),
                             snn.Leaky(0.9, init_hidden=True))  # fmt: skip

    whole, parts = kept_bytes(net(), x), kept_bytes(net(), x, recompute=8)
    state = 2 * 32 * 4  # bytes of one layer's membrane potential
    assert whole >= 64 * state * 2  # a course for each layer
    assert parts <= whole / 8


def test_refuses_what_it_cannot_do():
    net = snn.Leaky(0.9, init_hidden=True)
    with pytest.raises(ValueError, match="recompute must be a positive int, got 0"):
        snn.unroll(net, torch.rand(T, B, 4), recompute=0)
    with pytest.raises(ValueError, match="the sequence that 0 takes as a whole"):
        snn.unroll(nn.Sequential(snn.StateLeaky(0.9, 4)), torch.rand(T, B, 4), recompute=4)


class Counting(nn.Module):
    """A layer of the user's with a state in a buffer, one in an attribute, a counter and a list."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("mean", torch.zeros(4))
        self.last, self.calls, self.seen = None, 0, []

    def forward(self, x):
        out = self.fc(x) - self.mean
        with torch.no_grad():
            self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        out = out if self.last is None else out + 0.5 * self.last
        self.last, self.calls = torch.tanh(out), self.calls + 1
        self.seen.append(self.calls)
        return self.last


LAYERS = {
    "batch norm": lambda: nn.BatchNorm1d(4),
    "instance norm": lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2, track_running_stats=True),
                                           nn.Flatten()),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
    "old spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(4, 4)),
    "a user's": Counting,
    "dropout": lambda: nn.Dropout(0.5),
    "in place": lambda: nn.ReLU(inplace=True),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.spectral_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layers_that_change_run_twice_as_if_once(make):
    results = []
    for length in (None, 5, 1):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 4), make(), snn.DeltaLeaky(0.2, beta=0.9, init_hidden=True, output=True))
        net, x = net.double(), torch.rand(T, B, 4, dtype=torch.float64) * 2
        rng = torch.get_rng_state()
        spk, (mem, _) = snn.unroll(net, x, recompute=length)
        ((spk + mem.square()) * torch.rand(spk.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        held = [v for m in net.modules() for v in vars(m).values() if isinstance(v, int | list)]
        gradients = [p.grad for p in net.parameters()]
        if isinstance(net[1], nn.Dropout) and length == 1:
            continue  # its draws, one step at a time, are other ones
        results.append(([spk, mem, *gradients, *net.buffers()], held, rng))
    for tensors, held, _ in results[1:]:
        if not isinstance(net[1], nn.Dropout):
            torch.testing.assert_close(tensors, results[0][0], rtol=1e-10, atol=1e-10)
        assert held == results[0][1]


def test_the_backend_of_the_forward_pass_counts():
    x = torch.rand(T, B, 4) * 3
    with snn.backend("eager"):
        out = snn.unroll(network(), x.requires_grad_(), recompute=4)
    sum(o.square().sum() for o in out).backward()  # the kernels would keep other tensors
    assert x.grad.isfinite().all()


def test_the_mode_of_the_forward_pass_counts():
    def gradient(mode):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), snn.Leaky(beta=0.9, init_hidden=True))
        spk = snn.unroll(net, torch.rand(6, 3, 4), recompute=2)
        net.train(mode)
        spk.square().sum().backward()
        assert all(module.training == mode for module in net.modules())
        return net[0].weight.grad

    torch.testing.assert_close(gradient(mode=False), gradient(mode=True), rtol=0, atol=0)
    assert gradient(mode=False).abs().sum() > 0


def test_checkpoints_of_stored_states_say_that_they_would_be_wrong():
    from torch.utils.checkpoint import checkpoint

    fc, lif = nn.Linear(4, 4), snn.Leaky(0.9, init_hidden=True)
    for reentrant in (False, True):
        snn.utils.reset(lif)
        x = torch.rand(B, 4, requires_grad=True)
        steps = [checkpoint(lambda x: lif(fc(x)), x, use_reentrant=reentrant) for _ in range(3)]
        with pytest.raises(RuntimeError, match=r"recompute=K"):
            sum(steps).sum().backward()


def test_checkpoints_of_passed_and_of_reset_states_are_right():
    from torch.utils.checkpoint import checkpoint

    fc, lif = nn.Linear(4, 4).double(), snn.Leaky(0.9).double()

    def sequence(x):
        mem = lif.init_leaky()
        total = 0
        for _ in range(3):
            spk, mem = lif(fc(x), mem)
            total = total + mem + spk
        return total

    x = torch.rand(B, 4, dtype=torch.float64)
    grads = []
    for call in (sequence, lambda x: checkpoint(sequence, x, use_reentrant=False)):
        fc.zero_grad()
        call(x).sum().backward()
        grads.append(fc.weight.grad.clone())
    torch.testing.assert_close(*grads)
    fc.zero_grad()
    mem = torch.zeros(B, 4, dtype=torch.float64)
    total = 0
    for _ in range(3):
        spk, mem = checkpoint(lambda x, mem: lif(fc(x), mem), x, mem, use_reentrant=False)
        total = total + mem + spk
    total.sum().backward()
    torch.testing.assert_close(fc.weight.grad, grads[0])


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_of_a_loop_that_resets_are_right(reentrant):
    """Each time that it runs; a loop that does not is told apart from it."""
    from torch.utils.checkpoint import checkpoint

    fc, lif = nn.Linear(4, 4).double(), snn.Leaky(0.9, init_hidden=True).double()
    x = torch.rand(B, 4, dtype=torch.float64, requires_grad=True)

    def steps(x):
        return sum(lif(fc(x)).sum() + lif.mem.sum() for _ in range(3))

    def sequence(x):
        snn.utils.reset(lif)
        return steps(x) + steps(x)

    found = []
    for _ in range(2):
        for call in (sequence, lambda x: checkpoint(sequence, x, use_reentrant=reentrant)):
            found.append(torch.autograd.backward(call(x)) or [x.grad, fc.weight.grad])
            x.grad = fc.weight.grad = None
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])
    out = checkpoint(steps, x, use_reentrant=reentrant)
    for before in (lambda: None, lambda: snn.utils.reset(lif)):  # where the first run began from what it had left
        before()
        with pytest.raises(RuntimeError, match=r"recompute=K"):
            out.backward(retain_graph=True)


class Residual(nn.Module):
    """One step."""

    def __init__(self):
        super().__init__()
        self.lif = snn.Leaky(0.9, init_hidden=True, learn_beta=True)

    def forward(self, x):
        return self.lif(x.relu() + x)


def test_states_lie_as_they_lay():
    """In another order of memory they might run another way, which keeps other tensors."""
    net, x = Residual().double(), torch.randn(T, B, 4, 5, 2, dtype=torch.float64)
    x = x.permute(0, 1, 4, 2, 3).requires_grad_()  # channels last
    found = []
    for recompute in (None, 5):
        snn.utils.reset(net)
        out = snn.unroll(net, x, recompute=recompute)
        found.append([out, *torch.autograd.grad(out.sum(), [x, net.lif.beta])])
    torch.testing.assert_close(*found)
