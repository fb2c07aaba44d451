"""eprop and ottt: equal to BPTT where they are exact, equal to their papers' equations where they approximate."""

import contextlib
import gc
import weakref
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import snntorch as snn
from rows import CHANNELS, FEATURES, STEP_ROWS, rows
from rows import IMAGE as IMAGE_ROW
from snntorch import backprop, surrogate
from snntorch import functional as SF
from snntorch._neurons.recurrent import Recurrent

STEPS, BATCH, FAN_IN, NEURONS = 12, 3, 4, 5


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


class Adaptive(snn.SpikingNeuron):
    """Threshold `threshold + adaptation * a`, reset detached: the ALIF of Bellec et al., 2020."""

    states = ("spk", "mem", "a")

    def __init__(self, beta, rho, adaptation, **kwargs):
        super().__init__(**kwargs)
        self.register_value("beta", beta)
        self.register_value("rho", rho, learn=True)
        self.register_value("adaptation", adaptation, learn=True)

    @staticmethod
    def step(x, spk, mem, a, *, beta, rho, adaptation, threshold, spike):
        mem = beta * mem + x - spk.detach() * threshold
        spk = spike(mem - threshold - adaptation * a)
        return spk, spk, mem, rho * a + spk


class RecurrentAdaptive(Recurrent, Adaptive):
    def __init__(self, *args, linear_features, **kwargs):
        super().__init__(*args, **kwargs)
        self.add_recurrence(1.0, True, linear_features, None, None, True)


class Driven(snn.RLeaky):
    """A neuron whose drive is what a function of it, the projected input and its states makes."""

    def __init__(self, drive, **parameters):
        super().__init__(0.8, 0.0, all_to_all=False, learn_recurrent=False, **COMMON)
        self.made = drive
        for name, value in parameters.items():
            self.register_value(name, value, learn=True)

    def drive(self, projected, *states):
        made = self.made(self, projected, *states)
        return made if isinstance(made, tuple) else (made,)


@contextlib.contextmanager
def cut(neuron, mixed=lambda name: True):
    """The net without the way back through what a neuron's drive makes of its states."""
    drive = neuron.drive

    def of_cut(projected, *states):
        return drive(projected, *[s.detach() if mixed(n) else s for n, s in zip(neuron.states, states, strict=True)])

    neuron.drive = of_cut
    yield
    del neuron.drive


def squared(out, target):
    """A loss of one step, on the spikes and (where they are returned) the membrane potential."""
    outputs = out if isinstance(out, tuple) else (out,)
    mem = outputs[-1][0] if isinstance(outputs[-1], tuple) else outputs[-1]
    return (outputs[0] - target).square().mean() + (mem - target).square().mean()


def gradients(net, learn):
    net.zero_grad()
    loss = learn()
    return loss, {name: p.grad for name, p in net.named_parameters()}


def bptt(net, x, target, criterion=squared):
    def learn():
        snn.utils.reset(net)
        loss = sum(criterion(net(step), target) for step in x)
        loss.backward()
        return loss.detach()

    return gradients(net, learn)


def online(rule, net, x, target, criterion=squared, **options):
    return gradients(net, lambda: rule(net, x, target, criterion, **options))


online_eprop = partial(online, backprop.eprop)


def assert_equal(actual, expected, only=None):
    torch.testing.assert_close(actual[0], expected[0], rtol=1e-12, atol=1e-12)
    for name, gradient in expected[1].items():
        if gradient is None and actual[1][name] is None:  # frozen
            continue
        if only is None or name.startswith(only):
            assert gradient.abs().max() > 1e-6, f"{name} has no gradient to compare"
            torch.testing.assert_close(actual[1][name], gradient, rtol=1e-10, atol=1e-12, msg=lambda m: f"{name}: {m}")  # noqa: B023


SMOOTH = surrogate.fast_sigmoid(slope=2)
COMMON = {"init_hidden": True, "output": True, "spike_grad": SMOOTH}
ALIKE = {  # neurons that filter alike, which ottt takes too
    "leaky": lambda: snn.Leaky(beta=0.9, **COMMON),
    "no reset": lambda: snn.Leaky(beta=0.9, reset_mechanism="none", **COMMON),
    "learnt beta and threshold": lambda: snn.Leaky(beta=0.8, learn_beta=True, learn_threshold=True, **COMMON),
    "graded": lambda: snn.Leaky(beta=0.8, graded_spikes_factor=1.5, learn_graded_spikes_factor=True, **COMMON),
    "lapicque": lambda: snn.Lapicque(beta=0.9, learn_beta=True, **COMMON),
    "synaptic": lambda: snn.Synaptic(alpha=0.7, beta=0.9, learn_alpha=True, learn_beta=True, **COMMON),
    "alpha": lambda: snn.Alpha(alpha=0.9, beta=0.7, reset_mechanism="none", **COMMON),
    "own surrogate": lambda: snn.Leaky(beta=0.9, init_hidden=True, output=True, spike_grad=lambda x: x.sigmoid()),
    "arguments not kept": lambda: snn.Leaky(beta=0.9, spike_grad=SMOOTH),
}
OTHERS = {
    "reset to zero": lambda: snn.Leaky(beta=0.9, reset_mechanism="zero", **COMMON),
    "reset at once": lambda: snn.Leaky(beta=0.9, reset_delay=False, **COMMON),
    "decay per neuron": lambda: snn.Leaky(beta=torch.linspace(0.5, 0.9, NEURONS), learn_beta=True, **COMMON),
    "alpha, reset to zero": lambda: snn.Alpha(alpha=0.9, beta=0.7, **COMMON),
    "recurrent one to one": lambda: snn.RLeaky(beta=0.8, V=torch.full((NEURONS,), 0.3), all_to_all=False, **COMMON),
    "recurrent synaptic": lambda: snn.RSynaptic(alpha=0.6, beta=0.8, V=0.3, all_to_all=False, **COMMON),
    "adaptive": lambda: Adaptive(0.9, 0.8, 0.3, **COMMON),
    "delta": lambda: snn.DeltaLeaky(0.3, beta=0.9, **COMMON),
}


def one_layer(neuron):
    net = nn.Sequential(nn.Linear(FAN_IN, NEURONS), neuron)
    with torch.no_grad():
        net[0].weight.mul_(2).add_(0.2)
    return net


def inputs():
    return torch.rand(STEPS, BATCH, FAN_IN), torch.rand(BATCH, NEURONS)


@pytest.mark.parametrize("make", [*ALIKE.values(), *OTHERS.values()], ids=[*ALIKE, *OTHERS])
def test_eprop_is_exact_for_one_layer_of_any_elementwise_neuron(make):
    net, (x, target) = one_layer(make()), inputs()
    assert_equal(online(backprop.eprop, net, x, target), bptt(net, x, target))


@pytest.mark.parametrize("make", ALIKE.values(), ids=ALIKE)
def test_ottt_is_exact_for_one_layer_of_neurons_that_filter_alike(make):
    net, (x, target) = one_layer(make()), inputs()
    assert_equal(online(backprop.ottt, net, x, target), bptt(net, x, target))


