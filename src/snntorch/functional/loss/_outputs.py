"""Outputs over time, [T, B, ...]: their shape, and samples that end before others."""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling


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
