# %% [markdown]
# # Scaling out
#
# **You will learn** what a step of training keeps in memory, how to have it keep less, in fewer bits, in parts, and how
# the same loop runs on several processes.
#
# ## What backward needs
#
# The gradient of a sum over time needs numbers from every step, so that memory grows with time. PyTorch tells of all that
# it saves for the backward pass if asked, through a pair of functions that pack a tensor and give it back. Let them count
# the bytes of memory that differ; weights and input are there anyway.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cross_entropy

import snntorch as snn
from snntorch import utils

utils.seed(0)
steps, batch, width = 100, 16, 128
net = nn.Sequential(
    nn.Linear(64, width),
    snn.Leaky(0.9, init_hidden=True),
    nn.Linear(width, width),
    snn.Leaky(0.9, init_hidden=True),
    nn.Linear(width, 10),
    snn.Leaky(0.9, init_hidden=True),
)
x = (torch.rand(steps, batch, 64) < 0.3).float()
y = torch.randint(10, (batch,))


def kept(forward, hooks=None):
    """Bytes that the backward pass of `forward()` finds, by way of other hooks or not."""
    there = (x, *net.parameters(), *net.buffers())
    known, found = {t.untyped_storage().data_ptr() for t in there}, {}

    def pack(tensor):
        packed = hooks.pack_hook(tensor) if hooks else tensor
        storage = (packed.tensor if hooks else tensor).untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage  # held, so that no address comes twice
        return packed

    utils.reset(net)
    with saved_tensors_hooks(pack, hooks.unpack_hook if hooks else lambda t: t):
        out = forward()
    assert out.requires_grad
    return sum(storage.nbytes() for storage in found.values())


plain = kept(lambda: snn.unroll(net, x))
courses = spikes = 2 * width
print(f"{plain:,} bytes; {4 * steps * batch * (courses + 10 + spikes):,} by counting")

# %% [markdown]
# The count: a membrane's course for each neuron, and the spikes that the second and the third linear layer read, in four
# bytes each, over all steps and samples. (The rest is small: decays, first states.) The loop over time keeps the same, as
# its steps add up to it.
#
# ## Fewer bytes
#
# **Spikes in bits.** A float32 that is 0 or 1 wastes 31 of 32 bits. `snn.unroll(net, x, pack_spikes=True)`, or `with
# snn.packed_spikes():` around any forward, keeps one.
#
# **Segments.** `snn.unroll(net, x, recompute=K)` keeps the states at the beginning of every K steps only. Backward it runs
# each segment again, with all that a segment needs, from the last to the first. It keeps the states by itself, unseen by
# PyTorch's functions, so we add their bytes here; the first segment begins with none.
#
# Neither changes a gradient.

# %% alt="Bars of bytes kept for backward: by unroll, with packed spikes, and in segments of 50 and 10 steps"
states = sum(state.nbytes for state in utils.get_states(net).values())


def segmented(length):
    """Bytes kept by a forward in segments, and by one segment that runs backward."""
    starts = kept(lambda: snn.unroll(net, x, recompute=length))
    return starts + states * (steps // length - 1), kept(
        lambda: snn.unroll(net, x[:length])
    )


def gradients(**options):
    utils.reset(net)
    net.zero_grad()
    cross_entropy(snn.unroll(net, x, **options).sum(0), y).backward()
    return torch.cat([p.grad.flatten() for p in net.parameters()])


packed = kept(lambda: snn.unroll(net, x), snn.packed_spikes())
once = gradients()
print("packed:   ", torch.equal(gradients(pack_spikes=True), once))
print("segmented:", torch.allclose(gradients(recompute=10), once, atol=1e-6))

fig, ax = plt.subplots()
names = ["unroll", "pack_spikes=True", "recompute=50", "recompute=10"]
forward, backward = zip(
    (plain, 0), (packed, 0), segmented(50), segmented(10), strict=True
)
ax.barh(names, [b / 1e6 for b in forward], label="kept by forward")
ax.barh(
    names,
    [b / 1e6 for b in backward],
    left=[b / 1e6 for b in forward],
    label="one segment, backward",
)
ax.invert_yaxis()
ax.set(xlabel="MB")
_ = ax.legend()

# %% [markdown]
# Packing costs a look at every saved element, segments a second run forward. Which first? Where spikes are most of what is
# kept, as between wide layers or convolutions, pack; where sequences are long, cut.
#
# ## Fewer bits
#
# Under autocast, linear and convolutional layers compute in bfloat16, and the spikes that they keep take half (of
# input and weights there are now copies in bfloat16 too). Membranes stay in float32: bfloat16 has eight binary digits, too
# few to add small currents to a large potential.