@pytest.mark.parametrize("make", [m for n, m in OTHERS.items() if n != "delta"])
def test_ottt_names_what_it_cannot_do(make):
    net, (x, target) = one_layer(make()), inputs()
    with pytest.raises(NotImplementedError, match=r"ottt needs neurons whose states decay by the same.*eprop takes"):
        backprop.ottt(net, x, target, squared)


RESTING = {  # neurons whose first step goes on from states that they learn
    "izhikevich": (60, lambda: snn.Izhikevich(learn=("a", "b", "c", "d", "rest"), **COMMON)),
    "adex": (2500, lambda: snn.AdEx(learn=("E_L", "a", "tau_w"), **COMMON)),
    "qif": (4, lambda: snn.QIF(learn=("rest",), **COMMON)),
}


@pytest.mark.parametrize(("scale", "make"), RESTING.values(), ids=RESTING)
def test_eprop_is_exact_from_what_neurons_rest_at(scale, make):
    net, (x, target) = one_layer(make()), inputs()

    def of_spikes(out, target):
        return (out[0] - target).square().mean() + 1e-3 * (out[1] - target).square().mean()

    for _ in range(2):  # from the first states, and after a reset
        assert_equal(*(learn(net, scale * x, target, of_spikes) for learn in (partial(online, backprop.eprop), bptt)))


def test_eprop_draws_the_noise_of_the_loop():
    net, (x, target) = (
        one_layer(snn.NoisyLeaky(beta=0.9, width=0.3, learn_width=True, learn_beta=True, **COMMON)),
        inputs(),
    )
    results = []
    for learn in (partial(online, backprop.eprop), bptt):
        torch.manual_seed(1)
        results.append(learn(net, x, target))
    assert_equal(*results)


@rows([r for r in STEP_ROWS if r.name != "SConv2dLSTM-avg-pool-learn"])
def test_eprop_is_exact_for_every_neuron_of_the_table(row):
    """With recurrent weights between neurons, exact for the net that is cut at them."""
    neuron = row.make(torch.float64, init_hidden=True, output=True)
    fronts = {
        (FEATURES,): nn.Linear(FEATURES, FEATURES),
        IMAGE_ROW: nn.Conv2d(CHANNELS, CHANNELS, 1),
        (): nn.Identity(),
    }
    net = nn.Sequential(fronts[row.shape], neuron)
    if row.cls in (snn.SLSTM, snn.SConv2dLSTM):  # weights before their own would take a trace for each neuron
        net[0].requires_grad_(False)
    x = 2 * row.input(STEPS, BATCH, torch.float64)
    actual = online(backprop.eprop, net, x, 0.5)
    with cut(neuron):
        expected = bptt(net, x, 0.5)
    torch.testing.assert_close(actual[0], expected[0], rtol=1e-12, atol=1e-12)
    digits = 1e-6 if "quant" in row.name else 1e-10  # a quantiser returns, and passes back, float32
    for name, gradient in expected[1].items():
        found = actual[1][name]
        if gradient is None or found is None:
            assert all(g is None or not g.any() for g in (gradient, found)), name
        else:
            torch.testing.assert_close(
                found, gradient, rtol=digits, atol=digits / 10, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_inhibition():
    with pytest.warns(UserWarning, match="inhibition"):
        net = one_layer(snn.Leaky(beta=0.9, inhibition=True, **COMMON))
    x, target = inputs()
    assert_equal(online(backprop.eprop, net, x, target), bptt(net, x, target))


IMAGE = (2, 6, 6)
FRONTS = {
    "pooled": [nn.Conv2d(2, 3, 3), nn.AvgPool2d(2)],
    "strided, dilated, padded": [nn.Conv2d(2, 3, 3, stride=2, padding=2, dilation=2, padding_mode="circular")],
    "flattened": [nn.Conv2d(2, 3, (2, 3), bias=False), nn.Flatten()],
    "flattened before": [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 4)],
    "one-dimensional": [nn.Flatten(2), nn.Conv1d(2, 3, 5, padding="same"), nn.AvgPool1d(3)],
    "over the last dimension": [nn.Linear(6, 4)],
    "pooled across channels": [nn.Flatten(2), nn.Conv1d(2, 4, 5), nn.AvgPool2d((3, 1), 1, (1, 0))],
}
NONLINEAR_FRONTS = {
    "max pooled": [nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)],
    "activated": [nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten()],
}


def convolutional(front):
    net = nn.Sequential(nn.Sequential(*front), snn.Leaky(beta=0.8, spike_grad=SMOOTH, init_hidden=True, output=True))
    return net.double(), torch.randn(STEPS, BATCH, *IMAGE) * 2


@pytest.mark.parametrize("front", [*FRONTS.values(), *NONLINEAR_FRONTS.values()], ids=[*FRONTS, *NONLINEAR_FRONTS])
def test_eprop_is_exact_for_convolutions_and_what_follows_them(front):
    net, x = convolutional(front)
    assert_equal(online(backprop.eprop, net, x, 0.3), bptt(net, x, 0.3))


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_ottt_is_exact_for_convolutions_and_linear_pooling(front):
    net, x = convolutional(front)
    assert_equal(online(backprop.ottt, net, x, 0.3), bptt(net, x, 0.3))


@pytest.mark.parametrize("between", [[], [nn.AvgPool2d(2)]])
@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt])
def test_grouped_convolutions(rule, between):
    net, x = convolutional([nn.Conv2d(2, 6, 3, groups=2), *between])
    assert_equal(online(rule, net, x, 0.3), bptt(net, x, 0.3))


MIX, MASK = torch.linspace(-0.6, 0.7, 25).view(5, 5).double(), (torch.arange(25).view(5, 5) % 3 > 0).double()
DRIVES = {  # with the states that each mixes between neurons, and whether ottt takes it too
    "reversed": (lambda n, x, *_: x.flip(-1), {}, (), True),
    "matrix": (lambda n, x, spk, *_: x + spk @ n.W, {"W": MIX}, ("spk",), True),
    "transposed": (lambda n, x, spk, *_: x + F.linear(spk, n.W.t(), n.b), {"W": MIX, "b": MIX[0]}, ("spk",), True),
    "masked": (lambda n, x, spk, *_: x + F.linear(spk, n.W * MASK), {"W": MIX}, ("spk",), False),
    "signed": (lambda n, x, spk, *_: x - F.linear(spk, n.W.abs()), {"W": MIX}, ("spk",), False),
    "normalised": (lambda n, x, spk, *_: x + F.linear(spk, F.normalize(n.W)), {"W": MIX}, ("spk",), False),
    "own": (lambda n, x, spk, mem: x - n.g * mem * (1 + spk).tanh(), {"g": MIX[0]}, (), False),
    "own and others'": (
        lambda n, x, spk, mem: x - n.g * mem + F.linear(spk, n.W), {"g": MIX[0], "W": MIX}, ("spk",), False
    ),
    "two layers": (
        lambda n, x, spk, *_: x + F.linear(F.linear(spk, n.W, n.b).tanh(), n.U),
        {"W": MIX, "b": MIX[0], "U": MIX.flip(0)}, ("spk",), False,
    ),
    "mean": (lambda n, x, spk, mem: x - n.g * mem.mean(-1, keepdim=True), {"g": MIX[0, 0]}, ("mem",), False),
    "weights of states": (
        lambda n, x, spk, mem: x + F.linear(spk, n.W * mem[:1].tanh()), {"W": MIX}, ("spk", "mem"), False
    ),
    "twice": (lambda n, x, spk, *_: x + F.linear(spk, n.W) + F.linear(spk.flip(0), n.W), {"W": MIX}, ("spk",), True),
}  # fmt: skip


