# %% [markdown]
# # Quantise, count, export, read back
#
# **You will learn** to train with weights of few bits, to count what a network costs in operations and energy, to write it
# as a file that other simulators and chips read, and to prove that the file holds the same network.
#
# ## A network that hardware understands
#
# Of the many resets that a simulation allows, the exchange format NIR has one: to a potential, in the step that spikes.
# So we train with that one from the start.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import nir
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.utils import parametrize

import snntorch as snn
from snntorch import functional as SF
from snntorch import metrics, utils
from snntorch.export_nir import export_to_nir
from snntorch.import_nir import import_from_nir

small = os.environ.get("SNNTORCH_TUTORIALS") == "small"
utils.seed(0)
digits = load_digits()
parts = train_test_split(digits.data / 16, digits.target, random_state=0)
train_x, test_x = (torch.tensor(part).float() for part in parts[:2])
train_y, test_y = map(torch.tensor, parts[2:])
steps = 20


def build():
    utils.seed(0)
    lif = {
        "beta": 0.9,
        "reset_mechanism": "zero",
        "reset_delay": False,
        "init_hidden": True,
    }
    return nn.Sequential(
        nn.Linear(64, 100), snn.Leaky(**lif), nn.Linear(100, 10), snn.Leaky(**lif)
    )


def run(net, images):
    utils.reset(net)
    return snn.unroll(net, images, num_steps=steps)


def train(net, epochs, rate=5e-3):
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    loss_function = SF.ce_rate_loss()
    for _ in range(epochs):
        for batch in torch.randperm(len(train_x)).split(64):
            loss = loss_function(run(net, train_x[batch]), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def accuracy(net):
    return float(SF.accuracy_rate(run(net, test_x), test_y))


net = build()
train(net, epochs=2 if small else 15)
print(f"floating point: {accuracy(net):.1%}")

# %% [markdown]
# ## Few bits
#
# $b$ bits tell $2^b$ values apart. Each output neuron gets a scale $s$ of its own, and a weight becomes
# $s \cdot \mathrm{round}(w / s)$. Backward, the rounding is passed over ("straight through"), so that training can go on
# with rounded weights: quantisation-aware training. PyTorch's parametrisations put it in front of any weight.


# %% alt="Test accuracy over the bits of a weight, only rounded and trained on"
class Rounded(nn.Module):
    def __init__(self, bits):
        super().__init__()
        self.levels = 2 ** (bits - 1) - 1

    def forward(self, w):
        scale = w.abs().amax(1, keepdim=True) / self.levels
        return w + (scale * (w / scale).round() - w).detach()


def rounded(net, bits):
    copy = build()
    copy.load_state_dict(net.state_dict())
    for layer in copy[::2]:
        parametrize.register_parametrization(layer, "weight", Rounded(bits))
    return copy


bits = [2, 3, 4, 6, 8]
only_rounded, trained_on = [], []
for b in bits:
    candidate = rounded(net, b)
    only_rounded.append(accuracy(candidate))
    train(candidate, epochs=1 if small else 3, rate=1e-3)
    trained_on.append(accuracy(candidate))
    if b == 4:
        quantised = candidate

fig, ax = plt.subplots()
ax.plot(bits, only_rounded, marker="o", label="only rounded")
ax.plot(bits, trained_on, marker="o", label="trained on")
ax.axhline(accuracy(net), color="gray", linestyle=":", label="floating point")
ax.set(xlabel="bits of a weight", ylabel="test accuracy")
_ = ax.legend()

# %% [markdown]
# For kernels that compute with such integers see
# [examples/quantise_digits.py](../examples.md#quantise-digits-py), which uses torchao. States can be rounded as well:
# `state_quant=SF.state_quant(num_bits=8)` in a neuron's constructor.
#
# ## What it costs
#
# A weight that meets a spike is added, not multiplied, and one that meets none costs nothing. `metrics.summary` counts
# both kinds of operations layer by layer, by NeuroBench's definitions, and estimates the energy from the energy of each
# kind.

# %%
for layer in quantised[::2]:
    parametrize.remove_parametrizations(
        layer, "weight"
    )  # the rounded values become the weights
report = metrics.summary(quantised, test_x, num_steps=steps)
print(report)

# %% [markdown]
# The first layer multiplies, as it gets pixels. Firing rates decide the rest: fewer spikes, less energy, and a penalty on
# spikes (`SF.l1_rate_sparsity`) buys the one for the other.
#
# ## Write, read, compare

# %%
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "digits.nir"
    nir.write(file, export_to_nir(quantised, test_x[:1]))
    print(f"{file.name}: {file.stat().st_size:,} bytes")
    again = import_from_nir(file)

with torch.no_grad():
    spikes = run(quantised, test_x)
    utils.reset(again)
    spikes_again, _ = snn.unroll(again, test_x, num_steps=steps)
different = int((spikes != spikes_again).sum())
print(
    f"{int(spikes.sum()):,} output spikes of {len(test_x)} images; {different} differ"
)
graph = export_to_nir(quantised, test_x[:1])
print("the graph:", " → ".join(type(node).__name__ for node in graph.nodes.values()))

# %% [markdown]
# A spike may differ where a potential meets its threshold to the last digit, for a file's parameters are computed back
# from time constants.
#
# ## Exercise
#
# Prune the smallest half of the first layer's weights. How does the accuracy change, and by how much the number of
# operations in the report?

# %% tags=["hide-cell"]
from torch.nn.utils import prune

before = metrics.summary(quantised, test_x, num_steps=steps).layers[0]
prune.l1_unstructured(quantised[0], "weight", amount=0.5)
prune.remove(quantised[0], "weight")
after = metrics.summary(quantised, test_x, num_steps=steps).layers[0]
print(f"accuracy {accuracy(quantised):.1%}")
print(f"operations an image: {before.synops:,.0f} before, {after.synops:,.0f} after")
# A weight of zero is no operation. Less than half of them go: the weights of pixels
# that are mostly dark, which cost nothing before, are among the smallest, and are
# pruned first.

# %% [markdown]
# ## References
#
# - B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", *CVPR*,
#   2018.
# - J. E. Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
#   brain-inspired computing", *Nature Communications* 15, 2024.
# - J. Yik et al., "The NeuroBench framework for benchmarking neuromorphic computing algorithms and systems", *Nature
#   Communications* 16, 2025.
# - M. Horowitz, "Computing's energy problem (and what we can do about it)", *ISSCC*, 2014.
#
# The guide: [hardware](../hardware.md).
