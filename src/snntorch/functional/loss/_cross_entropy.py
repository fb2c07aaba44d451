"""Cross entropy of the outputs at every step, of their sums or of their maxima over time."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._base import LossFunctions
from ._classes import check_labels, pool_population
from ._outputs import cut, mean_over_time


def cross_entropy(logits: Tensor, labels: Tensor, **options: Any) -> Tensor:
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


class CrossEntropy(LossFunctions):
    """Cross entropy between a readout of the outputs, [B, C] or [T, B, C], and labels [B]."""

    # Whether a weighted mean divides by the sum of the samples' weights, as PyTorch does, or by their number.
    _divides_by_weights = False

    def __init__(
        self,
        reduction: str = "mean",
        weight: Tensor | None = None,
        *,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> None:
        super().__init__(reduction, weight)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index

    def _readout(self, prediction: Tensor, lengths: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def _compute_loss(self, prediction: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The loss, reduced already: where all samples last to the end, PyTorch does it in the same pass."""
        logits = self._readout(prediction, lengths)
        batch, num_classes = logits.shape[-2:]
        labels, weight = check_labels(targets, (batch,)), self._class_weight(num_classes, logits)
        by_samples = weight is not None and not self._divides_by_weights
        options: Any = {"weight": weight, "ignore_index": self.ignore_index, "label_smoothing": self.label_smoothing}
        if lengths is not None:
            labels = torch.where(lengths > 0, labels, self.ignore_index)
        elif self.reduction == "mean" and not by_samples:
            return cross_entropy(logits, labels, **options)
        apart = lengths is not None or self.reduction == "none"
        loss = cross_entropy(logits, labels, reduction="none" if apart else "sum", **options)
        if logits.dim() == 3:
            loss = mean_over_time(loss.view(-1, batch), lengths) if apart else loss / len(logits)
        if self.reduction == "none":
            return loss
        if self.reduction == "sum":
            return loss.sum()
        real = labels != self.ignore_index
        counts = real if weight is None or by_samples else torch.where(real, weight[torch.where(real, labels, 0)], 0)
        return loss.sum() / counts.sum()

    def _reduce(self, loss: Tensor, lengths: Tensor | None = None) -> Tensor:
        return loss


class ce_rate_loss(CrossEntropy):
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
        TypeError: labels that are no real numbers.

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
        super().__init__(reduction, weight, label_smoothing=label_smoothing, ignore_index=ignore_index)
        self.population_code = population_code
        self.num_classes = num_classes

    def _readout(self, prediction: Tensor, lengths: Tensor | None = None) -> Tensor:
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

    def _readout(self, prediction: Tensor, lengths: Tensor | None = None) -> Tensor:
        return super()._readout(prediction.sum(0))


class ce_max_membrane_loss(CrossEntropy):
    r"""Cross entropy of the highest membrane potentials over time.

    .. math:: CE\big(\max_t u[t], y\big)

    The gradient reaches the first step at which each neuron's maximum is attained.

    Arguments and errors are as for `ce_rate_loss`, without populations.

    Call:
        `loss(mem_out, targets)` with membranes [T, B, N] and labels [B]. Returns [B] for 'none', else a scalar.

    Example:
        >>> mem_out = torch.tensor([[[0.0, 3.0]], [[1.0, -3.0]]])
        >>> ce_max_membrane_loss()(mem_out, torch.tensor([1]))
        tensor(0.1269)
    """

    def _readout(self, prediction: Tensor, lengths: Tensor | None = None) -> Tensor:
        return cut(prediction, None if lengths is None else lengths.clamp(min=1), -torch.inf).max(0).values


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
        TypeError: labels that are no real numbers.

    Source: Deng, Li, Zhang, Gu, "Temporal efficient training of spiking neural network via gradient re-weighting", ICLR
    2022.

    Example:
        >>> tet_loss(lamb=0.5)(torch.zeros(4, 2, 10), torch.tensor([3, 7]))
        tensor(1.6513)
    """

    def __init__(
        self, lamb: float = 1e-3, phi: float = 1.0, reduction: str = "mean", weight: Tensor | None = None
    ) -> None:
        super().__init__(reduction, weight)
        if not 0 <= lamb <= 1:
            raise ValueError(f"lamb must lie in [0, 1], got {lamb}")
        self.lamb = lamb
        self.phi = phi

    def _compute_loss(self, prediction: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        num_steps, batch, num_classes = prediction.shape
        labels = check_labels(targets, (batch,), num_classes)
        rate = cross_entropy(prediction, labels, reduction="none").view(num_steps, batch)
        rate, distance = (
            mean_over_time(values, lengths) for values in (rate, (prediction - self.phi).square().mean(2))
        )
        return self._weigh((1 - self.lamb) * rate + self.lamb * distance, labels, num_classes)