@pytest.mark.parametrize(("drive", "parameters", "mixed", "_"), DRIVES.values(), ids=DRIVES)
def test_eprop_is_exact_for_what_a_drive_makes_of_input_and_states(drive, parameters, mixed, _):
    """But for the states that it mixes between neurons: so much is cut of the net that BPTT takes."""
    net, (x, target) = one_layer(Driven(drive, **parameters)), inputs()
    actual = online(backprop.eprop, net, x, target)
    with cut(net[1], mixed.__contains__):
        assert_equal(actual, bptt(net, x, target))


@pytest.mark.parametrize(("drive", "parameters", "mixed", "taken"), DRIVES.values(), ids=DRIVES)
def test_ottt_is_exact_for_a_drives_plain_products(drive, parameters, mixed, taken):
    net, (x, target) = one_layer(Driven(drive, **parameters)), inputs()
    if not taken:
        with pytest.raises(NotImplementedError, match=r"ottt needs.*but 1.[Wgb] reaches Driven otherwise; eprop takes"):
            backprop.ottt(net, x, target, squared)
        return
    actual = online(backprop.ottt, net, x, target)
    with cut(net[1], mixed.__contains__):
        assert_equal(actual, bptt(net, x, target))


class Gated(snn.SpikingNeuron):
    """Two currents of one product, the second of another as well."""

    states = ("spk", "mem")

    def __init__(self):
        super().__init__(**COMMON)
        self.into, self.back = nn.Linear(FAN_IN, 2 * NEURONS), nn.Linear(NEURONS, NEURONS, bias=False)

    def state_shape(self, x):
        return (*x.shape[:-1], NEURONS)

    def project(self, x):
        return self.into(x)

    def drive(self, projected, spk, mem):
        gate, x = projected.view(-1, 2, NEURONS).unbind(1)
        return gate + self.back(spk), x

    @staticmethod
    def step(gate, x, spk, mem, *, threshold, spike):
        mem = gate.sigmoid() * mem + 2 * x - spk.detach() * threshold
        spk = spike(mem - threshold)
        return spk, spk, mem


@pytest.mark.parametrize("front", [nn.Identity(), nn.Linear(FAN_IN, FAN_IN)])
def test_gates(front):
    """Weights in front of the neuron's own reach every gate of all neurons."""
    net, (x, target) = nn.Sequential(front.double(), Gated()), inputs()
    actual = online(backprop.eprop, net, x, target)
    with cut(net[1]):
        assert_equal(actual, bptt(net, x, target))
    with pytest.raises(NotImplementedError, match="ottt needs"):
        backprop.ottt(net, x, target, squared)


@pytest.mark.parametrize("change", [parametrizations.weight_norm, lambda layer: nn.Sequential(nn.Tanh(), layer)])
def test_what_is_done_to_recurrent_weights_counts(change):
    net, (x, target) = one_layer(snn.RLeaky(beta=0.8, linear_features=NEURONS, **COMMON)), inputs()
    net[1].recurrent = change(net[1].recurrent)
    actual = online(backprop.eprop, net, x, target)
    with cut(net[1]):
        assert_equal(actual, bptt(net, x, target))


def test_eprop_learns_whatever_is_in_front_of_neurons():
    """At the price of a trace for each neuron; ottt says that it does not."""
    x, target = inputs()
    for front in (
        [nn.Linear(FAN_IN, 3), nn.Linear(3, NEURONS)],
        [nn.Linear(FAN_IN, NEURONS), nn.LayerNorm(NEURONS)],
        [nn.Linear(FAN_IN, NEURONS, bias=False), nn.BatchNorm1d(NEURONS)],
        [parametrizations.weight_norm(nn.Linear(FAN_IN, NEURONS)), nn.Softmax(-1)],
    ):
        net = nn.Sequential(*front, snn.Leaky(beta=0.9, **COMMON))
        assert_equal(online(backprop.eprop, net, x * 3, target), bptt(net, x * 3, target))
        with pytest.raises(NotImplementedError, match=r"ottt needs weights.*reaches Leaky otherwise; eprop takes it"):
            backprop.ottt(net, x, target, squared)


def test_dropout_between_weights_and_neuron_draws_once():
    net = nn.Sequential(nn.Linear(FAN_IN, NEURONS), nn.Dropout(0.5), snn.Leaky(beta=0.9, **COMMON))
    x, target = inputs()
    results = []
    for learn in (lambda: online(backprop.eprop, net, x, target), lambda: bptt(net, x, target)):
        torch.manual_seed(1)
        results.append(learn())
    assert_equal(*results)


def deep():
    net = nn.Sequential(
        nn.Linear(FAN_IN, 6), nn.Sequential(snn.Leaky(beta=0.9, init_hidden=True, spike_grad=SMOOTH)),
        nn.Linear(6, NEURONS), snn.Synaptic(alpha=0.6, beta=0.8, init_hidden=True, spike_grad=SMOOTH),
        nn.Linear(NEURONS, 8), nn.LayerNorm(8), nn.Linear(8, 2),
    )  # fmt: skip
    with torch.no_grad():
        net[0].weight.mul_(2).add_(0.3)
        net[2].weight.mul_(2).add_(0.3)
    return net, torch.rand(STEPS, BATCH, FAN_IN), torch.randint(2, (BATCH,))


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt])
def test_a_deep_net_is_exact_from_its_last_neurons_on(rule):
    net, x, labels = deep()
    actual, expected = online(rule, net, x, labels, F.cross_entropy), bptt(net, x, labels, F.cross_entropy)
    assert_equal(actual, expected, only=("2.", "3.", "4.", "5.", "6."))
    first = actual[1]["0.weight"], expected[1]["0.weight"]
    assert not torch.allclose(*first)  # the first layer's is an approximation
    assert F.cosine_similarity(*(g.flatten() for g in first), dim=0) > 0.5


