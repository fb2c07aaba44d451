"""Losses on the output layer's spikes or membrane potentials, [T, B, N] with time first.

A loss is a callable `loss(prediction, targets)`: a value for each sample (or each sample and neuron), scaled
by the weight of the sample's class and reduced. Every one of them is a fixed number of tensor operations,
whatever T is.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.compiler import is_compiling


def pool_population(spk_out: Tensor, num_classes: int) -> Tensor:
    """Sum the spikes of each class's neurons: neurons [i·N/C, (i+1)·N/C) vote for class i.

    Args:
        spk_out: output spikes, [..., N].
        num_classes: number of classes C, a divisor of N.

    Returns:
        Spikes per class, [..., C].

    Raises:
        ValueError: num_classes is missing or does not divide N.

    Example:
        >>> pool_population(torch.tensor([1.0, 1.0, 0.0, 1.0]), num_classes=2)
        tensor([2., 1.])
    """
    num_outputs = spk_out.size(-1)
    if not num_classes or num_outputs % num_classes:
        raise ValueError(
            f"num_classes must divide the number of output neurons {num_outputs} when population_code=True, "
            f"got num_classes={num_classes}"
        )
    return spk_out.unflatten(-1, (num_classes, num_outputs // num_classes)).sum(-1)


def check_outputs(spk_out: Tensor) -> None:
    """Raise a ValueError unless the outputs have shape [T, B, N] with at least one step."""
    if spk_out.dim() != 3 or not spk_out.size(0):
        raise ValueError(f"outputs must have shape [T, B, N] with T > 0, got {tuple(spk_out.shape)}")


def check_labels(targets: Tensor, shape: tuple[int, ...], num_classes: int | None = None) -> Tensor:
    """Class labels as int64, after a check of their shape, their type and, where it makes no GPU wait, range.

    Args:
        targets: class labels, any integer dtype.
        shape: the shape that they must have.
        num_classes: labels must lie in 0..num_classes − 1; None leaves their range unchecked.

    Returns:
        The labels, int64.

    Raises:
        ValueError: another shape, or a label out of range.
        TypeError: labels that are no integers.

    Example:
        >>> check_labels(torch.tensor([2, 0], dtype=torch.uint8), (2,), num_classes=3)
        tensor([2, 0])
    """
    if tuple(targets.shape) != shape:
        raise ValueError(f"targets must be class labels of shape {shape}, got shape {tuple(targets.shape)}")
    if targets.is_floating_point() or targets.is_complex():
        raise TypeError(f"targets must be integer class labels, got {targets.dtype}")
    labels = targets.long()
    if num_classes is not None and len(labels) and labels.device.type == "cpu" and not is_compiling():
        lowest, highest = (label.item() for label in labels.aminmax())
        if lowest < 0 or highest >= num_classes:
            raise ValueError(f"targets must lie in 0..{num_classes - 1}, got {lowest}..{highest}")
    return labels


class LossFunctions:
    """Base of the losses: a subclass defines `_compute_loss`, the unreduced loss.

    Half-precision predictions are accumulated in float32; the loss has the prediction's dtype (float32 for
    integers).

    Args:
        reduction: 'mean', 'sum' or 'none'.
        weight: a factor for each class, [C]; a sample's loss is multiplied by `weight[target]`. 'mean'
            divides by the number of samples, not by the sum of their weights.

    Raises:
        ValueError: an unknown reduction.

    Example:
        >>> class first_step_loss(LossFunctions):
        ...     def _compute_loss(self, prediction, targets):
        ...         return (prediction[0] - targets) ** 2
        >>> first_step_loss(reduction="sum")(torch.ones(5, 2, 3), torch.zeros(2, 3))
        tensor(6.)
    """

    # Some losses return an unweighted mean or sum as one element of a [1] tensor.
    _one_element = False

    def __init__(self, reduction: str = "mean", weight: Tensor | None = None) -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction
        self.weight = weight
        self.__name__ = type(self).__name__

    def __call__(self, prediction: Tensor, targets: Tensor) -> Tensor:
        """The loss of a prediction [T, B, N]."""
        self._prediction_check(prediction)
        wide = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
        loss = self._reduce(self._compute_loss(wide, targets))
        if self._one_element and self.weight is None and self.reduction != "none":
            loss = loss.view(1)
        return loss.to(prediction.dtype if prediction.is_floating_point() else wide.dtype)

    def _compute_loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError(f"{self.__name__} must define _compute_loss(prediction, targets)")

    def _reduce(self, loss: Tensor) -> Tensor:
        if self.reduction == "none":
            return loss
        return loss.mean() if self.reduction == "mean" else loss.sum()

    def _prediction_check(self, spk_out: Tensor) -> tuple[torch.device, int, int]:
        check_outputs(spk_out)
        return spk_out.device, spk_out.size(0), spk_out.size(2)

    def _population_code(self, spk_out: Tensor, num_classes: int, num_outputs: int) -> Tensor:
        """Spike counts [B, C] of the classes' populations."""
        return pool_population(spk_out[..., :num_outputs].sum(0), num_classes)

    def _class_weight(self, num_classes: int, like: Tensor) -> Tensor | None:
        """The classes' weights, [C], of a tensor's dtype and device."""
        if self.weight is None:
            return None
        if self.weight.shape != (num_classes,):
            raise ValueError(
                f"weight must hold a value for each of the {num_classes} classes, got shape {tuple(self.weight.shape)}"
            )
        return self.weight.to(like)

    def _weigh(self, loss: Tensor, labels: Tensor, num_classes: int) -> Tensor:
        """Scale losses of samples, [B], or of their neurons, [..., B, N], by the weights of the classes."""
        weight = self._class_weight(num_classes, loss)
        if weight is None:
            return loss
        factor = weight[labels.long()]
        return loss * (factor if loss.dim() == 1 else factor[..., None])