# %%
with torch.autocast("cpu", torch.bfloat16):
    half = kept(lambda: snn.unroll(net, x))
    utils.reset(net)
    out = snn.unroll(net, x)
print(f"{half / plain:.0%} of the bytes; out comes {out.dtype}")
print({name: state.dtype for name, state in utils.get_states(net).items()})

# %% [markdown]
# ## A batch in parts
#
# A batch that does not fit is taken in parts whose gradients add up: PyTorch adds to `grad` until it is cleared. Two things
# keep the sum that of the whole batch. The loss of a part is its sum over samples, divided by the size of the *whole* batch,
# so that parts need not be equal; and every part begins with fresh states. (Norms over the batch would see the part alone.)
#
# In float64 the difference is down to rounding:

# %%
net.double()
wide = x.double()


def gradient(parts, world=1):
    """Of the whole batch in parts, added up; averaged over `world` processes' shares."""
    shares = []
    for rank in range(world):
        net.zero_grad()
        for part in torch.arange(batch)[rank::world].tensor_split(parts):
            utils.reset(net)
            counts = snn.unroll(net, wide[:, part]).sum(0)
            loss = cross_entropy(counts, y[part], reduction="sum") * world / batch
            loss.backward()
        shares.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    return torch.stack(shares).mean(0)


whole = gradient(parts=1)
for parts in (2, 3, 16):
    print(f"{parts:2} parts: off by {(gradient(parts) - whole).abs().max():.0e}")

# %% [markdown]
# ## Several processes
#
# Data-parallel training is the same sum over machines: each process has a copy of the network and a share of the batch, and
# DDP averages the gradients. As it averages, each process multiplies its loss by their number, the `world` above. So one
# process can check what three would compute, whose shares of 16 samples are not even equal:

# %%
print(f"3 processes, 2 parts each: off by {(gradient(2, 3) - whole).abs().max():.0e}")

# %% [markdown]
# [examples/distributed.py](../examples.md#distributed-py) is this loop for real, with a checkpoint after every step and a
# restart that goes on where the last one ended. From a shell, on one machine with two processes:
#
# ```text
# torchrun --nproc-per-node 2 --max-restarts 3 examples/distributed.py --checkpoint digits.pt
# torchrun --nproc-per-node 2 examples/distributed.py --engine fsdp --accumulate 2 --amp
# ```
#
# What is wrapped in DDP or FSDP2 is the module that holds the whole sequence: they act once a call, and a call should be
# all time steps. States are no buffers, so that nothing sends them about. [Scaling out](../scaling.md) has the rest:
# Lightning, Accelerate, and how long a network of machines takes for the gradients.
#
# ## Exercise
#
# Shorter segments keep more states, longer ones need more while they run again. Which length needs least for these 100
# steps? Say first what it should be, if a step keeps $m$ bytes and the states take $s$; then measure.

# %% tags=["hide-cell"] alt="Bytes over the length of a segment: states fall, one segment rises, their sum is least between"
net.float()
lengths = [1, 2, 4, 5, 10, 20, 25, 50, 100]
held, running = torch.tensor([segmented(length) for length in lengths]).T

fig, ax = plt.subplots()
ax.loglog(lengths[:-1], held[:-1] / 1e6, linestyle=":", label="states")
ax.loglog(lengths, running / 1e6, linestyle=":", label="one segment")
ax.loglog(lengths, (held + running) / 1e6, marker="o", label="both")
ax.set(xlabel="steps in a segment", ylabel="MB")
ax.legend()
# T / K segments keep their states, one of K steps runs: s T / K + m K is least for K =
# √(s T / m).
per_step = plain / steps
print(f"expected: {(states * steps / per_step) ** 0.5:.1f}")
print(f"measured: {lengths[int((held + running).argmin())]}")

# %% [markdown]
# ## References
#
# - T. Chen, B. Xu, C. Zhang and C. Guestrin, "Training deep nets with sublinear memory cost", *arXiv* 1604.06174, 2016.
# - S. Li et al., "PyTorch distributed: experiences on accelerating data parallel training", *Proceedings of the VLDB
#   Endowment* 13(12), 2020.
# - P. Micikevicius et al., "Mixed precision training", *ICLR*, 2018.
