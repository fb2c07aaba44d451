"""Spike-timing-dependent plasticity (STDP): learning from the spikes on both sides of a synapse alone.

Every rule here is a difference of two correlations between something on the output side and something on the
input side of the synapse. The correlation is the synapse's own weight gradient, with the input side in place
of its input and the output side in place of its output's gradient: one matrix product, or one convolution,
for all steps, samples and positions at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad

from .probe import InputMonitor, OutputMonitor

Synapse = nn.Linear | nn.Conv1d | nn.Conv2d
WeightFunction = Callable[[Tensor], Tensor]


def _identity(w: Tensor) -> Tensor:
    return w


def weight_bounds(
    w_min: float = 0.0, w_max: float = 1.0, a_pre: float = 1.0, a_post: float = 1.0, power: float = 1.0
) -> tuple[WeightFunction, WeightFunction]:
    """Weight dependences ``(f_pre, f_post)`` that keep weights between bounds.

        f_pre(w) = a_pre · (w - w_min)^μ        f_post(w) = a_post · (w_max - w)^μ

    Both are zero beyond their bound. μ = 1 is the multiplicative rule with soft bounds, μ = 0 the additive
    rule with hard bounds (a single update may still step over one: clamp afterwards, or learn in small
    steps).

    Source: R. Gütig, R. Aharonov, S. Rotter and H. Sompolinsky, "Learning input correlations through
    nonlinear temporally asymmetric Hebbian plasticity", Journal of Neuroscience 23(9), 2003.

    Args:
        w_min: lower bound.
        w_max: upper bound, above ``w_min``.
        a_pre: amplitude of depression.
        a_post: amplitude of potentiation.
        power: exponent μ, at least 0.

    Returns:
        Two functions from weights to factors of the same shape, for ``f_pre`` and ``f_post`` of a learner.

    Example:
        >>> f_pre, f_post = weight_bounds(0, 1, a_post=0.1)
        >>> f_pre(torch.tensor([0.0, 0.25, 1.0])), f_post(torch.tensor([0.0, 0.5, 1.0]))
        (tensor([0.0000, 0.2500, 1.0000]), tensor([0.1000, 0.0500, 0.0000]))
    """
    if not w_min < w_max:
        raise ValueError(f"w_min must be below w_max, got {w_min} and {w_max}")
    if power < 0:
        raise ValueError(f"power must be at least 0, got {power}")

    def f_pre(w: Tensor) -> Tensor:
        return a_pre * (w > w_min) * (w - w_min).clamp(min=0) ** power

    def f_post(w: Tensor) -> Tensor:
        return a_post * (w < w_max) * (w_max - w).clamp(min=0) ** power

    return f_pre, f_post


def _traces(spikes: Tensor, decay: float, trace: Tensor | None) -> Tensor:
    """Traces [T, ...] that follow ``trace``: tr[t] = decay · tr[t-1] + spikes[t]."""
    if trace is not None and trace.shape != spikes.shape[1:]:
        raise ValueError(
            f"a step's spikes have shape {list(spikes.shape[1:])}, but the trace of earlier ones has shape "
            f"{list(trace.shape)}: reset before a batch of another size"
        )
    traces = []
    for s in spikes:
        trace = s if trace is None else torch.add(s, trace, alpha=decay)
        traces.append(trace)
    return torch.stack(traces)


def _before(traces: Tensor, first: Tensor | None) -> Tensor:
    """The traces just before each step, given those after it and the one before them all."""
    return torch.cat([torch.zeros_like(traces[:1]) if first is None else first[None], traces[:-1]])


def _pad(synapse: Synapse, pre: Tensor) -> Tensor:
    """Pad input spikes [..., C, *positions] as the convolution does; leave a linear layer's alone."""
    if isinstance(synapse, nn.Linear) or synapse.padding == "valid":
        return pre
    if synapse.padding == "same":
        total = [d * (k - 1) for d, k in zip(synapse.dilation, synapse.kernel_size, strict=True)]
        sides = [(p // 2, p - p // 2) for p in total]
    else:
        sides = [(int(p), int(p)) for p in synapse.padding]
    mode = "constant" if synapse.padding_mode == "zeros" else synapse.padding_mode
    samples = pre.shape[: -len(sides) - 1]
    last_first = [p for side in reversed(sides) for p in side]
    return F.pad(pre.reshape(-1, *pre.shape[len(samples) :]), last_first, mode).unflatten(0, samples)


def _correlate(synapse: Synapse, pre: Tensor, post: Tensor) -> Tensor:
    """Σ post · pre over steps, samples and positions, for every weight."""
    if isinstance(synapse, nn.Linear):
        return post.flatten(0, -2).mT @ pre.flatten(0, -2)
    conv_weight: Callable[..., Tensor] = grad.conv1d_weight if isinstance(synapse, nn.Conv1d) else grad.conv2d_weight
    first_channel = 1 - synapse.weight.dim()
    return conv_weight(
        pre.flatten(0, first_channel - 1),
        synapse.weight.shape,
        post.flatten(0, first_channel - 1),
        stride=synapse.stride,
        dilation=synapse.dilation,
        groups=synapse.groups,
    )


def _pair_rule(
    synapse: Synapse,
    pre: Tensor,
    post: Tensor,
    trace_pre: Tensor | None,
    trace_post: Tensor | None,
    tau_pre: float,
    tau_post: float,
    f_pre: WeightFunction,
    f_post: WeightFunction,
) -> tuple[Tensor, Tensor, Tensor]:
    """The pair rule over steps [T, ...]: the last traces, and the update summed over the steps."""
    pre, w = _pad(synapse, pre), synapse.weight.detach()
    traces_pre = _traces(pre, 1 - 1 / tau_pre, trace_pre)
    traces_post = _traces(post, 1 - 1 / tau_post, trace_post)
    dw = f_post(w) * _correlate(synapse, traces_pre, post) - f_pre(w) * _correlate(synapse, pre, traces_post)
    return traces_pre[-1], traces_post[-1], dw


def _sample_rule(
    fc: nn.Linear,
    pre: Tensor,
    post: Tensor,
    trace_pre: Tensor | None,
    trace_post: Tensor | None,
    tau_pre: float,
    tau_post: float,
    f_pre: WeightFunction,
    f_post: WeightFunction,
    step_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The last traces and the pair rule of each sample over steps [T, ...], summed with weights [T]."""
    w = fc.weight.detach()
    step_weights = pre.new_ones(len(pre)) if step_weights is None else step_weights
    traces_pre = _traces(pre, math.exp(-1 / tau_pre), trace_pre)
    traces_post = _traces(post, math.exp(-1 / tau_post), trace_post)
    potentiation = torch.einsum("t,t...o,t...i->...oi", step_weights, post, traces_pre)
    depression = torch.einsum("t,t...o,t...i->...oi", step_weights, traces_post, pre)
    return traces_pre[-1], traces_post[-1], f_post(w) * potentiation - f_pre(w) * depression


@torch.no_grad()
def stdp_linear_single_step(
    fc: nn.Linear,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Tensor | None,
    trace_post: Tensor | None,
    tau_pre: float,
    tau_post: float,
    f_pre: WeightFunction = _identity,
    f_post: WeightFunction = _identity,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of pair STDP for a linear layer.

        tr ← tr - tr/τ + s,  on both sides
        Δw = f_post(w) · Σ_b post · tr_pre - f_pre(w) · Σ_b tr_post · pre

    Source: A. Morrison, M. Diesmann and W. Gerstner, "Phenomenological models of synaptic plasticity based on
    spike timing", Biological Cybernetics 98, 2008.

    Args:
        fc: the synapse; its weight is read, not changed.
        in_spike: spikes into it, ``[B, N_in]``.
        out_spike: spikes of the neurons behind it, ``[B, N_out]``.
        trace_pre: trace of the input after the last step; ``None`` at the first.
        trace_post: trace of the output after the last step; ``None`` at the first.
        tau_pre: time constant of the input trace, in steps.
        tau_post: time constant of the output trace, in steps.
        f_pre: weight dependence of depression.
        f_post: weight dependence of potentiation.

    Returns:
        The new ``trace_pre`` and ``trace_post``, and the update Δw of the weight's shape.

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
    return _pair_rule(fc, in_spike[None], out_spike[None], trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


@torch.no_grad()
def stdp_conv1d_single_step(
    conv: nn.Conv1d,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Tensor | None,
    trace_post: Tensor | None,
    tau_pre: float,
    tau_post: float,
    f_pre: WeightFunction = _identity,
    f_post: WeightFunction = _identity,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of pair STDP for a 1-d convolution, summed over output positions.

    As :func:`stdp_linear_single_step`, with any stride, padding, dilation and groups. ``in_spike`` is ``[B,
    C_in, L]``, ``out_spike`` the shape of the convolution's output; ``trace_pre`` has the shape of the padded
    input.
    """
    return _pair_rule(conv, in_spike[None], out_spike[None], trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


@torch.no_grad()
def stdp_conv2d_single_step(
    conv: nn.Conv2d,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Tensor | None,
    trace_post: Tensor | None,
    tau_pre: float,
    tau_post: float,
    f_pre: WeightFunction = _identity,
    f_post: WeightFunction = _identity,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of pair STDP for a 2-d convolution, summed over output positions.

    As :func:`stdp_linear_single_step`, with any stride, padding, dilation and groups. ``in_spike`` is ``[B,
    C_in, H, W]``, ``out_spike`` the shape of the convolution's output; ``trace_pre`` has the shape of the
    padded input.
    """
    return _pair_rule(conv, in_spike[None], out_spike[None], trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


@torch.no_grad()
def mstdp_linear_single_step(
    fc: nn.Linear,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Tensor | None,
    trace_post: Tensor | None,
    tau_pre: float,
    tau_post: float,
    f_pre: WeightFunction = _identity,
    f_post: WeightFunction = _identity,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of reward-modulated STDP (MSTDP): what each sample's reward multiplies.

        tr ← tr · exp(-1/τ) + s,  on both sides
        e = f_post(w) · post · tr_pre - f_pre(w) · tr_post · pre,  for each sample

    The weight changes by ``(reward[:, None, None] * e).sum(0)``.

    Source: R. V. Florian, "Reinforcement learning through modulation of spike-timing-dependent synaptic
    plasticity", Neural Computation 19(6), 2007.

    The arguments are those of :func:`stdp_linear_single_step`.

    Returns:
        The new ``trace_pre`` and ``trace_post``, and the eligibility e ``[B, N_out, N_in]``.
    """
    return _sample_rule(fc, in_spike[None], out_spike[None], trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


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
    f_pre: WeightFunction = _identity,
    f_post: WeightFunction = _identity,
    eligibility: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of reward-modulated STDP with an eligibility trace (MSTDPET), for rewards that come late.

        z ← z · exp(-1/τ_z) + e / τ_z,  with e of :func:`mstdp_linear_single_step`

    Source: R. V. Florian, Neural Computation 19(6), 2007, as for :func:`mstdp_linear_single_step`.

    The other arguments are those of :func:`stdp_linear_single_step`; spikes may also come without a batch, as
    ``[N_in]`` and ``[N_out]``. ``tau_trace`` is τ_z, in steps; ``eligibility`` is z after the last step,
    ``None`` at the first.

    Returns:
        The new ``trace_pre`` and ``trace_post``, and z ``[B, N_out, N_in]``, or ``[N_out, N_in]`` without a
        batch.
    """
    trace_pre, trace_post, e = mstdp_linear_single_step(
        fc, in_spike, out_spike, trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post
    )
    z = e / tau_trace
    return trace_pre, trace_post, z if eligibility is None else z + eligibility * math.exp(-1 / tau_trace)


def _spikes(x: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The spikes among a layer's inputs or outputs, which come first."""
    return (x[0] if isinstance(x, tuple) else x).detach()


class _Learner(nn.Module):
    """Watch the spikes on both sides of a synapse; a subclass turns them into weight updates."""

    trace_pre: Tensor | None
    trace_post: Tensor | None

    def __init__(self, synapse: Synapse, sn: nn.Module, f_pre: WeightFunction, f_post: WeightFunction):
        super().__init__()
        self.synapse = synapse
        self.sn = sn
        self.f_pre = f_pre
        self.f_post = f_post
        self.in_spike_monitor = InputMonitor(synapse, function_on_input=_spikes)
        self.out_spike_monitor = OutputMonitor(sn, function_on_output=_spikes)
        self.reset()

    def reset(self) -> None:
        """Forget the recorded spikes and the traces: call it before each new sequence."""
        self._clear()
        self.trace_pre = self.trace_post = None

    def enable(self) -> None:
        """Record spikes from now on."""
        self.in_spike_monitor.enable()
        self.out_spike_monitor.enable()

    def disable(self) -> None:
        """Record no spikes until :meth:`enable` is called."""
        self.in_spike_monitor.disable()
        self.out_spike_monitor.disable()

    def _clear(self) -> None:
        self.in_spike_monitor.clear_recorded_data()
        self.out_spike_monitor.clear_recorded_data()

    def _take(self) -> tuple[Tensor, Tensor] | None:
        """Take the spikes [T, ...] recorded on both sides, if there are any."""
        pre, post = self.in_spike_monitor.records, self.out_spike_monitor.records
        if len(pre) != len(post):
            raise RuntimeError(f"the synapse was called {len(pre)} times, but its neurons {len(post)} times")
        if not pre:
            return None
        taken = torch.stack(pre), torch.stack(post)
        self._clear()
        return taken

    def _apply_update(self, dw: Tensor, on_grad: bool) -> Tensor | None:
        if not on_grad:
            return dw
        weight = self.synapse.weight
        weight.grad = -dw if weight.grad is None else weight.grad - dw
        return None


class STDPLearner(_Learner):
    """Pair STDP for one synapse, from the spikes that pass through it.

    The rule is that of :func:`stdp_linear_single_step`. The learner watches the input of ``synapse`` and the
    output of ``sn`` at every call; :meth:`step` turns what it saw since the last into one weight update.
    Traces go on from one :meth:`step` to the next, until :meth:`reset`.

    Args:
        synapse: an ``nn.Linear``, ``nn.Conv1d`` or ``nn.Conv2d``.
        sn: the neurons behind it; when they return a tuple, its first element is the spikes.
        tau_pre: time constant of the input trace, in steps.
        tau_post: time constant of the output trace, in steps.
        f_pre: weight dependence of depression; see :func:`weight_bounds`.
        f_post: weight dependence of potentiation.

    Raises:
        NotImplementedError: another kind of synapse.

    Example:
        >>> fc, neurons = nn.Linear(8, 4, bias=False), nn.Threshold(0.0, 0.0)
        >>> learner = STDPLearner(fc, neurons, 5.0, 5.0, *weight_bounds(-1, 1))
        >>> for _ in range(10):
        ...     _ = neurons(fc(torch.bernoulli(torch.full((2, 8), 0.3))))
        >>> learner.step(on_grad=False).shape
        torch.Size([4, 8])
    """

    def __init__(
        self,
        synapse: Synapse,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        f_pre: WeightFunction = _identity,
        f_post: WeightFunction = _identity,
    ):
        if not isinstance(synapse, nn.Linear | nn.Conv1d | nn.Conv2d):
            raise NotImplementedError(f"synapse must be Linear, Conv1d or Conv2d, got {type(synapse).__name__}")
        super().__init__(synapse, sn, f_pre, f_post)
        self.tau_pre = tau_pre
        self.tau_post = tau_post

    @torch.no_grad()
    def step(self, on_grad: bool = True, scale: float = 1.0) -> Tensor | None:
        """Use up the recorded spikes.

        Args:
            on_grad: subtract the update from ``synapse.weight.grad``, so that an SGD step adds it to the
                weight.
            scale: factor on the update.

        Returns:
            The update, of the weight's shape, if ``on_grad`` is false and spikes were recorded; else
            ``None``.

        Raises:
            RuntimeError: the synapse and its neurons were not called equally often.
        """
        spikes = self._take()
        return None if spikes is None else self._apply_update(scale * self._update(*spikes), on_grad)

    def _update(self, pre: Tensor, post: Tensor) -> Tensor:
        self.trace_pre, self.trace_post, dw = _pair_rule(
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


class TripletSTDPLearner(STDPLearner):
    """Triplet STDP: a second, slow trace on each side makes the update depend on the firing rates.

        r1, o1, r2, o2: traces of input (r) and output (o), with decay exp(-1/τ) of τ₊, τ₋, τₓ, τ_y
        Δw = f_post(w) · Σ_b post · r1 · (A₂⁺ + A₃⁺ · o2) - f_pre(w) · Σ_b pre · o1 · (A₂⁻ + A₃⁻ · r2)

    The fast traces r1 and o1 include the present spikes, the slow ones r2 and o2 only earlier ones.
    The defaults are the paper's fit to visual cortex (all-to-all, full model), for steps of 1 ms.

    Source: J.-P. Pfister and W. Gerstner, "Triplets of spikes in a model of spike timing-dependent
    plasticity", Journal of Neuroscience 26(38), 2006.

    Args:
        synapse: as for :class:`STDPLearner`.
        sn: as for :class:`STDPLearner`.
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
        self.tau_x = tau_x
        self.tau_y = tau_y
        self.a2_plus = a2_plus
        self.a3_plus = a3_plus
        self.a2_minus = a2_minus
        self.a3_minus = a3_minus

    def reset(self) -> None:
        """Forget the recorded spikes and the traces: call it before each new sequence."""
        super().reset()
        self.trace_pre_slow = self.trace_post_slow = None

    def _update(self, pre: Tensor, post: Tensor) -> Tensor:
        synapse, w = self.synapse, self.synapse.weight.detach()
        pre = _pad(synapse, pre)
        r1 = _traces(pre, math.exp(-1 / self.tau_pre), self.trace_pre)
        o1 = _traces(post, math.exp(-1 / self.tau_post), self.trace_post)
        r2 = _traces(pre, math.exp(-1 / self.tau_x), self.trace_pre_slow)
        o2 = _traces(post, math.exp(-1 / self.tau_y), self.trace_post_slow)
        potentiating = post * (self.a2_plus + self.a3_plus * _before(o2, self.trace_post_slow))
        depressing = pre * (self.a2_minus + self.a3_minus * _before(r2, self.trace_pre_slow))
        self.trace_pre, self.trace_post = r1[-1], o1[-1]
        self.trace_pre_slow, self.trace_post_slow = r2[-1], o2[-1]
        return self.f_post(w) * _correlate(synapse, r1, potentiating) - self.f_pre(w) * _correlate(
            synapse, depressing, o1
        )


class RewardSTDPLearner(_Learner):
    """Reward-modulated STDP with an eligibility trace for one linear synapse.

    The rule is that of :func:`mstdpet_linear_single_step`: spikes leave an eligibility z in each synapse and
    sample, and a reward R that comes later changes the weight by

        Δw = Σ_b R_b · z_b

    Source: R. V. Florian, Neural Computation 19(6), 2007. See also E. M. Izhikevich, "Solving the distal
    reward problem through linkage of STDP and dopamine signaling", Cerebral Cortex 17(10), 2007.

    Args:
        synapse: an ``nn.Linear``.
        sn: the neurons behind it; when they return a tuple, its first element is the spikes.
        tau_pre: time constant of the input trace, in steps.
        tau_post: time constant of the output trace, in steps.
        tau_trace: time constant of the eligibility trace, in steps.
        f_pre: weight dependence of depression; 1 unless given.
        f_post: weight dependence of potentiation; 1 unless given.

    Attributes:
        eligibility: z after the last recorded step that :meth:`step` used up, ``[B, N_out, N_in]``.

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
        super().__init__(synapse, sn, f_pre, f_post)
        self.tau_pre = tau_pre
        self.tau_post = tau_post
        self.tau_trace = tau_trace

    def reset(self) -> None:
        """Forget the recorded spikes, the traces and the eligibility: call it before each new sequence."""
        super().reset()
        self.eligibility = None

    @torch.no_grad()
    def step(self, reward: float | Tensor, on_grad: bool = True, scale: float = 1.0) -> Tensor | None:
        """Use up the recorded spikes and give the reward that follows the last of them.

        Args:
            reward: R, one number for all samples, or ``[B]``.
            on_grad: subtract the update from ``synapse.weight.grad``, so that an SGD step adds it to the
                weight.
            scale: factor on the update.

        Returns:
            The update, of the weight's shape, if ``on_grad`` is false and there is any eligibility; else
            ``None``.

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
        self.trace_pre, self.trace_post, z = _sample_rule(
            cast(nn.Linear, self.synapse),
            pre,
            post,
            self.trace_pre,
            self.trace_post,
            self.tau_pre,
            self.tau_post,
            self.f_pre,
            self.f_post,
            decay**steps_ago / self.tau_trace,
        )
        self.eligibility = z if self.eligibility is None else z + decay ** len(pre) * self.eligibility
