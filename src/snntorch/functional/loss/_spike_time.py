"""Losses on the times of the first spikes, which pass a gradient to the entries they point to."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ._base import LossFunctions
from ._classes import at_label, check_labels
from ._cross_entropy import CrossEntropy, cross_entropy
from ._outputs import check_lengths, check_outputs, cut, num_steps_of


def first_spike_steps(spk_out: Tensor, num_spikes: int = 1, lengths: Tensor | None = None) -> Tensor:
    """Steps of the first F spikes, int64 [F, B, N]; for those that do not come T−1, or each sample's own last step.

    Example:
        >>> spk_out = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])[:, None]
        >>> first_spike_steps(spk_out)
        tensor([[[1, 3]]])
        >>> first_spike_steps(spk_out, num_spikes=2)[:, 0, 0]
        tensor([1, 2])
    """
    last: Any = len(spk_out) - 1 if lengths is None else lengths.clamp(min=1)[:, None] - 1
    fired = cut(spk_out, lengths) != 0
    if num_spikes == 1:
        ever, step = fired.max(0)
        return torch.where(ever, step, last)[None]
    # The f-th spike is where the running count reaches f.
    counts = fired.permute(1, 2, 0).contiguous().cumsum(2, dtype=torch.int32)
    ranks = torch.arange(1, num_spikes + 1, dtype=torch.int32, device=spk_out.device)
    steps = torch.searchsorted(counts, ranks.expand(*counts.shape[:2], -1).contiguous())
    return steps.permute(2, 0, 1).clamp(max=last)


def _spike_times(spk_out: Tensor, num_spikes: int = 1, lengths: Tensor | None = None) -> Tensor:
    """Times of the first F spikes, [F, B, N], with gradient −1 at the entries of spk_out they point to."""
    steps = first_spike_steps(spk_out, num_spikes, lengths)
    spikes = spk_out.gather(0, steps)
    return steps.to(spk_out.dtype) - (spikes - spikes.detach())


class SpikeTime(nn.Module):
    """First spike times and the times they should have, in steps.

    A neuron that stays silent counts as firing at the last step, T−1. The gradient of a time is −1 at the entry of the
    spike train that it points to and zero elsewhere; a silent neuron gets it at T−1, which revives it.

    Args:
        target_is_time: targets are spike times, not labels.
        on_target: target time of the labelled class, or a sequence of F times for the first F spikes.
            Negative times count from the end: −1 is the last step.
        off_target: target time of the other classes, or as many of them as of on_target.
        tolerance: a spike less than this many steps off its target is on target; 0 asks for the exact step.
        multi_spike: look at the first F spikes of each neuron; implied by sequences of target times.

    Call:
        `spike_time(spk_out, targets, lengths=None)` with spikes [T, B, N], whatever their amplitudes. Targets are
        labels [B], or with target_is_time times that broadcast to [B, N], with multi_spike to [F, B, N]. With
        lengths, [B], T is each sample's own. Returns the spike times and the target times, both [B, N], or [F, B, N]
        with multi_spike, of spk_out's dtype (the default dtype for integers).

    Raises:
        ValueError: bad shapes or labels.
        TypeError: labels that are no real numbers.
        IndexError: multi_spike with labels, and on_target and off_target are not sequences of one length.

    Example:
        >>> spk_out = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]]])
        >>> SpikeTime(on_target=1)(spk_out, torch.tensor([1]))
        (tensor([[2., 0.]]), tensor([[2., 1.]]))
    """

    def __init__(
        self,
        target_is_time: bool = False,
        on_target: float | Sequence[float] = 0,
        off_target: float | Sequence[float] = -1,
        tolerance: float = 0,
        multi_spike: bool = False,
    ) -> None:
        super().__init__()
        self.target_is_time = target_is_time
        self.on_target = on_target
        self.off_target = off_target
        self.tolerance = tolerance
        self.multi_spike = multi_spike or any(torch.as_tensor(t).dim() for t in (on_target, off_target))

    def forward(self, spk_out: Tensor, targets: Tensor, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """Spike times and target times, in steps."""
        check_outputs(spk_out)
        if not spk_out.is_floating_point():
            spk_out = spk_out.to(torch.get_default_dtype())
        wanted = (self._given_times if self.target_is_time else self._label_times)(spk_out, targets)
        lengths = check_lengths(lengths, spk_out)
        wanted = torch.where(wanted < 0, wanted + num_steps_of(spk_out, lengths), wanted)
        times = _spike_times(spk_out, wanted.size(0) if self.multi_spike else 1, lengths)
        times = times if self.multi_spike else times[0]
        if self.tolerance:
            gap = (wanted - times).detach()
            times = times + torch.where(gap.abs() < self.tolerance, gap, 0)
        return times, wanted

    def _given_times(self, spk_out: Tensor, targets: Tensor) -> Tensor:
        _, batch, num_outputs = spk_out.shape
        if self.multi_spike and targets.dim() != 3:
            raise ValueError(f"targets must be times [F, B, N] with multi_spike, got {tuple(targets.shape)}")
        shape = (targets.size(0), batch, num_outputs) if self.multi_spike else (batch, num_outputs)
        try:
            return targets.to(spk_out.dtype).expand(shape)
        except RuntimeError:
            raise ValueError(f"targets must be times that broadcast to {shape}, got {tuple(targets.shape)}") from None

    def _label_times(self, spk_out: Tensor, targets: Tensor) -> Tensor:
        _, batch, num_outputs = spk_out.shape
        labels = check_labels(targets, (batch,), num_outputs)
        on, off = torch.as_tensor(self.on_target), torch.as_tensor(self.off_target)
        if self.multi_spike and (on.dim() != 1 or on.shape != off.shape):
            raise IndexError(
                f"on_target and off_target must be sequences of equal length with multi_spike, got "
                f"{self.on_target} and {self.off_target}"
            )
        times = [
            at_label(labels, num_outputs, *on_off, spk_out.dtype)
            for on_off in zip(on.view(-1).tolist(), off.view(-1).tolist(), strict=True)
        ]
        return torch.stack(times) if self.multi_spike else times[0]


class mse_temporal_loss(LossFunctions):
    r"""Squared error of the first spike times, relative to the number of steps.

    .. math:: \Big(\frac{t_{spk} - t_{target}}{T}\Big)^2

    The first five arguments are those of `SpikeTime`: a spike within tolerance costs nothing.

    Args:
        reduction: 'mean' (over samples, neurons and spikes), 'sum' or 'none'.
        weight: a factor for each class, [C], on all neurons of a sample of that class; with labels only.

    Call:
        `loss(spk_out, targets)`, both as for `SpikeTime`, which defines the times' gradient. Returns [B, N],
        or [F, B, N] with multi_spike, for 'none', else a scalar.

    Raises:
        ValueError: bad shapes, labels or reduction, or weights with target_is_time.
        TypeError: labels that are no real numbers.
        IndexError: multi_spike with labels, and on_target and off_target are not sequences of one length.

    Example:
        >>> spk_out = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]], [[1.0, 0.0]]])
        >>> mse_temporal_loss(reduction="none")(spk_out, torch.tensor([0]))
        tensor([[0.2500, 0.5625]])
    """

    def __init__(
        self,
        target_is_time: bool = False,
        on_target: float | Sequence[float] = 0,
        off_target: float | Sequence[float] = -1,
        tolerance: float = 0,
        multi_spike: bool = False,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction, weight)
        if target_is_time and weight is not None:
            raise ValueError("weight needs class labels as targets, but target_is_time=True")
        self.spike_time = SpikeTime(target_is_time, on_target, off_target, tolerance, multi_spike)

    @property
    def _ahead(self) -> int:  # type: ignore[override]
        return int(self.spike_time.multi_spike)

    def _compute_loss(self, prediction: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        times, wanted = self.spike_time(prediction, targets, lengths)
        loss = ((times - wanted) / num_steps_of(prediction, lengths)).square()
        return self._weigh(loss, targets, prediction.size(2))


class ce_temporal_loss(CrossEntropy):
    r"""Cross entropy of the first spike times: the correct class should fire first.

    .. math:: CE(-t_{spk}, y) \quad\text{or}\quad CE\Big(\frac{1}{t_{spk} + 1}, y\Big)

    Args:
        inverse: 'negate' or 'reciprocal', how an early spike becomes a large logit.
        weight: a factor for each class, [C]. As in PyTorch's cross entropy, and unlike in the other losses
            here, 'mean' divides by the sum of the samples' weights.

    The other arguments are those of `ce_rate_loss`.

    Call:
        `loss(spk_out, targets)` with spikes [T, B, N] and labels [B]; `SpikeTime` defines the times and their
        gradient. Returns [B] for 'none', else a scalar.

    Raises:
        ValueError: bad shapes, labels, reduction or inverse.
        TypeError: labels that are no real numbers.

    Example:
        >>> spk_out = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0]]])
        >>> ce_temporal_loss()(spk_out, torch.tensor([0]))
        tensor(0.1269)
    """

    _divides_by_weights = True

    def __init__(
        self,
        inverse: str = "negate",
        reduction: str = "mean",
        weight: Tensor | None = None,
        *,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> None:
        super().__init__(reduction, weight, label_smoothing=label_smoothing, ignore_index=ignore_index)
        if inverse not in ("negate", "reciprocal"):
            raise ValueError(f"inverse must be 'negate' or 'reciprocal', got {inverse!r}")
        self.inverse = inverse

    def _readout(self, prediction: Tensor, lengths: Tensor | None = None) -> Tensor:
        times = _spike_times(prediction, lengths=lengths)[0]
        return -times if self.inverse == "negate" else 1 / (times + 1)


class ttfs_loss(LossFunctions):
    r"""Time to first spike: the correct class should fire before the others, and early.

    .. math:: \log \sum_n \exp\Big(-\frac{t_n - t_y}{ξ}\Big) + α \Big(\exp\frac{t_y}{τ} - 1\Big)

    Args:
        xi: the lead ξ over the other classes that suffices, in steps.
        alpha: strength α of the second term, which asks for an early correct spike.
        tau: time scale τ of the second term, in steps.
        reduction: 'mean' (over samples), 'sum' or 'none'.
        weight: a factor for each class, [C]; 'mean' does not divide by their sum.

    Call:
        `loss(spk_out, targets)` with spikes [T, B, N] and labels [B]; `SpikeTime` defines the times and their
        gradient. Returns [B] for 'none', else a scalar.

    Raises:
        ValueError: bad shapes, labels or reduction, xi or tau not positive.
        TypeError: labels that are no real numbers.

    Source: Göltz et al., "Fast and energy-efficient neuromorphic deep learning with first-spike times", Nature Machine
    Intelligence 3, 2021.

    Example:
        >>> spk_out = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0]]])
        >>> ttfs_loss(xi=1.0)(spk_out, torch.tensor([0]))
        tensor(0.1269)
    """

    def __init__(
        self,
        xi: float = 2.0,
        alpha: float = 0.005,
        tau: float = 10.0,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction, weight)
        if not (xi > 0 and tau > 0):
            raise ValueError(f"xi and tau must be positive, got xi={xi} and tau={tau}")
        self.xi = xi
        self.alpha = alpha
        self.tau = tau

    def _compute_loss(self, prediction: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        _, batch, num_classes = prediction.shape
        labels = check_labels(targets, (batch,), num_classes)
        times = _spike_times(prediction, lengths=lengths)[0]
        lead = cross_entropy(-times / self.xi, labels, reduction="none")
        lateness = torch.expm1(times.gather(1, labels[:, None])[:, 0] / self.tau)
        return self._weigh(lead + self.alpha * lateness, labels, num_classes)
