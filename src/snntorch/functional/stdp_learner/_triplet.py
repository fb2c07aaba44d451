"""Triplet STDP: a third spike, by a slow trace on either side, brings in the firing rates."""

import math

import torch
from torch import Tensor, nn

from ._bounds import WeightFunction
from ._correlation import Synapse, before, correlate, filtered, pad
from ._pair import STDPLearner


class TripletSTDPLearner(STDPLearner):
    r"""Triplet STDP: a second, slow trace on each side makes the update depend on the firing rates.

    .. math:: Δw = f_{post}(w) \sum_b s_{post} r_1 (A_2^+ + A_3^+ o_2)
        - f_{pre}(w) \sum_b s_{pre} o_1 (A_2^- + A_3^- r_2)

    r₁ and r₂ are traces of the input's spikes, o₁ and o₂ of the output's; they decay by exp(-1/τ) with τ₊, τₓ, τ₋ and
    τ_y. The fast traces r₁ and o₁ include the present spikes, the slow ones r₂ and o₂ only earlier ones.
    The defaults are the paper's fit to visual cortex (all-to-all, full model), for steps of 1 ms.

    Source: J.-P. Pfister and W. Gerstner, "Triplets of spikes in a model of spike timing-dependent
    plasticity", Journal of Neuroscience 26(38), 2006.

    Args:
        synapse: as for `STDPLearner`.
        sn: as for `STDPLearner`.
        tau_plus: τ₊, of the fast input trace, in steps.
        tau_minus: τ₋, of the fast output trace.
        tau_x: τₓ, of the slow input trace.
        tau_y: τ_y, of the slow output trace.
        a2_plus: pair potentiation A₂⁺.
        a3_plus: triplet potentiation A₃⁺.
        a2_minus: pair depression A₂⁻.
        a3_minus: triplet depression A₃⁻.
        f_pre: weight dependence of depression; 1 unless given.
        f_post: weight dependence of potentiation; 1 unless given.

    Example:
        >>> fc, neurons = nn.Linear(8, 4), nn.Threshold(0.0, 0.0)
        >>> learner = TripletSTDPLearner(fc, neurons)
        >>> _ = neurons(fc(torch.ones(2, 8)))
        >>> learner.step(on_grad=False).shape
        torch.Size([4, 8])
    """

    trace_pre_slow: Tensor | None
    trace_post_slow: Tensor | None

    def __init__(
        self,
        synapse: Synapse,
        sn: nn.Module,
        tau_plus: float = 16.8,
        tau_minus: float = 33.7,
        tau_x: float = 101.0,
        tau_y: float = 125.0,
        a2_plus: float = 5e-10,
        a3_plus: float = 6.2e-3,
        a2_minus: float = 7e-3,
        a3_minus: float = 2.3e-4,
        f_pre: WeightFunction = torch.ones_like,
        f_post: WeightFunction = torch.ones_like,
    ):
        super().__init__(synapse, sn, tau_plus, tau_minus, f_pre, f_post)
        self.tau_x, self.tau_y = tau_x, tau_y
        self.a2_plus, self.a3_plus = a2_plus, a3_plus
        self.a2_minus, self.a3_minus = a2_minus, a3_minus

    def reset(self) -> None:
        """Forget the recorded spikes and the traces: call it before each new sequence."""
        super().reset()
        self.trace_pre_slow = self.trace_post_slow = None

    def _update(self, pre: Tensor, post: Tensor) -> Tensor:
        synapse, w = self.synapse, self.synapse.weight.detach()
        pre = pad(synapse, pre)
        r1 = filtered(pre, math.exp(-1 / self.tau_pre), self.trace_pre)
        o1 = filtered(post, math.exp(-1 / self.tau_post), self.trace_post)
        r2 = filtered(pre, math.exp(-1 / self.tau_x), self.trace_pre_slow)
        o2 = filtered(post, math.exp(-1 / self.tau_y), self.trace_post_slow)
        potentiating = post * (self.a2_plus + self.a3_plus * before(o2, self.trace_post_slow))
        depressing = pre * (self.a2_minus + self.a3_minus * before(r2, self.trace_pre_slow))
        self.trace_pre, self.trace_post = r1[-1], o1[-1]
        self.trace_pre_slow, self.trace_post_slow = r2[-1], o2[-1]
        gain, loss = correlate(synapse, r1, potentiating), correlate(synapse, depressing, o1)
        return self.f_post(w) * gain - self.f_pre(w) * loss