def test_a_leaky_readout_makes_the_layer_below_exact():
    """Bellec et al., 2020, filter the eligibility traces with the readout's decay."""
    net = nn.Sequential(
        nn.Linear(FAN_IN, 6), snn.Leaky(beta=0.9, learn_beta=True, init_hidden=True, spike_grad=SMOOTH),
        nn.Linear(6, 2), snn.Leaky(beta=0.7, reset_mechanism="none", init_hidden=True, output=True),
    )  # fmt: skip
    with torch.no_grad():
        net[0].weight.mul_(2).add_(0.3)
    x, target = torch.rand(STEPS, BATCH, FAN_IN), torch.rand(BATCH, 2)

    def on_membrane(out, target):
        return (out[1] - target).square().mean()

    expected = bptt(net, x, target, on_membrane)
    assert_equal(online(backprop.eprop, net, x, target, on_membrane, readout_decay=0.7), expected)
    unfiltered = online(backprop.eprop, net, x, target, on_membrane)
    assert not torch.allclose(unfiltered[1]["0.weight"], expected[1]["0.weight"])


@pytest.mark.parametrize("random", [False, True], ids=["symmetric", "random"])
def test_eprop_is_the_equations_of_its_paper(random):
    """A recurrent net of adaptive neurons with leaky readouts: Bellec et al., 2020, for one sample, written out.

    Eligibility vector (v, a): `eps_v[t+1] = alpha eps_v[t] + z[t]` and
    `eps_a[t+1] = psi[t] eps_v[t] + (rho - psi[t] b) eps_a[t]`; eligibility trace `e = psi (eps_v - b eps_a)`, filtered
    with kappa; gradient: the sum over t of `sum_k B[j, k] (y_k - y*_k)` times it, B drawn or that of the readout.
    """
    n, alpha, rho, b, kappa, threshold = 4, 0.9, 0.7, 0.4, 0.6, 0.5
    neuron = RecurrentAdaptive(
        alpha, rho, b, linear_features=n, threshold=threshold, init_hidden=True, spike_grad=SMOOTH
    )
    readout = snn.Leaky(beta=kappa, reset_mechanism="none", init_hidden=True, output=True)
    net = nn.Sequential(nn.Linear(3, n, bias=False), neuron, nn.Linear(n, 2, bias=False), readout)
    neuron.recurrent.bias = None
    x, target = torch.rand(20, 1, 3) * 2, torch.rand(20, 1, 2)

    w_in, w_rec, w_out = (layer.weight.detach() for layer in (net[0], neuron.recurrent, net[2]))
    matrix = torch.randn(2, n) if random else w_out
    feedback = backprop.RandomFeedback({"1": matrix}) if random else None
    v, a, z, y = torch.zeros(n), torch.zeros(n), torch.zeros(n), torch.zeros(2)
    eps_v = {"in": torch.zeros(n, 3), "rec": torch.zeros(n, n)}
    eps_a, filtered = ({key: torch.zeros_like(e) for key, e in eps_v.items()} for _ in range(2))
    wanted = {key: torch.zeros_like(e) for key, e in eps_v.items()}
    fired = 0
    for t in range(len(x)):
        presynaptic = {"in": x[t, 0], "rec": z}
        v = alpha * v + w_in @ x[t, 0] + w_rec @ z - threshold * z
        distance = v - threshold - b * a
        z = (distance > 0).double()
        psi = 1 / (1 + 2 * distance.abs()) ** 2
        y = kappa * y + w_out @ z
        learning_signal = matrix.T @ (y - target[t, 0])
        for key, before in presynaptic.items():
            eps_v[key] = alpha * eps_v[key] + before
            e = psi[:, None] * (eps_v[key] - b * eps_a[key])
            eps_a[key] = psi[:, None] * eps_v[key] + (rho - psi * b)[:, None] * eps_a[key]
            filtered[key] = kappa * filtered[key] + e
            wanted[key] += learning_signal[:, None] * filtered[key]
        a = rho * a + z
        fired += z.sum().item()
    assert 10 < fired < 70

    backprop.eprop(net, x, target, lambda out, y: (out[1] - y).square().sum() / 2, time_var_targets=True,
                   readout_decay=kappa, feedback=feedback)  # fmt: skip
    torch.testing.assert_close(net[0].weight.grad, wanted["in"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(neuron.recurrent.weight.grad, wanted["rec"], rtol=1e-12, atol=1e-12)


def broadcast(matrices=None, seed=None):
    """Feedback by given matrices, or by those that a seed draws."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return backprop.RandomFeedback(matrices, generator=generator)


def test_feedback_by_hand():
    """One step, surrogate 1: each neuron's gradient is its learning signal times its input."""
    lifs = [lif(spike_grad=surrogate.straight_through_estimator()) for _ in range(2)]
    net = nn.Sequential(nn.Linear(1, 2, bias=False), lifs[0], nn.Linear(2, 3, bias=False), lifs[1], nn.Linear(3, 2))
    feedback = broadcast({"1": torch.tensor([[1.0, -2.0], [3.0, 4.0]]), "3": torch.tensor([[0.5, 0, 1], [0, 2, -1.0]])})
    net[0].weight.data = torch.tensor([[2.0], [0.1]])  # of the first layer, one neuron fires at an input of 1
    error = torch.tensor([[10.0, 100.0]])
    backprop.eprop(net, torch.ones(1, 1, 1), None, lambda out, _: (out * error).sum(), feedback=feedback)
    assert net[0].weight.grad.tolist() == [[10 + 300], [-20 + 400]]
    assert net[2].weight.grad.tolist() == [[5, 0], [200, 0], [10 - 100, 0]]
    assert net[4].bias.grad.tolist() == [10, 100]


def test_feedback_through_the_readouts_own_weights_is_symmetric_to_the_last_bit():
    net = nn.Sequential(
        nn.Linear(FAN_IN, 6), snn.Synaptic(alpha=0.6, beta=0.8, learn_beta=True, init_hidden=True, spike_grad=SMOOTH),
        nn.Linear(6, 2), snn.Leaky(beta=0.7, reset_mechanism="none", init_hidden=True, output=True),
    )  # fmt: skip
    x, target = torch.rand(STEPS, BATCH, FAN_IN) * 3, torch.rand(BATCH, 2)
    options = {"criterion": lambda out, y: (out[1] - y).square().mean(), "readout_decay": 0.7}
    loss, symmetric = online(backprop.eprop, net, x, target, **options)
    again, found = online(backprop.eprop, net, x, target, feedback=broadcast({"1": net[2].weight}), **options)
    assert again == loss and symmetric["0.weight"].abs().max() > 1e-3
    for name, gradient in symmetric.items():
        assert torch.equal(found[name], gradient), name
    other = online(backprop.eprop, net, x, target, feedback=broadcast(), **options)[1]
    assert torch.equal(other["2.weight"], symmetric["2.weight"])
    assert not torch.allclose(other["0.weight"], symmetric["0.weight"])


def test_feedback_is_drawn_once_and_follows_its_generator():
    net, x, labels = deep()
    feedback = broadcast(seed=1)
    first = online(backprop.eprop, net, x, labels, F.cross_entropy, feedback=feedback)[1]
    matrices = dict(feedback.matrices)
    assert {name: tuple(m.shape) for name, m in matrices.items()} == {"1.0": (2, 6), "3": (2, NEURONS)}
    second = online(backprop.eprop, net, x, labels, F.cross_entropy, feedback=feedback)[1]
    assert all(feedback.matrices[name] is m for name, m in matrices.items())
    twin = online(backprop.eprop, net, x, labels, F.cross_entropy, feedback=broadcast(seed=1))[1]
    stranger = online(backprop.eprop, net, x, labels, F.cross_entropy, feedback=broadcast(seed=2))[1]
    for name in ("0.weight", "2.weight"):
        assert torch.equal(first[name], second[name]) and torch.equal(first[name], twin[name])
        assert not torch.allclose(first[name], stranger[name])


def test_feedback_has_the_variance_of_the_docstring():
    feedback = broadcast(seed=0)
    feedback.signal("a", torch.zeros(1, 300), torch.zeros(1, 20, 10))
    assert feedback.matrices["a"].std().item() == pytest.approx(200**-0.5, rel=0.02)  # the error of an estimate: 0.003


def test_feedback_does_without_a_readout_that_learns_and_without_hidden_neurons():
    conv = nn.Sequential(nn.Conv2d(2, 3, 3), snn.Leaky(beta=0.8, spike_grad=SMOOTH, init_hidden=True), nn.AvgPool2d(2),
                         nn.Flatten(), nn.Linear(12, 2))  # fmt: skip
    x, labels = torch.randn(STEPS, BATCH, *IMAGE) * 2, torch.randint(2, (BATCH,))
    feedback = broadcast(seed=0)
    learnt = online(backprop.eprop, conv, x, labels, F.cross_entropy, feedback=feedback)[1]
    assert feedback.matrices["1"].shape == (2, 3, 4, 4)
    conv[4].requires_grad_(False)
    frozen = online(backprop.eprop, conv, x, labels, F.cross_entropy, feedback=feedback)[1]
    assert torch.equal(frozen["0.weight"], learnt["0.weight"]) and frozen["0.weight"].any()
    assert frozen["4.weight"] is None

    net, (x, target) = one_layer(snn.Leaky(beta=0.9, **COMMON)), inputs()
    symmetric = online(backprop.eprop, net, x, target)[1]["0.weight"]
    feedback = broadcast()
    assert torch.equal(online(backprop.eprop, net, x, target, feedback=feedback)[1]["0.weight"], symmetric)
    assert not feedback.matrices


def test_feedback_that_learns_becomes_the_readouts_weight():
    """Adaptive e-prop: the same gradients and decay on both sides, so that nothing but the decay acts between them."""
    net = nn.Sequential(nn.Linear(FAN_IN, 6), lif(spike_grad=SMOOTH), nn.Linear(6, 2))
    x, labels = torch.rand(STEPS, BATCH, FAN_IN) * 3, torch.randint(2, (BATCH,))
    matrix, weight = nn.Parameter(torch.randn(2, 6)), net[2].weight
    feedback = broadcast({"1": matrix})
    optimizer = torch.optim.SGD([*net.parameters(), matrix], lr=0.1, weight_decay=0.5)
    start = (matrix - weight).detach()
    for _ in range(20):
        optimizer.zero_grad()
        backprop.eprop(net, x, labels, F.cross_entropy, feedback=feedback)
        assert matrix.grad is None
        matrix.grad = weight.grad.clone()
        optimizer.step()
    torch.testing.assert_close((matrix - weight).detach(), start * 0.95**20)


def test_feedback_errors():
    net, x, labels = deep()
    with pytest.raises(TypeError, match=r"feedback must be a RandomFeedback, .* got 'random'"):
        backprop.eprop(net, x, labels, F.cross_entropy, feedback="random")
    with pytest.raises(ValueError, match=r"feedback.matrices\['3'\] must have shape \(2, 5\), got \(5, 2\)"):
        backprop.eprop(net, x, labels, F.cross_entropy, feedback=broadcast({"3": torch.zeros(5, 2)}))


def test_ottt_is_the_equations_of_its_paper():
    """Two hidden layers and a linear readout: Xiao et al., 2022, for one sample, written out.

    Traces `a[t+1] = lambda a[t] + s[t+1]`; gradient of W_l: the sum over t of `g_u a_(l-1)^T`, where g_u is
    backpropagated through the layers at step t alone.
    """
    decay, threshold, sizes = 0.8, 0.6, (3, 5, 4, 2)
    layers = []
    for i in range(2):
        layers += [nn.Linear(sizes[i], sizes[i + 1]),
                   snn.Leaky(beta=decay, threshold=threshold, init_hidden=True, spike_grad=SMOOTH)]  # fmt: skip
    net = nn.Sequential(*layers, nn.Linear(sizes[2], sizes[3]))
    with torch.no_grad():
        net[0].weight.add_(0.3)
        net[2].weight.add_(0.3)
    x, label = torch.rand(15, 1, 3) * 2, torch.tensor([1])

    weights, biases = ([net[i].weight.detach() for i in (0, 2, 4)], [net[i].bias.detach() for i in (0, 2, 4)])
    u, s = [torch.zeros(5), torch.zeros(4)], [torch.zeros(5), torch.zeros(4)]
    traces = [torch.zeros(3), torch.zeros(5)]
    ones = torch.zeros(())  # the bias's presynaptic trace
    wanted, wanted_bias = [torch.zeros_like(w) for w in weights], [torch.zeros_like(b) for b in biases]
    for t in range(len(x)):
        spikes = [x[t, 0]]
        for layer in range(2):
            u[layer] = decay * (u[layer] - threshold * s[layer]) + weights[layer] @ spikes[-1] + biases[layer]
            # The published neuron subtracts the threshold without the decay.
            u[layer] -= (1 - decay) * threshold * s[layer]
            s[layer] = (u[layer] > threshold).double()
            spikes.append(s[layer])
        traces = [decay * traces[layer] + spikes[layer] for layer in range(2)]
        ones = decay * ones + 1
        output = weights[2] @ spikes[2] + biases[2]
        g = output.softmax(0) - F.one_hot(label[0], 2)
        wanted[2] += torch.outer(g, spikes[2])
        wanted_bias[2] += g
        for layer in (1, 0):
            psi = 1 / (1 + 2 * (u[layer] - threshold).abs()) ** 2
            g = (weights[layer + 1].T @ g) * psi
            wanted[layer] += torch.outer(g, traces[layer])
            wanted_bias[layer] += g * ones
    backprop.ottt(net, x, label, F.cross_entropy)
    for i, w, b in zip((0, 2, 4), wanted, wanted_bias, strict=True):
        torch.testing.assert_close(net[i].weight.grad, w, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(net[i].bias.grad, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt])
def test_a_net_in_half_precision(rule):
    """Its traces are those of a net in single precision with the same weights."""
    recurrent = snn.RLeaky(beta=0.75, linear_features=NEURONS, init_hidden=True, spike_grad=SMOOTH)
    net, (x, _) = one_layer(recurrent), inputs()
    x, labels = x.bfloat16(), torch.arange(BATCH)
    found = online(rule, net.bfloat16(), x, labels, F.cross_entropy)[1]
    found = {name: g.float() for name, g in found.items()}
    wanted = online(rule, net.float(), x.float(), labels, F.cross_entropy)[1]
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=0.03 * gradient.abs().max().item())


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt])
@pytest.mark.parametrize("neuron", [
    lambda: snn.RLeaky(beta=0.8, linear_features=NEURONS, **COMMON),
    lambda: snn.RSynaptic(alpha=0.7, beta=0.8, linear_features=NEURONS, **COMMON),
])  # fmt: skip
def test_recurrent_weights_get_what_the_cut_net_gets_from_bptt(rule, neuron):
    """Cut between one step's spikes and the next step's recurrent current, BPTT is what the rules compute."""
    net, (x, target) = one_layer(neuron()), inputs()
    actual = online(rule, net, x, target)
    handle = net[1].recurrent.register_forward_pre_hook(lambda layer, args: (args[0].detach(),))
    expected = bptt(net, x, target)
    handle.remove()
    assert_equal(actual, expected)
    assert not torch.allclose(actual[1]["1.recurrent.weight"], bptt(net, x, target)[1]["1.recurrent.weight"])


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt])
def test_frozen_recurrent_weights(rule):
    net, (x, target) = (
        one_layer(snn.RLeaky(beta=0.8, linear_features=NEURONS, learn_recurrent=False, **COMMON)),
        inputs(),
    )
    actual = online(rule, net, x, target)
    handle = net[1].recurrent.register_forward_pre_hook(lambda layer, args: (args[0].detach(),))
    expected = bptt(net, x, target)
    handle.remove()
    torch.testing.assert_close(actual[1]["0.weight"], expected[1]["0.weight"])
    assert actual[1]["1.recurrent.weight"] is None


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt])
def test_a_decay_that_two_layers_share(rule):
    beta = nn.Parameter(torch.tensor(0.8))
    lifs = [snn.Leaky(beta=beta, learn_beta=True, init_hidden=True, spike_grad=SMOOTH) for _ in range(2)]
    net = nn.Sequential(nn.Linear(FAN_IN, NEURONS), lifs[0], nn.Linear(NEURONS, NEURONS), lifs[1])
    split = nn.Sequential(*(nn.Linear(FAN_IN, NEURONS), lif(learn_beta=True, spike_grad=SMOOTH)), net[2], lifs[1])
    split[0].load_state_dict(net[0].state_dict())
    split[1].beta.data.fill_(0.8)
    x, target = inputs()
    shared = online(rule, net, x, target)[1]["1.beta"].clone()
    parts = online(rule, split, x, target)[1]
    torch.testing.assert_close(shared, parts["1.beta"] + parts["3.beta"])
    assert parts["1.beta"].abs() > 1e-6 and parts["3.beta"].abs() > 1e-6


