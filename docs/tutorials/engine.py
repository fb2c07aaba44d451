# %% [markdown]
# # Your own neuron, and the engine that fuses it
#
# **You will learn** to write a neuron as one function of one time step, what the package derives from it, and three
# neurons of the literature: adaptive threshold, Izhikevich, adaptive exponential.
#
# ## One function
#
# A neuron here is its step: input and states in, spike and new states out. An adaptive neuron, whose threshold rises
# with each spike and falls back slowly, takes two states:
#
# $$\begin{aligned}
# U_t &= \beta U_{t-1} + x_t \\
# S_t &= H(U_t - \theta - A_{t-1}) \\
# A_t &= \rho A_{t-1} + S_t
# \end{aligned}$$

# %% alt="A membrane potential that chases a threshold, which every spike raises"
import matplotlib.pyplot as plt
import torch

import snntorch as snn
from snntorch import utils

utils.seed(0)


class Adaptive(snn.SpikingNeuron):
    states = ("mem", "raised")

    def __init__(self, beta, rho, **kwargs):
        super().__init__(**kwargs)
        self.register_value("beta", beta)
        self.register_value("rho", rho, learn=True)

    @staticmethod
    def step(x, mem, raised, *, beta, rho, threshold, spike):
        mem = beta * mem + x
        spk = spike(mem - threshold - raised)
        return spk, mem - spk * (threshold + raised), rho * raised + spk


neuron = Adaptive(beta=0.9, rho=0.95)
spk, mem, raised = snn.unroll(neuron, torch.full((120, 1), 0.6))

fig, ax = plt.subplots()
ax.plot(mem[:, 0].detach(), label="potential")
ax.plot(1 + raised[:, 0].detach(), label="threshold")
ax.vlines(spk[:, 0].nonzero()[:, 0], -0.7, -0.4, color="C2", label="spikes")
ax.set(xlabel="time step", ylim=(-1, 5.2))
_ = ax.legend(ncols=3, loc="upper right")

# %% [markdown]
# It fires fast at first, then slower and slower: it reports changes more than levels.
#
# ## What comes with it
#
# From that function the package derives the module with its stored states, `reset` and `detach`, one fused kernel over
# all time steps, and that kernel's gradient, with the surrogate in place of the spike's derivative:

# %%
net = torch.nn.Sequential(
    torch.nn.Linear(20, 50), Adaptive(0.9, torch.full((50,), 0.9), init_hidden=True)
)
snn.explain(net, torch.rand(30, 8, 20))
snn.unroll(net, torch.rand(30, 8, 20)).sum().backward()
print("gradient of rho:", tuple(net[1].rho.grad.shape))

# %% [markdown]
# How? The step runs once on symbols, which note each operation. The graph of one step is differentiated by a table of
# rules, and both are printed into a loop over time as source code, for Numba on the CPU and for Triton on a GPU. Nothing
# of it was written for this neuron. Is the kernel right? Run the same step by PyTorch's own operations and compare:

# %%
x = torch.rand(50, 4, 20, dtype=torch.float64)
results = {}
for backend in ("fused", "eager"):
    with snn.backend(backend):
        neuron = Adaptive(beta=0.9, rho=0.95).double()
        spk, mem, raised = snn.unroll(neuron, x)
        (spk.sum() + mem.square().sum()).backward()
        results[backend] = (spk.detach(), mem.detach(), neuron.rho.grad)
for fused, eager in zip(*results.values(), strict=True):
    assert torch.allclose(fused, eager, rtol=1e-10, atol=1e-10)
print("spikes, potentials and gradients agree")

# %% [markdown]
# ## Izhikevich's neuron
#
# Two differential equations with four numbers give most of the firing patterns that cortical cells show:
#
# $$\dot v = 0.04 v^2 + 5 v + 140 - u + I, \qquad \dot u = a (b v - u),$$
#
# with $v \leftarrow c$ and $u \leftarrow u + d$ at a spike. The numbers can be tensors: here four neurons of four kinds
# run as one layer.

