# %% [markdown]
# # Training a fully connected network
#
# **You will learn** how a spiking network is trained by gradient descent: loss, surrogate gradient, epochs, test; what
# the trained network does; and how soon it knows.
#
# The data are 1797 handwritten digits of 8 × 8 pixels, which scikit-learn brings along. For MNIST, give a folder with its
# four files: `SNNTORCH_MNIST=FOLDER`.

# %%
import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import snntorch as snn
from snntorch import functional as SF
from snntorch import spikeplot, utils

epochs = 3 if os.environ.get("SNNTORCH_TUTORIALS") == "small" else 30
utils.seed(0)
if folder := os.environ.get("SNNTORCH_MNIST"):
    sys.path.append(
        str(Path.cwd().parents[1] / "examples")
    )  # examples/mnist.py, which reads the files
    import mnist

    train_x, test_x, train_y, test_y = mnist.load_data(Path(folder))
    train_x, test_x, train_y = (
        train_x[:6000].flatten(1),
        test_x[:2000].flatten(1),
        train_y[:6000],
    )
    test_y = test_y[:2000]
else:
    digits = load_digits()
    parts = train_test_split(
        digits.data / 16,
        digits.target,
        test_size=0.2,
        stratify=digits.target,
        random_state=0,
    )
    train_x, test_x = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    train_y, test_y = (torch.tensor(part) for part in parts[2:])
print(train_x.shape, test_x.shape)

# %% [markdown]
# ## Network and loss
#
# The pixels are the input current of every step. A neuron's decay may be learnt as the weights are. The class whose
# neuron spikes most is the answer, so the loss wants the right neuron to spike at every step: `ce_rate_loss` is the mean
# over time of
#
# $$-\log \frac{e^{S_t[y]}}{\sum_k e^{S_t[k]}}.$$
#
# A spike is a step function of the potential, whose derivative is zero wherever it exists. Backward, PyTorch is given
# that of an arctangent instead ([surrogate gradients](../api/surrogate.md)); forward, a spike stays a spike.

# %%
steps = 25
lif = {"beta": 0.9, "learn_beta": True, "init_hidden": True}
net = nn.Sequential(
    nn.Linear(train_x.shape[1], 128),
    snn.Leaky(**lif),
    nn.Linear(128, 10),
    snn.Leaky(**lif),
)


def run(images):
    """Output spikes, [T, B, 10]."""
    utils.reset(net)
    return snn.unroll(net, images, num_steps=steps)


def accuracy(images, labels):
    with torch.no_grad():
        return float(SF.accuracy_rate(run(images), labels))


print(f"before training: {accuracy(test_x, test_y):.1%}")

# %% [markdown]
# ## Training

# %% alt="Loss and test accuracy over epochs"
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
loss_function = SF.ce_rate_loss()
history = {"train_loss": [], "test_accuracy": []}
for _epoch in range(epochs):
    total = 0.0
    for batch in torch.randperm(len(train_x)).split(64):
        loss = loss_function(run(train_x[batch]), train_y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    schedule.step()
    history["train_loss"].append(total / len(train_x))
    history["test_accuracy"].append(accuracy(test_x, test_y))

print(f"after training: {history['test_accuracy'][-1]:.1%}")
fig = plt.figure()
_ = spikeplot.training_curves(history, fig=fig)

# %% [markdown]
# ## What it does
#
# `Recorder` keeps every neuron's spikes while its block runs. One image, seen through the network:

# %% alt="Rasters of the hidden and the output layer for one image of a 7"
from snntorch.functional.probe import Recorder

with torch.no_grad(), Recorder(net) as recorder:
    run(test_x[:1])
hidden, output = recorder.spikes["1"], recorder.spikes["3"]

fig, (top, bottom) = plt.subplots(
    2, 1, sharex=True, height_ratios=(3, 2), figsize=(7, 4)
)
spikeplot.raster(hidden[:, 0], top, s=4)
spikeplot.raster(output[:, 0], bottom, s=50, marker="|")
top.set(ylabel="hidden neuron", title=f"a test image of a {int(test_y[0])}")
_ = bottom.set(
    xlabel="time step", ylabel="output neuron", yticks=range(10), ylim=(-0.6, 9.6)
)

# %% [markdown]
# Which digits does it take for which? The root of each count is coloured, so that single mistakes show.

# %% alt="Confusion matrix of the test images, nearly all on the diagonal"
with torch.no_grad():
    predicted = run(test_x).sum(0).argmax(1)
counts = torch.zeros(10, 10)
counts.index_put_((test_y, predicted), torch.ones(len(test_y)), accumulate=True)

fig, ax = plt.subplots(figsize=(3.8, 3.6))
ax.imshow(counts.sqrt().numpy(), cmap="Blues")
for row, column in counts.nonzero().tolist():
    n = int(counts[row, column])
    ax.text(
        column,
        row,
        n,
        ha="center",
        va="center",
        fontsize=8,
        color="white" if n > 15 else "black",
    )
_ = ax.set(xlabel="answer", ylabel="digit", xticks=range(10), yticks=range(10))

# %% [markdown]
# ## Exercise
#
# A network that answers by counting can be asked at any time. How many of the 25 steps does it need? Plot the accuracy of
# the count up to each step; then say what a step less would save on hardware whose energy goes with the spikes.

# %% tags=["hide-cell"] alt="Accuracy over the number of steps that are counted"
with torch.no_grad():
    so_far = run(test_x).cumsum(0)
by_step = (so_far.argmax(2) == test_y).float().mean(1)

fig, ax = plt.subplots()
ax.plot(range(1, steps + 1), by_step, marker="o", markersize=3)
ax.set(xlabel="steps", ylabel="test accuracy", ylim=(0, 1))
needed = int((by_step >= by_step[-1] - 0.01).nonzero()[0]) + 1
print(f"within a point of the end after {needed} steps")
print(f"each step less saves about {1 / steps:.0%} of the spikes")

# %% [markdown]
# ## References
#
# - E. O. Neftci, H. Mostafa and F. Zenke, "Surrogate gradient learning in spiking neural networks", *IEEE Signal
#   Processing Magazine* 36(6), 2019.
# - W. Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural networks",
#   *ICCV*, 2021.
# - Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
#   *Proceedings of the IEEE* 86(11), 1998 (MNIST).
