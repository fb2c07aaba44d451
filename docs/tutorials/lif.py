# %% [markdown]
# # The leaky integrate-and-fire neuron
#
# **You will learn** where the equation of the standard neuron comes from, what its one parameter `beta` means in
# milliseconds, and how to check a simulation against the solution on paper: the potential, the time of the first spike,
# the firing rate.
#
# ## A circuit
#
# A cell's membrane keeps charge apart, as a capacitor $C$ does, and leaks, as a resistor $R$ does. A current $I$ that
# flows in either charges the capacitor or leaks away:
#
# $$I(t) = C \frac{dU}{dt} + \frac{U}{R}
# \qquad\Longleftrightarrow\qquad
# \tau \frac{dU}{dt} = -U + R I, \qquad \tau = RC.$$
#
# Under a constant current that is switched on at $t = 0$ the potential creeps towards $RI$:
#
# $$U(t) = R I \left(1 - e^{-t/\tau}\right).$$
#
# ## A step
#
# Over a step of length $\Delta t$ during which the current is constant, the solution is exact and linear:
#
# $$U_t = \beta\, U_{t-1} + (1 - \beta)\, R I_t, \qquad \beta = e^{-\Delta t / \tau}.$$
#
# In a network the factor $(1-\beta) R$ merges with the weights, which are learnt anyway. What is left is
# `snn.Leaky`: `mem = beta * mem + x`. When `mem` is above the threshold $\theta$ the neuron spikes, and the threshold
# is subtracted in the next step.

# %%
import math

import matplotlib.pyplot as plt
import torch

import snntorch as snn
from snntorch import spikeplot

R, C = 5e7, 1e-10  # 50 megohm, 100 picofarad
current, dt = 3e-10, 1e-3  # 0.3 nanoampere, a millisecond
tau = R * C
beta = torch.tensor(-dt / tau, dtype=torch.float64).exp()
print(f"tau = {tau * 1e3:.0f} ms, beta = {beta:.3f}")
print(f"the potential goes to {R * current * 1e3:.0f} mV")

# %% [markdown]
# Below the threshold the simulation is the solution, to rounding. We put the threshold out of reach, and give the neuron
# the same input at every step; `snn.unroll` is the loop over time.

# %% alt="The membrane charges to its limit: dots of the simulation on the curve from paper"
steps = 40
x = torch.full((1,), (1 - beta) * R * current, dtype=torch.float64)
lif = snn.Leaky(beta=beta, threshold=1.0).double()
_, mem = snn.unroll(lif, x, num_steps=steps)

t = torch.arange(1, steps + 1, dtype=torch.float64) * dt
exact = R * current * (1 - torch.exp(-t / tau))
print(f"largest difference: {(mem[:, 0] - exact).abs().max():.1e} V")

fig, ax = plt.subplots()
ax.plot(t * 1e3, exact * 1e3, label="on paper")
ax.plot(t * 1e3, mem[:, 0] * 1e3, "o", markersize=4, label="snn.Leaky")
ax.axhline(R * current * 1e3, color="gray", linestyle=":", label="$RI$")
ax.set(xlabel="time (ms)", ylabel="potential (mV)")
_ = ax.legend()

# %% [markdown]
# ## Spikes
#
# With a threshold below $RI$ the neuron fires again and again. From zero, the threshold is passed after
#
# $$t_1 = \tau \ln \frac{RI}{RI - \theta}.$$

# %% alt="A membrane that rises to the threshold, spikes and starts again"
theta = 0.010  # 10 mV
lif = snn.Leaky(beta=beta, threshold=theta).double()
spk, mem = snn.unroll(lif, x, num_steps=60)
first = int(spk[:, 0].argmax()) + 1  # the first step ends at dt
on_paper = tau * math.log(R * current / (R * current - theta)) / dt
print(f"first spike in step {first}")
print(f"on paper {on_paper:.2f}, rounded up {math.ceil(on_paper)}")

fig, ax = plt.subplots()
spikeplot.membrane_traces(mem * 1e3, spk, threshold=theta * 1e3, ax=ax)
_ = ax.set(xlabel="time (ms)", ylabel="potential (mV)")

