"""The engine: a neuron's step, traced and differentiated, runs as one kernel over all time steps."""

from . import decomposition as decomposition  # registers the operators, which exported programs look for
from .dispatch import backend as backend
from .dispatch import choices as choices
from .dispatch import note as note
from .dispatch import run as run
from .dispatch import run_feedback as run_feedback
