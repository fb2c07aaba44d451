# %% [markdown]
# # Streaming inference
#
# **You will learn** to run a network on input that does not end: keep its states between calls, take steps one at a time or
# in chunks, save and move states, and serve several streams at once.
#
# ## States stay
#
# A network whose neurons keep their states goes on where it stopped. A run cut into pieces equals the whole run, so that a
# stream can be taken in chunks of any length.

# %%
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import snntorch as snn
from snntorch import utils

utils.seed(1)
net = nn.Sequential(
    nn.Linear(16, 64),
    snn.Leaky(beta=0.95, init_hidden=True),
    nn.Linear(64, 4),
    snn.Leaky(beta=0.95, init_hidden=True),
).eval()
with torch.no_grad():
    net[0].weight *= 3
    net[2].weight *= 4
stream = (torch.rand(200, 1, 16) < 0.2).float()

with torch.inference_mode():
    utils.reset(net)
    whole = snn.unroll(net, stream)
    utils.reset(net)
    pieces = torch.cat(
        [snn.unroll(net, chunk) for chunk in stream.split([1, 7, 50, 142])]
    )
    utils.reset(net)
    steps = torch.stack([net(now) for now in stream])
print(torch.equal(whole, pieces), torch.equal(whole, steps))

# %% [markdown]
# ## Latency and throughput
#
# One step at a time answers soonest; a chunk costs less per step. How much, on the machine that built this page:

# %% alt="Microseconds per step over the steps in a chunk, falling"
lengths = [1, 2, 5, 10, 25, 50, 100]
per_step = []
with torch.inference_mode():
    for length in lengths:
        chunk = stream[:length]
        run = (
            (lambda now=stream[0]: net(now))
            if length == 1
            else (lambda chunk=chunk: snn.unroll(net, chunk))
        )
        run()
        best = float("inf")
        for _ in range(20):
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
        per_step.append(1e6 * best / length)

fig, ax = plt.subplots()
ax.loglog(lengths, per_step, marker="o")
_ = ax.set(xlabel="steps in a chunk", ylabel="microseconds per step")

# %% [markdown]
# ## Watching
#
# An output membrane says how near a neuron is to its next spike. Where an answer must be given at any time, keep a running
# count that forgets. Here the input changes its pattern every 50 steps:

# %% alt="Recent firing rate of four outputs, which changes with the pattern of the input"
patterns = (torch.rand(4, 1, 16) < 0.5).float()
changing = torch.cat(
    [(torch.rand(50, 1, 16) < 0.6 * p + 0.05).float() for p in patterns]
)
recent = snn.LeakyIntegrator(beta=0.9, gain=0.1, init_hidden=True)
with torch.inference_mode():
    utils.reset(net)
    rates = torch.stack([recent(net(now)) for now in changing])

fig, ax = plt.subplots()
for i in range(4):
    ax.plot(rates[:, 0, i], label=f"output {i}")
for edge in (50, 100, 150):
    ax.axvline(edge, color="gray", linestyle=":", linewidth=0.8)
ax.set(xlabel="step", ylabel="recent firing rate", ylim=(-0.05, 1.3))
_ = ax.legend(ncols=4, fontsize=8, loc="upper right")

# %% [markdown]
# ## Save, restore, share
#
# `utils.get_states` copies all states of a network, `utils.set_states` gives them back: to pause a stream, to move it to
# another process, or to let one network serve many streams in turn.

# %%
with torch.inference_mode():
    utils.reset(net)
    snn.unroll(net, stream[:100])
    paused = utils.get_states(net)
    print({name: tuple(state.shape) for name, state in paused.items()})

    utils.reset(net)
    snn.unroll(net, changing)  # another stream
    utils.set_states(net, paused)
    rest = snn.unroll(net, stream[100:])
print(torch.equal(rest, whole[100:]))

# %% [markdown]
# ## Exercise
#
# Two streams that are both there can share each step as a batch of two. A third comes later. Write a function that adds a
# row of zeros to every state, and check that the first two streams do not notice.


# %% tags=["hide-cell"]
def join(net):
    states = utils.get_states(net)
    grown = {
        name: torch.cat([state, torch.zeros_like(state[:1])])
        for name, state in states.items()
    }
    utils.set_states(net, grown)


three = (torch.rand(60, 3, 16) < 0.2).float()
with torch.inference_mode():
    utils.reset(net)
    alone = snn.unroll(net, three[:, :2])
    utils.reset(net)
    start = snn.unroll(net, three[:30, :2])
    join(net)
    rest = snn.unroll(net, three[30:])
print(torch.equal(torch.cat([start, rest[:, :2]]), alone))

# %% [markdown]
# ## References
#
# - G. Gallego et al., "Event-based vision: a survey", *IEEE Transactions on Pattern Analysis and Machine Intelligence*
#   44(1), 2022.
# - W. Gerstner, W. M. Kistler, R. Naud and L. Paninski, *Neuronal Dynamics*, Cambridge University Press, 2014.