def test_nothing_passes_a_disabled_surrogate():
    net, (x, target) = one_layer(lif(surrogate_disable=True, output=True)), inputs()
    for rule in (backprop.eprop, backprop.ottt):
        assert_equal(online(rule, net, x, target), bptt(net, x, target))


@pytest.mark.parametrize("size", [3, 2])
def test_recurrent_convolution(size):
    neuron = snn.RLeaky(beta=0.8, conv2d_channels=3, kernel_size=size, **COMMON)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), neuron)
    x = torch.randn(STEPS, BATCH, *IMAGE) * 2
    for rule in (backprop.eprop, backprop.ottt):
        actual = online(rule, net, x, 0.3)
        handle = net[1].recurrent.register_forward_pre_hook(lambda layer, args: (args[0].detach(),))
        assert_equal(actual, bptt(net, x, 0.3))
        handle.remove()


class Saved:
    """A tensor that autograd holds; counts those alive and the most there ever were, in tensors and in elements."""

    alive = peak = held = most = 0

    def __init__(self, tensor):
        self.tensor = tensor.detach()  # a node that held its own output would never be freed
        size = tensor.numel()
        Saved.alive += 1
        Saved.held += size
        Saved.peak, Saved.most = max(Saved.peak, Saved.alive), max(Saved.most, Saved.held)
        weakref.finalize(self, self.release, size)

    @staticmethod
    def release(size):
        Saved.alive -= 1
        Saved.held -= size


