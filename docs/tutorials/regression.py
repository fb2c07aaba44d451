# %% [markdown]
# # Regression on membranes
#
# **You will learn** to let a spiking network give numbers instead of classes: to follow a time series by its membrane
# potentials, to predict it, and to squeeze images through a few spiking neurons and get them back.
#
# ## Numbers out of spikes
#
# A count of spikes is a whole number, a potential is not. The last layer of a regression therefore integrates and does not
# spike: `snn.LeakyIntegrator`. Behind a hidden layer of spikes it is a sum of decaying exponentials, one for each spike.

# %%
import os

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

import snntorch as snn
from snntorch import functional as SF
from snntorch import utils

small = os.environ.get("SNNTORCH_TUTORIALS") == "small"
utils.seed(0)


def waves(size, steps):
    """Signals [T, B, 1]: two sines of random frequency and phase, of height 1."""
    t = torch.arange(steps)[:, None, None]
    rate = 0.05 + 0.1 * torch.rand(2, 1, size, 1)
    phase = 6.28 * torch.rand(2, 1, size, 1)
    return (torch.sin(rate * t + phase)).mean(0)


# %% [markdown]
# ## Seeing ahead
#
# The network sees the signal up to now and has to say what it will be ten steps later. Each hidden neuron has a decay of
# its own, so that together they hold the recent past at several scales.

# %% alt="The squared error over updates, and a signal with the one that was foretold"
ahead, steps, hidden = 10, 120, 100
decays = torch.linspace(0.5, 0.98, hidden)
net = nn.Sequential(
    nn.Linear(1, hidden),
    snn.Leaky(beta=decays, learn_beta=True, init_hidden=True),
    nn.Linear(hidden, hidden),
    snn.Leaky(beta=decays, learn_beta=True, init_hidden=True),
    nn.Linear(hidden, 1),
    snn.LeakyIntegrator(beta=0.9, learn_beta=True, init_hidden=True),
)
with torch.no_grad():
    net[0].weight *= 2
    net[4].weight *= 0.1  # the integrator multiplies by ten what it is given steadily


def predict(x):
    utils.reset(net)
    return snn.unroll(net, x)


optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
losses = []
for _update in range(10 if small else 250):
    signal = waves(64, steps + ahead)
    out = predict(signal[:-ahead])
    loss = (out - signal[ahead:])[20:].square().mean()  # the first steps know no past
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

signal = waves(200, steps + ahead)
with torch.no_grad():
    out = predict(signal[:-ahead])
error = (out - signal[ahead:])[20:].square().mean().sqrt()
lazy = (signal[:-ahead] - signal[ahead:])[20:].square().mean().sqrt()
print(f"error {error:.3f}; of one who says that nothing will change {lazy:.3f}")

fig, (left, right) = plt.subplots(1, 2, width_ratios=(1, 2))
left.semilogy(losses)
left.set(xlabel="update", ylabel="squared error")
right.plot(signal[ahead:, 0, 0], label="to come")
right.plot(out[:, 0, 0], label="foretold")
right.set(xlabel="time step")
_ = right.legend()

# %% [markdown]
# `SF.mse_membrane_loss(time_var_targets=True)` is that loss for `[T, B, N]`; written out it is easier to leave out the
# first steps.
#
# ## An autoencoder
#
# Images of 64 pixels go through 12 spiking neurons. What passes is at most one bit for each neuron and step, and the
# decoder's membranes after the last step are the picture.

# %% alt="Ten digits, and below them what the decoder makes of their code"
digits = torch.tensor(load_digits().data / 16, dtype=torch.float32)
train_x, test_x = digits[:1500], digits[1500:]
code, steps = 12, 15
lif = {"beta": 0.8, "init_hidden": True}
auto = nn.Sequential(
    nn.Linear(64, 128),
    snn.Leaky(**lif),
    nn.Linear(128, code),
    snn.Leaky(**lif),  # the bottleneck
    nn.Linear(code, 128),
    snn.Leaky(**lif),
    nn.Linear(128, 64),
    snn.LeakyIntegrator(beta=0.9, gain=0.1, init_hidden=True),
)


def through(images):
    utils.reset(auto)
    return snn.unroll(auto, images, num_steps=steps)[-1]


optimizer = torch.optim.Adam(auto.parameters(), lr=4e-3)
for _epoch in range(1 if small else 25):
    for part in torch.randperm(len(train_x)).split(64):
        loss = (through(train_x[part]) - train_x[part]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

with torch.no_grad():
    back = through(test_x)
print(f"error {(back - test_x).square().mean():.4f}")
print(f"of the mean image {(train_x.mean(0) - test_x).square().mean():.4f}")

fig, axes = plt.subplots(2, 10, figsize=(7, 1.6))
for i, (above, below) in enumerate(axes.T):
    above.imshow(test_x[i].view(8, 8).numpy(), cmap="gray", vmin=0, vmax=1)
    below.imshow(back[i].view(8, 8).numpy(), cmap="gray", vmin=0, vmax=1)
for ax in axes.flat:
    ax.axis("off")

# %% [markdown]
# ## Exercise
#
# How much does the code say? Count the spikes that pass the bottleneck for a test image, and penalise them in a second
# training with `SF.l1_rate_sparsity`. How does the error grow as spikes get fewer?

# %% tags=["hide-cell"]
encoder, decoder = auto[:4], auto[4:]


def measure():
    with torch.no_grad():
        utils.reset(auto)
        passed = snn.unroll(encoder, test_x, num_steps=steps)
        error = (snn.unroll(decoder, passed)[-1] - test_x).square().mean()
    spikes = passed.sum((0, 2)).mean()
    print(
        f"{spikes:3.0f} of {code * steps} possible spikes an image, error {error:.4f}"
    )


measure()
for strength in (3e-6, 1e-5, 3e-5):
    penalty = SF.l1_rate_sparsity(strength)
    for _epoch in range(1 if small else 5):
        for part in torch.randperm(len(train_x)).split(64):
            utils.reset(auto)
            passed = snn.unroll(encoder, train_x[part], num_steps=steps)
            back = snn.unroll(decoder, passed)[-1]
            loss = (back - train_x[part]).square().mean() + penalty(passed)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    measure()
# A third of the spikes goes at hardly any cost; then each spike less costs more than
# the one before.

# %% [markdown]
# ## References
#
# - J. K. Eshraghian et al., "Training spiking neural networks using lessons from deep learning", *Proceedings of the
#   IEEE* 111(9), 2023.
# - W. Maass, T. Natschläger and H. Markram, "Real-time computing without stable states: a new framework for neural
#   computation based on perturbations", *Neural Computation* 14(11), 2002.
# - N. Perez-Nieves, V. C. H. Leung, P. L. Dragotti and D. F. M. Goodman, "Neural heterogeneity promotes robust learning",
#   *Nature Communications* 12, 2021.
