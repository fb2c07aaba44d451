"""Losses on the output layer's spikes or membrane potentials, [T, B, N] with time first.

A loss is a callable `loss(prediction, targets)`: a value for each sample (or each sample and neuron), scaled
by the weight of the sample's class and reduced. Every one of them is a fixed number of tensor operations,
whatever T is. With `lengths=`, [B], the loss of each sample is that of its own first steps alone.
"""

from ._base import LossFunctions as LossFunctions
from ._classes import check_labels as check_labels
from ._classes import pool_population as pool_population
from ._cross_entropy import ce_count_loss as ce_count_loss
from ._cross_entropy import ce_max_membrane_loss as ce_max_membrane_loss
from ._cross_entropy import ce_rate_loss as ce_rate_loss
from ._cross_entropy import tet_loss as tet_loss
from ._distances import van_rossum_loss as van_rossum_loss
from ._distances import victor_purpura_distance as victor_purpura_distance
from ._mean_square import mse_count_loss as mse_count_loss
from ._mean_square import mse_membrane_loss as mse_membrane_loss
from ._outputs import check_lengths as check_lengths
from ._outputs import check_outputs as check_outputs
from ._spike_time import SpikeTime as SpikeTime
from ._spike_time import ce_temporal_loss as ce_temporal_loss
from ._spike_time import first_spike_steps as first_spike_steps
from ._spike_time import mse_temporal_loss as mse_temporal_loss
from ._spike_time import ttfs_loss as ttfs_loss
