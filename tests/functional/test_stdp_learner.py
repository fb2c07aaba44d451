"""STDP and BCM rules against their equations, convolutions against their dense equivalents."""

import importlib
import math
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snntorch as snn
from snntorch.functional import stdp_learner
from snntorch.functional.stdp_learner import (
    BCMLearner,
    RewardSTDPLearner,
    STDPLearner,
    TripletSTDPLearner,
    mstdp_linear_single_step,
    mstdpet_linear_single_step,
    stdp_conv1d_single_step,
    stdp_conv2d_single_step,
    stdp_linear_single_step,
    weight_bounds,
)

NAMES = """
    Synapse WeightFunction weight_bounds stdp_linear_single_step stdp_conv1d_single_step stdp_conv2d_single_step
    mstdp_linear_single_step mstdpet_linear_single_step STDPLearner TripletSTDPLearner RewardSTDPLearner BCMLearner
""".split()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_where_programs_and_pickles_look_for_it(name):
    by_name = pickle.loads(f"csnntorch.functional.stdp_learner\n{name}\n.".encode())
    assert by_name is getattr(stdp_learner, name)


class Pass(nn.Module):
    """Stands in for neurons: emits the spikes that it was given, whatever its input."""

    def __init__(self, spikes, as_tuple=False):
        super().__init__()
        self.spikes, self.as_tuple = iter(spikes), as_tuple

    def forward(self, x):
        spikes = next(self.spikes)
        return (spikes, x) if self.as_tuple else spikes


def bernoulli(*shape):
    return torch.bernoulli(torch.full(shape, 0.4, dtype=torch.float64))


def feed(synapse, neurons, pre):
    for x in pre:
        neurons(synapse(x))


def f_pre(w):
    return 0.5 * w + 0.1


def f_post(w):
    return 1 - w


def pair_by_hand(w, pre, post, tau_pre, tau_post):
    """The rule of the docstring, literally: loops over steps, samples and weights."""
    dw = torch.zeros_like(w)
    for b in range(pre.shape[1]):
        for i in range(w.shape[1]):
            for o in range(w.shape[0]):
                tr_pre = tr_post = 0.0
                for t in range(len(pre)):
                    tr_pre += pre[t, b, i] - tr_pre / tau_pre
                    tr_post += post[t, b, o] - tr_post / tau_post
                    dw[o, i] += f_post(w[o, i]) * post[t, b, o] * tr_pre
                    dw[o, i] -= f_pre(w[o, i]) * tr_post * pre[t, b, i]
    return dw


def test_linear_rule_by_hand_step_by_step_and_at_once():
    fc = nn.Linear(3, 2, dtype=torch.float64)
    pre, post = bernoulli(6, 2, 3), bernoulli(6, 2, 2)
    expected = pair_by_hand(fc.weight.detach(), pre, post, 3.0, 5.0)

    steps, trace_pre, trace_post = [], None, None
    for x, y in zip(pre, post, strict=True):
        trace_pre, trace_post, dw = stdp_linear_single_step(fc, x, y, trace_pre, trace_post, 3.0, 5.0, f_pre, f_post)
        steps.append(dw)
    torch.testing.assert_close(sum(steps), expected)

    neurons = Pass(post)
    learner = STDPLearner(fc, neurons, 3.0, 5.0, f_pre, f_post)
    feed(fc, neurons, pre)
    torch.testing.assert_close(learner.step(on_grad=False, scale=2.0), 2 * expected)
    torch.testing.assert_close(learner.trace_pre, trace_pre)
    torch.testing.assert_close(learner.trace_post, trace_post)


CONVS = [
    dict(stride=1, padding=0),
    dict(stride=2, padding=1),
    dict(stride=1, padding="same", dilation=2),
    dict(stride=1, padding="same", kernel_size=4),
    dict(stride=1, padding="valid"),
    dict(stride=2, padding=2, dilation=2, groups=2),
    dict(stride=1, padding=1, padding_mode="circular"),
]


def conv_of(dims, kwargs):
    """A convolution, and spikes on both sides of it."""
    conv = (nn.Conv1d, nn.Conv2d)[dims - 1](4, 6, **{"kernel_size": 3} | kwargs).double()
    pre = bernoulli(3, 2, 4, *(7, 6)[:dims])
    return conv, pre, bernoulli(3, 2, 6, *conv(pre[0]).shape[2:])


