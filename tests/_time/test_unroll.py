"""unroll is the loop: outputs, gradients and stored states, however it is computed."""

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snntorch as snn
from helpers import Elements, assert_equal, flat, gradients, loop, start
from rows import every_step_row
from snntorch import utils

F64 = torch.float64
T, B = 7, 3


def stored(module):
    """Every stored state of every neuron inside."""
    neurons = [m for m in module.modules() if isinstance(m, snn.SpikingNeuron)]
    return [getattr(neuron, name) for neuron in neurons for name in neuron.states]


def assert_unroll_is_the_loop(module, x, *states, num_steps=None):
    """In float64: spikes equal, states within 1e-12, gradients within 1e-10; buffers such as running means too."""
    other = copy.deepcopy(module)
    x, y = x.clone().requires_grad_(), x.clone().requires_grad_()
    leaves = [[s.clone().requires_grad_() for s in flat(states)] for _ in range(2)]
    expected = loop(module, x, *rebuilt(states, leaves[0]), num_steps=num_steps)
    found = snn.unroll(other, y, *rebuilt(states, leaves[1]), num_steps=num_steps)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(stored(other), stored(module), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dict(other.named_buffers()), dict(module.named_buffers()), rtol=1e-12, atol=1e-12)
    wanted = gradients(expected, x, module, *leaves[0])
    torch.testing.assert_close(gradients(found, y, other, *leaves[1]), wanted, rtol=1e-10, atol=1e-10)
    assert wanted["x"].any()
    return found


def rebuilt(states, leaves):
    """The nested states with their tensors replaced."""
    leaves = iter(leaves)

    def walk(part):
        return next(leaves) if isinstance(part, torch.Tensor) else tuple(walk(p) for p in part)

    return walk(states)


def leaky(**kwargs):
    return snn.Leaky(0.9, init_hidden=True, **kwargs)


def net(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*(make() if callable(make) and not isinstance(make, nn.Module) else make for make in layers))


# -- one neuron


@every_step_row
def test_every_row(row):
    neuron = row.make(F64)
    states = start(row, neuron)
    if states:
        shape = neuron.state_shape(row.input(1, B)[0])
        values = tuple(0.3 * torch.randn(shape, dtype=F64) for _ in row.states)
        states = (values,) if row.cls is snn.DeltaLeaky else values
    assert_unroll_is_the_loop(neuron, row.input(T, B, F64), *states)


@every_step_row
def test_every_row_with_a_static_input(row):
    neuron = row.make(F64)
    assert_unroll_is_the_loop(neuron, row.input(1, B, F64)[0], *start_zeros(row, neuron), num_steps=T)


def start_zeros(row, neuron):
    """Zeros, where the neuron's first call needs states."""
    if row.cls is not snn.DeltaLeaky or neuron.init_hidden:
        return ()
    zeros = torch.zeros(B, *row.shape, dtype=F64)
    return ((zeros, zeros),)


@every_step_row
def test_segments_make_up_the_whole(row):
    x = row.input(9, B, F64)
    whole = snn.unroll(row.make(F64, init_hidden=True, output=True), x)
    neuron = row.make(F64, init_hidden=True, output=True)
    parts = [flat(snn.unroll(neuron, part)) for part in x.split((4, 1, 4))]
    torch.testing.assert_close([torch.cat(p) for p in zip(*parts, strict=True)], flat(whole), rtol=1e-12, atol=1e-12)


