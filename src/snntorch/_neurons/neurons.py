"""Neurons' base classes and the pieces of steps, by the import path that public code knows."""

from .base import SpikingNeuron as SpikingNeuron
from .lif import LIF as LIF
from .pieces import WinnerTakesAll as WinnerTakesAll
from .pieces import graded as graded
from .pieces import initial_tensor as initial_tensor
from .pieces import quantised as quantised
from .pieces import reset as reset
