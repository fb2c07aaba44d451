# %% [markdown]
# # Event data
#
# **You will learn** what an event camera sends, how events are stored, binned into frames and drawn, and how a spiking
# network tells from them which way a thing moves.
#
# ## A camera without pictures
#
# Each pixel of an event camera works alone. It remembers a log brightness, and where the present one has risen or fallen
# from it by a threshold $\theta$, the pixel sends an event and remembers the present level instead. An event says where
# (`x`, `y`), when (`t`, in microseconds) and which way (`p`, 1 for brighter). What does not move sends nothing.
#
# Here is one in a few lines: a bright bar moves over a sensor of 16 × 16 pixels in one of eight directions, from different
# places and at different speeds. A few events come from noise alone.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import snntorch as snn
from snntorch import functional as SF
from snntorch import spikegen, spikeplot, utils

small = os.environ.get("SNNTORCH_TUTORIALS") == "small"
utils.seed(0)
side, milliseconds, threshold = 16, 100, 0.3
fields = np.dtype([("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])
rng = np.random.default_rng(0)


def film(direction):
    """Events of a bar that moves to `direction`, clockwise eighths from the right."""
    angle = direction * np.pi / 4
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle) - rng.uniform(-3, 3)
    middle = rng.uniform(-4, 4)  # pixels
    speed = rng.uniform(0.1, 0.2)  # pixels a millisecond
    seen, parts = None, []
    for now in range(milliseconds):
        front = along - middle - speed * (now - milliseconds / 2)
        level = np.exp(-(front**2) / 4 - (across / 4) ** 4)
        seen = level.copy() if seen is None else seen
        change = level - seen
        noise = rng.random((side, side)) < 2e-4
        ys, xs = np.nonzero((abs(change) > threshold) | noise)
        part = np.empty(len(xs), fields)
        part["x"], part["y"] = xs, ys
        part["t"] = 1000 * now + rng.integers(0, 1000, len(xs))
        part["p"] = change[ys, xs] > 0
        seen[ys, xs] = level[ys, xs]
        parts.append(np.sort(part, order="t"))
    return np.concatenate(parts)


events = film(0)
print(len(events), "events; the first three:", *events[:3])

# %% [markdown]
# The array has the fields of [Tonic](https://tonic.readthedocs.io)'s arrays, whose data sets come with a download and one
# class each: `tonic.datasets.NMNIST`, `DVSGesture`, `CIFAR10DVS`; `SHD` and `SSC` come from a model of the inner ear and
# have no y. What makes frames below takes their samples as it takes ours. `NMNIST.sensor_size`, say, is `(34, 34, 2)`:
# width, height, polarities.
#
# Where the bar is going shows as soon as time has an axis. Its front brightens pixels, its back darkens them.

# %% alt="Events over time and place: the lines of a bar rise where it moves right, and fall where it moves left"
fig, axes = plt.subplots(1, 2, sharey=True)
for ax, direction in zip(axes, (0, 4), strict=True):
    shown = film(direction)
    for polarity, color in ((1, "tab:red"), (0, "tab:blue")):
        of = shown[shown["p"] == polarity]
        name = "brighter" if polarity else "darker"
        ax.scatter(of["t"] / 1000, of["x"], s=3, color=color, label=name)
    ax.set(xlabel="ms", title="to the left" if direction else "to the right")
axes[0].set_ylabel("x")
_ = axes[0].legend(fontsize=8)

# %% [markdown]
# ## Files
#
# N-MNIST keeps an event in five bytes: x, y, and 24 bits of which the first is the polarity and 23 are the time in
# microseconds, the highest byte first. So a recording may last 8.4 s. (Its files may hold marks of a clock's overflow too,
# with y = 240; Tonic takes care of them.)


# %%
def write(path, events):
    word = events["p"].astype("i8") << 23 | events["t"]
    columns = events["x"], events["y"], word >> 16, word >> 8 & 255, word & 255
    np.stack(columns, 1).astype("u1").tofile(path)


def read(path):
    x, y, *word = np.fromfile(path, "u1").reshape(-1, 5).T.astype("i8")
    word = word[0] << 16 | word[1] << 8 | word[2]
    events = np.empty(len(x), fields)
    events["x"], events["y"] = x, y
    events["t"], events["p"] = word & (1 << 23) - 1, word >> 23
    return events


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "right.bin"
    write(path, events)
    again = read(path)
    print(path.stat().st_size, "bytes;", "equal:", np.array_equal(again, events))

# %% [markdown]
# ## Frames
#
# A network steps through time, so events are counted in bins. `spikegen.from_events` takes the structured array; the shape
# that is asked for says which fields count: `(2, 16, 16)` polarity, y and x, `(16, 16)` y and x alone. In bins
# of 5 ms there is seldom more than one event.

# %% alt="Five frames of events: a brightening front and a darkening back move to the right"
steps, bin_width = 20, 5000
frames = spikegen.from_events(events, (2, side, side), steps, dt=bin_width)
print(tuple(frames.shape), "holds", int(frames.sum()), "events;", end=" ")
print(f"{(frames > 0).float().mean():.1%} of the bins hold any,", end=" ")
print(f"{(frames > 1).float().mean():.1%} more than one")

fig, axes = plt.subplots(1, 5, figsize=(7, 1.7))
for ax, step in zip(axes, range(2, 20, 4), strict=True):
    signed = frames[step, 1] - frames[step, 0]
    ax.imshow(signed.numpy(), cmap="RdBu_r", vmin=-2, vmax=2)
    ax.set(xticks=[], yticks=[], title=f"{step * bin_width // 1000} ms")

# %%
fig, ax = plt.subplots(figsize=(2.4, 2.4))
spikeplot.player(spikeplot.animator(frames[:, 1] - frames[:, 0], fig, ax, interval=80))

# %% [markdown]
# ## Which way?
#
# Bars that move to the right and to the left pass the same pixels. What tells them apart is the order in which they do, and
# on which side of a bar pixels darken. A hidden layer of leaky neurons, whose decays are learnt one by one, can see both.

# %%
number = 240 if small else 1600
labels = torch.arange(number) % 8
films = [film(int(direction)) for direction in labels]
train_part, test_part = slice(0, number * 3 // 4), slice(number * 3 // 4, None)


def binned(shape):
    """All films in frames, [T, N, pixels]."""
    data = [spikegen.from_events(film, shape, steps, dt=bin_width) for film in films]
    return torch.stack(data, 1).flatten(2)


def train(x, epochs=6 if small else 12):
    """A trained network and how often it is right on the films that it has not seen."""
    utils.seed(1)
    net = nn.Sequential(
        nn.Linear(x.shape[2], 64),
        snn.Leaky(torch.full((64,), 0.8), learn_beta=True, init_hidden=True),
        nn.Linear(64, 8),
        snn.Leaky(0.9, init_hidden=True),
    )
    loss_function = SF.ce_rate_loss()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    x_train, y_train = x[:, train_part], labels[train_part]
    for _ in range(epochs):
        for batch in torch.randperm(len(y_train)).split(50):
            utils.reset(net)
            loss = loss_function(snn.unroll(net, x_train[:, batch]), y_train[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        utils.reset(net)
        spikes = snn.unroll(net, x[:, test_part])
    return net, float(SF.accuracy_rate(spikes, labels[test_part]))


x = binned((2, side, side))
net, right = train(x)
print(f"test accuracy {right:.1%}, by chance {1 / 8:.1%}")

# %% [markdown]
# One bar for each direction, the output neurons over time. The answer is there soon after the first events, and stays:

# %% alt="Spikes of eight output neurons for a bar in each of eight directions, the right one marked"
with torch.no_grad():
    utils.reset(net)
    outputs = snn.unroll(net, x[:, -8:])
fig, axes = plt.subplots(2, 4, sharex=True, sharey=True, figsize=(7, 3.4))
for i, ax in enumerate(axes.flat):
    spikeplot.raster(outputs[:, i], ax, s=12, marker="|")
    truth = int(labels[i - 8])
    ax.axhspan(truth - 0.5, truth + 0.5, color="tab:green", alpha=0.15)
    ax.set(ylim=(-0.6, 7.6), yticks=range(0, 8, 2), xlim=(-1, steps))
    ax.set_title(f"{45 * truth}°")
for ax in axes[1]:
    ax.set_xlabel("step")
for ax in axes[:, 0]:
    ax.set_ylabel("output neuron")

# %% [markdown]
# ## Exercise
#
# What does the network go by, the order or the polarity? Train it without polarity; with the steps of each film in random
# order; and without both. Guess first what is left then.

# %% tags=["hide-cell"]
blind = binned((side, side))
order = torch.rand(steps, number).argsort(0)[..., None]
for name, seen in {"with polarity": x, "without": blind}.items():
    shuffled = seen.gather(0, order.expand_as(seen))
    print(f"{name}: in order {train(seen)[1]:.1%}, shuffled {train(shuffled)[1]:.1%}")
# Each clue is enough by itself, or nearly so: polarity gives the direction away even in
# single frames, as a bar's front brightens; without it the order does, at the price of
# a memory. Without both there remains the line on which the bar moved, one of four, and
# a guess between its two ends: one half.

# %% [markdown]
# ## References
#
# - P. Lichtsteiner, C. Posch and T. Delbruck, "A 128 × 128 120 dB 15 µs latency asynchronous temporal contrast vision
#   sensor", *IEEE Journal of Solid-State Circuits* 43(2), 2008.
# - G. Orchard, A. Jayawant, G. K. Cohen and N. Thakor, "Converting static image datasets to spiking neuromorphic datasets
#   using saccades", *Frontiers in Neuroscience* 9, 2015 (N-MNIST).
# - G. Gallego et al., "Event-based vision: a survey", *IEEE Transactions on Pattern Analysis and Machine Intelligence*
#   44(1), 2022.
