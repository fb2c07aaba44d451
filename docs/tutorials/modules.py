# %% [markdown]
# # Your own module: residual, attention, and from a loop to layerwise
#
# **You will learn** that a spiking network may have any form that PyTorch's modules have, how such a forward runs layer by
# layer although it is written step by step, what keeps it from doing so, and what it gains.
#
# ## A residual block
#
# Spikes of a block are added to what went in, so that gradients find a way around it. The block is one step, written as
# any module is; the loop is left to `unroll`.

# %%
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import snntorch as snn
from snntorch import utils

utils.seed(0)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.lif1 = snn.Leaky(beta=0.9, init_hidden=True)
        self.fc2 = nn.Linear(width, width)
        self.lif2 = snn.Leaky(beta=0.9, init_hidden=True)

    def forward(self, x):
        return x + self.lif2(self.fc2(self.lif1(self.fc1(x))))


class Residual(nn.Module):
    def __init__(self, inputs=64, width=128, depth=3):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.last = nn.Linear(width, 10)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(x)


net = Residual()
x = torch.rand(50, 32, 64)
print(snn.unroll(net, x).shape)
snn.explain(net, x)

# %% [markdown]
# Every linear layer takes all 50 steps as one batch, every neuron runs as one kernel over time, though a Python loop over
# blocks and an addition lie between them. What is called is recorded, and what does not depend on time is folded.
#
# ## Does it give the same?
#
# The promise is the loop's result. In double precision it can be held to the last digits:

# %%
net, x = net.double(), x.double()
utils.reset(net)
looped = torch.stack([net(now) for now in x])
grad_looped = torch.autograd.grad(looped.square().mean(), net.first.weight)[0]

utils.reset(net)
folded = snn.unroll(net, x)
grad_folded = torch.autograd.grad(folded.square().mean(), net.first.weight)[0]
print(f"values differ by {(looped - folded).abs().max():.0e}")
print(f"gradients differ by {(grad_looped - grad_folded).abs().max():.0e}")
assert torch.allclose(looped, folded, rtol=0, atol=1e-10)

# %% [markdown]
# ## Attention between spikes
#
# A query and a key that are spikes need no softmax: the product counts coincidences and is never negative. A step of
# such a block, for tokens `[B, N, D]`:


# %%
class SpikingAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.spikes = snn.Leaky(beta=0.5, init_hidden=True)
        self.out = nn.Linear(width, width)
        self.lif = snn.Leaky(beta=0.5, init_hidden=True)

    def forward(self, x):
        q, k, v = self.spikes(self.qkv(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        scores = torch.einsum("bnhd,bmhd->bhnm", q, k) * 0.125
        mixed = torch.einsum("bhnm,bmhd->bnhd", scores, v).flatten(-2)
        return x + self.lif(self.out(mixed))


attention = SpikingAttention(width=64, heads=4)
tokens = torch.rand(20, 8, 16, 64)  # steps, samples, tokens, features
snn.explain(attention, tokens)

# %% [markdown]
# `einsum`, `unflatten` and the rest are functions of each sample alone, and fold. Which tokens look at which? The
# scores of the last step, before training:

# %% alt="Scores between queries and keys of four heads"
seen = []


class Looking(SpikingAttention):
    def forward(self, x):
        q, k, _ = self.spikes(self.qkv(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        seen.append(torch.einsum("bnhd,bmhd->bhnm", q, k))
        return x


with torch.no_grad():
    for now in tokens * 3:
        Looking.forward(attention, now)
fig, axes = plt.subplots(1, 4, figsize=(7, 2))
for head, ax in enumerate(axes):
    ax.imshow(torch.stack(seen).mean(0)[0, head].numpy())
    ax.set(title=f"head {head}", xlabel="key", xticks=[], yticks=[])
_ = axes[0].set_ylabel("query")

# %% [markdown]
# ## The loop inside
#
# Most published code holds the loop in its forward and hands the states along. Leave it: `snn.layerwise(net)` is a module
# of the same class that shares every parameter, and runs the same way.


# %% alt="Bars of the time of a training step: layerwise takes a fraction of the loop's"
class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 512), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(512, 10), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for _ in range(25):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out)


loop = Loop()
fast = snn.layerwise(loop)
images = torch.rand(128, 64)
assert isinstance(fast, Loop) and fast.fc1.weight is loop.fc1.weight


def milliseconds(net, repeats=5):
    """The best of a few training steps."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        net(images).sum().backward()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


times = {"as it is": milliseconds(loop), "layerwise": milliseconds(fast)}
fig, ax = plt.subplots(figsize=(7, 1.6))
bars = ax.barh(list(times), list(times.values()))
ax.bar_label(bars, fmt="%.1f ms", padding=4)
_ = ax.set_xlabel("one training step on the machine that built this page")

# %% [markdown]
# Two things are at work: `fc1`, whose input is the same at every step, runs once, and no step costs a round trip through
# Python.
#
# ## Exercise
#
# What would keep a layer from folding? Write a module whose forward asks `if spikes.sum() > 0`, look at it with
# `snn.explain`, and mend it.


# %% tags=["hide-cell"]
class Asks(Block):
    def forward(self, x):
        spikes = self.lif1(self.fc1(x))
        if (
            spikes.sum() > 0
        ):  # a value is needed here and now, so that the step must really run
            x = x + self.fc2(spikes)
        return x


class Mended(Block):
    def forward(self, x):
        spikes = self.lif1(self.fc1(x))
        any_spike = spikes.sum(-1, keepdim=True) > 0  # of each sample, which folds, too
        return torch.where(any_spike, x + self.fc2(spikes), x)


snn.explain(Asks(64), torch.rand(5, 2, 64))
print()
snn.explain(Mended(64), torch.rand(5, 2, 64))
# (The sum over the whole batch made a sample depend on its neighbours, which was a
# mistake anyway.)

# %% [markdown]
# ## References
#
# - W. Fang et al., "Deep residual learning in spiking neural networks", *NeurIPS*, 2021.
# - Z. Zhou et al., "Spikformer: when spiking neural network meets transformer", *ICLR*, 2023.
#
# The guide: [over time](../over-time.md).