# --------------------------------------------------------------------------- cross entropy


def _cross_entropy(logits: Tensor, labels: Tensor, **options: Any) -> Tensor:
    """PyTorch's cross entropy of logits, [B, C] or [T, B, C], and labels [B]; one value a step and sample."""
    num_classes = logits.size(-1)
    labels = labels.expand(logits.shape[:-1])
    # PyTorch's softmax is fast over 16 contiguous classes or more, or over classes with samples behind them.
    if num_classes >= 16:
        logits, labels = logits.flatten(0, -2), labels.flatten()
    elif logits.dim() == 3:
        logits = logits.mT
    try:
        return F.cross_entropy(logits, labels, **options)
    except IndexError as error:
        raise ValueError(f"targets must lie in 0..{num_classes - 1}: {error}") from error


class _CrossEntropy(LossFunctions):
    """Cross entropy between a readout of the outputs, [B, C] or [T, B, C], and labels [B]."""

    # Whether a weighted mean divides by the sum of the samples' weights, as PyTorch does, or by their number.
    _divides_by_weights = False

    def __init__(
        self,
        reduction: str = "mean",
        weight: Tensor | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> None:
        super().__init__(reduction, weight)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index

    def _readout(self, prediction: Tensor) -> Tensor:
        raise NotImplementedError

    def _compute_loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        """The loss, reduced already: PyTorch does it in the same pass."""
        logits = self._readout(prediction)
        num_steps = logits.size(0) if logits.dim() == 3 else 1
        batch, num_classes = logits.shape[-2:]
        labels = check_labels(targets, (batch,))
        weight = self._class_weight(num_classes, logits)
        by_samples = self.reduction == "mean" and weight is not None and not self._divides_by_weights
        loss = _cross_entropy(
            logits,
            labels,
            weight=weight,
            ignore_index=self.ignore_index,
            reduction="sum" if by_samples else self.reduction,
            label_smoothing=self.label_smoothing,
        )
        if by_samples:
            return loss / (num_steps * (labels != self.ignore_index).sum())
        if self.reduction == "none":
            return loss.view(num_steps, batch).mean(0)
        return loss / num_steps if self.reduction == "sum" else loss

    def _reduce(self, loss: Tensor) -> Tensor:
        return loss


class ce_rate_loss(_CrossEntropy):
    r"""Cross entropy at every step, averaged over time: the correct class should fire at every step.

    .. math:: \frac{1}{T} \sum_t CE(x[t], y)

    Args:
        population_code: sum the spikes of each class's population first (see `pool_population`).
        num_classes: number of classes, with population_code.
        reduction: 'mean' (over samples), 'sum' or 'none'.
        weight: a factor for each class, [C]; 'mean' does not divide by their sum.
        label_smoothing: mixes the labels with the uniform distribution, 0..1.
        ignore_index: samples with this label count for nothing.

    Call:
        `loss(spk_out, targets)` with outputs [T, B, N] and labels [B]. Returns [B] for 'none', otherwise [1],
        or a scalar with weights.

    Raises:
        ValueError: bad shapes, labels, reduction or num_classes.
        TypeError: labels that are no integers.

    Example:
        >>> spk_out = torch.zeros(4, 2, 10)
        >>> ce_rate_loss()(spk_out, torch.tensor([3, 7]))
        tensor([2.3026])
    """

    _one_element = True

    def __init__(
        self,
        population_code: bool = False,
        num_classes: int = False,
        reduction: str = "mean",
        weight: Tensor | None = None,
        *,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> None:
        super().__init__(reduction, weight, label_smoothing, ignore_index)
        self.population_code = population_code
        self.num_classes = num_classes

    def _readout(self, prediction: Tensor) -> Tensor:
        return pool_population(prediction, self.num_classes) if self.population_code else prediction


class ce_count_loss(ce_rate_loss):
    r"""Cross entropy of spike counts: the correct class should fire most, the others not at all.

    .. math:: CE\Big(\sum_t x[t], y\Big)

    Arguments, errors and call as for `ce_rate_loss`; 'mean' and 'sum' return a scalar.

    Example:
        >>> spk_out = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
        >>> ce_count_loss()(spk_out, torch.tensor([0]))
        tensor(0.1269)
    """

    _one_element = False

    def _readout(self, prediction: Tensor) -> Tensor:
        return super()._readout(prediction.sum(0))


class ce_max_membrane_loss(_CrossEntropy):
    r"""Cross entropy of the highest membrane potentials over time.

    .. math:: CE\big(\max_t u[t], y\big)

    The gradient reaches the first step at which each neuron's maximum is attained.

    Args:
        reduction: 'mean' (over samples), 'sum' or 'none'.
        weight: a factor for each class, [C]; 'mean' does not divide by their sum.
        label_smoothing: mixes the labels with the uniform distribution, 0..1.
        ignore_index: samples with this label count for nothing.

    Call:
        `loss(mem_out, targets)` with membranes [T, B, N] and labels [B]. Returns [B] for 'none', else a
        scalar.

    Raises:
        ValueError: bad shapes, labels or reduction.
        TypeError: labels that are no integers.

    Example:
        >>> mem_out = torch.tensor([[[0.0, 3.0]], [[1.0, -3.0]]])
        >>> ce_max_membrane_loss()(mem_out, torch.tensor([1]))
        tensor(0.1269)
    """

    def __init__(
        self,
        reduction: str = "mean",
        weight: Tensor | None = None,
        *,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> None:
        super().__init__(reduction, weight, label_smoothing, ignore_index)

    def _readout(self, prediction: Tensor) -> Tensor:
        return prediction.max(0).values


class tet_loss(LossFunctions):
    r"""Temporal efficient training: cross entropy at every step, and outputs kept near a level φ.

    .. math:: (1 - λ) \frac{1}{T} \sum_t CE(x[t], y) + λ \frac{1}{TN} \sum_{t,n} (x_n[t] - φ)^2

    Meant for the input currents or the membranes of the output layer.

    Args:
        lamb: share λ of the second term, 0..1.
        phi: the level φ, commonly the threshold.
        reduction: 'mean' (over samples), 'sum' or 'none'.
        weight: a factor for each class, [C]; 'mean' does not divide by their sum.

    Call:
        `loss(output, targets)` with outputs [T, B, N] and labels [B]. Returns [B] for 'none', else a scalar.

    Raises:
        ValueError: bad shapes, labels, reduction or lamb.
        TypeError: labels that are no integers.

    Source:
        Deng, Li, Zhang, Gu, "Temporal efficient training of spiking neural network via gradient
        re-weighting", ICLR 2022.

    Example:
        >>> tet_loss(lamb=0.5)(torch.zeros(4, 2, 10), torch.tensor([3, 7]))
        tensor(1.6513)
    """

    def __init__(
        self,
        lamb: float = 1e-3,
        phi: float = 1.0,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction, weight)
        if not 0 <= lamb <= 1:
            raise ValueError(f"lamb must lie in [0, 1], got {lamb}")
        self.lamb = lamb
        self.phi = phi

    def _compute_loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        num_steps, batch, num_classes = prediction.shape
        labels = check_labels(targets, (batch,), num_classes)
        rate = _cross_entropy(prediction, labels, reduction="none").view(num_steps, batch).mean(0)
        distance = (prediction - self.phi).square().mean((0, 2))
        return self._weigh((1 - self.lamb) * rate + self.lamb * distance, labels, num_classes)


# --------------------------------------------------------------------------- squared errors


class mse_count_loss(LossFunctions):
    r"""Squared error of spike counts, with a firing rate wanted of the correct class and one of the others.

    .. math:: \frac{1}{T} \Big(\sum_t x[t] - \lfloor T r \rfloor\Big)^2

    with r the correct or the incorrect rate, times N/C for the N/C neurons of a class with population_code.

    Args:
        correct_rate: fraction of the steps at which the correct class should fire.
        incorrect_rate: fraction of the steps at which each other class should fire.
        population_code: sum the spikes of each class's population first (see `pool_population`).
        num_classes: number of classes, with population_code.
        reduction: 'mean' (over samples and neurons), 'sum' or 'none'.
        weight: a factor for each class, [C], on all neurons of a sample of that class.

    Call:
        `loss(spk_out, targets)` with spikes [T, B, N] and labels [B]. Returns [B, N], or [B, C] with
        population_code, for 'none', else a scalar.

    Raises:
        ValueError: bad shapes, labels, reduction or num_classes.
        TypeError: labels that are no integers.

    Example:
        >>> spk_out = torch.ones(10, 1, 2)
        >>> mse_count_loss(correct_rate=0.8, incorrect_rate=0.2, reduction="none")(spk_out, torch.tensor([0]))
        tensor([[0.4000, 6.4000]])
    """

    def __init__(
        self,
        correct_rate: float = 1,
        incorrect_rate: float = 0,
        population_code: bool = False,
        num_classes: int = False,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction, weight)
        self.correct_rate = correct_rate
        self.incorrect_rate = incorrect_rate
        self.population_code = population_code
        self.num_classes = num_classes

    def _compute_loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        num_steps, batch, num_outputs = prediction.shape
        if self.population_code:
            counts = self._population_code(prediction, self.num_classes, num_outputs)
        else:
            counts = prediction.sum(0)
        num_classes = counts.size(1)
        labels = check_labels(targets, (batch,), num_classes)
        # 100 · 0.29 is a little under 29 in floating point.
        correct, incorrect = (
            int(num_steps * rate * num_outputs / num_classes + 1e-9)
            for rate in (self.correct_rate, self.incorrect_rate)
        )
        wanted = _at_label(labels, num_classes, correct, incorrect, counts.dtype)
        return self._weigh(F.mse_loss(counts, wanted, reduction="none") / num_steps, labels, num_classes)


class mse_membrane_loss(LossFunctions):
    r"""Squared error between membrane potentials and targets, averaged over time.

    .. math:: \frac{1}{T} \sum_t (u[t] - target[t])^2

    Args:
        time_var_targets: targets have a leading time dimension.
        on_target: target potential of the labelled class.
        off_target: target potential of the others.
        reduction: 'mean' (over samples and neurons), 'sum' or 'none'.
        weight: a factor for each class, [C], on all neurons of a sample of that class; with labels only.

    Call:
        `loss(mem_out, targets)` with membranes [T, B, N]; targets are labels [B] or potentials [B, N], with
        time_var_targets [T, B] or [T, B, N]. Returns [B, N] for 'none', otherwise [1], or a scalar with
        weights.

    Raises:
        ValueError: bad shapes, labels or reduction, or weights without labels.
        TypeError: labels that are no integers.

    Example:
        >>> mem_out = torch.tensor([[[0.5, 0.0]], [[1.5, 0.0]]])
        >>> mse_membrane_loss(reduction="none")(mem_out, torch.tensor([0]))
        tensor([[0.2500, 0.0000]])
        >>> mse_membrane_loss()(mem_out, torch.zeros(1, 2))
        tensor([0.6250])
    """

    _one_element = True

    def __init__(
        self,
        time_var_targets: bool = False,
        on_target: float = 1,
        off_target: float = 0,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction, weight)
        self.time_var_targets = time_var_targets
        self.on_target = on_target
        self.off_target = off_target

    def _compute_loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        shape = tuple(prediction.shape[0 if self.time_var_targets else 1 :])
        if targets.shape == shape:
            if self.weight is not None:
                raise ValueError("weight needs class labels as targets, got target potentials")
            return (prediction - targets).square().mean(0)
        if targets.shape != shape[:-1]:
            raise ValueError(
                f"targets must be labels {shape[:-1]} or potentials {shape} for outputs "
                f"{tuple(prediction.shape)} and time_var_targets={self.time_var_targets}, got "
                f"{tuple(targets.shape)}"
            )
        num_classes = shape[-1]
        labels = check_labels(targets, shape[:-1], num_classes)
        wanted = _at_label(labels, num_classes, self.on_target, self.off_target, prediction.dtype)
        return self._weigh((prediction - wanted).square(), labels, num_classes).mean(0)


def _at_label(labels: Tensor, num_classes: int, on: float, off: float, dtype: torch.dtype) -> Tensor:
    """`on` at the label's class and `off` elsewhere, [..., B, C]."""
    values = torch.full((*labels.shape, num_classes), off, dtype=dtype, device=labels.device)
    return values.scatter_(-1, labels[..., None], on)


# --------------------------------------------------------------------------- spike times


def first_spike_steps(spk_out: Tensor, num_spikes: int = 1) -> Tensor:
    """Steps of the first F spikes, int64 [F, B, N]; T−1 for those that do not come."""
    last = len(spk_out) - 1
    fired = spk_out != 0
    if num_spikes == 1:
        ever, step = fired.max(0)
        return torch.where(ever, step, last)[None]
    # The f-th spike is where the running count reaches f.
    counts = fired.permute(1, 2, 0).contiguous().cumsum(2, dtype=torch.int32)
    ranks = torch.arange(1, num_spikes + 1, dtype=torch.int32, device=spk_out.device)
    steps = torch.searchsorted(counts, ranks.expand(*counts.shape[:2], -1).contiguous())
    return steps.permute(2, 0, 1).clamp(max=last)


def _spike_times(spk_out: Tensor, num_spikes: int = 1) -> Tensor:
    """Times of the first F spikes, [F, B, N], with gradient −1 at the entries of spk_out they point to."""
    steps = first_spike_steps(spk_out, num_spikes)
    spikes = spk_out.gather(0, steps)
    return steps.to(spk_out.dtype) - (spikes - spikes.detach())


class SpikeTime(nn.Module):
    """First spike times and the times they should have, in steps.

    A neuron that stays silent counts as firing at the last step, T−1. The gradient of a time is −1 at the
    entry of the spike train that it points to and zero elsewhere; a silent neuron gets it at T−1, which
    revives it.

    Args:
        target_is_time: targets are spike times, not labels.
        on_target: target time of the labelled class, or a sequence of F times for the first F spikes.
            Negative times count from the end: −1 is the last step.
        off_target: target time of the other classes, or as many of them as of on_target.
        tolerance: a spike less than this many steps off its target is on target; 0 asks for the exact step.
        multi_spike: look at the first F spikes of each neuron; implied by sequences of target times.

    Call:
        `spike_time(spk_out, targets)` with spikes [T, B, N], whatever their amplitudes. Targets are labels
        [B], or with target_is_time times that broadcast to [B, N], with multi_spike to [F, B, N]. Returns the
        spike times and the target times, both [B, N], or [F, B, N] with multi_spike, of spk_out's dtype (the
        default dtype for integers).

    Raises:
        ValueError: bad shapes or labels.
        TypeError: labels that are no integers.
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

    def forward(self, spk_out: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Spike times and target times, in steps."""
        check_outputs(spk_out)
        if not spk_out.is_floating_point():
            spk_out = spk_out.to(torch.get_default_dtype())
        wanted = (self._given_times if self.target_is_time else self._label_times)(spk_out, targets)
        wanted = torch.where(wanted < 0, wanted + spk_out.size(0), wanted)
        times = _spike_times(spk_out, wanted.size(0)) if self.multi_spike else _spike_times(spk_out)[0]
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
            _at_label(labels, num_outputs, *on_off, spk_out.dtype)
            for on_off in zip(on.view(-1).tolist(), off.view(-1).tolist(), strict=True)
        ]
        return torch.stack(times) if self.multi_spike else times[0]


class mse_temporal_loss(LossFunctions):
    r"""Squared error of the first spike times, relative to the number of steps.

    .. math:: \Big(\frac{t_{spk} - t_{target}}{T}\Big)^2

    Args:
        target_is_time: targets are spike times, not labels.
        on_target: target time of the labelled class, or a sequence of F times for the first F spikes.
            Negative times count from the end: −1 is the last step.
        off_target: target time of the other classes, or as many of them as of on_target.
        tolerance: a spike less than this many steps off its target costs nothing.
        multi_spike: look at the first F spikes of each neuron; implied by sequences of target times.
        reduction: 'mean' (over samples, neurons and spikes), 'sum' or 'none'.
        weight: a factor for each class, [C], on all neurons of a sample of that class; with labels only.

    Call:
        `loss(spk_out, targets)`, both as for `SpikeTime`, which defines the times' gradient. Returns [B, N],
        or [F, B, N] with multi_spike, for 'none', else a scalar.

    Raises:
        ValueError: bad shapes, labels or reduction, or weights with target_is_time.
        TypeError: labels that are no integers.
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

    def _compute_loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        num_steps, _, num_outputs = prediction.shape
        times, wanted = self.spike_time(prediction, targets)
        return self._weigh(((times - wanted) / num_steps).square(), targets, num_outputs)


class ce_temporal_loss(_CrossEntropy):
    r"""Cross entropy of the first spike times: the correct class should fire first.

    .. math:: CE(-t_{spk}, y) \quad\text{or}\quad CE\Big(\frac{1}{t_{spk} + 1}, y\Big)

    Args:
        inverse: 'negate' or 'reciprocal', how an early spike becomes a large logit.
        reduction: 'mean' (over samples), 'sum' or 'none'.
        weight: a factor for each class, [C]. As in PyTorch's cross entropy, and unlike in the other losses
            here, 'mean' divides by the sum of the samples' weights.
        label_smoothing: mixes the labels with the uniform distribution, 0..1.
        ignore_index: samples with this label count for nothing.

    Call:
        `loss(spk_out, targets)` with spikes [T, B, N] and labels [B]; `SpikeTime` defines the times and their
        gradient. Returns [B] for 'none', else a scalar.

    Raises:
        ValueError: bad shapes, labels, reduction or inverse.
        TypeError: labels that are no integers.

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
        super().__init__(reduction, weight, label_smoothing, ignore_index)
        if inverse not in ("negate", "reciprocal"):
            raise ValueError(f"inverse must be 'negate' or 'reciprocal', got {inverse!r}")
        self.inverse = inverse

    def _readout(self, prediction: Tensor) -> Tensor:
        times = _spike_times(prediction)[0]
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
        TypeError: labels that are no integers.

    Source:
        Göltz et al., "Fast and energy-efficient neuromorphic deep learning with first-spike times", Nature
        Machine Intelligence 3, 2021.

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

    def _compute_loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        _, batch, num_classes = prediction.shape
        labels = check_labels(targets, (batch,), num_classes)
        times = _spike_times(prediction)[0]
        lead = _cross_entropy(-times / self.xi, labels, reduction="none")
        lateness = torch.expm1(times.gather(1, labels[:, None])[:, 0] / self.tau)
        return self._weigh(lead + self.alpha * lateness, labels, num_classes)


# --------------------------------------------------------------------------- distances between spike trains


def _check_same_shape(spk_out: Tensor, targets: Tensor) -> None:
    if targets.shape != spk_out.shape:
        raise ValueError(
            f"targets must be spike trains of the outputs' shape {tuple(spk_out.shape)}, got {tuple(targets.shape)}"
        )


class van_rossum_loss(LossFunctions):
    r"""Van Rossum distance: the squared difference of two spike trains that an exponential has smoothed.

    .. math:: \frac{1}{τ} \int_0^\infty \Big(\sum_s d[s]\, H(t - s)\, e^{-(t - s)/τ}\Big)^2 dt
              = \frac{1}{2} \sum_{s, t} d[s]\, d[t]\, e^{-|s - t|/τ}

    with d the difference between spikes and target spikes and H the unit step. A spike too many costs ½, a
    spike displaced by δ steps :math:`1 - e^{-δ/τ}`.

    Args:
        tau: time constant τ in steps; a short one compares spike times, a long one spike counts.
        reduction: 'mean' (over samples and neurons), 'sum' or 'none'.

    Call:
        `loss(spk_out, targets)` with two spike trains [T, B, N]. Returns [B, N] for 'none', else a scalar.

    Raises:
        ValueError: shapes that differ, a bad reduction, or tau not positive.

    Source:
        van Rossum, "A novel spike distance", Neural Computation 13, 2001.

    Example:
        >>> spk_out, targets = torch.zeros(2, 5, 1, 1)
        >>> spk_out[0], targets[3] = 1, 1
        >>> van_rossum_loss(tau=3.0)(spk_out, targets)
        tensor(0.6321)
    """

    def __init__(self, tau: float = 10.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if not tau > 0:
            raise ValueError(f"tau must be positive, got {tau}")
        self.tau = tau

    def _compute_loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        _check_same_shape(prediction, targets)
        difference = prediction - targets
        steps = torch.arange(len(difference), dtype=difference.dtype, device=difference.device)
        kernel = torch.exp(-(steps[:, None] - steps).abs() / self.tau)
        return (difference * torch.tensordot(kernel, difference, 1)).sum(0) / 2


@torch.no_grad()
def victor_purpura_distance(spk_out: Tensor, targets: Tensor, cost: float = 0.1) -> Tensor:
    """Victor-Purpura distance: the least cost of editing one spike train into another.

    Inserting or deleting a spike costs 1, moving it by one step costs `cost`. A measure, without a gradient;
    the recursion runs over the spikes of one train, for all pairs of trains at once.

    Args:
        spk_out: spike trains, [T, B, N]; any nonzero value is a spike.
        targets: spike trains to compare with, [T, B, N].
        cost: cost of a displacement, per step; 0 compares spike counts.

    Returns:
        Distances, [B, N], float32.

    Raises:
        ValueError: shapes that differ or are not [T, B, N], or a negative cost.

    Source:
        Victor, Purpura, "Metric-space analysis of spike trains: theory, algorithms and application", Network
        8, 1997.

    Example:
        >>> spk_out, targets = torch.zeros(9, 1, 1), torch.zeros(9, 1, 1)
        >>> spk_out[[0, 8]] = 1
        >>> targets[3] = 1
        >>> victor_purpura_distance(spk_out, targets, cost=0.1)  # move by three steps, delete the other
        tensor([[1.3000]])
    """
    check_outputs(spk_out)
    _check_same_shape(spk_out, targets)
    if cost < 0:
        raise ValueError(f"cost must not be negative, got {cost}")
    from_count, to_count = (spk_out != 0).sum(0), (targets != 0).sum(0)
    from_steps = first_spike_steps(spk_out, int(from_count.max()))
    to_steps = first_spike_steps(targets, int(to_count.max()))
    # distance[j]: between the first spikes of one train so far and the first j spikes of the other.
    inserted = torch.arange(len(to_steps) + 1.0, device=spk_out.device)[:, None, None]
    distance = inserted.expand(-1, *from_count.shape)
    for i, step in enumerate(from_steps):
        best = distance + 1
        best[1:] = torch.minimum(best[1:], distance[:-1] + cost * (to_steps - step).abs())
        best = inserted + (best - inserted).cummin(0).values
        distance = torch.where(i < from_count, best, distance)
    return distance.gather(0, to_count[None])[0]