# %% alt="Four of Izhikevich's neurons: regular spiking, intrinsically bursting, chattering, fast spiking"
kinds = ["regular spiking", "intrinsically bursting", "chattering", "fast spiking"]
a = torch.tensor([0.02, 0.02, 0.02, 0.1])
c = torch.tensor([-65.0, -55.0, -50.0, -65.0])
d = torch.tensor([8.0, 4.0, 2.0, 2.0])
cortex = snn.Izhikevich(a=a, b=0.2, c=c, d=d, time_step=0.25)
spk, mem, recovery = snn.unroll(cortex, torch.full((1, 4), 10.0), num_steps=1200)

fig, axes = plt.subplots(4, 1, sharex=True, figsize=(7, 5))
for i, ax in enumerate(axes):
    ax.plot(
        torch.arange(1200) * 0.25,
        torch.where(spk > 0, 30.0, mem)[:, 0, i],
        linewidth=0.9,
    )
    ax.set(ylabel="mV", title=f"{kinds[i]}: {int(spk[:, 0, i].sum())} spikes")
_ = axes[-1].set_xlabel("time (ms)")

# %% [markdown]
# ## The adaptive exponential neuron
#
# `snn.AdEx` follows units: picofarad, nanosiemens, millivolts, picoampere. Its upswing is an exponential, as the opening
# of sodium channels is. A step of current, and the path through the plane of its two states:

# %% alt="An AdEx neuron under a step of current, over time and in the plane of its two states"
adex = snn.AdEx(time_step=0.1)
current = torch.zeros(4000, 1)
current[500:3500] = 900.0
spk, mem, adaptation = snn.unroll(adex, current)

fig, (left, right) = plt.subplots(1, 2, width_ratios=(3, 2))
left.plot(torch.arange(4000) * 0.1, torch.where(spk > 0, 0.0, mem)[:, 0], linewidth=0.9)
left.set(xlabel="time (ms)", ylabel="potential (mV)")
right.plot(mem[:, 0], adaptation[:, 0], ".", markersize=1.5)
_ = right.set(xlabel="potential (mV)", ylabel="adaptation (pA)", xlim=(-75, -30))

# %% [markdown]
# ## Exercise
#
# Write a resonator: a neuron with a complex potential $z$ that turns by an angle $\omega$ each step and shrinks by
# $\lambda$, $z_t = \lambda e^{i\omega} z_{t-1} + x_t$, and spikes where the real part exceeds the threshold. Use two real
# states, no reset. For which frequency of a sine does it fire most?


# %% tags=["hide-cell"] alt="Spikes of the resonator over the frequency of its input, with a peak at its own"
class Resonator(snn.SpikingNeuron):
    states = ("re", "im")

    def __init__(self, omega, decay, **kwargs):
        super().__init__(**kwargs)
        self.register_value("cos", decay * torch.cos(torch.as_tensor(omega)))
        self.register_value("sin", decay * torch.sin(torch.as_tensor(omega)))

    @staticmethod
    def step(x, re, im, *, cos, sin, threshold, spike):
        re, im = cos * re - sin * im + x, sin * re + cos * im
        return spike(re - threshold), re, im


frequencies = torch.linspace(0.01, 0.6, 200)
sines = 0.2 * torch.sin(torch.arange(500)[:, None] * frequencies)
spk, _, _ = snn.unroll(Resonator(omega=0.3, decay=0.97), sines)

fig, ax = plt.subplots()
ax.plot(frequencies, spk.mean(0))
ax.axvline(0.3, color="gray", linestyle=":", label=r"$\omega$")
ax.set(xlabel="frequency of the input (radians a step)", ylabel="spikes per step")
_ = ax.legend()
# At its own frequency: the inputs add up in phase.

# %% [markdown]
# ## References
#
# - G. Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", *NeurIPS*, 2018.
# - E. M. Izhikevich, "Simple model of spiking neurons", *IEEE Transactions on Neural Networks* 14(6), 2003.
# - R. Brette and W. Gerstner, "Adaptive exponential integrate-and-fire model as an effective description of neuronal
#   activity", *Journal of Neurophysiology* 94(5), 2005.
# - E. M. Izhikevich, "Resonate-and-fire neurons", *Neural Networks* 14, 2001.
#
# The guides: [a neuron of your own](../own-neuron.md), [how it works](../how-it-works.md).
