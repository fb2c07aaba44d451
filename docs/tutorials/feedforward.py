# %% [markdown]
# # A first feed-forward network
#
# **You will learn** how spiking layers are stacked, the two ways to write the loop over time and what each is good for,
# how activity travels through an untrained network, and why its scale matters.
#
# ## The loop
#
# A layer of neurons follows a layer of weights. At every step the weights turn spikes into currents, and the neurons
# turn currents into spikes. In the style that most code is written in, the states are passed by hand:

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

import snntorch as snn
from snntorch import spikegen, spikeplot, utils

utils.seed(0)


class Net(nn.Module):
    def __init__(self, gain=1.0):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 100), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(100, 10), snn.Leaky(beta=0.9)
        with torch.no_grad():
            self.fc1.weight *= gain
            self.fc2.weight *= gain

    def forward(self, x):  # spikes, [T, B, 64]
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()  # states of zero
        hidden, output, membranes = [], [], []
        for now in x.unbind():
            spk1, mem1 = self.lif1(self.fc1(now), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            hidden.append(spk1)
            output.append(spk2)
            membranes.append(mem2)
        return torch.stack(hidden), torch.stack(output), torch.stack(membranes)


net = Net(gain=3)
spikes = spikegen.rate(torch.rand(1, 64), num_steps=100)
hidden, output, membranes = net(spikes)
print(hidden.shape, output.shape)

# %% [markdown]
# ## A look
#
# `spikeplot.overview` draws a run from the input down to the output, where the number of spikes is counted.

# %% alt="Rasters and rates of input, hidden and output layer, and the count of output spikes of each class"
run = {"input": spikes, "hidden": hidden, "output": output}
fig = plt.figure(figsize=(7, 5))
_ = spikeplot.overview(run, fig=fig)

# %% [markdown]
# And the membranes of the first output neurons, each from its spikes' point of view:

# %% alt="Membranes of four output neurons over time, with their threshold and spikes"
fig, ax = plt.subplots(figsize=(7, 3.2))
spikeplot.membrane_traces(membranes[:, 0, :4], output[:, 0, :4], threshold=1.0, ax=ax)
_ = ax.set_xlabel("time step")

# %% [markdown]
# ## The line that makes it fast
#
# Step by step is how we think of it, not how it must be computed. `fc1` can take all steps as one batch, and a neuron
# can run through time as one kernel. `snn.layerwise` sees to it, for any module, and returns the loop's values:

# %%
fast = snn.layerwise(net)
hidden_fast, output_fast, _ = fast(spikes)
print(
    "the same spikes:",
    torch.equal(hidden, hidden_fast) and torch.equal(output, output_fast),
)
snn.explain(fast, spikes)

# %% [markdown]
# A network that is a plain stack needs no class. With `init_hidden=True` each neuron keeps its own state, and
# `snn.unroll` is the loop; `utils.reset` sets the states to zero before the next sequence.

# %%
stack = nn.Sequential(
    nn.Linear(64, 100),
    snn.Leaky(beta=0.9, init_hidden=True),
    nn.Linear(100, 10),
    snn.Leaky(beta=0.9, init_hidden=True),
)
utils.reset(stack)
print(snn.unroll(stack, spikes).shape)

# %% [markdown]
# ## Scale decides
#
# The network above has its weights multiplied by 3. As PyTorch draws them, activity dies on its way; with too large a
# gain more and more neurons fire at every step or never, whatever comes in. Between the two lies a band where input makes a difference.

# %% alt="Spikes per neuron and step of both layers over the gain of the weights"
gains = torch.linspace(0.5, 12, 12)
inputs = spikegen.rate(torch.rand(16, 64), num_steps=100)
rates = {"hidden": [], "output": []}
for gain in gains:
    with torch.no_grad():
        hidden, output, _ = snn.layerwise(Net(gain=float(gain)))(inputs)
    rates["hidden"].append(hidden.mean())
    rates["output"].append(output.mean())

fig, ax = plt.subplots()
for name, values in rates.items():
    ax.plot(gains, values, label=name)
ax.set(xlabel="gain on PyTorch's initial weights", ylabel="spikes per neuron and step")
_ = ax.legend()

# %% [markdown]
# ## Exercise
#
# A Leaky neuron multiplies a constant input by $1/(1-\beta)$ in the long run. So `beta` is a gain, too. Compute, for
# $\beta = 0.5, 0.8, 0.9, 0.95$, which factor on the weights keeps that product at the value which $\beta = 0.9$ has
# with a gain of 3. Does the hidden layer's firing rate stay the same then? Measure, and explain.

# %% tags=["hide-cell"]
for beta in (0.5, 0.8, 0.9, 0.95):
    gain = 3 * (1 - beta) / (1 - 0.9)
    utils.seed(1)
    net = Net(gain=gain)
    net.lif1.beta.fill_(beta)
    with torch.no_grad():
        hidden, _, _ = snn.layerwise(net)(inputs)
    print(f"beta {beta}: gain {gain:5.2f}, hidden rate {hidden.mean():.3f}")
# It falls with beta. The mean input is the same, but a longer memory averages more
# steps: the fluctuations around the mean, which push a membrane over the threshold,
# shrink as the root of (1 - beta) / (1 + beta).

# %% [markdown]
# ## References
#
# - J. K. Eshraghian et al., "Training spiking neural networks using lessons from deep learning", *Proceedings of the
#   IEEE* 111(9), 2023.
# - J. Rossbroich, J. Gygax and F. Zenke, "Fluctuation-driven initialization for spiking neural network training",
#   *Neuromorphic Computing and Engineering* 2, 2022.
#
# Next: [training it](training.py).
