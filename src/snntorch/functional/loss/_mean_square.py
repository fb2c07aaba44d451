"""Squared errors of spike counts and of membrane potentials."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ._base import LossFunctions
from ._classes import at_label, check_labels
from ._outputs import mean_over_time, num_steps_of


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
        TypeError: labels that are no real numbers.

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

    def _compute_loss(self, prediction: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        num_steps, batch, num_outputs = prediction.shape
        pooled = self.population_code
        counts = self._population_code(prediction, self.num_classes, num_outputs) if pooled else prediction.sum(0)
        num_classes = counts.size(1)
        labels = check_labels(targets, (batch,), num_classes)
        # 100 · 0.29 is a little under 29 in floating point.
        rates = self.correct_rate, self.incorrect_rate
        if lengths is None:
            correct, incorrect = (int(num_steps * rate * num_outputs / num_classes + 1e-9) for rate in rates)
            wanted = at_label(labels, num_classes, correct, incorrect, counts.dtype)
        else:
            steps = lengths.double()[:, None]
            correct, incorrect = ((steps * rate * num_outputs / num_classes + 1e-9).trunc() for rate in rates)
            wanted = torch.where(at_label(labels, num_classes, 1, 0, counts.dtype) > 0, correct, incorrect).to(counts)
        loss = F.mse_loss(counts, wanted, reduction="none") / num_steps_of(prediction, lengths)
        return self._weigh(loss, labels, num_classes)


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
        `loss(mem_out, targets)` with membranes [T, B, N], or [T, B, ...] of images; targets are labels [B] or
        potentials [B, N] (for N = 1 also [B], of a floating dtype), with time_var_targets [T, B] or [T, B, N].
        Returns [B, N] for 'none', otherwise [1], or a scalar with weights.

    Raises:
        ValueError: bad shapes, labels or reduction, labels of images, or weights without labels.
        TypeError: labels that are no real numbers.

    Example:
        >>> mem_out = torch.tensor([[[0.5, 0.0]], [[1.5, 0.0]]])
        >>> mse_membrane_loss(reduction="none")(mem_out, torch.tensor([0]))
        tensor([[0.2500, 0.0000]])
        >>> mse_membrane_loss()(mem_out, torch.zeros(1, 2))
        tensor([0.6250])
    """

    _one_element = True
    _images = True

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

    def _compute_loss(self, prediction: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        shape = tuple(prediction.shape[0 if self.time_var_targets else 1 :])
        if targets.is_floating_point() and (*targets.shape, 1) == shape:
            targets = targets[..., None]
        if targets.shape == shape:
            if self.weight is not None:
                raise ValueError("weight needs class labels as targets, got target potentials")
            return mean_over_time((prediction - targets).square(), lengths)
        if targets.shape != shape[:-1] or prediction.dim() > 3:
            labels = "" if prediction.dim() > 3 else f"labels {shape[:-1]} or "
            raise ValueError(
                f"targets must be {labels}potentials {shape} for outputs "
                f"{tuple(prediction.shape)} and time_var_targets={self.time_var_targets}, got "
                f"{tuple(targets.shape)}"
            )
        num_classes = shape[-1]
        labels = check_labels(targets, shape[:-1], num_classes)
        wanted = at_label(labels, num_classes, self.on_target, self.off_target, prediction.dtype)
        return mean_over_time(self._weigh((prediction - wanted).square(), labels, num_classes), lengths)
