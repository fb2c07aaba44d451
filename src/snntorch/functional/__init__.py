"""Accuracies, losses, regularisers, quantisation, probes and local learning rules."""

from . import acc as acc
from . import loss as loss
from . import quant as quant
from . import reg as reg
from .acc import accuracy_rate as accuracy_rate
from .acc import accuracy_temporal as accuracy_temporal
from .loss import LossFunctions as LossFunctions
from .loss import SpikeTime as SpikeTime
from .loss import ce_count_loss as ce_count_loss
from .loss import ce_max_membrane_loss as ce_max_membrane_loss
from .loss import ce_rate_loss as ce_rate_loss
from .loss import ce_temporal_loss as ce_temporal_loss
from .loss import mse_count_loss as mse_count_loss
from .loss import mse_membrane_loss as mse_membrane_loss
from .loss import mse_temporal_loss as mse_temporal_loss
from .loss import tet_loss as tet_loss
from .loss import ttfs_loss as ttfs_loss
from .loss import van_rossum_loss as van_rossum_loss
from .loss import victor_purpura_distance as victor_purpura_distance
from .quant import state_quant as state_quant
from .reg import l1_rate_sparsity as l1_rate_sparsity
from .reg import membrane_bounds as membrane_bounds
from .reg import rate_bounds as rate_bounds
