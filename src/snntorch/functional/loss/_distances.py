"""Distances between two spike trains."""

from typing import Any

import torch
from torch import Tensor

from ._base import LossFunctions
from ._outputs import check_lengths, check_outputs, cut
from ._spike_time import first_spike_steps


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
        `loss(spk_out, targets)` with two spike trains [T, B, ...]. Returns [B, ...] for 'none', else a scalar.

    Raises:
        ValueError: shapes that differ, a bad reduction, or tau not positive.

    Source: van Rossum, "A novel spike distance", Neural Computation 13, 2001.

    Example:
        >>> spk_out, targets = torch.zeros(2, 5, 1, 1)
        >>> spk_out[0], targets[3] = 1, 1
        >>> van_rossum_loss(tau=3.0)(spk_out, targets)
        tensor(0.6321)
    """

    _images = True

    def __init__(self, tau: float = 10.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if not tau > 0:
            raise ValueError(f"tau must be positive, got {tau}")
        self.tau = tau

    def _compute_loss(self, prediction: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        _check_same_shape(prediction, targets)
        difference = prediction - cut(targets, lengths)
        steps = torch.arange(len(difference), dtype=difference.dtype, device=difference.device)
        kernel = torch.exp(-(steps[:, None] - steps).abs() / self.tau)
        return (difference * torch.tensordot(kernel, difference, 1)).sum(0) / 2


@torch.no_grad()
def victor_purpura_distance(spk_out: Tensor, targets: Tensor, cost: float = 0.1, *, lengths: Any = None) -> Tensor:
    """Victor-Purpura distance: the least cost of editing one spike train into another.

    Inserting or deleting a spike costs 1, moving it by one step costs `cost`. A measure, without a gradient;
    the recursion runs over the spikes of one train, for all pairs of trains at once.

    Args:
        spk_out: spike trains, [T, B, N]; any nonzero value is a spike.
        targets: spike trains to compare with, [T, B, N].
        cost: cost of a displacement, per step; 0 compares spike counts.
        lengths: each sample's number of steps, [B], of trains that are padded behind them.

    Returns:
        Distances, [B, N], float32.

    Raises:
        ValueError: shapes that differ or are not [T, B, N], or a negative cost.

    Source: Victor, Purpura, "Metric-space analysis of spike trains: theory, algorithms and application", Network 8,
    1997.

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
    lengths = check_lengths(lengths, spk_out)
    spk_out, targets = cut(spk_out, lengths), cut(targets, lengths)
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
