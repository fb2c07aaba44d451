# %% [markdown]
# # What snnTorch users will notice
#
# **You will learn** that code for the published snnTorch 1.0.0 runs as it stands, which of its results change because
# the published ones were mistaken, and the three lines worth adding.
#
# ## Nothing, at first
#
# The same names, arguments, defaults, return values and keys of `state_dict`. A training loop as the published tutorials
# have it:

# %%
import textwrap

import matplotlib.pyplot as plt
import torch
from torch import nn

import snntorch as snn
from snntorch import functional as SF
from snntorch import spikegen, surrogate, utils

utils.seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        spike_grad = surrogate.fast_sigmoid(slope=25)
        self.fc1 = nn.Linear(20, 50)
        self.lif1 = snn.Leaky(beta=0.9, spike_grad=spike_grad)
        self.fc2 = nn.Linear(50, 4)
        self.lif2 = snn.Leaky(beta=0.9, spike_grad=spike_grad)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec, mem2_rec = [], []
        for step in range(x.size(0)):
            cur1 = self.fc1(x[step])
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


centres = torch.rand(4, 20)
labels = torch.randint(4, (256,))
data = spikegen.rate(
    (centres[labels] + 0.15 * torch.randn(256, 20)).clamp(0, 1), num_steps=25
)
loss_function = SF.ce_rate_loss()


def train(net, epochs=30):
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    losses = []
    for _ in range(epochs):
        spk_rec, _ = net(data)
        loss = loss_function(spk_rec, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


net = Net()
start = {name: value.clone() for name, value in net.state_dict().items()}
losses = train(net)
print(f"accuracy {SF.accuracy_rate(net(data)[0], labels):.1%}")

# %% [markdown]
# ## One line
#
# `snn.layerwise` runs that forward layer by layer. The class is the same, the parameters are shared, and the course of
# training is the loop's:

# %% alt="The loss over epochs of the loop as it stands and of layerwise, one on the other"
net.load_state_dict(start)
fast = snn.layerwise(net)
fast_losses = train(fast)

fig, ax = plt.subplots()
ax.plot(losses, linewidth=4, alpha=0.4, label="the loop as it stands")
ax.plot(fast_losses, label="snn.layerwise(net)")
ax.set(xlabel="epoch", ylabel="loss")
_ = ax.legend()

# %% [markdown]
# `snn.explain` says which layer runs how, and, where one has to go step by step, why:

# %%
snn.explain(fast, data)

# %% [markdown]
# ## What changes
#
# Where version 1.0.0 fails or contradicts its own documentation, this package does what is documented. The changes that
# can alter a result of yours:
#
# | you did | 1.0.0 | here |
# |---|---|---|
# | pass a state of the wrong shape | a silent zero | `ValueError` with both shapes |
# | `utils.reset(net)` | resets other networks, misses nested layers | all of `net`, nothing else |
# | set `neuron.reset_mechanism` later | changes a number only | changes the behaviour |
# | `surrogate.sigmoid()` | NaN at −5 | finite |
# | `SF.mse_temporal_loss()` | every default target is step 0 | other classes' target is the last step |
# | `SF.mse_count_loss(weight=...)` | weights meet the wrong dimension | belong to their class |
# | `SLSTM`, sizes that differ | loses its states at every step | keeps them |
# | `spikegen.rate(x, gain=..., time_var_input=True)` | gain is ignored | applied |
# | `.half()`, `.double()`, autocast | spikes are float32 | the input's dtype; states at least float32 |
#
# [Differences](../differences.md) has all of them.
#
# A state of the wrong shape, for example, is most often a batch that was smaller than the last one:

# %%
lif = snn.Leaky(beta=0.9)
_, mem = lif(torch.rand(8, 3))
try:
    lif(torch.rand(5, 3), mem)
except ValueError as error:
    print(textwrap.fill(str(error), 80))

# %% [markdown]
# ## What is new
#
# Copies, pickles and `torch.func` work after a forward pass; `torch.compile` makes one graph for all batch sizes; neurons
# of one's own are one function ([tutorial](engine.py)). Whole sequences have their own neurons, some of them from later
# papers; losses, codes and plots have been added. Data sets moved to [Tonic](https://tonic.readthedocs.io).
#
# ## Exercise
#
# A published loop takes `x[step]` of a tensor that requires a gradient, as after a first layer that ran for all steps.
# Why is `for now in x.unbind()` faster? Measure the backward pass of both for 500 steps.

# %% tags=["hide-cell"]
import time

x = torch.rand(500, 64, 100, requires_grad=True)
for name, steps in (("x[t]", lambda: (x[t] for t in range(500))), ("unbind", x.unbind)):
    total = sum(now.sum() for now in steps())
    begin = time.perf_counter()
    total.backward()
    print(f"{name:7} {1e3 * (time.perf_counter() - begin):6.1f} ms")
# The gradient of each x[t] is a tensor of x's size, zero but for one step, and 500 of
# them are added. That of unbind is stacked once. Under snn.layerwise it makes no
# difference.

# %% [markdown]
# ## References
#
# - J. K. Eshraghian et al., "Training spiking neural networks using lessons from deep learning", *Proceedings of the
#   IEEE* 111(9), 2023.
# - G. Lenz et al., *Tonic: event-based datasets and transformations*, Zenodo, 2021, doi:10.5281/zenodo.5079802.