def learn_densely(make, conv, pre, post):
    """Unfold the input into patches: each output position is a sample of one dense layer."""
    groups, dims = conv.groups, conv.weight.dim() - 2
    # The trace is linear in the spikes, so it may be taken of the patches.
    mode = {"zeros": "constant"}.get(conv.padding_mode, conv.padding_mode)
    patches = []
    for x in pre:
        x = F.pad(x, conv._reversed_padding_repeated_twice, mode)
        if dims == 1:  # give it a second dimension of one pixel
            x = x[..., None]
        size, dilation, stride = (tuple(p) + (1,) * (2 - dims) for p in (conv.kernel_size, conv.dilation, conv.stride))
        columns = F.unfold(x, size, dilation, stride=stride)  # [B, C·K, positions]
        patches.append(columns.transpose(1, 2).flatten(0, 1).unflatten(1, (groups, -1)))
    patches = torch.stack(patches)  # [T, B·positions, groups, C/groups·K]
    answers = post.flatten(3).transpose(2, 3).flatten(1, 2).unflatten(2, (groups, -1))

    updates = []
    for g in range(groups):
        fc = nn.Linear(patches.shape[-1], 6 // groups, dtype=torch.float64)
        fc.weight.data = conv.weight.data.flatten(1).unflatten(0, (groups, -1))[g]
        neurons = Pass(answers[:, :, g])
        learner = make(fc, neurons)
        feed(fc, neurons, patches[:, :, g])
        updates.append(learner.step(on_grad=False))
    return torch.cat(updates).view_as(conv.weight)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    "make",
    [
        lambda synapse, sn: STDPLearner(synapse, sn, 3.0, 5.0, f_pre, f_post),
        lambda synapse, sn: TripletSTDPLearner(synapse, sn, a2_plus=0.3, f_pre=f_pre, f_post=f_post),
        lambda synapse, sn: BCMLearner(synapse, sn, 3.0, 5.0, 4.0, f_pre=f_pre, f_post=f_post),
    ],
    ids=["pair", "triplet", "bcm"],
)
@pytest.mark.parametrize("kwargs", CONVS)
@pytest.mark.parametrize("dims", [1, 2])
def test_conv_equals_its_dense_equivalent(make, kwargs, dims):
    conv, pre, post = conv_of(dims, kwargs)
    neurons = Pass(post)
    learner = make(conv, neurons)
    feed(conv, neurons, pre)
    torch.testing.assert_close(learner.step(on_grad=False), learn_densely(make, conv, pre, post))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kwargs", CONVS)
@pytest.mark.parametrize("dims", [1, 2])
def test_conv_step_by_step(kwargs, dims):
    conv, pre, post = conv_of(dims, kwargs)
    expected = learn_densely(lambda fc, sn: STDPLearner(fc, sn, 3.0, 5.0, f_pre, f_post), conv, pre, post)
    single_step = (stdp_conv1d_single_step, stdp_conv2d_single_step)[dims - 1]
    dw, trace_pre, trace_post = 0, None, None
    for x, y in zip(pre, post, strict=True):
        trace_pre, trace_post, d = single_step(conv, x, y, trace_pre, trace_post, 3.0, 5.0, f_pre, f_post)
        dw = dw + d
    torch.testing.assert_close(dw, expected)
    sides = conv._reversed_padding_repeated_twice
    padded = [n + a + b for n, a, b in zip((7, 6)[:dims], sides[-2::-2], sides[-1::-2], strict=True)]
    assert trace_pre.shape == (2, 4, *padded) and not dw.requires_grad


def test_unbatched_spikes():
    fc, conv = nn.Linear(3, 2).double(), nn.Conv2d(2, 3, 3, padding=1).double()
    for synapse, pre in ((fc, bernoulli(4, 3)), (conv, bernoulli(4, 2, 5, 5))):
        post = bernoulli(4, *synapse(pre[0]).shape)
        updates = []
        for batch in (lambda x: x, lambda x: x[:, None]):
            neurons = Pass(batch(post))
            learner = STDPLearner(synapse, neurons, 2.0, 2.0)
            feed(synapse, neurons, batch(pre))
            updates.append(learner.step(on_grad=False))
        torch.testing.assert_close(*updates)


