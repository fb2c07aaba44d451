"""Losses on the output layer's spikes or membrane potentials, [T, B, N] with time first.

A loss is a callable `loss(prediction, targets)`: a value for each sample (or each sample and neuron), scaled
by the weight of the sample's class and reduced. Every one of them is a fixed number of tensor operations,
whatever T is. With `lengths=`, [B], the loss of each sample is that of its own first steps alone.
"""

from ._common import LossFunctions, check_labels, check_lengths, check_outputs, pool_population
from ._cross_entropy import ce_count_loss, ce_max_membrane_loss, ce_rate_loss, tet_loss
from ._distances import van_rossum_loss, victor_purpura_distance
from ._mean_square import mse_count_loss, mse_membrane_loss
from ._spike_time import SpikeTime, ce_temporal_loss, first_spike_steps, mse_temporal_loss, ttfs_loss

__all__ = [
    "LossFunctions",
    "SpikeTime",
    "ce_count_loss",
    "ce_max_membrane_loss",
    "ce_rate_loss",
    "ce_temporal_loss",
    "check_labels",
    "check_lengths",
    "check_outputs",
    "first_spike_steps",
    "mse_count_loss",
    "mse_membrane_loss",
    "mse_temporal_loss",
    "pool_population",
    "tet_loss",
    "ttfs_loss",
    "van_rossum_loss",
    "victor_purpura_distance",
]
