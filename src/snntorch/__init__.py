"""Gradient-based learning with spiking neural networks on PyTorch."""

import importlib
from typing import TYPE_CHECKING, Any

from . import surrogate as surrogate
from ._engine import backend as backend
from ._layers.axonaldelay import AxonalDelay as AxonalDelay
from ._layers.batchnorm import SequenceBatchNorm1d as SequenceBatchNorm1d
from ._layers.batchnorm import SequenceBatchNorm2d as SequenceBatchNorm2d
from ._layers.batchnorm import TemporalEffectiveBatchNorm1d as TemporalEffectiveBatchNorm1d
from ._layers.batchnorm import TemporalEffectiveBatchNorm2d as TemporalEffectiveBatchNorm2d
from ._layers.batchnorm import ThresholdDependentBatchNorm1d as ThresholdDependentBatchNorm1d
from ._layers.batchnorm import ThresholdDependentBatchNorm2d as ThresholdDependentBatchNorm2d
from ._layers.bntt import BatchNormTT1d as BatchNormTT1d
from ._layers.bntt import BatchNormTT2d as BatchNormTT2d
from ._layers.delay import Delay as Delay
from ._layers.dropout import SequenceDropout as SequenceDropout
from ._layers.dropout import SequenceDropout1d as SequenceDropout1d
from ._layers.dropout import SequenceDropout2d as SequenceDropout2d
from ._layers.graded_spikes import GradedSpikes as GradedSpikes
from ._layers.integrator import LeakyIntegrator as LeakyIntegrator
from ._layers.integrator import SynapticIntegrator as SynapticIntegrator
from ._layers.synapticdelay import SynapticDelay as SynapticDelay
from ._neurons.adex import AdEx as AdEx
from ._neurons.alif import ALIF as ALIF
from ._neurons.alpha import Alpha as Alpha
from ._neurons.associative import AssociativeLeaky as AssociativeLeaky
from ._neurons.bounded import bounded as bounded
from ._neurons.brf import BRF as BRF
from ._neurons.deltaleaky import DeltaLeaky as DeltaLeaky
from ._neurons.eif import EIF as EIF
from ._neurons.glif import GLIF as GLIF
from ._neurons.integerleaky import IntegerLeaky as IntegerLeaky
from ._neurons.izhikevich import Izhikevich as Izhikevich
from ._neurons.lapicque import Lapicque as Lapicque
from ._neurons.leaky import Leaky as Leaky
from ._neurons.leakyparallel import LeakyParallel as LeakyParallel
from ._neurons.linearleaky import LinearLeaky as LinearLeaky
from ._neurons.neurons import LIF as LIF
from ._neurons.neurons import SpikingNeuron as SpikingNeuron
from ._neurons.noisyleaky import NoisyLeaky as NoisyLeaky
from ._neurons.plif import PLIF as PLIF
from ._neurons.psn import PSN as PSN
from ._neurons.psn import MaskedPSN as MaskedPSN
from ._neurons.psn import SlidingPSN as SlidingPSN
from ._neurons.qif import QIF as QIF
from ._neurons.refractory import refractory as refractory
from ._neurons.rleaky import RLeaky as RLeaky
from ._neurons.rsynaptic import RSynaptic as RSynaptic
from ._neurons.sconv2dlstm import SConv2dLSTM as SConv2dLSTM
from ._neurons.sigmadelta import SigmaDelta as SigmaDelta
from ._neurons.slstm import SLSTM as SLSTM
from ._neurons.stateleaky import StateLeaky as StateLeaky
from ._neurons.synaptic import Synaptic as Synaptic
from ._neurons.twocompartment import TwoCompartment as TwoCompartment
from ._time.explain import explain as explain
from ._time.layerwise import layerwise as layerwise
from ._time.lengths import last_output as last_output
from ._time.packed import packed_spikes as packed_spikes
from ._time.unroll import unroll as unroll
from ._version import __version__ as __version__

_LAZY = "backprop conversion export_nir functional import_nir metrics models spikegen spikeplot utils".split()


if TYPE_CHECKING:
    from . import backprop as backprop
    from . import conversion as conversion
    from . import export_nir as export_nir
    from . import functional as functional
    from . import import_nir as import_nir
    from . import metrics as metrics
    from . import models as models
    from . import spikegen as spikegen
    from . import spikeplot as spikeplot
    from . import utils as utils
else:

    def __getattr__(name: str) -> Any:
        """Import a submodule at its first use, so that `import snntorch` stays cheap."""
        if name in _LAZY:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
