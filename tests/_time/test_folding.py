"""What folds: layers whose result for a sample depends on that sample alone, alone and inside of modules."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

import snntorch as snn
from snntorch._time.explain import paths

T, B = 4, 3

LAYERS = {
    "relu6": (nn.ReLU6(), (4,)), "prelu": (nn.PReLU(), (4,)), "softmax": (nn.Softmax(-1), (4,)),
    "softmax by number": (nn.Softmax(1), (4,)), "upsample": (nn.Upsample(scale_factor=2), (2, 4, 4)),
    "rms norm": (nn.RMSNorm(4), (4,)), "unflatten": (nn.Unflatten(1, (2, 2)), (4,)),
    "transposed": (nn.ConvTranspose2d(2, 3, 2), (2, 4, 4)), "graded": (snn.GradedSpikes(4), (4,)),
    "glu": (nn.GLU(), (4,)), "shuffle": (nn.PixelShuffle(2), (4, 4, 4)), "pad": (nn.ReflectionPad2d(1), (2, 4, 4)),
    "local norm": (nn.LocalResponseNorm(2), (2, 4, 4)), "fold": (nn.Fold((4, 4), 2), (8, 9)),
    "unfold": (nn.Unfold(2), (2, 4, 4)), "lp pool": (nn.LPPool2d(2, 2), (2, 4, 4)),
    "instance norm": (nn.InstanceNorm2d(2), (2, 4, 4)), "group norm": (nn.GroupNorm(1, 2), (2, 4, 4)),
    "batch norm without statistics": (nn.BatchNorm1d(4, track_running_stats=False), (4,)),
    "encoder": (nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), (5, 4)),
    "cell": (nn.GRUCell(4, 3), (4,)), "flatten all": (nn.Flatten(0), (4,)), "linear": (nn.Linear(4, 2), (4,)),
    "parametrised": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), (4,)),
    "pruned": (prune.l1_unstructured(nn.Linear(4, 2), "weight", 0.5), (4,)),
    "of a sample": (nn.Sequential(nn.Conv1d(3, 2, 2), nn.AvgPool1d(2)), (4,)),
    "batch norm": (nn.BatchNorm2d(2).eval(), (2, 4, 4)), "max pool": (nn.MaxPool1d(2), (2, 4)),
}  # fmt: skip


class Called(nn.Module):
    """A layer inside a module of the user's."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x) * 2


@pytest.mark.parametrize("name", LAYERS)
def test_layers_fold(name):
    layer, shape = LAYERS[name]
    layer = layer.double()
    x = torch.randn(T, B, *shape, dtype=torch.float64, requires_grad=True)
    for module in (layer, Called(layer)):
        want = torch.stack([module(now) for now in x])
        got = snn.unroll(module, x)
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
        draw = torch.randn_like(want)
        wrt = [x, *(p for p in module.parameters() if p.requires_grad)]
        grads = [torch.autograd.grad((out * draw).sum(), wrt, allow_unused=True) for out in (got, want)]
        torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)
        assert {path.path for path in paths(module, x) if path.layer != "Called"} == {"folded"}


