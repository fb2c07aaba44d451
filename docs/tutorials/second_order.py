# %% [markdown]
# # Second-order neurons and the alpha function
#
# **You will learn** what a synapse adds to a neuron's memory, the response of `snn.Synaptic` and `snn.Alpha` to a single
# spike in closed form, and when a second time constant is worth its cost.
#
# ## A synapse takes its time
#
# When a spike arrives, channels open and close again: the current it lets in decays by itself. A second state $I$, the
# synaptic current, stands between input and membrane:
#
# $$I_t = \alpha I_{t-1} + x_t, \qquad U_t = \beta U_{t-1} + I_t.$$
#
# One input spike at $t = 0$ gives $I_t = \alpha^t$, and summing the geometric series
#
# $$U_t = \sum_{k=0}^{t} \beta^{\,t-k} \alpha^k = \frac{\alpha^{t+1} - \beta^{t+1}}{\alpha - \beta},$$
#
# a difference of two exponentials: it rises with the faster one and falls with the slower. For $\alpha \to \beta$ it
# becomes $(t + 1)\,\beta^t$, the alpha function of the textbooks.

# %% alt="A decaying synaptic current, and the membrane that it makes rise and fall, for three values of alpha"
import matplotlib.pyplot as plt
import torch

import snntorch as snn
from snntorch import utils

utils.seed(0)
steps = 60
t = torch.arange(steps, dtype=torch.float64)
spike = torch.zeros(steps, 1, dtype=torch.float64)
spike[0] = 1

fig, (left, right) = plt.subplots(1, 2, sharex=True)
for alpha in (0.5, 0.8, 0.9):
    alpha, beta = torch.tensor([alpha, 0.85], dtype=torch.float64)
    neuron = snn.Synaptic(alpha=alpha, beta=beta, threshold=100.0)
    _, syn, mem = snn.unroll(neuron, spike)
    exact = (alpha ** (t + 1) - beta ** (t + 1)) / (alpha - beta)
    assert torch.allclose(mem[:, 0], exact, rtol=1e-12)
    left.plot(syn[:, 0], label=rf"$\alpha$ = {alpha:.1f}")
    right.plot(mem[:, 0])
left.set(title="synaptic current", xlabel="time step")
right.set(title=r"membrane, $\beta$ = 0.85", xlabel="time step")
_ = left.legend()

# %% [markdown]
# The assertion holds: simulation and formula agree to the last digits.
#
# ## Where is the peak?
#
# Set the derivative to zero, with time running on:
# $t^* + 1 = \dfrac{\ln(\ln\beta / \ln\alpha)}{\ln\alpha - \ln\beta}$. The peak comes later for slower synapses, which is
# the time over which inputs can meet.

# %% alt="Time of the peak over alpha: the step of the maximum follows the curve from paper"
alphas = torch.linspace(0.05, 0.84, 60, dtype=torch.float64)
beta = torch.tensor(0.85, dtype=torch.float64)
peak = torch.log(beta.log() / alphas.log()) / (alphas.log() - beta.log()) - 1
neuron = snn.Synaptic(alpha=alphas, beta=beta, threshold=100.0)
_, _, mem = snn.unroll(neuron, spike.expand(-1, 60))

fig, ax = plt.subplots()
ax.plot(alphas, peak, label="on paper")
ax.step(alphas, mem.argmax(0), where="mid", label="step of the maximum")
ax.set(xlabel=r"$\alpha$", ylabel="time of the peak")
_ = ax.legend()

# %% [markdown]
# Sixty neurons with a synapse each ran as one layer: every parameter may be a tensor.
#
# ## The alpha neuron
#
# `snn.Alpha` has the difference of exponentials without a filter behind it: an excitatory current that decays with
# $\alpha$, an inhibitory one that decays with $\beta < \alpha$, and their sum, scaled, is the membrane. There is no
# current that charges anything: the response to each spike *is* the curve, as in the spike response model.

# %% alt="Three alpha functions"
fig, ax = plt.subplots()
for alpha, beta in ((0.9, 0.5), (0.9, 0.8), (0.8, 0.75)):
    _, exc, inh, mem = snn.unroll(
        snn.Alpha(alpha=alpha, beta=beta, threshold=100.0), spike
    )
    ax.plot(mem[:, 0], label=rf"$\alpha$ = {alpha}, $\beta$ = {beta}")
ax.set(xlabel="time step", ylabel="membrane")
_ = ax.legend()

# %% [markdown]
# ## What is it good for?
#
# A first-order membrane jumps at each input and forgets from then on. With a synapse the response lags, so that the
# moment of a spike is a smooth function of the inputs' times. Two spikes, $\Delta$ steps apart: how does the highest
# potential depend on $\Delta$?

# %% alt="Highest potential over the time between two inputs: a cusp for Leaky, a rounded top for Synaptic"
gaps = torch.arange(0, 40)
pairs = torch.zeros(80, 40)
pairs[0] += 1
pairs[gaps, gaps] += 1  # the second spike, later from neuron to neuron
first = snn.unroll(snn.Leaky(beta=0.85, threshold=100.0), pairs)[1]
second = snn.unroll(snn.Synaptic(alpha=0.8, beta=0.85, threshold=100.0), pairs)[2]

fig, ax = plt.subplots()
for name, mem in (("Leaky", first), ("Synaptic", second)):
    top = mem.amax(0)
    ax.plot(gaps, top / top[0], label=name)
ax.set(
    xlabel="time between two inputs",
    ylabel="highest potential / that at once",
    ylim=(0.4, 1.05),
)
_ = ax.legend()

# %% [markdown]
# The synapse makes a coincidence detector with a rounded top: a few steps more or less hardly matter, many do.
#
# ## Exercise
#
# A synaptic neuron costs one more state. Could a *layer* of `Leaky` neurons do the same? Feed the spikes of the input
# through `snn.LeakyIntegrator(beta=alpha)` before `Leaky(beta)`: show that the membrane is that of `snn.Synaptic`.

# %% tags=["hide-cell"]
x = (torch.rand(100, 8) < 0.2).double()
alpha, beta = torch.tensor([0.8, 0.9], dtype=torch.float64)
current, _ = snn.unroll(snn.LeakyIntegrator(beta=alpha).double(), x)
spk, mem = snn.unroll(snn.Leaky(beta=beta, threshold=3.0).double(), current)
spk2, _, mem2 = snn.unroll(
    snn.Synaptic(alpha=alpha, beta=beta, threshold=3.0).double(), x
)
print(
    f"difference {(mem - mem2).abs().max():.0e}, {int(spk.sum())} spikes and {int(spk2.sum())}"
)
# It is the same filter, written as two layers. What Synaptic adds is that both states
# belong to one neuron.

# %% [markdown]
# ## References
#
# - W. Rall, "Distinguishing theoretical synaptic potentials computed for different soma-dendritic distributions of
#   synaptic input", *Journal of Neurophysiology* 30(5), 1967.
# - W. Gerstner, W. M. Kistler, R. Naud and L. Paninski, *Neuronal Dynamics*, Cambridge University Press, 2014, chapters
#   3 and 6.
