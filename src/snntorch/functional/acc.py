"""Accuracies of output spikes [T, B, N]: the most active class, or the first to fire, against the labels."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .loss import check_labels, check_lengths, check_outputs, first_spike_steps, pool_population
from .loss._outputs import cut


def predict_rate(
    spk_out: Tensor, population_code: bool = False, num_classes: int = False, *, lengths: Any = None
) -> Tensor:
    """The class that fires most; of several, the lowest. Arguments are those of `accuracy_rate`.

    Returns:
        Class indices, int64 [B], on the device of the spikes.

    Raises:
        ValueError: a bad shape or num_classes.

    Example:
        >>> predict_rate(torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]]]))
        tensor([1])
    """
    check_outputs(spk_out)
    spk_out = cut(spk_out, check_lengths(lengths, spk_out))
    counts = spk_out.sum(0, dtype=torch.promote_types(spk_out.dtype, torch.float32))
    return (pool_population(counts, num_classes) if population_code else counts).argmax(1)


def predict_temporal(spk_out: Tensor, *, lengths: Any = None) -> Tensor:
    """The class that fires first; of several, the lowest. A silent neuron counts as firing at the last step.

    Arguments are those of `accuracy_temporal`.

    Returns:
        Class indices, int64 [B], on the device of the spikes; 0 for a sample without spikes.

    Raises:
        ValueError: a bad shape.

    Example:
        >>> predict_temporal(torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]], [[1.0, 0.0]]]))
        tensor([1])
    """
    check_outputs(spk_out)
    return first_spike_steps(spk_out, lengths=check_lengths(lengths, spk_out))[0].argmin(1)


def accuracy_rate(
    spk_out: Tensor,
    targets: Tensor,
    population_code: bool = False,
    num_classes: int = False,
    *,
    as_tensor: bool = False,
    lengths: Any = None,
) -> np.float64 | Tensor:
    """Fraction of the samples whose label is the class that fires most (see `predict_rate`).

    Args:
        spk_out: output spikes, [T, B, N].
        targets: class labels [B], whole numbers of any dtype.
        population_code: sum the spikes of each class's population first (see `loss.pool_population`).
        num_classes: number of classes, with population_code.
        as_tensor: leave the result on the device of the spikes, without waiting for it.
        lengths: each sample's number of steps, [B], where the spikes are padded behind them.

    Returns:
        The accuracy, `numpy.float64`; with as_tensor a float32 scalar tensor.

    Raises:
        ValueError: a bad shape, such as one-hot targets, or num_classes.
        TypeError: labels that are no real numbers.

    Example:
        >>> spk_out = torch.tensor([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
        >>> float(accuracy_rate(spk_out, torch.tensor([1, 1])))
        0.5
        >>> accuracy_rate(spk_out, torch.tensor([1, 1]), as_tensor=True)
        tensor(0.5000)
    """
    return _fraction(predict_rate(spk_out, population_code, num_classes, lengths=lengths), targets, as_tensor)


def accuracy_temporal(
    spk_out: Tensor, targets: Tensor, *, as_tensor: bool = False, lengths: Any = None
) -> np.float64 | Tensor:
    """Fraction of the samples whose label is the class that fires first (see `predict_temporal`).

    Any nonzero value is a spike. Arguments, what is returned and errors are those of `accuracy_rate`.

    Example:
        >>> spk_out = torch.tensor([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
        >>> float(accuracy_temporal(spk_out, torch.tensor([1, 0])))
        0.5
    """
    return _fraction(predict_temporal(spk_out, lengths=lengths), targets, as_tensor)


def _fraction(predicted: Tensor, targets: Tensor, as_tensor: bool) -> np.float64 | Tensor:
    hits = predicted == check_labels(targets, tuple(predicted.shape))
    return hits.float().mean() if as_tensor else np.float64(hits.cpu().numpy().mean())