def saved_by(learn):
    Saved.alive = Saved.peak = Saved.held = Saved.most = 0
    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        learn()
    return Saved.peak, Saved.most


def random_eprop():
    return partial(backprop.eprop, feedback=backprop.RandomFeedback())


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt, random_eprop()])
def test_memory_does_not_grow_with_the_number_of_steps(rule):
    net, _, labels = deep()

    def stream(steps):
        return (torch.rand(BATCH, FAN_IN) for _ in range(steps))

    def whole(steps):
        sum(F.cross_entropy(net(x), labels) for x in stream(steps)).backward()
        snn.utils.reset(net)

    short, long = (saved_by(lambda: rule(net, stream(t), labels, F.cross_entropy)) for t in (3, 60))  # noqa: B023
    assert short == long and short[0] > 0
    assert saved_by(lambda: whole(60))[0] > 10 * saved_by(lambda: whole(3))[0]  # the measure sees BPTT grow


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt, random_eprop()])
def test_live_tensors_do_not_grow_with_the_number_of_steps(rule, new_objects_only):
    net, _, labels = deep()
    counts = []

    def count(out, target):
        gc.collect()
        counts.append(sum(o.numel() for o in gc.get_objects() if issubclass(type(o), torch.Tensor)))
        return F.cross_entropy(out, target)

    rule(net, torch.rand(BATCH, FAN_IN), labels, count, num_steps=20)
    assert counts[2] > 0 and max(counts[3:]) <= counts[2]


def test_steps_may_be_given_as_a_tensor_a_generator_or_one_static_input():
    net, _, labels = deep()
    x = torch.rand(BATCH, FAN_IN)
    results = [
        online(backprop.eprop, net, data, labels, F.cross_entropy, **options)
        for data, options in (
            (x.expand(7, *x.shape), {}),
            ((x for _ in range(7)), {}),
            (x, {"num_steps": 7}),
        )
    ]
    assert_equal(results[1], results[0])
    assert_equal(results[2], results[0])


def test_targets_of_every_step():
    net = one_layer(snn.Leaky(beta=0.9, **COMMON))
    x, target = torch.rand(STEPS, BATCH, FAN_IN), torch.rand(STEPS, BATCH, NEURONS)
    actual = online(backprop.eprop, net, x, target, time_var_targets=True)
    steps = iter(target)
    assert_equal(actual, bptt(net, x, None, lambda out, _: squared(out, next(steps))))
    with pytest.raises(ValueError, match=r"longer|shorter"):
        backprop.eprop(net, x, target[:-1], squared, time_var_targets=True)


def test_gradients_add_up_and_frozen_parameters_get_none():
    net, (x, target) = one_layer(snn.Leaky(beta=0.9, learn_beta=True, **COMMON)), inputs()
    once = online(backprop.eprop, net, x, target)[1]["0.weight"].clone()
    net[0].bias.requires_grad_(False)
    net.zero_grad()
    for _ in range(2):
        backprop.eprop(net, x, target, squared)
    torch.testing.assert_close(net[0].weight.grad, 2 * once)
    assert net[0].bias.grad is None
    net[0].weight.requires_grad_(False)
    net[0].bias.requires_grad_(True)
    expected = bptt(net, x, target)[1]["0.bias"]
    torch.testing.assert_close(online(backprop.eprop, net, x, target)[1]["0.bias"], expected)
    torch.testing.assert_close(online(backprop.ottt, net, x, target)[1]["0.bias"], expected)


