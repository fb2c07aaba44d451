# %% [markdown]
# # Gallery
#
# Every plot of `snntorch.spikeplot`, every neuron's answer and every surrogate, each with the code that drew it. All of
# them take tensors or arrays and draw on the axes that they are given.

# %% [markdown]
# ## A run to look at

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

import snntorch as snn
from snntorch import spikegen, spikeplot, surrogate, utils
from snntorch.functional.probe import Recorder

utils.seed(0)
net = nn.Sequential(
    nn.Linear(40, 60),
    snn.Leaky(beta=0.9, init_hidden=True),
    nn.Linear(60, 10),
    snn.Leaky(beta=0.9, init_hidden=True),
)
with torch.no_grad():
    net[0].weight *= 4
    net[2].weight *= 3
x = spikegen.rate(torch.rand(6, 40) * 0.6, num_steps=100)
with torch.no_grad(), Recorder(net) as recorder:
    snn.unroll(net, x)
hidden, output, mem = (
    recorder.spikes["1"],
    recorder.spikes["3"],
    recorder.states["mem"]["3"],
)

# %% [markdown]
# ## Rasters
#
# `spikeplot.raster` marks each spike:

# %% alt="A raster of 60 neurons over 100 steps"
fig, ax = plt.subplots()
spikeplot.raster(hidden[:, 0], ax, s=3)
_ = ax.set(xlabel="time step", ylabel="neuron")

# %% [markdown]
# `spikeplot.raster_grid` shows each sample of a batch:

# %% alt="A grid of six rasters, one for each sample"
fig = plt.figure(figsize=(7, 3.4))
_ = spikeplot.raster_grid(hidden, columns=3, fig=fig, s=2)

# %% [markdown]
# `spikeplot.raster_groups` colours groups of neurons, with their mean rates above:

# %% alt="A raster of two groups in two colours, with the rate of each above"
fig, (above, below) = plt.subplots(
    2, 1, sharex=True, height_ratios=(1, 2), figsize=(7, 3.6)
)
_ = spikeplot.raster_groups(
    hidden[:, 0],
    {"first": range(30), "second": range(30, 60)},
    ax=below,
    rate_ax=above,
    s=3,
)

# %% [markdown]
# ## A whole run
#
# `spikeplot.overview`, from the input down to the count of the output's spikes:

# %% alt="Rasters and rates of input, hidden and output layer, and the count of output spikes"
fig = plt.figure(figsize=(7, 5))
_ = spikeplot.overview({"input": x, "hidden": hidden, "output": output}, fig=fig)

# %% [markdown]
# ## Membranes
#
# `spikeplot.membrane_traces` stacks them, with thresholds and spikes:

# %% alt="Four membranes over time, each with its threshold and its spikes"
fig, ax = plt.subplots(figsize=(7, 3.4))
_ = spikeplot.membrane_traces(mem[:, 0, :4], output[:, 0, :4], threshold=1.0, ax=ax)

# %% [markdown]
# `spikeplot.traces` puts each into a cell of a grid:

# %% alt="A grid of six membranes with their spikes"
plt.figure(figsize=(7, 3.4))
spikeplot.traces(mem[:, 0, :6], spk=output[:, 0, :6], dim=(2, 3))

# %% [markdown]
# ## Statistics
#
# `spikeplot.psth`, the rate over time of a neuron over the samples of a batch:

# %% alt="Bars of the rate of one neuron in bins of ten steps"
fig, ax = plt.subplots()
_ = spikeplot.psth(hidden[:, :, 0], ax=ax, bin_size=10)

# %% [markdown]
# `spikeplot.isi_histogram`, the gaps between spikes:

# %% alt="A histogram of the steps between two spikes of a neuron, most of them short"
fig, ax = plt.subplots()
_ = spikeplot.isi_histogram(hidden[:, 0], ax=ax)

# %% [markdown]
# `spikeplot.rate_histogram`, the rates over neurons:

# %% alt="A histogram of how many neurons fire at which rate"
fig, ax = plt.subplots()
_ = spikeplot.rate_histogram(hidden[:, 0], ax=ax, bins=15)

# %% [markdown]
# `spikeplot.spike_count`, whose animated form counts step by step:

# %% alt="Bars that count the spikes of ten output neurons"
fig, ax = plt.subplots(figsize=(4, 3))
spikeplot.spike_count(output[:, 0], fig, ax, labels=[str(i) for i in range(10)])

# %% [markdown]
# ## Weights
#
# `spikeplot.weight_map`, a matrix of weights with zero in the middle of its colours:

# %% alt="A matrix of the weights from 60 hidden to 10 output neurons, blue below zero and red above"
fig, ax = plt.subplots(figsize=(7, 2.2))
_ = spikeplot.weight_map(net[2].weight, ax=ax)

# %% [markdown]
# `spikeplot.weight_histogram`, one or more layers' weights:

# %% alt="Histograms of the weights of two layers"
fig, ax = plt.subplots()
_ = spikeplot.weight_histogram({"first": net[0].weight, "second": net[2].weight}, ax=ax)

# %% [markdown]
# `spikeplot.receptive_fields`, each neuron's weights as the picture that it looks for. Those of an untrained network are
# noise, so these are stripes of our own:

# %% alt="Twelve receptive fields, stripes in as many directions"
y, x = torch.meshgrid(
    torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij"
)
angles = torch.arange(12)[:, None, None] * torch.pi / 12
stripes = torch.cos(8 * (x * angles.cos() + y * angles.sin()))
fields = stripes * torch.exp(-3 * (x**2 + y**2))
fig, ax = plt.subplots(figsize=(5, 2))
_ = spikeplot.receptive_fields(fields.flatten(1), shape=(16, 16), ax=ax, columns=6)

# %% [markdown]
# ## Training
#
# `spikeplot.training_curves`, a panel for each metric:

# %% alt="Losses and accuracy over epochs, the best epoch marked"
epochs = torch.arange(30)
history = {
    "train_loss": 2 * torch.exp(-epochs / 8) + 0.05 * torch.rand(30),
    "val_loss": 2 * torch.exp(-epochs / 8) + 0.2 + 0.1 * torch.rand(30),
    "val_accuracy": 1 - 0.9 * torch.exp(-epochs / 6),
}
fig = plt.figure()
_ = spikeplot.training_curves(history, best="val_loss", fig=fig)

# %% [markdown]
# ## Animations
#
# `spikeplot.animator` films images over time. `spikeplot.player` shows the film in a notebook, and `spikeplot.save`
# writes it as GIF, MP4 or a page.

# %%
position = torch.linspace(-1, 1, 32)
wave = torch.stack([
    torch.exp(-((position[:, None] - torch.sin(t)) ** 2 + (position - torch.cos(t)) ** 2) * 8)
    for t in torch.linspace(0, 6.28, 30)
])  # fmt: skip
fig, ax = plt.subplots(figsize=(2.4, 2.4))
movie = spikeplot.animator(
    spikegen.rate(wave, time_var_input=True), fig, ax, interval=80
)
spikeplot.player(movie)

# %% [markdown]
# `spikeplot.Camera` films any figure, here a membrane as it goes:

# %%
fig, ax = plt.subplots(figsize=(4.5, 2))
_ = ax.set(xlabel="time step", ylabel="membrane")
camera = spikeplot.Camera(fig)
for step in range(2, 42, 2):
    ax.plot(mem[:step, 0, 0], color="C0")
    ax.plot(step - 1, mem[step - 1, 0, 0], "o", color="C1")
    camera.snap()
movie = camera.animate(interval=80)
spikeplot.player(movie)

# %% [markdown]
# ## Every neuron
#
# The membrane of neurons that run step by step, under a current that is on from step 20 to step 150, and their spikes. More
# of each: [neurons](../api/neurons.md).

# %% alt="Membranes and spikes of fifteen kinds of neurons under a step of current"
neurons = {
    "Leaky": (snn.Leaky(beta=0.9), 0.25),
    "Lapicque": (snn.Lapicque(beta=0.9), 2.5),
    "Synaptic": (snn.Synaptic(alpha=0.8, beta=0.9), 0.06),
    "Alpha": (snn.Alpha(alpha=0.9, beta=0.8), 0.4),
    "PLIF": (snn.PLIF(), 1.5),
    "ALIF": (snn.ALIF(beta=0.9, rho=0.97), 0.4),
    "GLIF": (snn.GLIF(), 0.9),
    "NoisyLeaky": (snn.NoisyLeaky(beta=0.9), 0.1),
    "IntegerLeaky": (snn.IntegerLeaky(beta=0.9), 0.3),
    "TwoCompartment": (snn.TwoCompartment(), 0.3),
    "BRF": (snn.BRF(10.0, 1.0), 40.0),
    "EIF": (snn.EIF(), 900.0),
    "AdEx": (snn.AdEx(), 900.0),
    "QIF": (snn.QIF(), 0.2),
    "Izhikevich": (snn.Izhikevich(), 10.0),
}
fig, axes = plt.subplots(5, 3, figsize=(7, 7.5), sharex=True)
for ax, (name, (neuron, strength)) in zip(axes.flat, neurons.items(), strict=True):
    current = torch.zeros(200, 1)
    current[20:150] = strength
    with torch.no_grad():
        spk, *states = snn.unroll(neuron, current)
    names = [name for name in neuron.states if name != "spk"]
    ax.plot(states[names.index("mem")][:, 0], linewidth=0.9)
    bottom, top = ax.get_ylim()
    times = spk[:, 0].nonzero()[:, 0]
    ax.vlines(times, top, top + 0.15 * (top - bottom), color="C1", linewidth=1)
    ax.set_title(name, fontsize=9)

# %% [markdown]
# ## Every surrogate
#
# What stands in for the derivative of the spike. More of each: [surrogate](../api/surrogate.md).

# %% alt="The derivatives of all surrogates, each in a panel"
x = torch.linspace(-2, 2, 801)
fig, axes = plt.subplots(5, 4, figsize=(7, 7), sharex=True)
for ax in axes.flat[len(surrogate.FACTORIES) :]:
    ax.remove()
for ax, (name, factory) in zip(axes.flat, surrogate.FACTORIES.items(), strict=False):
    at = x.clone().requires_grad_()
    factory()(at).sum().backward()
    ax.plot(x, at.grad, linewidth=1)
    ax.set_title(name, fontsize=8)
