"""Norms whose statistics are those of the samples that have not ended."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def uses_batch(norm: Any) -> bool:
    """Whether what a norm of PyTorch gives, or keeps, depends on the whole batch."""
    return norm.training or norm.running_mean is None


def over_rows(normalise: Callable[[Tensor], Tensor], x: Tensor, rows: Tensor) -> Tensor:
    """Some rows normalised, and zeros for the others."""
    if not len(rows):
        return torch.zeros_like(x)
    made = normalise(x.index_select(0, rows))
    return made.new_zeros(x.shape).index_copy_(0, rows, made)