def test_learner_goes_on_from_step_to_step_and_forgets_on_reset():
    fc = nn.Linear(3, 2, dtype=torch.float64)
    pre, post = bernoulli(6, 2, 3), bernoulli(6, 2, 2)
    neurons = Pass([*post, *post, post[0], *post])
    learner = STDPLearner(fc, neurons, 3.0, 5.0)
    assert learner.trace_pre is None and learner.trace_post is None

    feed(fc, neurons, pre)
    whole = learner.step(on_grad=False)
    learner.reset()
    feed(fc, neurons, pre[:4])
    part = learner.step(on_grad=False)
    feed(fc, neurons, pre[4:])
    torch.testing.assert_close(part + learner.step(on_grad=False), whole)

    feed(fc, neurons, pre[:1])
    learner.reset()  # forgets the recorded step too
    assert learner.trace_pre is None and learner.step(on_grad=False) is None
    learner.disable()
    feed(fc, neurons, pre[:3])
    assert learner.step(on_grad=False) is None
    learner.enable()
    feed(fc, neurons, pre[3:])
    assert learner.step(on_grad=False) is not None


def test_update_goes_into_the_gradient_for_sgd_to_add():
    fc = nn.Linear(3, 2, dtype=torch.float64)
    pre, post = bernoulli(4, 2, 3), bernoulli(4, 2, 2)
    neurons = Pass([*post, *post, *post], as_tuple=True)
    learner = STDPLearner(fc, neurons, 3.0, 5.0)
    feed(fc, neurons, pre)
    dw = learner.step(on_grad=False)
    learner.reset()

    assert learner.step() is None and fc.weight.grad is None  # nothing recorded: nothing done
    before = fc.weight.detach().clone()
    for _ in range(2):
        feed(fc, neurons, pre)
        assert learner.step() is None
        learner.reset()
    torch.testing.assert_close(fc.weight.grad, -2 * dw)
    torch.optim.SGD([fc.weight], lr=0.1).step()
    torch.testing.assert_close(fc.weight.detach(), before + 0.2 * dw)


def test_records_hold_no_graph_and_traces_no_gradient():
    fc = nn.Linear(3, 2)
    learner = STDPLearner(fc, nn.ReLU(), 3.0, 5.0)
    learner.sn(fc(torch.rand(2, 3, requires_grad=True)))
    assert not learner.in_spike_monitor[0].requires_grad
    assert not learner.out_spike_monitor[0].requires_grad
    assert not learner.step(on_grad=False).requires_grad and not learner.trace_pre.requires_grad


@pytest.mark.parametrize("batch", [(), (2,)])
def test_reward_modulated_eligibility(batch):
    fc = nn.Linear(3, 2, dtype=torch.float64)
    w = fc.weight.detach()
    pre, post = bernoulli(5, *batch, 3), bernoulli(5, *batch, 2)
    r = o = torch.zeros((), dtype=torch.float64)
    late = torch.zeros((), dtype=torch.float64)
    states, late_states, z = (None, None), (None, None), None
    for x, y in zip(pre, post, strict=True):
        r, o = r * math.exp(-1 / 3) + x, o * math.exp(-1 / 5) + y
        e = f_post(w) * y[..., :, None] * r[..., None, :] - f_pre(w) * o[..., :, None] * x[..., None, :]
        late = late * math.exp(-1 / 20) + e / 20
        *states, mine = mstdp_linear_single_step(fc, x, y, *states, 3.0, 5.0, f_pre, f_post)
        *late_states, z = mstdpet_linear_single_step(
            fc, x, y, *late_states, 3.0, 5.0, 20.0, f_pre, f_post, eligibility=z
        )
        torch.testing.assert_close(mine, e)
        torch.testing.assert_close(z, late)
    assert z.shape == (*batch, 2, 3)

    neurons = Pass(post)
    learner = RewardSTDPLearner(fc, neurons, 3.0, 5.0, 20.0, f_pre, f_post)
    assert learner.step(1.0) is None and fc.weight.grad is None
    feed(fc, neurons, pre[:2])
    learner.step(0.0, on_grad=False)
    feed(fc, neurons, pre[2:])
    reward = torch.randn(batch, dtype=torch.float64)
    dw = learner.step(reward, on_grad=False)
    torch.testing.assert_close(learner.eligibility, late)
    torch.testing.assert_close(dw, (reward[..., None, None] * late).view(-1, 2, 3).sum(0))
    learner.step(reward, scale=2.0)  # a second reward for the same spikes
    torch.testing.assert_close(fc.weight.grad, -2 * dw)
    learner.reset()
    assert learner.eligibility is None