class Own(nn.Module):
    """What a layer of the user's is, of which only that is known."""

    memoryless = True

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(x).tanh()


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # PyTorch's own, which it hides by other means
@pytest.mark.parametrize("name", [*LAYERS, "own"])
def test_layers_under_autocast(name):
    """In half precision where the loop is, with gradients."""
    torch.manual_seed(0)
    layer, shape = LAYERS[name] if name != "own" else (Own(), (4,))
    layer = layer.float()
    x = torch.randn(8, B, *shape, requires_grad=True)
    for module in (layer, Called(layer), nn.Sequential(layer)):
        wrt = [x, *(p for p in module.parameters() if p.requires_grad)]
        with torch.autocast("cpu", torch.bfloat16):
            outs = [snn.unroll(module, x), snn.unroll(module, x), torch.stack([module(now) for now in x])]
        draw = torch.randn(outs[0].shape)
        grads = [torch.autograd.grad((out.float() * draw).sum(), wrt, allow_unused=True) for out in outs]
        for out, of_weights in zip(outs[:2], grads[:2], strict=True):
            assert out.dtype == outs[2].dtype
            for a, b in zip((out, *of_weights), (outs[2], *grads[2]), strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    assert (a - b).norm() <= 0.03 * b.norm() + 1e-3


class Memory(nn.Module):
    """Counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + self.calls


class Declared(Memory):
    """Says that what a sample gives depends on that sample alone, so that one call will do."""

    memoryless = True

    def forward(self, x):
        self.calls += 1
        return torch.relu(x)


def test_users_declare_what_folds():
    x = torch.rand(T, B, 4)
    for net in (Declared(), nn.Sequential(Declared(), snn.Leaky(0.9, init_hidden=True))):
        layer = net[0] if isinstance(net, nn.Sequential) else net
        snn.unroll(net, x)
        assert layer.calls == 1
    memory = Memory()
    assert torch.equal(snn.unroll(memory, x), torch.stack([x[t] + t + 1 for t in range(T)]))


class Whole(nn.Module):
    """Takes whole sequences: each step minus the first one."""

    takes_sequence = True

    def forward(self, x):
        return x - x[:1]


class Reads(nn.Module):
    """Takes a whole sequence, and reads a value of it."""

    takes_sequence = True

    def forward(self, x):
        return x / x.sum().item() if x.sum() > 0 else x


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda: snn.PSN(T), lambda: snn.MaskedPSN(T, 2), lambda: snn.BatchNormTT1d(4, T), Reads,
        lambda: snn.SequenceBatchNorm1d(4, momentum=None),
        lambda: snn.TemporalEffectiveBatchNorm1d(4, T),
    ],
)  # fmt: skip
def test_whole_sequences_inside_a_recorded_step(make, batch):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = make()

        def forward(self, x):
            return self.layer(x) + x

    if batch == 1 and make().__class__ is snn.BatchNormTT1d:
        pytest.skip("PyTorch's batch normalisation refuses one value")
    net, x = Residual(), torch.rand(T, batch, 4)
    expected = (again := copy.deepcopy(net))(x)
    assert torch.equal(snn.unroll(net, x), expected)
    for name, value in again.state_dict().items():  # running statistics took the sequence once
        assert torch.equal(net.state_dict()[name], value), name


class Inside(nn.Module):
    """One step, in which a layer takes the whole sequence."""

    def __init__(self, layer, before=None, after=None):
        super().__init__()
        self.fc, self.layer, self.before, self.after = nn.Linear(4, 4), layer, before, after
        self.lif = snn.Leaky(0.9, init_hidden=True)

    def forward(self, x):
        x = self.fc(x)
        if self.before:
            self.before(self, x)
        x = self.layer(x)
        if self.after:
            self.after(self, x)
        return x


@pytest.mark.parametrize("make", [lambda: snn.SlidingPSN(2), lambda: snn.StateLeaky(0.9, 4, output=False), Whole])
@pytest.mark.parametrize(
    ("run", "why"),
    [
        (lambda net, x: torch.func.vjp(lambda x: snn.unroll(net, x), x), "somebody else watches"),
        (lambda net, x: snn.layerwise(lambda x: snn.unroll(net, x))(x), "compiled, or recorded itself"),
        (lambda net, x: snn.unroll(Inside(net.layer, before=lambda m, x: m.lif(x).sum().item()), x), "needs a value"),
        (lambda net, x: snn.unroll(Inside(net.layer, after=lambda m, x: m.fc.weight.data.mul_(2)), x), "1 of 4 steps"),
    ],
    ids=["transformed", "nested", "read", "written"],
)
def test_what_takes_whole_sequences_is_never_given_a_step(make, run, why):
    """Where that can't be helped it raises: a step's samples would be taken for time."""
    net, x = Inside(make()), torch.rand(T, B, 4)
    with pytest.raises(ValueError, match=f"takes whole sequences.*{why}"):
        run(net, x)
    net.layer = snn.SequenceBatchNorm1d(4).eval()  # takes both
    if why != "1 of 4 steps":
        run(net, x)


def test_whole_sequences_inside_of_one_another_and_beside_hooks_that_read():
    class Outer(nn.Module):
        takes_sequence = True

        def __init__(self):
            super().__init__()
            self.layer = snn.StateLeaky(0.9, 4, output=False)

        def forward(self, x):
            return 2 * self.layer(x)

    net, x = Inside(Outer()), torch.rand(T, B, 4)
    torch.testing.assert_close(snn.unroll(net, x), net(x))
    plain, seen = nn.Sequential(net.fc, net.layer, snn.Leaky(0.9, init_hidden=True)), []
    expected = snn.unroll(plain, x)
    plain[2].reset_mem()
    for layer in plain:
        layer.register_forward_hook(lambda module, args, out: seen.append(out.sum().item()))
    torch.testing.assert_close(snn.unroll(plain, x), expected)
    assert len(seen) == 2 * T + 1


@pytest.mark.parametrize(
    "make", [Whole, lambda: snn.BatchNormTT1d(4, T), lambda: snn.LeakyParallel(4, 4), lambda: snn.StateLeaky(0.9, 4)]
)
def test_layers_that_take_whole_sequences(make):
    """By themselves, in a Sequential, and in a module of one step they get the sequence once."""
    torch.manual_seed(0)
    layer, fc = make().double().eval(), nn.Linear(4, 4).double()
    x = torch.rand(T, B, 4, dtype=torch.float64)

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.fc = layer, fc

        def forward(self, x):
            out = self.layer(self.fc(x))
            return out[0] + 1 if isinstance(out, tuple) else out + 1

    def first(out):
        return out[0] if isinstance(out, tuple) else out

    want = first(layer(fc(x)))
    torch.testing.assert_close(first(snn.unroll(layer, fc(x))), want)
    torch.testing.assert_close(first(snn.unroll(nn.Sequential(fc, layer), x)), want)
    torch.testing.assert_close(snn.unroll(Step(), x), want + 1)
    with snn.backend("auto"):
        assert "whole sequence" in {path.path for path in paths(Step(), x)}


def test_a_layer_of_whole_sequences_can_not_feed_back_on_itself():
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.last = Whole(), torch.zeros(B, 4)

        def forward(self, x):
            self.last = self.layer(x + self.last)
            return self.last

    with pytest.raises(ValueError, match="what it takes must not depend on what it gives"):
        snn.unroll(Step(), torch.rand(T, B, 4))


MATRICES = torch.rand(3, 5, 4, dtype=torch.float64)
MATRIX, VECTOR = MATRICES[0], MATRICES[0, :, 0]
OF_DIMENSIONS = {
    "softmax": lambda x: x.softmax(1), "log softmax": lambda x: F.log_softmax(x, dim=0), "mean": lambda x: x.mean(-2),
    "sums": lambda x: x.sum((0, 2)), "sum by keyword": lambda x: x.sum(dim=[1], keepdim=True), "sum": lambda x: x.sum(),
    "max": lambda x: x.max(1)[0], "maximum": lambda x: torch.max(x, x + 0.1), "argmax": lambda x: x.argmax(0, True),
    "cumsum": lambda x: x.cumsum(0), "squeeze": lambda x: x[:1].squeeze(0), "unsqueeze": lambda x: x.unsqueeze(0),
    "unsqueeze last": lambda x: x.unsqueeze(-1), "unflatten": lambda x: x.unflatten(1, (2, 2)).unflatten(-1, (5, 1)),
    "transpose": lambda x: x.transpose(0, -1), "swapaxes": lambda x: x.swapaxes(axis0=0, axis1=1),
    "permute": lambda x: x.permute(2, 0, 1), "permute by tuple": lambda x: torch.permute(x, (2, -3, 1)),
    "flip": lambda x: x.flip(0, 1), "flip by list": lambda x: torch.flip(x, [0]), "flatten": lambda x: x.flatten(0, 1),
    "flatten to": lambda x: torch.flatten(x, end_dim=1), "flatten all": lambda x: x.flatten(),
    "view": lambda x: x.view(-1, 5), "reshape": lambda x: x.permute(2, 1, 0).reshape((5, -1)),
    "chunk": lambda x: x.chunk(2)[1], "split": lambda x: x.split([1, 3], 1)[1], "split first": lambda x: x.split(2)[0],
    "cat": lambda x: torch.cat([x, x * 2]), "cat last": lambda x: torch.cat((x, x), -1),
    "cat with a constant": lambda x: torch.cat([x, torch.ones(1, 4, 5, dtype=x.dtype)]),
    "stack": lambda x: torch.stack([x, x * 2]), "stack behind": lambda x: torch.stack([x, x], dim=2),
    "rows": lambda x: x[1] + x[-1, :, None][0, 0], "range": lambda x: x[..., 1:3], "new": lambda x: x[None, :, 2:],
    "mask": lambda x: torch.where(x > 0.5, x, 0), "matmul": lambda x: x @ x.mT, "gram": lambda x: x[0].T @ x[0],
    "by a matrix": lambda x: x @ x.new_ones(5, 2), "matrix by": lambda x: x.new_ones(4) @ x,
    "of vectors": lambda x: x[0, 0] @ x[1, 0], "by a vector": lambda x: x @ x[0, 0], "ranks": lambda x: x @ x[0].mT,
    "by a held matrix": lambda x: x @ MATRIX, "held matrix by": lambda x: torch.matmul(MATRIX, x),
    "by held matrices": lambda x: x[0] @ MATRICES, "held matrices by": lambda x: MATRICES @ x[1],
    "by a held vector": lambda x: x @ VECTOR, "held vector by": lambda x: VECTOR[:4] @ x,
    "view of bytes": lambda x: x.view(torch.int32) % 7, "view by keyword": lambda x: x.view(size=(-1, 5)),
    "in place": lambda x: torch.ones_like(x[0]).add_(x[1]) * x,
    "max pool": lambda x: F.max_pool2d(x[None], 2, return_indices=True)[1],
}  # fmt: skip


@pytest.mark.parametrize("name", OF_DIMENSIONS)
def test_functions_of_dimensions(name):
    """Whatever a step does with its dimensions, all steps at once do with theirs."""
    function = OF_DIMENSIONS[name]
    net, x = Function(function), torch.rand(T, B, 4, 5, dtype=torch.float64)
    net.train()
    got = snn.unroll(net, x)
    torch.testing.assert_close(got, torch.stack([function(now) for now in x]), rtol=1e-12, atol=1e-12)
    assert "stepped" not in {path.path for path in paths(net, x)}


def test_a_layer_that_nothing_can_be_told_of_steps_and_is_named():
    class Selects(nn.Module):
        memoryless = True

        def forward(self, x):
            return x[x > -1].reshape(x.shape)

    net, x = nn.Sequential(Selects(), nn.Linear(4, 2)), torch.rand(T, B, 4)
    torch.testing.assert_close(snn.unroll(net, x), torch.stack([net(now) for now in x]))
    assert [(path.name, path.path) for path in paths(net, x)] == [("0", "stepped"), ("1", "folded")]


class Function(nn.Module):
    """A function as a module of one step."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x + 0)


@pytest.mark.parametrize("layer", [nn.ReLU(inplace=True), nn.ELU(inplace=True), nn.Hardtanh(inplace=True)], ids=str)
def test_layers_in_place_after_what_runs_once_for_all_steps(layer):
    """Where every step has a value of its own, `unroll` has one for all."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 4)), layer, snn.Leaky(0.9, init_hidden=True)).double()
    x = torch.randn(B, 4, dtype=torch.float64, requires_grad=True)
    found = snn.unroll(net, x, num_steps=T)
    snn.utils.reset(net)
    expected = torch.stack([net(x) for _ in range(T)])
    assert torch.equal(found, expected) and found.any()
    weights = torch.rand_like(found)
    grads = [torch.autograd.grad(out, [x, *net.parameters()], weights) for out in (found, expected)]
    torch.testing.assert_close(*grads)
