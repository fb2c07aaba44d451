"""Pair STDP: every pair of an input and an output spike counts, by the time between them."""

import torch
from torch import Tensor, nn

from ._bounds import WeightFunction, identity
from ._correlation import Synapse, correlate, filtered, pad
from ._learner import TwoFactorLearner


def pair_rule(
    synapse: Synapse, pre: Tensor, post: Tensor, trace_pre: Tensor | None, trace_post: Tensor | None, tau_pre: float,
    tau_post: float, f_pre: WeightFunction, f_post: WeightFunction,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The pair rule over steps [T, ...]: the last traces, and the update summed over the steps."""
    pre, w = pad(synapse, pre), synapse.weight.detach()
    x, y = filtered(pre, 1 - 1 / tau_pre, trace_pre), filtered(post, 1 - 1 / tau_post, trace_post)
    return x[-1], y[-1], f_post(w) * correlate(synapse, x, post) - f_pre(w) * correlate(synapse, pre, y)


@torch.no_grad()
def stdp_linear_single_step(
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
    r"""One step of pair STDP for a linear layer.

    .. math:: x ← x - x/τ + s \quad \text{on both sides}

    .. math:: Δw = f_{post}(w) \sum_b s_{post} x_{pre} - f_{pre}(w) \sum_b x_{post} s_{pre}

    x are traces of the spikes s, `trace_pre` and `trace_post`.

    Source: A. Morrison, M. Diesmann and W. Gerstner, "Phenomenological models of synaptic plasticity based on
    spike timing", Biological Cybernetics 98, 2008.

    Args:
        fc: the synapse; its weight is read, not changed.
        in_spike: spikes into it, `[B, N_in]`.
        out_spike: spikes of the neurons behind it, `[B, N_out]`.
        trace_pre: trace of the input after the last step; `None` at the first.
        trace_post: trace of the output after the last step; `None` at the first.
        tau_pre: time constant of the input trace, in steps.
        tau_post: time constant of the output trace, in steps.
        f_pre: weight dependence of depression.
        f_post: weight dependence of potentiation.

    Returns:
        The new `trace_pre` and `trace_post`, and the update Δw of the weight's shape.

    Raises:
        ValueError: a trace does not fit the spikes.

    Example:
        >>> fc = nn.Linear(2, 1)
        >>> pre, post = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0]])
        >>> ones = torch.ones_like
        >>> tr_pre, tr_post, dw = stdp_linear_single_step(fc, pre, 0 * post, None, None, 2.0, 2.0, ones, ones)
        >>> stdp_linear_single_step(fc, 0 * pre, post, tr_pre, tr_post, 2.0, 2.0, ones, ones)[2]
        tensor([[0.5000, 0.0000]])
    """
    return pair_rule(fc, in_spike[None], out_spike[None], trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


@torch.no_grad()
def stdp_conv1d_single_step(
    conv: nn.Conv1d,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Tensor | None,
    trace_post: Tensor | None,
    tau_pre: float,
    tau_post: float,
    f_pre: WeightFunction = identity,
    f_post: WeightFunction = identity,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of pair STDP for a 1-d convolution, summed over output positions.

    As `stdp_linear_single_step`, with any stride, padding, dilation and groups. `in_spike` is `[B, C_in, L]`,
    `out_spike` the shape of the convolution's output; `trace_pre` has the shape of the padded input.

    Example:
        >>> conv = nn.Conv1d(1, 1, kernel_size=3)
        >>> pre, post = torch.tensor([[[1.0, 0.0, 0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]])
        >>> ones = torch.ones_like
        >>> tr_pre, tr_post, dw = stdp_conv1d_single_step(conv, pre, 0 * post, None, None, 2.0, 2.0, ones, ones)
        >>> stdp_conv1d_single_step(conv, 0 * pre, post, tr_pre, tr_post, 2.0, 2.0, ones, ones)[2]
        tensor([[[0.5000, 0.0000, 0.0000]]])
    """
    return pair_rule(conv, in_spike[None], out_spike[None], trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


@torch.no_grad()
def stdp_conv2d_single_step(
    conv: nn.Conv2d,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Tensor | None,
    trace_post: Tensor | None,
    tau_pre: float,
    tau_post: float,
    f_pre: WeightFunction = identity,
    f_post: WeightFunction = identity,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `stdp_conv1d_single_step`, for a 2-d convolution of `[B, C_in, H, W]`.

    Example:
        >>> conv = nn.Conv2d(1, 2, kernel_size=3, padding=1)
        >>> pre, post = torch.rand(4, 1, 5, 5).round(), torch.rand(4, 2, 5, 5).round()
        >>> tr_pre, tr_post, dw = stdp_conv2d_single_step(conv, pre, post, None, None, 2.0, 2.0)
        >>> tr_pre.shape, dw.shape
        (torch.Size([4, 1, 7, 7]), torch.Size([2, 1, 3, 3]))
    """
    return pair_rule(conv, in_spike[None], out_spike[None], trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


class STDPLearner(TwoFactorLearner):
    """Pair STDP for one synapse, from the spikes that pass through it.

    The rule is that of `stdp_linear_single_step`. The learner watches the input of `synapse` and the
    output of `sn` at every call; `step` turns what it saw since the last into one weight update.
    Traces go on from one `step` to the next, until `reset`.

    Args:
        synapse: an `nn.Linear`, `nn.Conv1d` or `nn.Conv2d`.
        sn: the neurons behind it; when they return a tuple, its first element is the spikes.
        tau_pre: time constant of the input trace, in steps.
        tau_post: time constant of the output trace, in steps.
        f_pre: weight dependence of depression; see `weight_bounds`.
        f_post: weight dependence of potentiation.

    Raises:
        NotImplementedError: another kind of synapse.

    Example:
        >>> from snntorch.functional.stdp_learner import weight_bounds
        >>> fc, neurons = nn.Linear(8, 4, bias=False), nn.Threshold(0.0, 0.0)
        >>> learner = STDPLearner(fc, neurons, 5.0, 5.0, *weight_bounds(-1, 1))
        >>> for _ in range(10):
        ...     _ = neurons(fc(torch.bernoulli(torch.full((2, 8), 0.3))))
        >>> learner.step(on_grad=False).shape
        torch.Size([4, 8])
    """

    def _update(self, pre: Tensor, post: Tensor) -> Tensor:
        self.trace_pre, self.trace_post, dw = pair_rule(
            self.synapse,
            pre,
            post,
            self.trace_pre,
            self.trace_post,
            self.tau_pre,
            self.tau_post,
            self.f_pre,
            self.f_post,
        )
        return dw
