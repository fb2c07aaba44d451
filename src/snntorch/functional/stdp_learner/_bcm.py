"""The Bienenstock-Cooper-Munro rule: what counts as much output slides with the output itself."""

import math

import torch
from torch import Tensor, nn

from ._bounds import WeightFunction
from ._correlation import Synapse, before, correlate, filtered, pad
from ._learner import TwoFactorLearner


class BCMLearner(TwoFactorLearner):
    r"""The BCM rule: inputs to a neuron gain while its output is above a threshold that slides, and lose below it.

    .. math:: Δw = f_{post}(w) \sum_b x y \max(0, y - θ) - f_{pre}(w) \sum_b x y \max(0, θ - y)

    .. math:: θ ← θ e^{-1/τ_θ} + (1 - e^{-1/τ_θ}) ⟨y^2⟩ / y_0 \quad \text{after each step}

    x and y are traces of the spikes s of input and output, `x ← x · exp(-1/τ) + s`. With f_pre = f_post = 1 this is
    Δw = Σ_b x · y · (y - θ). A trace is about the number of spikes in the last τ steps. Each neuron has its own θ,
    each channel of a convolution has one; ⟨⟩ is the mean over samples and positions. θ starts at 0, and `reset`
    leaves it alone, as it is the memory of earlier sequences.

    Since θ grows faster than y, a neuron cannot answer everything, and ends up selective: of n patterns that come
    equally often, it answers one with y = n · y₀ = θ, the others not at all. For this θ must follow slower than
    patterns change, but faster than weights do.

    Source: E. L. Bienenstock, L. N. Cooper and P. W. Munro, "Theory for the development of neuron selectivity:
    orientation specificity and binocular interaction in visual cortex", Journal of Neuroscience 2(1), 1982; θ as
    the mean square: N. Intrator and L. N. Cooper, "Objective function formulation of the BCM theory of visual
    cortical plasticity: statistical connections, stability conditions", Neural Networks 5(1), 1992.

    Args:
        tau_theta: time constant τ_θ of the threshold, in steps.
        target: y₀, the output trace that is its own threshold when it stays constant, and so the mean that
            learning leads to.

    The other arguments are those of `STDPLearner`; f_pre and f_post are 1 unless given.

    Attributes:
        theta: θ, `[N_out]` or `[C_out]`, a buffer.

    Raises:
        NotImplementedError: another kind of synapse.
        ValueError: a time constant or the target is not above 0.

    Example:
        >>> fc, neurons = nn.Linear(8, 4), nn.Threshold(0.0, 0.0)
        >>> learner = BCMLearner(fc, neurons, tau_pre=10.0, tau_post=10.0, tau_theta=1000.0)
        >>> for _ in range(10):
        ...     _ = neurons(fc(torch.ones(2, 8)))
        >>> learner.step(on_grad=False).shape
        torch.Size([4, 8])
    """

    theta: Tensor

    def __init__(
        self,
        synapse: Synapse,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        tau_theta: float,
        target: float = 1.0,
        f_pre: WeightFunction = torch.ones_like,
        f_post: WeightFunction = torch.ones_like,
    ):
        for name, value in dict(tau_pre=tau_pre, tau_post=tau_post, tau_theta=tau_theta, target=target).items():
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        super().__init__(synapse, sn, tau_pre, tau_post, f_pre, f_post)
        self.tau_theta = tau_theta
        self.target = target
        self.register_buffer("theta", synapse.weight.new_zeros(len(synapse.weight)))

    def _update(self, pre: Tensor, post: Tensor) -> Tensor:
        synapse, w = self.synapse, self.synapse.weight.detach()
        channel = 1 - w.dim()
        x = filtered(pad(synapse, pre), math.exp(-1 / self.tau_pre), self.trace_pre)
        y = filtered(post, math.exp(-1 / self.tau_post), self.trace_post)
        self.trace_pre, self.trace_post = x[-1], y[-1]

        decay, theta = math.exp(-1 / self.tau_theta), self.theta.to(y)
        squares = y.square().movedim(channel, 1).reshape(len(y), len(theta), -1).mean(2) / self.target
        thetas = filtered((1 - decay) * squares, decay, theta)
        self.theta = thetas[-1]

        per_channel = [len(y), *[1] * (y.dim() - 1)]
        per_channel[channel] = len(theta)
        above = y - before(thetas, theta).view(per_channel)
        gain = correlate(synapse, x, y * above.clamp(min=0))
        loss = correlate(synapse, x, y * (-above).clamp(min=0))
        return self.f_post(w) * gain - self.f_pre(w) * loss