def test_an_optimizer_updates_after_every_step():
    net, (x, target) = one_layer(snn.Leaky(beta=0.9, **COMMON)), inputs()
    twin = one_layer(snn.Leaky(beta=0.9, **COMMON))
    twin.load_state_dict(net.state_dict())
    backprop.eprop(net, x[:1], target, squared, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    loss = squared(twin(x[0]), target)
    loss.backward()
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    torch.testing.assert_close(net[0].weight, twin[0].weight)
    before = net[0].weight.clone()
    backprop.eprop(net, x, target, squared, optimizer=torch.optim.SGD(net.parameters(), lr=0.0))
    assert torch.equal(net[0].weight, before) and net[0].weight.grad is None


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt])
def test_the_net_is_left_as_a_loop_leaves_it(rule):
    net, (x, target) = one_layer(snn.Leaky(beta=0.9, **COMMON)), inputs()
    bptt(net, x, target)
    mem = net[1].mem.detach().clone()
    rule(net, x, target, squared)
    assert torch.equal(net[1].mem, mem) and not net[1].mem.requires_grad
    assert not net[0]._forward_hooks and not net[1]._forward_hooks
    with SF.probe.Recorder(net) as recorder:
        rule(net, x, target, squared)
    assert recorder.spikes["1"].shape == recorder.states["mem"]["1"].shape == (STEPS, BATCH, NEURONS)
    with torch.no_grad():  # the gradients are the function's business, not the caller's
        loss, grads = online(rule, net, x, target)
    assert grads["0.weight"].abs().sum() > 0 and not loss.requires_grad


def test_hooks_are_removed_after_an_error():
    net, (x, _) = one_layer(snn.Leaky(beta=0.9, **COMMON)), inputs()
    with pytest.raises(ZeroDivisionError):
        backprop.eprop(net, x, None, lambda out, target: 1 / 0)
    assert not net[0]._forward_hooks


class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(FAN_IN, NEURONS), snn.Leaky(beta=0.9, init_hidden=True)

    def forward(self, x):
        return self.lif(self.fc(x))


def lif(**options):
    return snn.Leaky(beta=0.9, init_hidden=True, **options)


LEAKY = lif()
POOLED = snn.SConv2dLSTM(BATCH, 2, 3, max_pool=2, learn_threshold=True, init_hidden=True)
UNSUPPORTED = [
    (nn.Linear(FAN_IN, 2), TypeError, "net must hold a spiking neuron"),
    (nn.Sequential(LEAKY, LEAKY), ValueError, "every neuron must occur once in net, Leaky occurs again"),
    (nn.Sequential(POOLED), NotImplementedError, "spikes have another shape than its states.*threshold is not elem"),
    (nn.Sequential(snn.LinearLeaky(0.9, FAN_IN, 2)), NotImplementedError, "LinearLeaky does not run step by step"),
]


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt])
@pytest.mark.parametrize(("net", "error", "message"), UNSUPPORTED, ids=[message for *_, message in UNSUPPORTED])
def test_what_is_not_supported_is_named(rule, net, error, message):
    with pytest.raises(error, match=message):
        rule(net.double(), torch.rand(3, BATCH, FAN_IN), None, lambda out, target: out.sum())


def test_frozen_layers_may_stand_where_learning_ones_may_not():
    features = nn.Sequential(nn.Linear(FAN_IN, 6), nn.LayerNorm(6)).requires_grad_(False)
    net = nn.Sequential(features, nn.Linear(6, NEURONS), snn.Leaky(beta=0.9, **COMMON))
    x, target = inputs()
    actual = online(backprop.eprop, net, x, target)
    expected = bptt(net, x, target)
    torch.testing.assert_close(actual[1]["1.weight"], expected[1]["1.weight"])
    assert actual[1]["0.0.weight"] is None


def test_bad_arguments():
    net, (x, target) = one_layer(lif()), inputs()
    with pytest.raises(ValueError, match="num_steps must be a positive int, got 0"):
        backprop.eprop(net, x[0], target, squared, num_steps=0)
    with pytest.raises(ValueError, match="at least one time step"):
        backprop.ottt(net, x[:0], target, squared)
    with pytest.raises(ValueError, match=r"one value a step, got shape \(3, 5\)"):
        backprop.eprop(net, x, target, lambda out, y: out - y)
    matrix = Adaptive(0.9, torch.rand(7, NEURONS, 2), 0.5, init_hidden=True)
    with pytest.raises(NotImplementedError, match=r"Adaptive.rho of shape \(7, 5, 2\) is not elementwise"):
        backprop.eprop(nn.Sequential(nn.Linear(FAN_IN, NEURONS), matrix), x, target, squared)


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt, random_eprop()])
def test_learning_online(rule):
    """Which of two inputs was stronger, over a noisy sequence."""
    x = torch.rand(64, 3)
    labels = (x[:, 0] > x[:, 1]).long()
    net = nn.Sequential(nn.Linear(3, 24), lif(), nn.Linear(24, 16), lif(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        noisy = (x + 0.1 * torch.randn_like(x) for _ in range(10))
        losses.append(rule(net, noisy, labels, F.cross_entropy))
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


def test_random_feedback_teaches_hidden_neurons():
    """Exclusive or, which a readout of neurons that do not learn hardly gets."""
    x = torch.rand(64, 2)
    labels = ((x[:, 0] > 0.5) ^ (x[:, 1] > 0.5)).long()
    net = nn.Sequential(nn.Linear(2, 24), lif(), nn.Linear(24, 16), lif(), nn.Linear(16, 2))
    start = {name: p.clone() for name, p in net.state_dict().items()}

    def fall(feedback):
        net.load_state_dict(start)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        losses = []
        for _ in range(80):
            optimizer.zero_grad()
            losses.append(backprop.eprop(net, x, labels, F.cross_entropy, num_steps=10, feedback=feedback))
            optimizer.step()
        return losses[-1] / losses[0]

    assert fall(broadcast(seed=0)) < 0.65
    assert fall(broadcast({"1": torch.zeros(2, 24), "3": torch.zeros(2, 16)})) > 0.9


# -- nets of other forms


class Branched(nn.Module):
    """A residual around a layer, two layers into one neuron, one layer into two neurons."""

    def __init__(self, widen=lambda y: y):
        super().__init__()
        self.a, self.b, self.skip = (nn.Linear(FAN_IN, NEURONS) for _ in range(3))
        self.left, self.right = (lif(spike_grad=SMOOTH, learn_beta=True) for _ in range(2))
        self.read = nn.Linear(NEURONS, NEURONS)
        self.widen = widen

    def forward(self, x):
        both = self.a(x)
        left = self.left(self.widen(both + 0.5 * self.b(x).relu()))
        right = self.right(2 * both)
        return self.read(left - right) + self.skip(x)


class FedBack(nn.Module):
    """A recurrent layer of the user's own: the spikes of the step before, through a layer."""

    def __init__(self, cut=False, start=True):
        super().__init__()
        self.start = start
        self.scale = nn.Parameter(torch.rand(NEURONS))
        self.fc, self.rec = nn.Linear(FAN_IN, NEURONS), nn.Linear(NEURONS, NEURONS)
        self.neuron = Adaptive(0.9, 0.8, 0.3, init_hidden=True, spike_grad=SMOOTH)
        self.cut, self.before = cut, {}

    def forward(self, x):
        spk = self.before.get("spk", torch.zeros(len(x), NEURONS) if self.start else None)
        current = self.fc(x)
        if spk is not None:
            spk = spk.detach() if self.cut else spk
            current = current + self.rec(spk) + self.scale * spk
        self.before["spk"] = out = self.neuron(current)
        return out


class Convolved(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1, bias=False)
        self.neuron = lif(spike_grad=SMOOTH)
        self.read = nn.Linear(3 * 4, NEURONS)

    def forward(self, x):
        return self.read(self.neuron(F.avg_pool2d(self.one(x) + self.two(x), 2).flatten(1)))


@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt])
def test_a_module_of_any_form_is_exact_for_one_layer_of_neurons(rule):
    net, (x, target) = Branched(F.hardtanh if rule is backprop.eprop else lambda y: y), inputs()
    if rule is backprop.ottt:  # which takes an activation to have had one derivative at all steps
        net.b = nn.Sequential(net.b, nn.Identity())
        net.forward = lambda x: net.read(net.left(net.a(x) + net.b(x)) - net.right(net.skip(x)))
    assert_equal(online(rule, net, x, target), bptt(net, x, target))
    net, x = Convolved(), torch.rand(STEPS, BATCH, 2, 4, 4)
    assert_equal(online(rule, net, x, target), bptt(net, x, target))