def test_states_by_position_as_zeros_and_as_stored():
    x = torch.rand(T, B, 4, dtype=F64)
    expected = snn.unroll(snn.Synaptic(0.9, 0.8), x)
    assert_equal(snn.unroll(snn.Synaptic(0.9, 0.8), x, torch.zeros(0), torch.zeros(0)), expected)
    assert_equal(snn.unroll(snn.Synaptic(0.9, 0.8), x, torch.zeros(0), torch.zeros(B, 4, dtype=F64)), expected)
    neuron = snn.Synaptic(0.9, 0.8)
    snn.unroll(neuron, x[:3])
    assert_equal([part[3:] for part in expected], list(snn.unroll(neuron, x[3:])))


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("batch", [0, 1])
def test_few_steps_and_empty_batches(steps, batch):
    x = torch.rand(steps, batch, 4)
    for neuron in (snn.Leaky(0.9), snn.RLeaky(0.9, linear_features=4)):
        assert [tuple(o.shape) for o in snn.unroll(neuron, x)] == [(steps, batch, 4)] * 2


# -- hypothesis: shapes, dtypes and parameters


@st.composite
def settings_of_a_neuron(draw):
    decay = st.floats(0, 1)
    common = {
        "threshold": draw(st.floats(0.1, 2)),
        "reset_mechanism": draw(st.sampled_from(["subtract", "zero", "none"])),
        "spike_grad": draw(st.sampled_from(["atan", "fast_sigmoid", "sigmoid"])),
        "learn_threshold": draw(st.booleans()),
        "learn_beta": draw(st.booleans()),
    }
    cls = draw(st.sampled_from([snn.Leaky, snn.Synaptic, snn.RLeaky]))
    if cls is snn.Synaptic:
        common["alpha"] = draw(decay)
    if cls is snn.RLeaky:
        common.update(all_to_all=False, V=draw(st.floats(-1, 1)))
    if cls is not snn.RLeaky and draw(st.booleans()):
        common["reset_delay"] = False
    return cls, {"beta": draw(decay), **common}


