# %% [markdown]
# # From an ordinary network to a spiking one
#
# **You will learn** why a firing rate is a rectified sum, how a trained ReLU network becomes a spiking one without further
# training, what scale has to do with it, and how accuracy grows with the steps that it is given.
#
# ## A rate is a ReLU
#
# An integrate-and-fire neuron without leak that subtracts its threshold keeps the books: all that came in is in the
# potential or has gone out as spikes. After $T$ steps of input $x$ with threshold 1,
#
# $$T x = N + U_T \quad\Longrightarrow\quad \frac{N}{T} = x - \frac{U_T}{T},$$
#
# as long as $0 \le x \le 1$: below zero there are no spikes, above one more than one a step would be needed. The firing
# rate is a ReLU that is cut at 1, and its error falls with $1/T$.

# %% alt="Firing rate over input: stairs of 4, 16 and 256 steps along a ReLU that is cut at 1"
import os

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import snntorch as snn
from snntorch import utils
from snntorch.conversion import accuracy_by_steps, ann_to_snn

small = os.environ.get("SNNTORCH_TUTORIALS") == "small"
utils.seed(0)
x = torch.linspace(-0.5, 1.5, 401)[None]
neuron = snn.Leaky(beta=1.0)

fig, ax = plt.subplots()
for steps in (4, 16, 256):
    spk, _ = snn.unroll(neuron, x, num_steps=steps)
    ax.plot(x[0], spk.mean(0)[0], label=f"{steps} steps")
ax.plot(
    x[0],
    x[0].clamp(0, 1),
    color="black",
    linewidth=0.8,
    linestyle=":",
    label="ReLU, cut at 1",
)
ax.set(xlabel="input", ylabel="spikes per step")
_ = ax.legend()

# %% [markdown]
# ## An ordinary network

# %%
digits = load_digits()
parts = train_test_split(digits.data / 16, digits.target, random_state=0)
train_x, test_x = (torch.tensor(p).float().view(-1, 1, 8, 8) for p in parts[:2])
train_y, test_y = map(torch.tensor, parts[2:])
ann = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.AvgPool2d(2),
    nn.Flatten(),
    nn.Linear(256, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
)
optimizer = torch.optim.Adam(ann.parameters(), lr=3e-3)
for _epoch in range(2 if small else 12):
    for batch in torch.randperm(len(train_x)).split(64):
        loss = nn.functional.cross_entropy(ann(train_x[batch]), train_y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
ann.eval()
with torch.no_grad():
    reached = float((ann(test_x).argmax(1) == test_y).float().mean())
print(f"ReLU network: {reached:.1%}")

# %% [markdown]
# ## The scale
#
# Activations are not bounded by 1. So each layer's weights are divided by about the largest activation that data produce
# in it, and multiplied by that of the layer before: $W \leftarrow W \lambda_{l-1} / \lambda_l$. The largest of all is
# often far out; a high percentile is taken instead, and the few activations above it are cut.

# %%
spiking = ann_to_snn(ann, train_x, percentile=99.9)
print(spiking)

# %% [markdown]
# ## Steps
#
# The longer it runs, the closer its rates are to the activations. Average pooling stays exact; batch normalisation was
# merged into the convolution.

# %% alt="Test accuracy over steps for three percentiles, each rising to that of the ReLU network"
steps = 16 if small else 128
by_step = {
    p: accuracy_by_steps(ann_to_snn(ann, train_x, percentile=p), test_x, test_y, steps)
    for p in (100, 99.9, 97)
}
fig, ax = plt.subplots()
for percentile, values in by_step.items():
    ax.semilogx(range(1, steps + 1), values, label=f"percentile {percentile}")
ax.axhline(reached, color="gray", linestyle=":", label="ReLU network")
ax.set(xlabel="steps", ylabel="test accuracy", ylim=(0, 1.02))
_ = ax.legend()

# %% [markdown]
# A lower percentile lets neurons fire more and saves steps, at the price of cut activations. A network that is *trained*
# to spike needs fewer steps still ([training](training.py)); conversion is for networks that exist.
#
# ## Exercise
#
# In the first steps deeper layers have not fired yet, so that their neurons lag behind. Start every membrane at half its
# threshold: what does the formula above promise about the error, and what does it do to the accuracy of the first steps?


# %% tags=["hide-cell"]
def from_half(net, images, steps):
    utils.reset(net)
    snn.unroll(net, images, num_steps=1)  # so that the states have their shapes
    states = {
        name: torch.full_like(state, 0.5)
        for name, state in utils.get_states(net).items()
    }
    utils.set_states(net, states)
    with torch.no_grad():
        return snn.unroll(net, images, num_steps=steps)


few = 8
net = ann_to_snn(ann, train_x)
out = from_half(net, test_x, few).cumsum(0)
half = (out.argmax(2) == test_y).float().mean(1)
zero = accuracy_by_steps(net, test_x, test_y, few)
print("from zero:", *(f"{value:.0%}" for value in zero.tolist()))
print("from half:", *(f"{value:.0%}" for value in half.tolist()))
# N = Tx + 1/2 - U_T rounds to the nearest number of spikes instead of down: half the
# error at most, at every T.

# %% [markdown]
# ## References
#
# - P. U. Diehl et al., "Fast-classifying, high-accuracy spiking deep networks through weight and threshold balancing",
#   *IJCNN*, 2015.
# - B. Rueckauer, I.-A. Lungu, Y. Hu, M. Pfeiffer and S.-C. Liu, "Conversion of continuous-valued deep networks to efficient
#   event-driven networks for image classification", *Frontiers in Neuroscience* 11, 2017.
# - T. Bu et al., "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural networks", *ICLR*, 2022.
