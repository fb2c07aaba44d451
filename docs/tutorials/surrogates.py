# %% [markdown]
# # Surrogate gradients and a convolutional network
#
# **You will learn** why a spike has no useful gradient, what stands in for it, how the choice of its width shows in
# training, and how to train a convolutional network with batch normalisation.
#
# ## The dead derivative
#
# A spike is $S = H(U - \theta)$. Its derivative is zero wherever it exists, so that no error passes through it. The way
# out is to keep the step forward and pretend, backward only, that it was smooth.

# %% alt="The step of a spike, and five bells that stand in for its derivative"
import os

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import snntorch as snn
from snntorch import functional as SF
from snntorch import surrogate, utils

utils.seed(0)
shapes = {
    "atan()": surrogate.atan(),
    "fast_sigmoid(10)": surrogate.fast_sigmoid(slope=10),
    "sigmoid(10)": surrogate.sigmoid(slope=10),
    "gaussian()": surrogate.gaussian(),
    "piecewise_linear()": surrogate.piecewise_linear(),
}

fig, (left, right) = plt.subplots(1, 2)
x = torch.linspace(-1.5, 1.5, 601, requires_grad=True)
for name, function in shapes.items():
    spikes = function(x)
    (slope,) = torch.autograd.grad(spikes.sum(), x)
    right.plot(x.detach(), slope, label=name)
left.plot(x.detach(), spikes.detach(), color="black")
left.set(title="forward: all the same", xlabel=r"$U - \theta$")
right.set(title="backward", xlabel=r"$U - \theta$")
_ = right.legend(fontsize=7)

# %% [markdown]
# ## Width
#
# A surrogate that is too narrow sees only the few neurons at their threshold: the gradient vanishes from layer to layer. One
# too wide credits spikes that were never in question. We look at the size of the gradient that reaches the first of five
# layers, for different slopes of the fast sigmoid, $1 / (1 + k |U - \theta|)^2$.


# %% alt="Size of the gradient in five layers over the slope: the lines cross, and fan out to either side"
def deep(slope):
    utils.seed(1)
    layers = []
    for _ in range(5):
        lif = snn.Leaky(
            beta=0.9, init_hidden=True, spike_grad=surrogate.fast_sigmoid(slope)
        )
        layers += [nn.Linear(100, 100), lif]
    net = nn.Sequential(*layers)
    with torch.no_grad():
        for layer in net[::2]:
            layer.weight *= 3
    return net


slopes = [1, 2, 5, 10, 25, 50, 100]
sizes = []
for slope in slopes:
    net = deep(slope)
    snn.unroll(net, torch.rand(20, 16, 100)).mean().backward()
    sizes.append([layer.weight.grad.norm() for layer in net[::2]])

fig, ax = plt.subplots()
for layer, values in enumerate(zip(*sizes, strict=True), start=1):
    ax.loglog(slopes, values, marker="o", markersize=3, label=f"layer {layer}")
ax.set(xlabel="slope $k$", ylabel="size of the gradient")
_ = ax.legend(fontsize=8)

# %% [markdown]
# The lines fan out to the right: with a narrow surrogate each layer further from the output gets a smaller share, with a
# wide one the gradient grows on its way down instead. Between them lies the slope at which all layers learn alike.
#
# ## A convolutional network
#
# Digits of 8 × 8 pixels through two convolutions. `BatchNorm2d` keeps the currents in the range where spikes happen, for
# which it is worth more here than in other networks.

# %% alt="Test accuracy over epochs with a wide and with a narrow surrogate"
epochs = 1 if os.environ.get("SNNTORCH_TUTORIALS") == "small" else 8
digits = load_digits()
parts = train_test_split(digits.data / 16, digits.target, random_state=0)
train_x, test_x = (torch.tensor(p).float().view(-1, 1, 8, 8) for p in parts[:2])
train_y, test_y = map(torch.tensor, parts[2:])
steps = 10


def build(spike_grad):
    lif = {"beta": 0.8, "init_hidden": True, "spike_grad": spike_grad}
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        snn.Leaky(**lif),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        snn.Leaky(**lif),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
        snn.Leaky(**lif),
    )


def run(net, images):
    utils.reset(net)
    return snn.unroll(net, images, num_steps=steps)


def train(net):
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    loss_function = SF.ce_rate_loss()
    reached = []
    for _ in range(epochs):
        net.train()
        for batch in torch.randperm(len(train_x)).split(64):
            loss = loss_function(run(net, train_x[batch]), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            reached.append(float(SF.accuracy_rate(run(net, test_x), test_y)))
    return reached


fig, ax = plt.subplots()
for name, function in {
    "atan()": surrogate.atan(),
    "fast_sigmoid(100)": surrogate.fast_sigmoid(100),
}.items():
    utils.seed(0)
    net = build(function)
    reached = train(net)
    print(f"{name:18} {reached[-1]:.1%}")
    ax.plot(range(1, epochs + 1), reached, marker="o", markersize=3, label=name)
ax.set(xlabel="epoch", ylabel="test accuracy")
_ = ax.legend()

# %% [markdown]
# ## What the first layer looks for

# %% alt="A digit, and the firing rates of six channels that see it"
from snntorch.functional.probe import Recorder

with torch.no_grad(), Recorder(net) as recorder:
    run(net, test_x[:1])
# the first layer's firing rates, one map a channel
maps = recorder.spikes["2"].mean(0)[0]
fig, axes = plt.subplots(1, 7, figsize=(7, 1.4))
axes[0].imshow(test_x[0, 0].numpy(), cmap="gray")
for ax, rates in zip(axes[1:], maps, strict=False):
    ax.imshow(rates.numpy(), vmin=0, vmax=1)
for ax in axes:
    ax.axis("off")

# %% [markdown]
# ## Exercise
#
# A surrogate is one decorated function of $x$. Write a triangle of width $w$ and area 1 yourself, and check its area.


# %% tags=["hide-cell"]
def triangle(x, grad_output, spikes, w=0.5):
    return grad_output * (1 - x.abs() / w).clamp(min=0) / w


mine = surrogate.custom_surrogate(triangle)
x = torch.linspace(-2, 2, 4001, requires_grad=True)
(slope,) = torch.autograd.grad(mine(x).sum(), x)
print(f"area {torch.trapezoid(slope, x.detach()):.4f}")

# %% [markdown]
# ## References
#
# - E. O. Neftci, H. Mostafa and F. Zenke, "Surrogate gradient learning in spiking neural networks", *IEEE Signal
#   Processing Magazine* 36(6), 2019.
# - F. Zenke and T. P. Vogels, "The remarkable robustness of surrogate gradient learning for instilling complex function
#   in spiking neural networks", *Neural Computation* 33(4), 2021.
# - Y. Kim and P. Panda, "Revisiting batch normalization for training low-latency deep spiking neural networks from
#   scratch", *Frontiers in Neuroscience* 15, 2021.
#
# All surrogates: [the reference](../api/surrogate.md).
