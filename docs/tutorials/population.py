# %% [markdown]
# # Population codes
#
# **You will learn** how many neurons together say what one cannot: a value by its neighbours' rates, a class by ten voters,
# and how the error falls with the number of neurons and of steps.
#
# ## A value by many
#
# Each neuron of a population prefers a value $\mu_i$ and answers to others the less the further away they are:
# $a_i = \exp\bigl(-(x - \mu_i)^2 / 2\sigma^2\bigr)$. To read the population, take its centre of mass,
# $\hat x = \sum_i a_i \mu_i / \sum_i a_i$.

# %% alt="Eight bell curves of activity over a value, and the spikes of forty neurons that say 0.3"
import os

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import snntorch as snn
from snntorch import functional as SF
from snntorch import spikegen, spikeplot, utils

small = os.environ.get("SNNTORCH_TUTORIALS") == "small"
utils.seed(0)
values = torch.linspace(0, 1, 201)
activity = spikegen.population(values, num_neurons=8)

fig, (left, right) = plt.subplots(1, 2)
left.plot(values, activity)
left.set(xlabel="value", ylabel="activity", title="eight tuning curves")
spikes = spikegen.rate(
    spikegen.population(torch.tensor([0.3]), 40)[0] * 0.5, num_steps=60
)
spikeplot.raster(spikes, right, s=4)
_ = right.set(
    xlabel="time step", ylabel="neuron", title="forty neurons say 0.3", ylim=(-1, 40)
)

# %% [markdown]
# ## More neurons, fewer steps
#
# Every spike is a random draw, but they are drawn independently, and the mean of $n$ draws errs by $1/\sqrt n$. It is the
# same to ask many neurons for a short time and few for a long one: a population buys speed.

# %% alt="Error over the number of neurons for 1, 4, 16 and 64 steps, falling with both"
truth = 0.1 + 0.8 * torch.rand(500)
sizes, times = [8, 16, 32, 64, 128, 256], [1, 4, 16, 64]
fig, ax = plt.subplots()
for steps in times:
    errors = []
    for size in sizes:
        draws = spikegen.rate(spikegen.population(truth, size), num_steps=steps).mean(0)
        guess = spikegen.population_decode(draws, silence=0.5)
        errors.append((guess - truth).square().mean().sqrt())
    ax.loglog(sizes, errors, marker="o", markersize=3, label=f"{steps} steps")
ax.loglog(
    sizes,
    0.1 / torch.tensor(sizes).sqrt(),
    color="gray",
    linestyle=":",
    label=r"$\propto 1/\sqrt{n}$",
)
ax.set(xlabel="neurons", ylabel="error")
_ = ax.legend(fontsize=8)

# %% [markdown]
# Averaging alone would give the dotted slope. The lines fall faster, because by default the tuning curves become narrower
# the more neurons there are: not more of them answer to a value, but better placed ones. (In a single step none
# of them may answer at all.)
#
# ## Classes by votes
#
# A class may have several output neurons, whose spikes are counted together. One step is then enough for a graded answer.
# `population_code=True` sums the outputs of each class; the losses and accuracies do the rest.

# %% alt="Test accuracy over time steps with one neuron a class and with twenty, which start higher"
digits = load_digits()
parts = train_test_split(digits.data / 16, digits.target, random_state=0)
train_x, test_x = (torch.tensor(part).float() for part in parts[:2])
train_y, test_y = map(torch.tensor, parts[2:])


def train(voters, steps, epochs=2 if small else 12):
    """Test accuracy with so many output neurons a class."""
    utils.seed(1)
    lif = {"beta": 0.9, "init_hidden": True}
    net = nn.Sequential(
        nn.Linear(64, 100),
        snn.Leaky(**lif),
        nn.Linear(100, 10 * voters),
        snn.Leaky(**lif),
    )
    loss_function = SF.mse_count_loss(1.0, 0.0, population_code=True, num_classes=10)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(train_x)).split(64):
            utils.reset(net)
            spikes = snn.unroll(net, train_x[part], num_steps=steps)
            loss = loss_function(spikes, train_y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        utils.reset(net)
        spikes = snn.unroll(net, test_x, num_steps=steps)
    return float(SF.accuracy_rate(spikes, test_y, population_code=True, num_classes=10))


lengths = [1, 2, 5] if small else [1, 2, 3, 5, 10]
fig, ax = plt.subplots()
for voters in (1, 20):
    reached = [train(voters, steps) for steps in lengths]
    ax.plot(lengths, reached, marker="o", markersize=4, label=f"{voters} a class")
    print(f"{voters:2} a class:", *(f"{value:.1%}" for value in reached))
ax.set(xlabel="time steps", ylabel="test accuracy")
_ = ax.legend()

# %% [markdown]
# ## Exercise
#
# Let the tuning curves keep their width while neurons are added: $\sigma = \Delta / $`overlap`, where $\Delta = 1 / (n - 2)$
# is the distance between centres. Does the error now fall with $1/\sqrt{n}$?

# %% tags=["hide-cell"]
for steps in (None, 16, 64):
    errors = []
    for size in sizes:
        wide = spikegen.population(truth, size, overlap=1.5 * 6 / (size - 2))
        seen = wide if steps is None else spikegen.rate(wide, num_steps=steps).mean(0)
        guess = spikegen.population_decode(seen, silence=0.5)
        errors.append((guess - truth).square().mean().sqrt())
    name = "without noise" if steps is None else f"{steps} steps"
    print(f"{name:14}", *(f"{error:.4f}" for error in errors))
# It does at first, and then stops: curves near the ends of the range are cut off, so
# that the centre of mass is drawn to the middle, whatever the number of neurons. A
# better decoder knows the curves and takes the most likely value.

# %% [markdown]
# ## References
#
# - A. P. Georgopoulos, A. B. Schwartz and R. E. Kettner, "Neuronal population coding of movement direction", *Science* 233,
#   1986.
# - S. M. Bohté, H. La Poutré and J. N. Kok, "Unsupervised clustering with spiking neurons by sparse temporal coding and
#   multilayer RBF networks", *IEEE Transactions on Neural Networks* 13(2), 2002.
# - A. Pouget, P. Dayan and R. Zemel, "Information processing with population codes", *Nature Reviews Neuroscience* 1, 2000.
