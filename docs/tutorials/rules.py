# %% [markdown]
# # Learning rules
#
# **You will learn** four ways to change a weight that do without backpropagation through time: by the order of two spikes
# (STDP), by a reward that comes later, by eligibility traces that give the exact gradient (e-prop), and by one trace for
# each input (OTTT).
#
# ## Before, after
#
# A synapse grows when its spike came just before the neuron's own, which it may have caused, and shrinks when it came just
# after:
#
# $$\Delta w = \begin{cases} A_+\, e^{-\Delta t/\tau_+} & \Delta t > 0 \\ -A_-\, e^{\Delta t/\tau_-} & \Delta t < 0 \end{cases}$$
#
# Two traces are enough to compute it forward in time: each side keeps a decaying memory of its spikes, and reads the
# other's when it fires itself. A step multiplies them by $1 - 1/\tau$, Euler's step of the exponential. We let one pair of
# spikes come $\Delta t$ apart.

# %% alt="Change of a weight over the time between two spikes: an exponential on either side, of opposite signs"
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import snntorch as snn
from snntorch import backprop, utils
from snntorch.functional.stdp_learner import RewardSTDPLearner, STDPLearner

small = os.environ.get("SNNTORCH_TUTORIALS") == "small"
utils.seed(0)


class Relay(nn.Module):
    """Fires when it is told to, whatever the synapse brings."""

    def forward(self, _):
        return self.told


def change(gap):
    synapse, relay = nn.Linear(1, 1, bias=False), Relay()
    learner = STDPLearner(synapse, relay, tau_pre=10.0, tau_post=10.0)
    nn.init.ones_(synapse.weight)  # the rule's factors grow with the weight
    before, after = max(0, -gap), max(0, gap)
    with torch.no_grad():
        for t in range(60):
            relay.told = torch.full((1, 1), float(t == after))
            relay(synapse(torch.full((1, 1), float(t == before))))
        return float(learner.step(on_grad=False))


gaps = [gap for gap in range(-40, 41) if gap]
measured = torch.tensor([change(gap) for gap in gaps])
gaps = torch.tensor(gaps)
weight = (measured / (gaps.sign() * 0.9 ** gaps.abs())).abs()
print(
    f"the same exponential on both sides, times {weight.min():.3f} to {weight.max():.3f}"
)

fig, ax = plt.subplots()
ax.axhline(0, color="gray", linewidth=0.8)
ax.plot(
    gaps[gaps < 0],
    measured[gaps < 0],
    "o-",
    markersize=3,
    label="after the neuron's spike",
)
ax.plot(gaps[gaps > 0], measured[gaps > 0], "o-", markersize=3, label="before it")
ax.set(xlabel=r"$\Delta t$ (steps)", ylabel="change of a weight of 1")
_ = ax.legend()

# %% [markdown]
# ## A pattern in noise
#
# Ten of fifty inputs repeat a volley; the rest are noise. A neuron with STDP finds those ten without being told. Its
# membrane needs a step or two to follow a current, so it fires just after a volley, whose inputs are strengthened; noise
# comes before and after by chance, and loses as one spike after the neuron's takes more than one before it gives.

# %% alt="Weights over sequences: those of the volley's inputs rise, those of noise do not"
utils.seed(1)
synapse = nn.Linear(50, 1, bias=False)
neuron = snn.Synaptic(alpha=0.7, beta=0.7, threshold=8.0, init_hidden=True)
nn.init.constant_(synapse.weight, 0.5)
learner = STDPLearner(
    synapse,
    neuron,
    tau_pre=3.0,
    tau_post=3.0,
    f_pre=lambda w: torch.full_like(w, 1.2),
    f_post=torch.ones_like,
)
course = []
with torch.no_grad():
    for _ in range(20 if small else 150):
        x = (torch.rand(50, 1, 50) < 0.02).float()
        x[20::25, 0, :10] = 1  # the volley
        utils.reset(neuron)
        learner.reset()
        for now in x:
            neuron(synapse(now))
        synapse.weight += learner.step(on_grad=False, scale=0.02)
        synapse.weight.clamp_(0, 1)
        course.append(synapse.weight[0].clone())
course = torch.stack(course)

fig, ax = plt.subplots()
ax.plot(course[:, 10:], color="lightgray", linewidth=0.7)
ax.plot(course[:, :10], color="C1", linewidth=1)
_ = ax.set(
    xlabel="sequence", ylabel="weight", title="inputs of the volley (orange), and noise"
)

# %% [markdown]
# ## A reward, later
#
# STDP knows no aim. A third factor does: keep what STDP would do as an *eligibility*, and apply it times a reward.
# `RewardSTDPLearner` holds such a trace; its `step(reward, ...)` makes the change. [Training](../training.md) lists the
# rules of the package.
#
# ## The gradient, forward in time
#
# For one layer of neurons, backpropagation through time can be turned round. Each synapse keeps a trace
# $\epsilon_t = \beta\,\epsilon_{t-1} + x_t$ of how it has moved the membrane, and the gradient is a sum over time of
# trace times present error. Nothing of the past is stored: memory does not grow with $T$. For the last layer it is *exact*:

