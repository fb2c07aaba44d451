"""Classes: their labels, the values wanted at these, and the populations of neurons that vote for them."""

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


def check_labels(targets: Tensor, shape: tuple[int, ...], num_classes: int | None = None) -> Tensor:
    """Class labels as int64, after a check of their shape, their type and, where it makes no GPU wait, range.

    Args:
        targets: class labels, of any dtype.
        shape: the shape that they must have.
        num_classes: labels must lie in 0..num_classes − 1; None leaves their range unchecked.

    Returns:
        The labels, int64.

    Raises:
        ValueError: another shape, a label out of range or, likewise, one that is no whole number.
        TypeError: complex labels.

    Example:
        >>> check_labels(torch.tensor([2, 0], dtype=torch.uint8), (2,), num_classes=3)
        tensor([2, 0])
    """
    if tuple(targets.shape) != shape:
        raise ValueError(f"targets must be class labels of shape {shape}, got shape {tuple(targets.shape)}")
    if targets.is_complex():
        raise TypeError(f"targets must be class labels, got {targets.dtype}")
    labels = targets.long()
    if labels.device.type != "cpu" or is_compiling():
        return labels
    if targets.is_floating_point() and (labels != targets).any():
        raise ValueError(f"targets must be class labels, whole numbers, got {targets}")
    if num_classes is not None and len(labels):
        lowest, highest = (label.item() for label in labels.aminmax())
        if lowest < 0 or highest >= num_classes:
            raise ValueError(f"targets must lie in 0..{num_classes - 1}, got {lowest}..{highest}")
    return labels


def at_label(labels: Tensor, num_classes: int, on: float, off: float, dtype: torch.dtype) -> Tensor:
    """`on` at the label's class and `off` elsewhere, [..., B, C]."""
    values = torch.full((*labels.shape, num_classes), off, dtype=dtype, device=labels.device)
    return values.scatter_(-1, labels[..., None], on)
