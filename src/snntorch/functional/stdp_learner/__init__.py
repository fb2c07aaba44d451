"""Local plasticity: learning from the spikes on both sides of a synapse alone.

Every rule here is a difference of two correlations, potentiation less depression, between something on the
output side and something on the input side of the synapse.
"""

from ._bcm import BCMLearner as BCMLearner
from ._bounds import WeightFunction as WeightFunction
from ._bounds import weight_bounds as weight_bounds
from ._correlation import Synapse as Synapse
from ._pair import STDPLearner as STDPLearner
from ._pair import stdp_conv1d_single_step as stdp_conv1d_single_step
from ._pair import stdp_conv2d_single_step as stdp_conv2d_single_step
from ._pair import stdp_linear_single_step as stdp_linear_single_step
from ._reward import RewardSTDPLearner as RewardSTDPLearner
from ._reward import mstdp_linear_single_step as mstdp_linear_single_step
from ._reward import mstdpet_linear_single_step as mstdpet_linear_single_step
from ._triplet import TripletSTDPLearner as TripletSTDPLearner
