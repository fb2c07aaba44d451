"""Local plasticity: learning from the spikes on both sides of a synapse alone.

Every rule here is a difference of two correlations, potentiation less depression, between something on the
output side and something on the input side of the synapse.
"""

from ._bcm import BCMLearner
from ._bounds import WeightFunction, weight_bounds
from ._correlation import Synapse
from ._pair import (
    STDPLearner,
    stdp_conv1d_single_step,
    stdp_conv2d_single_step,
    stdp_linear_single_step,
)
from ._reward import RewardSTDPLearner, mstdp_linear_single_step, mstdpet_linear_single_step
from ._triplet import TripletSTDPLearner

__all__ = [
    "BCMLearner",
    "RewardSTDPLearner",
    "STDPLearner",
    "Synapse",
    "TripletSTDPLearner",
    "WeightFunction",
    "mstdp_linear_single_step",
    "mstdpet_linear_single_step",
    "stdp_conv1d_single_step",
    "stdp_conv2d_single_step",
    "stdp_linear_single_step",
    "weight_bounds",
]