@settings(max_examples=25)
@given(
    neuron=settings_of_a_neuron(),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 4)),
    features=st.lists(st.integers(1, 4), max_size=3),
    dtype=st.sampled_from([torch.float32, F64]),
    seed=st.integers(0, 99),
)
def test_drawn_neurons(neuron, shape, features, dtype, seed):
    """unroll = loop, segments = whole, and a sample's result is its own."""
    cls, kwargs = neuron
    x = torch.randn(*shape, *features, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    tolerance = {"rtol": 1e-12, "atol": 1e-12} if dtype is F64 else {"rtol": 1e-5, "atol": 1e-5}

    def make():
        return cls(**kwargs, init_hidden=True, output=True).to(dtype)

    module = make()
    whole = flat(snn.unroll(module, x))
    torch.testing.assert_close(whole, flat(loop(make(), x)), **tolerance)
    half = make()
    parts = [flat(snn.unroll(half, part)) for part in x.split((len(x) + 1) // 2)]
    torch.testing.assert_close([torch.cat(p) for p in zip(*parts, strict=True)], whole, **tolerance)
    last = flat(snn.unroll(make(), x[:, -1:]))
    torch.testing.assert_close(last, [o[:, -1:] for o in whole], **tolerance)


# -- networks


def conv_net():
    return net(
        nn.Conv2d(2, 3, 3), leaky(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2, bias=False), leaky(learn_beta=True),
        nn.Flatten(), nn.Linear(4, 5), snn.Synaptic(0.9, 0.8, init_hidden=True, output=True),
    ).double()  # fmt: skip


NETS = {
    "mlp": lambda: net(nn.Linear(4, 8), leaky(), nn.Linear(8, 2), leaky()),
    "output": lambda: net(nn.Linear(4, 3), snn.Alpha(0.9, 0.8, init_hidden=True, output=True)),
    "nested": lambda: net(
        net(nn.Linear(4, 8), leaky()), nn.Identity(), net(net(nn.LayerNorm(8), leaky(threshold=0.3)))
    ),
    "recurrent": lambda: net(nn.Linear(4, 5), snn.RLeaky(0.9, linear_features=5, init_hidden=True), nn.Tanh()),
    "stateless": lambda: net(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)),
    "neuron-first": lambda: net(leaky(threshold=0.3), nn.Linear(4, 2)),
    "slstm": lambda: net(nn.Linear(4, 3), snn.SLSTM(3, 5, init_hidden=True, threshold=0.05), nn.Linear(5, 2)),
    "softmax-steps": lambda: net(nn.Linear(4, 8), nn.Softmax(-1), leaky(threshold=0.1)),
    "subclass": lambda: net(nn.Linear(4, 8), Residual(8), leaky()),
    "empty": lambda: net(),
}


class Residual(nn.Module):
    """A user's own module with a neuron inside."""

    def __init__(self, features):
        super().__init__()
        self.linear, self.lif = nn.Linear(features, features), leaky(threshold=0.5)

    def forward(self, x):
        return x + self.lif(self.linear(x))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("static", [False, True])
def test_networks(name, static):
    module = NETS[name]().double()
    x = 2 * torch.rand(*(() if static else (T,)), B, 4, dtype=F64)
    out = assert_unroll_is_the_loop(module, x, num_steps=T if static else None)
    assert flat(out)[0].shape[:2] == (T, B)


@pytest.mark.parametrize("static", [False, True])
def test_a_convolutional_network(static):
    x = 2 * torch.rand(*(() if static else (T,)), B, 2, 6, 6, dtype=F64)
    spk, _, _ = assert_unroll_is_the_loop(conv_net(), x, num_steps=T if static else None)
    assert spk.shape == (T, B, 5)


@pytest.mark.parametrize("shared", [False, True], ids=["in-a-row", "nested"])
def test_a_layer_that_is_used_twice(shared):
    """Its second use sees the first one's state of the same step, so it must step."""
    lif = leaky(threshold=0.6)
    layers = (nn.Linear(4, 4), lif, net(nn.Linear(4, 4), lif) if shared else lif)
    assert_unroll_is_the_loop(net(*layers).double(), 2 * torch.rand(T, B, 4, dtype=F64))


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("form", ["layers", "nested", "own"])
@pytest.mark.parametrize("recurrent", [{"V": 0.5, "all_to_all": False}, {"linear_features": 5}])
def test_a_layer_that_writes_into_the_spikes_writes_into_what_a_recurrent_neuron_keeps(recurrent, form, backend):
    """As where the spikes, rectified, are handed on to the next step: its gradient is that of the rectifier."""

    class Own(nn.Module):
        def forward(self, x):
            return x.relu_()

    torch.manual_seed(0)
    first, last = nn.Linear(4, 5).double(), nn.Linear(5, 3).double()
    x = 2 * torch.randn(6, 3, 4, dtype=F64)

    def run(way):
        torch.manual_seed(1)
        neuron = snn.RLeaky(0.9, **recurrent, init_hidden=way != "handed on").double()
        rectifier = Own() if form == "own" else nn.ReLU(inplace=True)
        if form == "nested":
            net = nn.Sequential(nn.Sequential(first, neuron), nn.Sequential(nn.Identity(), rectifier, last))
        else:
            net = nn.Sequential(first, neuron, rectifier, last)
        if way == "handed on":
            spk, mem = neuron.reset_mem()
            out = []
            for now in x:
                spk, mem = neuron(first(now), spk, mem)
                spk = spk.relu()
                out.append(last(spk))
            out = torch.stack(out)
        else:
            out = snn.unroll(net, x) if way == "unroll" else torch.stack([net(now) for now in x])
        return out, torch.autograd.grad((out**2).sum(), [*first.parameters(), *neuron.parameters()])

    with snn.backend("eager"):
        expected, grads = run("handed on")
    with snn.backend(backend):
        for way in ("loop", "unroll"):
            found, ours = run(way)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
            torch.testing.assert_close(ours, grads, rtol=0, atol=1e-10)


def test_a_shared_activation_still_folds():
    relu, shapes = counted(nn.ReLU())
    snn.unroll(net(leaky(), nn.Linear(4, 4), relu, net(nn.Linear(4, 4), relu)), torch.rand(T, B, 4))
    assert len(shapes) == 2


class Loopless(nn.Module):
    """A user's network that passes its states on."""

    def __init__(self):
        super().__init__()
        self.linear, self.lif = nn.Linear(4, 3), snn.Synaptic(0.9, 0.8)

    def forward(self, x, syn, mem):
        return self.lif(self.linear(x), syn, mem)


def test_states_of_a_user_s_module():
    torch.manual_seed(0)
    states = torch.rand(2, B, 3, dtype=F64)
    assert_unroll_is_the_loop(Loopless().double(), torch.rand(T, B, 4, dtype=F64), *states)
    with pytest.raises(TypeError, match="given 1 states but returned Tensor"):
        snn.unroll(Adder(), torch.rand(T, B, 4), torch.rand(B, 4))


class Adder(nn.Module):
    def forward(self, x, state):
        return x + state


# -- how layers are called


def counted(layer):
    """The layer with its forward wrapped, and the batch shapes it was called with; no hook, so that it still folds."""
    shapes, forward = [], layer.forward

    def count(x):
        shapes.append(tuple(x.shape))
        return forward(x)

    layer.forward = count
    return layer, shapes


FOLDED = {
    "Linear": (nn.Linear(4, 4), (4,)), "ReLU": (nn.ReLU(), (4,)), "LayerNorm": (nn.LayerNorm(4), (4,)),
    "Dropout": (nn.Dropout(0.5), (4,)), "Conv1d": (nn.Conv1d(2, 3, 3), (2, 5)),
    "Conv2d": (nn.Conv2d(2, 3, 3), (2, 5, 5)), "MaxPool2d": (nn.MaxPool2d(2), (2, 4, 4)),
    "AvgPool2d": (nn.AvgPool2d(2), (2, 4, 4)), "Flatten": (nn.Flatten(), (2, 4)),
    "BatchNorm1d-eval": (nn.BatchNorm1d(4).eval(), (4,)), "BatchNorm2d-eval": (nn.BatchNorm2d(2).eval(), (2, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_stateless_layers_are_called_once_for_all_steps(name):
    layer, shape = FOLDED[name]
    layer, shapes = counted(copy.deepcopy(layer))
    snn.unroll(nn.Sequential(leaky(), layer), torch.rand(T, B, *shape))
    assert len(shapes) == 1


@pytest.mark.parametrize("name", [name for name in FOLDED if name != "Dropout"])
def test_the_static_prefix_is_called_once_on_one_batch(name):
    layer, shape = FOLDED[name]
    layer, shapes = counted(copy.deepcopy(layer))
    snn.unroll(nn.Sequential(layer, leaky()), torch.rand(B, *shape), num_steps=T)
    assert shapes == [(B, *shape)]


def test_batch_norm_steps_in_training():
    layer, shapes = counted(nn.BatchNorm1d(4))
    snn.unroll(nn.Sequential(layer, leaky()), torch.rand(B, 4), num_steps=T)
    assert shapes == [(B, 4)] * T


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("static", [True, False])
def test_batch_norm(train, static):
    """In training each step has its own statistics, and the running ones move at every step."""
    module = net(nn.Linear(4, 4), nn.BatchNorm1d(4), leaky(threshold=0.3), nn.BatchNorm1d(4)).double().train(train)
    module[1].running_mean += 0.5
    x = torch.randn(*(() if static else (T,)), B, 4, dtype=F64)
    assert_unroll_is_the_loop(module, x, num_steps=T if static else None)
    assert int(module[1].num_batches_tracked) == (T if train else 0)


@pytest.mark.parametrize("static", [True, False])
def test_dropout_draws_a_mask_at_every_step(static):
    torch.manual_seed(0)
    x = torch.ones(50, 400) if static else torch.ones(20, 50, 400)
    out = snn.unroll(nn.Sequential(nn.Dropout(0.25)), x, num_steps=20 if static else None)
    assert out.unique().tolist() == [0, pytest.approx(4 / 3)]
    share = float((out == 0).double().mean())
    assert abs(share - 0.25) < 5 * (0.25 * 0.75 / out.numel()) ** 0.5
    for a, b in itertools.pairwise(out):  # masks of successive steps agree by chance alone
        assert abs(float(((a == 0) & (b == 0)).double().mean()) - 0.0625) < 5 * (0.0625 / a.numel()) ** 0.5
    assert_equal(snn.unroll(nn.Sequential(nn.Dropout(0.25)).eval(), torch.ones(T, B, 4)), torch.ones(T, B, 4))


def test_hooks_are_called_once_a_step():
    calls = []
    module = net(nn.Linear(4, 4), leaky(), nn.Linear(4, 2), leaky())
    module[0].register_forward_hook(lambda *_: calls.append("linear"))
    module[1].register_forward_pre_hook(lambda *_: calls.append("lif"))
    x = torch.rand(T, B, 4)
    expected = loop(copy.deepcopy(module), x)
    calls.clear()
    assert_equal(snn.unroll(module, x), expected)
    assert sorted(calls) == ["lif"] * T + ["linear"] * T
    calls.clear()
    snn.unroll(module, x[0], num_steps=T)
    assert sorted(calls) == ["lif"] * T + ["linear"] * T


def test_a_hook_may_change_what_passes():
    module = net(nn.Linear(4, 4), leaky(), nn.Linear(4, 2)).double()
    module[1].register_forward_hook(lambda layer, args, out: 2 * out)
    module.register_forward_pre_hook(lambda layer, args: (args[0] + 1,))
    assert_unroll_is_the_loop(module, torch.rand(T, B, 4, dtype=F64))


def test_subclasses_of_layers_are_stepped():
    """A subclass may do anything."""

    class Counter(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) * self.calls

    module = net(lambda: Counter(4, 3), leaky()).double()
    assert_unroll_is_the_loop(module, torch.rand(T, B, 4, dtype=F64))


class Elsewhere(snn.Leaky):
    """A neuron with a call of its own."""

    def forward(self, input_, mem=None):
        spk, mem = super().forward(2 * input_, mem)
        return spk, mem


def test_a_neuron_with_its_own_forward_is_stepped():
    x = torch.rand(T, B, 4, dtype=F64)
    assert_unroll_is_the_loop(Elsewhere(0.9).double(), x, torch.rand(B, 4, dtype=F64))


# -- cost


@pytest.mark.parametrize(
    "make",
    [lambda: snn.Leaky(0.9), lambda: snn.RLeaky(0.9, linear_features=4), lambda: snn.SLSTM(4, 4), lambda: Residual(4)],
    ids=["Leaky", "RLeaky", "SLSTM", "stepped"],
)
def test_work_grows_linearly_with_time(make):
    """Where backward fills a whole [T, ...] for each of T steps, doubling T makes four times the elements."""

    def elements(steps):
        x = torch.rand(steps, 2, 4, requires_grad=True)
        with Elements() as computed:
            sum(out.sum() for out in flat(snn.unroll(make(), x))).backward()
        return computed.count

    elements(4)  # warm up
    one, two, four = (elements(steps) for steps in (32, 64, 128))
    assert 0 < two <= 2 * one and four <= 2 * two


# -- bad input


def test_named_errors():
    lif = leaky()
    with pytest.raises(TypeError, match="x must be a tensor, got list"):
        snn.unroll(lif, [1.0])
    for steps in (0, -1, 2.0):
        with pytest.raises(ValueError, match="num_steps must be a positive int, got"):
            snn.unroll(lif, torch.rand(B, 4), num_steps=steps)
    for x in (torch.zeros(0, B, 4), torch.tensor(1.0)):
        with pytest.raises(ValueError, match=r"x must be \[T, B, ...\] with T > 0, got shape"):
            snn.unroll(lif, x)
    with pytest.raises(TypeError, match=r"input_ must be a tensor of real numbers, got torch\.complex64"):
        snn.unroll(lif, torch.ones(T, B, 4, dtype=torch.complex64))
    with pytest.raises(TypeError, match="init_hidden=True"):
        snn.unroll(lif, torch.rand(T, B, 4), torch.rand(B, 4))
    with pytest.raises(TypeError, match=r"layer 1 of the Sequential, Leaky, returns a tuple.*init_hidden=True"):
        snn.unroll(nn.Sequential(nn.Linear(4, 4), snn.Leaky(0.9), nn.Linear(4, 4)), torch.rand(T, B, 4))


def test_neurons_that_take_whole_sequences_take_them_in_one_call():
    torch.manual_seed(0)
    x = torch.rand(7, 2, 4)
    linear, neuron = nn.Linear(4, 3), snn.StateLeaky(0.9, 3)
    net = nn.Sequential(linear, neuron)
    for found, expected in zip(snn.unroll(net, x), neuron(linear(x)), strict=True):
        assert torch.equal(found, expected)
    static = snn.unroll(net, x[0], num_steps=5)
    for found, expected in zip(static, neuron(linear(x[0]).expand(5, 2, 3)), strict=True):
        torch.testing.assert_close(found, expected)


def test_parametrised_layers_fold():
    layer = nn.Linear(4, 3)
    calls = []

    class Halved(nn.Module):
        def forward(self, weight):
            calls.append(weight)
            return weight / 2

    nn.utils.parametrize.register_parametrization(layer, "weight", Halved())
    calls.clear()
    net = nn.Sequential(layer, snn.Leaky(0.9, init_hidden=True))
    spk = snn.unroll(net, x := torch.rand(6, 2, 4) * 4)
    assert len(calls) == 1  # once, not once a step
    net[1].reset_mem()
    assert torch.equal(spk, torch.stack([net(now) for now in x]))


@pytest.mark.parametrize("make", [lambda: snn.RLeaky(0.9, linear_features=4), lambda: snn.SLSTM(4, 4)])
def test_recurrence_on_the_meta_device(make):
    neuron = make().to("meta")
    out = snn.unroll(neuron, torch.empty(5, 2, 4, device="meta"), *[torch.zeros(0)] * len(neuron.states))
    assert [(o.device.type, o.shape) for o in out] == [("meta", (5, 2, 4))] * len(out)


class Looping(nn.Module):
    """Its forward is a loop over the first dimension of its input."""

    def __init__(self, hidden):
        super().__init__()
        self.fc, self.hidden = nn.Linear(4, 3), hidden
        self.lif = snn.Leaky(0.9, init_hidden=hidden)

    def forward(self, x):
        spikes, mem = [], self.lif.init_leaky()
        for now in x:
            if self.hidden:
                spikes.append(self.lif(self.fc(now)))
            else:
                spk, mem = self.lif(self.fc(now), mem)
                spikes.append(spk)
        return torch.stack(spikes)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("static", [False, True])
def test_a_loop_over_time_that_is_stepped_is_warned_of(hidden, static):
    net, x = Looping(hidden), torch.rand(6, 5, 4)
    with pytest.warns(UserWarning, match=r"Leaky for each of the 5 parts.*layerwise.*takes_sequence = True"):
        snn.unroll(net, x[0], num_steps=6) if static else snn.unroll(net, x)
    net.takes_sequence = True
    utils.reset(net)
    expected = net(x)
    utils.reset(net)
    assert torch.equal(snn.unroll(net, x), expected)  # and no warning, which would be an error


def test_other_uses_of_a_steps_samples_are_not_warned_of():
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(4, 4), snn.Leaky(0.9)

        def forward(self, x):
            mem = self.lif.init_leaky()
            for _ in range(3):  # as often as there are samples
                spk, mem = self.lif(self.fc(x), mem)
            return spk + x[0] + torch.stack([sample.cumsum(0) for sample in x])

    net, x = Several(), torch.rand(6, 3, 4)
    torch.testing.assert_close(snn.unroll(net, x), torch.stack([net(now) for now in x]))