def test_triplet_by_hand():
    fc = nn.Linear(1, 1, dtype=torch.float64)
    pre, post = bernoulli(40, 1, 1), bernoulli(40, 1, 1)
    taus = dict(tau_plus=16.8, tau_minus=33.7, tau_x=101.0, tau_y=125.0)
    amplitudes = dict(a2_plus=0.3, a3_plus=0.2, a2_minus=0.25, a3_minus=0.15)
    r1 = r2 = o1 = o2 = expected = 0.0
    for x, y in zip(pre.flatten().tolist(), post.flatten().tolist(), strict=True):
        r1, o1 = r1 * math.exp(-1 / 16.8) + x, o1 * math.exp(-1 / 33.7) + y
        r2, o2 = r2 * math.exp(-1 / 101), o2 * math.exp(-1 / 125)
        expected += y * r1 * (0.3 + 0.2 * o2 * math.exp(1 / 125))
        expected -= x * o1 * (0.25 + 0.15 * r2 * math.exp(1 / 101))
        r2, o2 = r2 + x, o2 + y

    neurons = Pass([*post, *post])
    learner = TripletSTDPLearner(fc, neurons, **taus, **amplitudes)
    feed(fc, neurons, pre)
    assert learner.step(on_grad=False).item() == pytest.approx(expected, rel=1e-12)
    learner.reset()
    dw = 0.0
    for part in pre.split(13):
        feed(fc, neurons, part)
        dw += learner.step(on_grad=False).item()
    assert dw == pytest.approx(expected, rel=1e-12)


def change_after_60_pairings(hertz, post_delay):
    period, repeats = 1000 // hertz, 15
    time = torch.arange(repeats * period)
    pre, post = (((time - 10 - d) % period == 0).double()[:, None, None] for d in (0, post_delay))
    fc, neurons = nn.Linear(1, 1, dtype=torch.float64), Pass(post)
    learner = TripletSTDPLearner(fc, neurons)
    feed(fc, neurons, pre)
    return learner.step(on_grad=False, scale=60 / repeats).item()


def test_triplet_depends_on_frequency_as_visual_cortex_does():
    """Sjöström, Turrigiano and Nelson 2001, as fitted in the paper's figure 5."""
    pre_first = [change_after_60_pairings(hertz, 10) for hertz in (5, 10, 20, 40)]
    assert pre_first == sorted(pre_first) and abs(pre_first[0]) < 0.1 and pre_first[-1] > 0.25
    assert change_after_60_pairings(10, -10) < -0.2  # post before pre depresses,
    assert change_after_60_pairings(50, -10) > 0.2  # but not at high rates


def test_triplet_without_triplets_is_the_pair_rule_with_constant_amplitudes():
    conv = nn.Conv2d(2, 3, 3, padding=1).double()
    pre, post = bernoulli(4, 2, 2, 5, 5), bernoulli(4, 2, 3, 5, 5)
    tau = 4.0
    same_decay = -1 / math.log(1 - 1 / tau)  # the pair rule decays by 1 - 1/τ a step
    neurons = Pass([*post, *post])
    pair = STDPLearner(conv, neurons, tau, tau, lambda w: 0.3 * torch.ones_like(w), torch.ones_like)
    feed(conv, neurons, pre)
    expected = pair.step(on_grad=False)
    triplet = TripletSTDPLearner(conv, neurons, same_decay, same_decay, a2_plus=1, a3_plus=0, a2_minus=0.3, a3_minus=0)
    feed(conv, neurons, pre)
    torch.testing.assert_close(triplet.step(on_grad=False), expected)


