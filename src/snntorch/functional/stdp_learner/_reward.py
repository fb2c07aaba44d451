"""Reward-modulated STDP: a reward, at once or late, makes the pair rule's eligibility an update."""

import math

import torch
from torch import Tensor, nn

from ._bounds import WeightFunction, identity
from ._correlation import Synapse, filtered
from ._learner import Learner


def sample_rule(
    synapse: Synapse, step_weights: Tensor, pre: Tensor, post: Tensor, trace_pre: Tensor | None,
    trace_post: Tensor | None, tau_pre: float, tau_post: float, f_pre: WeightFunction, f_post: WeightFunction,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The last traces and the pair rule of each sample over steps [T, ...], summed with weights [T]."""
    x, y = filtered(pre, math.exp(-1 / tau_pre), trace_pre), filtered(post, math.exp(-1 / tau_post), trace_post)
    gain, loss = (torch.einsum("t,t...o,t...i->...oi", step_weights, b, a) for a, b in ((x, post), (pre, y)))
    w = synapse.weight.detach()
    return x[-1], y[-1], f_post(w) * gain - f_pre(w) * loss


@torch.no_grad()
def mstdp_linear_single_step(
    fc: nn.Linear,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Tensor | None,
    trace_post: Tensor | None,
    tau_pre: float,
    tau_post: float,
    f_pre: WeightFunction = identity,
    f_post: WeightFunction = identity,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""One step of reward-modulated STDP (MSTDP): what each sample's reward multiplies.

    .. math:: x ← x e^{-1/τ} + s \quad \text{on both sides}

    .. math:: e = f_{post}(w) s_{post} x_{pre} - f_{pre}(w) x_{post} s_{pre} \quad \text{for each sample}

    x are traces of the spikes s. The weight changes by `(reward[:, None, None] * e).sum(0)`.

    Source: R. V. Florian, "Reinforcement learning through modulation of spike-timing-dependent synaptic
    plasticity", Neural Computation 19(6), 2007.

    The arguments are those of `stdp_linear_single_step`.

    Returns:
        The new `trace_pre` and `trace_post`, and the eligibility e `[B, N_out, N_in]`.

    Example:
        >>> fc, ones = nn.Linear(2, 1), torch.ones_like
        >>> pre, post = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0]])
        >>> tr_pre, tr_post, e = mstdp_linear_single_step(fc, pre, 0 * post, None, None, 2.0, 2.0, ones, ones)
        >>> _, _, e = mstdp_linear_single_step(fc, 0 * pre, post, tr_pre, tr_post, 2.0, 2.0, ones, ones)
        >>> reward = torch.tensor([2.0])
        >>> (reward[:, None, None] * e).sum(0)
        tensor([[1.2131, 0.0000]])
    """
    pre, post = in_spike[None], out_spike[None]
    return sample_rule(fc, in_spike.new_ones(1), pre, post, trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


@torch.no_grad()
def mstdpet_linear_single_step(
    fc: nn.Linear,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Tensor | None,
    trace_post: Tensor | None,
    tau_pre: float,
    tau_post: float,
    tau_trace: float,
    f_pre: WeightFunction = identity,
    f_post: WeightFunction = identity,
    eligibility: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""One step of reward-modulated STDP with an eligibility trace (MSTDPET), for rewards that come late.

    .. math:: z ← z e^{-1/τ_z} + e / τ_z

    where e is that of `mstdp_linear_single_step`.

    Source: R. V. Florian, Neural Computation 19(6), 2007, as for `mstdp_linear_single_step`.

    The other arguments are those of `stdp_linear_single_step`; spikes may also come without a batch, as `[N_in]` and
    `[N_out]`. `tau_trace` is τ_z, in steps; `eligibility` is z after the last step, `None` at the first.

    Returns:
        The new `trace_pre` and `trace_post`, and z `[B, N_out, N_in]`, or `[N_out, N_in]` without a batch.

    Example:
        >>> fc, ones = nn.Linear(2, 1), torch.ones_like
        >>> pre, post = torch.tensor([1.0, 0.0]), torch.tensor([1.0])
        >>> traces_and_z = mstdpet_linear_single_step(fc, pre, 0 * post, None, None, 2.0, 2.0, 10.0, ones, ones)
        >>> tr_pre, tr_post, z = traces_and_z
        >>> mstdpet_linear_single_step(fc, 0 * pre, post, tr_pre, tr_post, 2.0, 2.0, 10.0, ones, ones, z)[2]
        tensor([[0.0607, 0.0000]])
    """
    trace_pre, trace_post, e = mstdp_linear_single_step(
        fc, in_spike, out_spike, trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post
    )
    z = e / tau_trace
    return trace_pre, trace_post, z if eligibility is None else z + eligibility * math.exp(-1 / tau_trace)


class RewardSTDPLearner(Learner):
    r"""Reward-modulated STDP with an eligibility trace for one linear synapse.

    The rule is that of `mstdpet_linear_single_step`: spikes leave an eligibility z in each synapse and
    sample, and a reward R that comes later changes the weight by

    .. math:: Δw = \sum_b R_b z_b

    Source: R. V. Florian, Neural Computation 19(6), 2007. See also E. M. Izhikevich, "Solving the distal
    reward problem through linkage of STDP and dopamine signaling", Cerebral Cortex 17(10), 2007.

    Args:
        synapse: an `nn.Linear`.
        tau_trace: time constant of the eligibility trace, in steps.

    The other arguments are those of `STDPLearner`; f_pre and f_post are 1 unless given.

    Attributes:
        eligibility: z after the last recorded step that `step` used up, `[B, N_out, N_in]`.

    Raises:
        NotImplementedError: another kind of synapse.

    Example:
        >>> fc, neurons = nn.Linear(8, 4), nn.Threshold(0.0, 0.0)
        >>> learner = RewardSTDPLearner(fc, neurons, tau_pre=5.0, tau_post=5.0, tau_trace=20.0)
        >>> for _ in range(10):
        ...     _ = neurons(fc(torch.ones(2, 8)))
        >>> learner.step(torch.tensor([1.0, -1.0]), on_grad=False).shape
        torch.Size([4, 8])
    """

    eligibility: Tensor | None

    def __init__(
        self,
        synapse: nn.Linear,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        tau_trace: float,
        f_pre: WeightFunction = torch.ones_like,
        f_post: WeightFunction = torch.ones_like,
    ):
        if not isinstance(synapse, nn.Linear):
            raise NotImplementedError(f"synapse must be Linear, got {type(synapse).__name__}")
        super().__init__(synapse, sn, tau_pre, tau_post, f_pre, f_post)
        self.tau_trace = tau_trace

    def reset(self) -> None:
        """Forget the recorded spikes, the traces and the eligibility: call it before each new sequence."""
        super().reset()
        self.eligibility = None

    @torch.no_grad()
    def step(self, reward: float | Tensor, on_grad: bool = True, scale: float = 1.0) -> Tensor | None:
        """Use up the recorded spikes and give the reward that follows the last of them.

        Args:
            reward: R, one number for all samples, or `[B]`.
            on_grad: subtract the update from `synapse.weight.grad`, so that an SGD step adds it to the weight.
            scale: factor on the update.

        Returns:
            The update, of the weight's shape, if `on_grad` is false and there is any eligibility; else `None`.

        Raises:
            RuntimeError: the synapse and its neurons were not called equally often.
        """
        spikes = self._take()
        if spikes is not None:
            self._accumulate(*spikes)
        z = self.eligibility
        if z is None:
            return None
        rewards = torch.as_tensor(reward, dtype=z.dtype, device=z.device).expand(z.shape[:-2])
        return self._apply_update(scale * torch.einsum("...,...oi->oi", rewards, z), on_grad)

    def _accumulate(self, pre: Tensor, post: Tensor) -> None:
        decay = math.exp(-1 / self.tau_trace)
        steps_ago = torch.arange(len(pre) - 1, -1, -1, dtype=pre.dtype, device=pre.device)
        self.trace_pre, self.trace_post, z = sample_rule(
            self.synapse, decay**steps_ago / self.tau_trace, pre, post, self.trace_pre, self.trace_post, self.tau_pre,
            self.tau_post, self.f_pre, self.f_post,
        )  # fmt: skip
        self.eligibility = z if self.eligibility is None else z + decay ** len(pre) * self.eligibility
