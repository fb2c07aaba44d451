"""What the losses share: their base class, checks of outputs and labels, populations, targets from labels."""

import inspect
from typing import Any

import torch
from torch import Tensor
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


def check_outputs(spk_out: Tensor, images: bool = False) -> None:
    """Raise a ValueError unless the outputs have shape [T, B, N], or [T, B, ...] with images, and a step.

    Example:
        >>> check_outputs(torch.zeros(25, 128, 10))
        >>> check_outputs(torch.zeros(128, 10))
        Traceback (most recent call last):
        ValueError: outputs must have shape [T, B, N] with T > 0, got (128, 10)
    """
    if not (spk_out.dim() == 3 or (images and spk_out.dim() > 3)) or not spk_out.size(0):
        shape = "[T, B, ...]" if images else "[T, B, N]"
        raise ValueError(f"outputs must have shape {shape} with T > 0, got {tuple(spk_out.shape)}")


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


def check_lengths(lengths: Any, outputs: Tensor) -> Tensor | None:
    """Numbers of steps of the samples of [T, B, ...], int64 [B] on its device, checked as far as no GPU waits for it.

    Args:
        lengths: list or integer tensor, [B], each in 0..T; None where all samples last to the end.
        outputs: what they are lengths of, [T, B, ...].

    Returns:
        The lengths, or None.

    Raises:
        ValueError: another number of them than samples, or one out of range.
        TypeError: lengths that are no integers.

    Example:
        >>> check_lengths([3, 1], torch.zeros(4, 2, 10))
        tensor([3, 1])
    """
    if lengths is None:
        return None
    found = torch.as_tensor(lengths)
    num_steps, batch = outputs.shape[:2]
    if found.shape != (batch,):
        raise ValueError(f"lengths must have one entry for each of {batch} samples, got shape {tuple(found.shape)}")
    if found.numel() and (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool):
        raise TypeError(f"lengths must be integers, got {found.dtype}")
    if batch and found.device.type == "cpu" and not is_compiling():
        lowest, highest = (length.item() for length in found.aminmax())
        if lowest < 0 or highest > num_steps:
            raise ValueError(f"lengths must lie in 0..{num_steps}, the steps of the outputs, got {lowest}..{highest}")
    return found.to(outputs.device, torch.int64)


def cut(outputs: Tensor, lengths: Tensor | None, value: float = 0.0) -> Tensor:
    """Outputs [T, B, ...] with a value in the place of what comes after each sample's end."""
    if lengths is None:
        return outputs
    after = torch.arange(len(outputs), device=outputs.device)[:, None] >= lengths
    return outputs.masked_fill(after.view(*after.shape, *(1,) * (outputs.dim() - 2)), value)


def mean_over_time(values: Tensor, lengths: Tensor | None) -> Tensor:
    """The mean of [T, B, ...] over each sample's own steps."""
    if lengths is None:
        return values.mean(0)
    return cut(values, lengths).sum(0) / num_steps_of(values, lengths)


def num_steps_of(outputs: Tensor, lengths: Tensor | None) -> Any:
    """T, or each sample's own number of steps in a shape that broadcasts against a step; 1 where there are none."""
    if lengths is None:
        return outputs.size(0)
    return lengths.clamp(min=1).view(-1, *(1,) * (outputs.dim() - 2)).to(outputs.dtype)


class LossFunctions:
    """Base of the losses: a subclass defines `_compute_loss`, the unreduced loss.

    Half-precision predictions are accumulated in float32; the loss has the prediction's dtype (float32 for
    integers).

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
        if own is None:
            loss = self._reduce(self._compute_loss(wide, targets))
        else:
            loss = self._over_own_steps(wide, targets, own)
        if self._one_element and self.weight is None and self.reduction != "none":
            loss = loss.view(1)
        return loss.to(prediction.dtype if prediction.is_floating_point() else wide.dtype)

    def _compute_loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError(f"{self.__name__} must define _compute_loss(prediction, targets)")

    def _over_own_steps(self, prediction: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
        """The reduced loss of each sample's own steps."""
        if "lengths" not in inspect.signature(self._compute_loss).parameters:
            raise TypeError(f"{self.__name__} takes no lengths: its _compute_loss has no such argument")
        loss = self._compute_loss(cut(prediction, lengths), targets, lengths)  # type: ignore[call-arg]
        counts = (lengths > 0).view(-1, *(1,) * (loss.dim() - 1 - self._ahead))
        loss = torch.where(counts, loss, 0)
        if self.reduction != "mean":
            return self._reduce(loss)
        return loss.sum() / counts.expand(loss.shape).sum()

    def _reduce(self, loss: Tensor) -> Tensor:
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


def at_label(labels: Tensor, num_classes: int, on: float, off: float, dtype: torch.dtype) -> Tensor:
    """`on` at the label's class and `off` elsewhere, [..., B, C]."""
    values = torch.full((*labels.shape, num_classes), off, dtype=dtype, device=labels.device)
    return values.scatter_(-1, labels[..., None], on)