def bcm_by_hand(w, pre, post, tau_pre, tau_post, tau_theta, target):
    """The rule of the docstring, literally: the update and the thresholds after it."""
    dw, theta = torch.zeros_like(w), [0.0] * w.shape[0]
    x, y = torch.zeros_like(pre[0]), torch.zeros_like(post[0])
    for t in range(len(pre)):
        x, y = x * math.exp(-1 / tau_pre) + pre[t], y * math.exp(-1 / tau_post) + post[t]
        for o in range(w.shape[0]):
            for i in range(w.shape[1]):
                for b in range(pre.shape[1]):
                    change = (x[b, i] * y[b, o] * (y[b, o] - theta[o])).item()
                    dw[o, i] += change * (f_post(w[o, i]) if change > 0 else f_pre(w[o, i]))
            decay = math.exp(-1 / tau_theta)
            theta[o] = theta[o] * decay + (1 - decay) * (y[:, o] ** 2).mean().item() / target
    return dw, torch.tensor(theta, dtype=torch.float64)


def test_bcm_by_hand_whose_threshold_outlives_a_reset():
    fc = nn.Linear(3, 2, dtype=torch.float64)
    pre, post = bernoulli(12, 4, 3), bernoulli(12, 4, 2)
    expected, theta = bcm_by_hand(fc.weight.detach(), pre, post, 3.0, 5.0, 7.0, 1.5)
    neurons = Pass([*post, post[0]])
    learner = BCMLearner(fc, neurons, 3.0, 5.0, 7.0, 1.5, f_pre, f_post)
    dw = 0
    for part in pre.split(5):  # the traces and the threshold go on from step to step
        feed(fc, neurons, part)
        dw = dw + learner.step(on_grad=False)
    torch.testing.assert_close(dw, expected)
    torch.testing.assert_close(learner.theta, theta)
    learner.reset()
    torch.testing.assert_close(learner.state_dict()["theta"], theta)
    feed(fc, neurons, pre[:1])
    assert learner.theta.min() > 1  # so that one spike is depressed
    change = torch.einsum("bi,bo->oi", pre[0], post[0] * (post[0] - theta))
    torch.testing.assert_close(learner.step(on_grad=False), f_pre(fc.weight.detach()) * change)