# %%
net = nn.Sequential(
    nn.Linear(20, 30), snn.Leaky(beta=0.9, init_hidden=True), nn.Linear(30, 4)
)
x, y = (torch.rand(40, 16, 20) < 0.2).float() * 3, torch.randint(4, (16,))

utils.reset(net)
out = snn.unroll(net, x)
sum(nn.functional.cross_entropy(now, y) for now in out).backward()
by_time = [p.grad.clone() for p in net.parameters()]

net.zero_grad()
backprop.eprop(net, x, y, nn.functional.cross_entropy)
for p, expected in zip(net.parameters(), by_time, strict=True):
    torch.testing.assert_close(p.grad, expected, rtol=1e-3, atol=1e-4)
print("e-prop's gradients are those of backpropagation through time")

# %% [markdown]
# One trace for each synapse is much. OTTT keeps one for each *input*, which all synapses of that input share: little
# memory, exact for neurons that filter alike. Deep networks are approximate in both. All three on one task, where the
# difference is hardly to be seen:

# %% alt="Loss over updates of three rules, one curve on the other"
centres = torch.rand(4, 20)


def batch(size=64, steps=30):
    y = torch.randint(4, (size,))
    return (torch.rand(steps, size, 20) < centres[y] * 0.5).float(), y


def through_time(net, x, y, criterion):
    utils.reset(net)
    loss = sum(criterion(now, y) for now in snn.unroll(net, x))
    loss.backward()
    return loss.detach()


fig, ax = plt.subplots()
for name, rule in {
    "through time": through_time,
    "e-prop": backprop.eprop,
    "OTTT": backprop.ottt,
}.items():
    utils.seed(2)
    net = nn.Sequential(
        nn.Linear(20, 40), snn.Leaky(beta=0.9, init_hidden=True),
        nn.Linear(40, 40), snn.Leaky(beta=0.9, init_hidden=True),
        nn.Linear(40, 4),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(3 if small else 60):
        x, y = batch()
        optimizer.zero_grad()
        losses.append(rule(net, x, y, nn.functional.cross_entropy) / len(x))
        optimizer.step()
    ax.plot(losses, label=name)
ax.set(xlabel="update", ylabel="loss")
_ = ax.legend()

# %% [markdown]
# ## Exercise
#
# Use `RewardSTDPLearner` to teach one neuron to fire for pattern A and not for pattern B: reward 1 when it fires for A, −1
# when it fires for B. Watch the weights of the inputs of both.

# %% tags=["hide-cell"]
utils.seed(3)
synapse = nn.Linear(20, 1, bias=False)
neuron = snn.Leaky(beta=0.7, threshold=2.0, init_hidden=True)
nn.init.constant_(synapse.weight, 0.5)
learner = RewardSTDPLearner(
    synapse,
    neuron,
    tau_pre=3.0,
    tau_post=3.0,
    tau_trace=20.0,
    f_pre=lambda w: torch.full_like(w, 0.5),
)
answers = {0: [], 1: []}
with torch.no_grad():
    for trial in range(40 if small else 200):
        pattern = trial % 2
        lines = slice(0, 10) if pattern == 0 else slice(10, 20)
        utils.reset(neuron)
        learner.reset()
        fired = 0.0
        for _ in range(20):
            x = torch.zeros(1, 20)
            x[:, lines] = (torch.rand(1, 10) < 0.3).float()
            fired += float(neuron(synapse(x)).sum())
        reward = 1.0 if pattern == 0 else -1.0
        synapse.weight += learner.step(reward, on_grad=False, scale=0.01)
        synapse.weight.clamp_(0, 1)
        answers[pattern].append(fired)
for name, counts in zip("AB", answers.values(), strict=True):
    first, last = sum(counts[:5]) / 5, sum(counts[-5:]) / 5
    print(f"{name}: {first:.1f} spikes at first, {last:.1f} at last")
weights = synapse.weight[0].split(10)
print("mean weights:", ", ".join(f"{part.mean():.2f}" for part in weights))
# Inputs before a spike gain more than those behind it lose, so the eligibility of what
# made the neuron fire is positive; the reward's sign says what to do with it.

# %% [markdown]
# ## References
#
# - G. Bi and M. Poo, "Synaptic modifications in cultured hippocampal neurons: dependence on spike timing, synaptic
#   strength, and postsynaptic cell type", *Journal of Neuroscience* 18(24), 1998.
# - R. V. Florian, "Reinforcement learning through modulation of spike-timing-dependent synaptic plasticity", *Neural
#   Computation* 19(6), 2007.
# - G. Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", *Nature
#   Communications* 11, 2020.
# - M. Xiao et al., "Online training through time for spiking neural networks", *NeurIPS*, 2022.
