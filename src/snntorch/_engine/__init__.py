"""The engine: a neuron's step, traced and differentiated, runs as one kernel over all time steps.

Its words: a *course* is a value at every step, over time; *asked* is what the caller wants returned, a course or in
backward a cotangent; *kept* is what is saved for backward; a *cotangent* is the derivative of what is differentiated,
with respect to a value: one arrives for each result that it depends on, and `needs` says for which arguments one is
asked.
"""

from . import bits as bits
from . import decomposition as decomposition  # registers the operators, which exported programs look for
from .autocast import product_dtype as product_dtype
from .autocast import without_autocast as without_autocast
from .choose import ONE_EACH as ONE_EACH
from .choose import choices as choices
from .choose import computes as computes
from .choose import expands as expands
from .choose import listening as listening
from .choose import note as note
from .dispatch import run as run
from .dispatch import run_feedback as run_feedback
from .dispatch import stepped as stepped
from .plans import program_text as program_text
from .setting import asked as asked
from .setting import backend as backend
