"""The engine: a neuron's step, traced and differentiated, runs as one kernel over all time steps."""

from . import decomposition as decomposition  # registers the operators, which exported programs look for
from .choose import choices as choices
from .choose import note as note
from .running import run as run
from .running import run_feedback as run_feedback
from .setting import backend as backend