# %% [markdown]
# ## How the rate grows with the input
#
# After a reset to zero the same time passes again, so the neuron fires every $t_1$ steps. The curve of firing rate
# against input has a corner where the input can just reach the threshold, and bends after it. A thousand neurons, one
# for each input, run at once: they are a batch.

# %% alt="Spikes per second over the input: stairs along a curve in continuous time, with a corner at the threshold"
drive = torch.linspace(0, 0.06, 1000, dtype=torch.float64)  # RI, in volts
inputs = ((1 - beta) * drive)[:, None]
zero = snn.Leaky(
    beta=beta, threshold=theta, reset_mechanism="zero", reset_delay=False
).double()
spk, _ = snn.unroll(zero, inputs, num_steps=1000)
rate = spk[:, :, 0].mean(0) / dt

paper = torch.zeros_like(drive)
above = drive > theta
paper[above] = 1 / (
    dt * torch.ceil(tau / dt * torch.log(drive[above] / (drive[above] - theta)))
)
continuous = 1 / (tau * torch.log(drive[above] / (drive[above] - theta)))

fig, ax = plt.subplots()
ax.plot(
    drive[above] * 1e3,
    continuous,
    color="gray",
    linestyle=":",
    label="in continuous time",
)
ax.plot(drive * 1e3, paper, linewidth=4, alpha=0.4, label="on paper, in whole steps")
ax.plot(drive * 1e3, rate, label="snn.Leaky")
ax.set(xlabel="$RI$ (mV)", ylabel="spikes per second", ylim=(0, 700))
_ = ax.legend()

# %% [markdown]
# The stairs are the price of steps: a spike can come at a step's end only. Halve $\Delta t$, and they halve.
#
# ## Two resets
#
# What becomes of what is left above the threshold? `"subtract"` keeps it, so that no input is lost and the rate stays
# proportional to the input; `"zero"` forgets it, as a biological cell does. `reset_delay=True`, the default, resets
# one step after the spike.

# %% alt="The same input with reset by subtraction, to zero, and with none"
fig, axes = plt.subplots(1, 3, sharey=True)
for ax, mechanism in zip(axes, ("subtract", "zero", "none"), strict=True):
    neuron = snn.Leaky(beta=0.9, reset_mechanism=mechanism)
    spk, mem = snn.unroll(neuron, torch.full((1,), 0.35), num_steps=30)
    ax.plot(mem)
    ax.plot(spk[:, 0].nonzero()[:, 0], mem[spk[:, 0] > 0], "o", markersize=4)
    ax.axhline(1, color="gray", linestyle=":")
    ax.set(title=f'"{mechanism}": {int(spk.sum())} spikes', xlabel="time step")

# %% [markdown]
# ## Exercise
#
# The package has the circuit itself: `snn.Lapicque(R=..., C=..., time_step=...)` takes steps by Euler's method,
# $U \leftarrow U + \frac{\Delta t}{\tau}(RI - U)$. How far is it from the exact solution at a step of 1 ms, and how does
# the error fall with the step? Predict before you run.

# %% tags=["hide-cell"]
for parts in (1, 2, 4, 8):
    neuron = snn.Lapicque(R=R, C=C, time_step=dt / parts, threshold=1.0).double()
    _, mem = snn.unroll(
        neuron, torch.full((1,), current, dtype=torch.float64), num_steps=steps * parts
    )
    error = (mem[parts - 1 :: parts, 0] - exact).abs().max()
    print(f"step {dt * 1e3 / parts:.3f} ms: {error * 1e3:.3f} mV")
# Euler's method is of first order: half the step, half the error.

# %% [markdown]
# ## References
#
# - L. Lapicque, "Recherches quantitatives sur l'excitation électrique des nerfs traitée comme une polarisation",
#   *Journal de physiologie et de pathologie générale* 9, 1907.
# - W. Gerstner, W. M. Kistler, R. Naud and L. Paninski, *Neuronal Dynamics*, Cambridge University Press, 2014, chapter 1.
# - J. K. Eshraghian et al., "Training spiking neural networks using lessons from deep learning", *Proceedings of the
#   IEEE* 111(9), 2023.
#
# Next: [many of them](feedforward.py).
