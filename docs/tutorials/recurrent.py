# %% [markdown]
# # Recurrent networks and long sequences
#
# **You will learn** to give a layer feedback, to read an answer from a membrane instead of counting spikes, why memory over
# many steps is hard to train, and which neurons of the package make it easy.
#
# ## A task that needs memory
#
# Ten input lines fire noise all the time. Ten others give a cue in the first ten steps: the lower five fire for 0, the
# upper five for 1. The network has to say at the end which it was.

# %% alt="Spikes of twenty input lines for either label: a cue in the first ten steps, noise in the rest"
import os
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import snntorch as snn
from snntorch import spikeplot, utils

small = os.environ.get("SNNTORCH_TUTORIALS") == "small"
utils.seed(0)


def batch(size, steps):
    """Spikes [T, B, 20] and labels [B]."""
    labels = torch.randint(2, (size,))
    x = (torch.rand(steps, size, 20) < 0.1).float()
    x[:, :, :10] = 0
    x[:10, :, :5] = (torch.rand(10, size, 5) < 0.5) * (labels == 0)[:, None].float()
    x[:10, :, 5:10] = (torch.rand(10, size, 5) < 0.5) * (labels == 1)[:, None].float()
    return x, labels


x, labels = batch(64, 60)
fig, axes = plt.subplots(1, 2, sharey=True)
for ax, label in zip(axes, (0, 1), strict=True):
    spikeplot.raster(x[:, labels == label][:, 0], ax, s=6)
    ax.set(title=f"label {label}", xlabel="time step")
_ = axes[0].set_ylabel("input line")

# %% [markdown]
# ## Reading a membrane
#
# The readout does not spike: `snn.LeakyIntegrator` adds up what it gets, and its potential after the last step goes into an
# ordinary cross entropy. That gives a gradient at once, where a spike count would give nothing until the first output
# spike.


# %% alt="Accuracy over updates of a leaky, a recurrent and an adaptive hidden layer"
def train(hidden, steps, epochs):
    utils.seed(1)
    net = nn.Sequential(
        nn.Linear(20, 64),
        hidden,
        nn.Linear(64, 2),
        snn.LeakyIntegrator(beta=0.9, init_hidden=True),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    reached = []
    for _ in range(epochs):
        x, labels = batch(64, steps)
        utils.reset(net)
        out = snn.unroll(net, x)[-1]  # the last step's potentials
        loss = nn.functional.cross_entropy(out, labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        reached.append(float((out.argmax(1) == labels).float().mean()))
    return net, reached


epochs = 5 if small else 100
kinds = {
    "Leaky, beta 0.9": lambda: snn.Leaky(beta=0.9, init_hidden=True),
    "RLeaky, beta 0.9": lambda: snn.RLeaky(
        beta=0.9, linear_features=64, init_hidden=True
    ),
    "ALIF, rho 0.99": lambda: snn.ALIF(beta=0.9, rho=0.99, init_hidden=True),
}
fig, ax = plt.subplots()
for name, build in kinds.items():
    _, reached = train(build(), steps=60, epochs=epochs)
    smooth = torch.tensor(reached).unfold(0, 5, 1).mean(-1)
    ax.plot(smooth, label=name)
    print(f"{name:18} {sum(reached[-5:]) / 5:.0%}")
ax.set(xlabel="update", ylabel="accuracy on new samples", ylim=(0.3, 1.03))
_ = ax.legend()

# %% [markdown]
# Between the cue and the answer lie 50 steps. A membrane with $\beta = 0.9$ has then kept $0.9^{50} = 0.5\,\%$ of what it
# knew. Feedback can keep a spike pattern alive, and an adapting threshold remembers by itself: with $\rho = 0.99$ it
# still has 60 %.
#
# ## Vanishing, in numbers
#
# Through one step the gradient of a Leaky membrane shrinks by $\beta$, plus what passes through the spikes. How much of
# the gradient at the last step arrives at step $t$? With feedback, every step multiplies by a matrix besides, and the
# gradient may as well explode, which is why the training above clips it.


# %% alt="Gradient over the step of the input, on a logarithmic scale: lines that fall into the past unless beta is near 1"
def arriving(hidden, steps=100):
    x = (torch.rand(steps, 16, 64) < 0.3).float().requires_grad_()
    utils.reset(hidden)
    snn.unroll(hidden, x * 0.5)[-1].sum().backward()
    return x.grad.abs().mean((1, 2))


fig, ax = plt.subplots()
utils.seed(2)
for beta in (0.8, 0.9, 0.99):
    ax.semilogy(
        arriving(snn.Leaky(beta=beta, init_hidden=True)), label=f"Leaky, beta {beta}"
    )
ax.semilogy(
    arriving(kinds["RLeaky, beta 0.9"]()), label="RLeaky, beta 0.9", linestyle="--"
)
ax.set(xlabel="step of the input", ylabel="gradient", ylim=(1e-8, 1e8))
_ = ax.legend(fontsize=8)

# %% [markdown]
# ## Long sequences
#
# Without a reset a membrane is a linear filter, which can be computed for all steps at once. `StateLeaky` takes a whole
# sequence `[T, B, C]` in one call and spikes from the filtered input. Its time is still linear in the steps:

# %% alt="Time of forward and backward over the number of steps"
lengths = [100, 300, 1000, 3000] if small else [100, 300, 1000, 3000, 10000]
neuron = snn.StateLeaky(beta=0.99, channels=16)
times = []
for length in lengths:
    x = torch.rand(length, 8, 16, requires_grad=True)
    neuron(x)  # the first call compiles
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        neuron(x)[0].sum().backward()
        best = min(best, time.perf_counter() - start)
    times.append(1e3 * best)

fig, ax = plt.subplots()
ax.loglog(lengths, times, marker="o")
_ = ax.set(xlabel="steps", ylabel="forward and backward (ms)")

# %% [markdown]
# Where memory is short, `snn.unroll(net, x, recompute=K)` keeps every K-th state only ([speed and memory](../speed.md)),
# and `backprop.TBPTT` cuts the sequence ([training](../training.md)).
#
# ## Exercise
#
# A delay is a memory, too. Put `snn.Delay` by 50 steps between the input and the readout of a network without any hidden
# neurons, and train it. Why does it need so few updates?

# %% tags=["hide-cell"]
net = nn.Sequential(
    snn.Delay(50, init_hidden=True),
    nn.Linear(20, 2),
    snn.LeakyIntegrator(beta=0.9, init_hidden=True),
)
optimizer = torch.optim.Adam(net.parameters(), lr=2e-2)
for update in range(31):
    x, labels = batch(64, 60)
    utils.reset(net)
    out = snn.unroll(net, x)[-1]
    loss = nn.functional.cross_entropy(out, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if update % 10 == 0:
        print(f"update {update:2}: {(out.argmax(1) == labels).float().mean():.0%}")
# The delay hands the cue over at the moment of the answer, whole; what is left is a
# linear problem.

# %% [markdown]
# ## References
#
# - G. Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", *NeurIPS*, 2018.
# - B. Yin, F. Corradi and S. M. Bohté, "Accurate and efficient time-domain classification with adaptive spiking recurrent
#   neural networks", *Nature Machine Intelligence* 3, 2021.
# - W. Fang et al., "Parallel spiking neurons with high efficiency and ability to learn long-term dependencies",
#   *NeurIPS*, 2023.
