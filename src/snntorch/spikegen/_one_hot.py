"""Labels as vectors, 1 at the label, and back."""

import torch
from torch import Tensor

from ._checks import finite


def to_one_hot(targets: Tensor, num_classes: int) -> Tensor:
    """1 at the label, 0 elsewhere.

    Args:
        targets: labels `[...]`; floating ones are truncated.
        num_classes: C.

    Returns:
        float32 `[..., C]`.

    Raises:
        ValueError: if a label lies outside 0 … C-1.

    Example:
        >>> to_one_hot(torch.tensor([2, 0]), num_classes=3)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    label = finite(targets, "targets").long()
    if label.numel() and (label.min() < 0 or label.max() >= num_classes):
        raise ValueError(
            f"targets must lie in 0 … num_classes - 1 = {num_classes - 1}, got {label.min()} … {label.max()}"
        )
    return torch.nn.functional.one_hot(label, num_classes).to(torch.float32)


def to_one_hot_inverse(one_hot: Tensor) -> Tensor:
    """1 where the input is 0, and 0 elsewhere.

    Args:
        one_hot: any shape.

    Returns:
        A new tensor of the same shape and dtype.

    Example:
        >>> to_one_hot_inverse(torch.tensor([[0.0, 0.0, 1.0]]))
        tensor([[1., 1., 0.]])
    """
    return (finite(one_hot, "one_hot") == 0).to(one_hot.dtype)


def from_one_hot(one_hot: Tensor) -> Tensor:
    """The labels: where the last dimension is largest.

    Args:
        one_hot: `[..., C]`.

    Returns:
        int64 `[...]`, or `[1]` for an input `[C]`.

    Example:
        >>> from_one_hot(torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
        tensor([2, 0])
    """
    # Booleans have no argmax.
    comparable = finite(one_hot, "one_hot").to(torch.promote_types(one_hot.dtype, torch.uint8))
    return torch.atleast_1d(comparable.argmax(-1))
