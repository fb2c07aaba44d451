# %% [markdown]
# # Spikes and codes
#
# **You will learn** what a spike train is as a tensor, how numbers become spikes by their rate, their time and their
# change, how to get the numbers back, and how much each code loses.
#
# A spike says nothing but *now*. Whatever a spiking network is to know about a picture or a sound has to lie in how many
# spikes there are, when they come, or which neuron sends them. In a simulation by time steps a spike train is a tensor
# of zeros and ones with time as its first dimension: `[T, B, ...]`, with `T` steps and `B` samples.

# %%
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

from snntorch import spikegen, spikeplot, utils

utils.seed(0)
digits = torch.tensor(load_digits().images).float() / 16  # 8 x 8, in [0, 1]
image = digits[0]

# %% [markdown]
# ## Rate: how often
#
# In a rate code a bright pixel spikes often. `spikegen.rate` draws each step by itself: pixel $x$ spikes with
# probability $x$, so that the count over $T$ steps follows a binomial distribution, with mean $Tx$ and variance
# $Tx(1-x)$.

# %% alt="A digit as the mean of 1, 5, 20 and 100 steps of its spikes, ever more like the image"
spikes = spikegen.rate(image, num_steps=100)
print(spikes.shape, spikes.unique())

fig, axes = plt.subplots(1, 5, figsize=(7, 1.7))
for ax, steps in zip(axes, (1, 5, 20, 100), strict=False):
    ax.imshow(spikes[:steps].mean(0).numpy(), cmap="gray", vmin=0, vmax=1)
    ax.set_title(f"mean of {steps}")
axes[-1].imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
axes[-1].set_title("the image")
for ax in axes:
    ax.axis("off")

# %% [markdown]
# The mean over time comes closer to the image as steps go by, slowly: its standard deviation is
# $\sqrt{x(1-x)/T}$. A hundred times the steps buy one more decimal.

# %% alt="Error of the mean over the number of steps, measured on the predicted line"
lengths = torch.tensor([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])
long = spikegen.rate(digits[:50], num_steps=1000)
measured = [(long[:n].mean(0) - digits[:50]).square().mean().sqrt() for n in lengths]
predicted = [(digits[:50] * (1 - digits[:50]) / n).mean().sqrt() for n in lengths]

fig, ax = plt.subplots()
ax.loglog(lengths, predicted, label=r"$\sqrt{x(1-x)/T}$")
ax.loglog(lengths, measured, "o", label="measured")
ax.set(xlabel="steps T", ylabel="error of the mean")
_ = ax.legend()

# %% [markdown]
# ## Latency: how soon
#
# One spike can say as much as a hundred, if its time counts: the brighter a pixel, the sooner its only spike. Picture a
# capacitor that a constant current $x$ charges through a leak. It reaches a threshold $\theta$ after
#
# $$t = \tau \ln\frac{x}{x - \theta},$$
#
# which is what `spikegen.latency` computes. With `linear=True` the time falls linearly with $x$ instead, and with
# `normalize=True` all of the steps at hand are used.

# %% alt="Time of the only spike over brightness, by logarithm and by line; and the spikes of an image"
line = spikegen.latency(image, num_steps=30, normalize=True, linear=True, clip=True)
brightness = torch.linspace(0.06, 1, 100)
after = spikegen.latency_code_log(brightness, tau=5, threshold=0.05)
linearly = spikegen.latency_code_linear(brightness, tau=15, threshold=0.05)

fig, (left, right) = plt.subplots(1, 2)
left.plot(brightness, after, label="logarithmic, τ = 5")
left.plot(brightness, linearly, label="linear, τ = 15")
left.set(xlabel="brightness $x$", ylabel="time of the spike", ylim=(-0.5, 16))
left.legend()
spikeplot.raster(line.flatten(1), right, s=8)
_ = right.set(title="the image, linear", xlabel="time step", ylabel="pixel")

# %% [markdown]
# `clip=True` leaves out the pixels below the threshold, which would otherwise all spike in the last step. Every decoder
# inverts its code:

# %%
back = spikegen.latency_decode(line, normalize=True, linear=True)
print(f"largest error in {30} steps: {(back - image).abs().max():.3f}")

# %% [markdown]
# ## Change: what is new
#
# A constant signal tells nothing after its first value. Sensors such as event cameras send a spike where the signal has
# changed by a threshold, upward (+1) or downward (-1).

# %% alt="A signal with the stairs decoded from its events, and below them the events"
time = torch.linspace(0, 4 * torch.pi, 200)
signal = torch.sin(time) + 0.4 * torch.sin(3.1 * time)
events = spikegen.step_forward(signal, threshold=0.1)
rebuilt = spikegen.delta_decode(events, threshold=0.1, start=signal[0])

fig, (top, bottom) = plt.subplots(
    2, 1, sharex=True, height_ratios=(3, 1), figsize=(7, 3.2)
)
top.plot(signal, label="signal")
top.plot(rebuilt, drawstyle="steps-post", label="decoded")
top.legend()
bottom.vlines(torch.arange(200), 0, events, color="C2")
bottom.set(xlabel="time step", yticks=[-1, 0, 1])
print(f"{int(events.abs().sum())} events for 200 values")
print(f"largest error {(rebuilt - signal).abs().max():.2f}")

# %% [markdown]
# ## See it move

# %%
fig, ax = plt.subplots(figsize=(2.2, 2.2))
film = spikeplot.animator(spikegen.rate(digits[3], num_steps=40), fig, ax, interval=80)
spikeplot.player(film)

# %% [markdown]
# ## Exercise
#
# A phase code writes a number in binary, one digit a step: `spikegen.phase`. Rate-code and phase-code the first 50 images
# with 8 steps and decode both. Which error do you expect of each, before you measure?

# %% tags=["hide-cell"]
some = digits[:50]
by_rate = spikegen.rate(some, num_steps=8).mean(0)
by_phase = spikegen.phase(some, num_steps=8, period=8)
decoded = spikegen.phase_decode(by_phase, period=8)
print(
    f"rate:  {(by_rate - some).square().mean().sqrt():.4f}   (expected {predicted[3] * (10 / 8) ** 0.5:.4f})"
)
print(
    f"phase: {(decoded - some).square().mean().sqrt():.4f}   (at most 2^-8 = {2**-8:.4f})"
)
# Eight binary digits resolve 1/256; eight coins tell apart nine values, and those by
# chance.

# %% [markdown]
# ## References
#
# - S. Thorpe, A. Delorme and R. Van Rullen, "Spike-based strategies for rapid processing", *Neural Networks* 14, 2001.
# - W. Guo, M. E. Fouda, A. M. Eltawil and K. N. Salama, "Neural coding in spiking neural networks: a comparative study
#   for robust neuromorphic systems", *Frontiers in Neuroscience* 15, 2021.
# - G. Gallego et al., "Event-based vision: a survey", *IEEE Transactions on Pattern Analysis and Machine Intelligence*
#   44(1), 2022.
#
# Next: [a neuron that reads them](lif.py).
