"""The base of all losses: what a call checks, weighs and reduces."""

import inspect
from typing import Any

import torch
from torch import Tensor

from ._classes import pool_population
from ._outputs import check_lengths, check_outputs, cut


class LossFunctions:
    """Base of the losses: a subclass defines `_compute_loss`, the unreduced loss.

    Half-precision predictions are accumulated in float32; the loss has the prediction's dtype (float32 for integers).

    A call takes `lengths`, [B], each sample's number of steps in a batch that is padded behind them: its loss is then
    that of its own steps alone, as if it had come by itself. One of no steps counts for nothing.

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
    # Losses that know no classes take images, [T, B, C, H, W], as well.
    _images = False
    # Dimensions of an unreduced loss before that of the samples.
    _ahead = 0

    def __init__(self, reduction: str = "mean", weight: Tensor | None = None) -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction
        self.weight = weight
        self.__name__ = type(self).__name__

    def __call__(self, prediction: Tensor, targets: Tensor, lengths: Any = None) -> Tensor:
        """The loss of a prediction [T, B, N], of whose sample b the first `lengths[b]` steps count."""
        self._prediction_check(prediction)
        wide = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
        own = check_lengths(lengths, prediction)
        if own is not None and "lengths" not in inspect.signature(self._compute_loss).parameters:
            raise TypeError(f"{self.__name__} takes no lengths: its _compute_loss has no such argument")
        given = () if own is None else (own,)
        loss = self._reduce(self._compute_loss(cut(wide, own), targets, *given), *given)
        if self._one_element and self.weight is None and self.reduction != "none":
            loss = loss.view(1)
        return loss.to(prediction.dtype if prediction.is_floating_point() else wide.dtype)

    def _compute_loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError(f"{self.__name__} must define _compute_loss(prediction, targets)")

    def _reduce(self, loss: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is not None:
            counts = (lengths > 0).view(-1, *(1,) * (loss.dim() - 1 - self._ahead))
            loss = torch.where(counts, loss, 0)
            if self.reduction == "mean":
                return loss.sum() / counts.expand(loss.shape).sum()
        if self.reduction == "none":
            return loss
        return loss.mean() if self.reduction == "mean" else loss.sum()

    def _prediction_check(self, spk_out: Tensor) -> tuple[torch.device, int, int]:
        check_outputs(spk_out, self._images)
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