def test_a_module_gets_what_the_row_of_its_layers_gets():
    """Two layers of neurons; feedback by matrices too. Nothing tells that the module was looked at before."""
    row, x, labels = deep()

    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.row, self.drop = row, nn.Dropout(0.5)

        def forward(self, x):
            for layer in self.row:
                x = layer(x)
            return x + 0 * self.drop(x)

    net = Deep()
    for rule, options in ((backprop.eprop, {}), (backprop.ottt, {}), (backprop.eprop, {"seed": 0})):
        feedbacks = [{"feedback": broadcast(**options)} if options else {} for _ in range(2)]
        expected = online(rule, row, x, labels, F.cross_entropy, **feedbacks[0])
        torch.manual_seed(1)
        actual = online(rule, net, x, labels, F.cross_entropy, **feedbacks[1])
        drawn = torch.get_rng_state()
        torch.testing.assert_close(actual[0], expected[0], rtol=0, atol=0)
        for name, gradient in expected[1].items():
            torch.testing.assert_close(actual[1][f"row.{name}"], gradient, rtol=0, atol=1e-15)
        torch.manual_seed(1)
        for now in x:
            net(now)
        assert torch.equal(drawn, torch.get_rng_state())


@pytest.mark.parametrize("start", [True, False], ids=["from zeros", "from the second step on"])
def test_recurrence_of_a_module_gets_what_the_cut_net_gets_from_bptt(start):
    net, (x, target) = FedBack(start=start), inputs()
    actual = online(backprop.eprop, net, x, target)
    assert net.before["spk"].grad_fn is None
    net.before, net.cut = {}, True
    assert_equal(actual, bptt(net, x, target))


class Of(nn.Module):
    """A layer, what is between, a neuron."""

    def __init__(self, between, neuron=None):
        super().__init__()
        self.fc, self.neuron = nn.Linear(FAN_IN, NEURONS), lif() if neuron is None else neuron
        self.scale, self.between = nn.Parameter(torch.ones(NEURONS)), between

    def forward(self, x):
        return self.neuron(self.between(self, x))


def alternating(net, x):
    net.calls = getattr(net, "calls", 0) + 1
    return net.fc(x) if net.calls % 2 else x[:, :1].expand(-1, NEURONS)


def in_place(net, x):
    y = net.fc(x)
    return y.mul_(2)


BETWEEN = {
    "softmax": lambda net, x: net.fc(x).softmax(-1),
    "sum": lambda net, x: net.fc(x).sum(-1, keepdim=True) + x[:, :1],
    "pooled": lambda net, x: F.max_pool1d(net.fc(x), 3, 1, 1),
    "scaled": lambda net, x: net.fc(x) * net.scale,
    "in place": in_place,
    "one for many": lambda net, x: net.fc(x)[:, None] + torch.zeros(2, NEURONS),
    "moved": lambda net, x: (1 - 2 * net.fc(x).roll(1, -1)).flip(-1),
    "cancelling": lambda net, x: (y := net.fc(x)) - y.flip(-1),
    "twice": lambda net, x: net.fc(x) * net.fc(x.flip(-1)),
    "in series": lambda net, x: net.fc(net.fc(x)[:, :FAN_IN]),
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_eprop_is_exact_whatever_is_between(between):
    net, x = Of(between, snn.Leaky(beta=0.9, init_hidden=True, spike_grad=SMOOTH)), inputs()[0] * 3
    if between is not BETWEEN["scaled"]:
        net.scale.requires_grad_(False)
    assert_equal(*(learn(net, x, 0.5, lambda out, y: (out - y).square().mean()) for learn in (online_eprop, bptt)))


@pytest.mark.parametrize(("net", "error", "message"), [
    (Of(lambda net, x: (net.neuron(net.fc(x)))), ValueError, "every neuron must occur once in net, Leaky occurs again"),
    (Of(alternating), NotImplementedError, r"Linear.* must reach Leaky in the same way at every step"),
    (Of(lambda net, x: net.fc(x), nn.Identity()), TypeError, "net must hold a spiking neuron"),
    (Of(lambda net, x: net.fc(x), snn.LinearLeaky(0.9, NEURONS, 2)), NotImplementedError, "does not run step by step"),
])  # fmt: skip
@pytest.mark.parametrize("rule", [backprop.eprop, backprop.ottt])
def test_what_a_module_may_not_do_is_named(rule, net, error, message):
    with pytest.raises(error, match=message):
        rule(net.double(), torch.rand(3, BATCH, FAN_IN), None, lambda out, target: out.sum())
    assert not net._forward_hooks and not net.neuron._forward_hooks and not net.fc._forward_hooks


def test_a_module_that_passes_states_is_told_to_keep_them():
    net = Custom()
    net.lif = snn.Leaky(beta=0.9)
    net.forward = lambda x: net.lif(net.fc(x), torch.zeros(BATCH, NEURONS))[0]
    with pytest.raises(NotImplementedError, match=r"Leaky is called with states.*init_hidden=True"):
        backprop.eprop(net, *inputs(), squared)