def test_bcm_goes_to_its_fixed_point():
    """Of two orthogonal patterns, equally frequent, each neuron answers one, with 2 y₀ = θ (Intrator, Cooper 1992)."""
    torch.manual_seed(0)
    fc, neurons = nn.Linear(2, 6, bias=False, dtype=torch.float64), nn.ReLU()
    nn.init.uniform_(fc.weight, 0.2, 0.8)
    learner = BCMLearner(fc, neurons, tau_pre=1e-3, tau_post=1e-3, tau_theta=20.0, target=1.5)  # traces of one step
    optimizer = torch.optim.SGD([fc.weight], lr=0.005)
    for _ in range(2500):
        optimizer.zero_grad()
        neurons(fc(torch.eye(2, dtype=torch.float64)))
        learner.step()
        optimizer.step()
    answers = fc.weight.detach()
    torch.testing.assert_close(answers.amax(1), torch.full((6,), 3.0, dtype=torch.float64))
    torch.testing.assert_close(answers.amin(1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(learner.theta, torch.full((6,), 3.0, dtype=torch.float64))
    assert 0 < (answers[:, 0] > 1).sum() < 6  # which one is up to the neuron


def test_bcm_makes_spiking_neurons_selective():
    """Each of ten neurons is driven alike by two overlapping patterns, and ends up firing for one of them."""
    torch.manual_seed(0)
    pattern = torch.tensor([0.3] * 10 + [0.05] * 10)
    patterns = torch.stack([pattern, pattern.flip(0)])
    fc, lif = nn.Linear(20, 10, bias=False), snn.Leaky(beta=0.8, init_hidden=True)
    nn.init.uniform_(fc.weight, 0.1, 0.3)
    learner = BCMLearner(fc, lif, 10.0, 10.0, 100.0, 2.0, *weight_bounds(0, 1, power=0))

    def rates(steps):
        learner.reset()
        snn.utils.reset(lif)
        return sum(lif(fc(torch.bernoulli(patterns))).detach() for _ in range(steps)) / steps

    def selectivity(rates):
        return (rates[0] - rates[1]).abs() / rates.sum(0)

    assert selectivity(rates(400)).max() < 0.2
    optimizer = torch.optim.SGD([fc.weight], lr=1e-5)
    for _ in range(150):
        optimizer.zero_grad()
        rates(50)
        learner.step()
        optimizer.step()
    after = rates(400)
    assert selectivity(after).min() > 0.75 and after.amax(0).min() > 0.3
    assert 0 < (after[0] > after[1]).sum() < 10


@settings(deadline=None, max_examples=30)
@given(
    w=st.floats(-1, 2),
    power=st.floats(0, 3),
    low=st.floats(-1, 0),
    high=st.floats(0.1, 1),
    seed=st.integers(0),
)
def test_weight_bounds_never_drive_a_weight_outwards(w, power, low, high, seed):
    down, up = weight_bounds(low, high, 0.2, 0.3, power)
    w = torch.tensor([w, low, high], dtype=torch.float64)
    assert (down(w) >= 0).all() and (up(w) >= 0).all()
    assert (down(w)[w <= low] == 0).all() and (up(w)[w >= high] == 0).all()


def test_hard_bounds_are_additive_inside():
    down, up = weight_bounds(0.0, 1.0, a_pre=0.2, a_post=0.3, power=0)
    w = torch.tensor([0.0, 0.5, 1.0])
    assert down(w).tolist() == pytest.approx([0, 0.2, 0.2])
    assert up(w).tolist() == pytest.approx([0.3, 0.3, 0])


@pytest.mark.parametrize(
    "make",
    [
        lambda fc, sn: STDPLearner(fc, sn, 5.0, 5.0, *weight_bounds(0, 1, 1e-3, 1e-3)),
        lambda fc, sn: BCMLearner(fc, sn, 5.0, 5.0, 20.0, 10.0, *weight_bounds(0, 1, 1e-4, 1e-4)),
    ],
    ids=["pair", "bcm"],
)
def test_soft_bounds_hold_the_weights_through_learning(make):
    fc, neurons = nn.Linear(20, 5, bias=False), nn.Threshold(0.0, 0.0)
    nn.init.uniform_(fc.weight, 0, 1)
    learner = make(fc, neurons)
    optimizer = torch.optim.SGD([fc.weight], lr=1.0)
    start = fc.weight.detach().clone()
    for _ in range(50):
        optimizer.zero_grad()
        (neurons(fc(torch.bernoulli(torch.full((4, 20), 0.3)))) > 0).float()
        learner.step()
        optimizer.step()
    assert fc.weight.min() >= 0 and fc.weight.max() <= 1 and not torch.allclose(start, fc.weight)


def test_errors():
    with pytest.raises(NotImplementedError, match="synapse must be Linear, Conv1d or Conv2d, got Embedding"):
        STDPLearner(nn.Embedding(3, 2), nn.ReLU(), 2.0, 2.0)
    with pytest.raises(NotImplementedError, match="synapse must be Linear, got Conv1d"):
        RewardSTDPLearner(nn.Conv1d(1, 1, 1), nn.ReLU(), 2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="w_min must be below w_max, got 1 and 0"):
        weight_bounds(1, 0)
    with pytest.raises(ValueError, match="power must be at least 0"):
        weight_bounds(power=-1)
    fc, neurons = nn.Linear(3, 2), nn.ReLU()
    for name in ("tau_pre", "tau_post", "tau_theta", "target"):
        with pytest.raises(ValueError, match=f"{name} must be above 0, got 0"):
            BCMLearner(fc, neurons, **{"tau_pre": 2.0, "tau_post": 2.0, "tau_theta": 2.0} | {name: 0})
    learner = STDPLearner(fc, neurons, 2.0, 2.0)
    neurons(fc(torch.ones(4, 3)))
    learner.step()
    neurons(fc(torch.ones(5, 3)))
    with pytest.raises(ValueError, match=r"\[5, 3\].*\[4, 3\].*reset"):
        learner.step()
    fc(torch.ones(4, 3))
    with pytest.raises(RuntimeError, match=r"called 1 times, but its neurons 0 times"):
        learner.step()


def test_digit_prototypes_are_learned_without_labels(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    accuracy = importlib.import_module("stdp_digits").main(size=60, epochs=1)
    assert accuracy > 0.6  # chance: 0.1
