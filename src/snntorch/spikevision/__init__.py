"""Deprecated: event-based data sets now come from `Tonic <https://tonic.readthedocs.io>`_.

The names below still work, on top of Tonic (`pip install snntorch[data]`).
"""

import warnings

from . import spikedata as spikedata

warnings.warn(
    "snntorch.spikevision is deprecated: use the data sets of Tonic (https://tonic.readthedocs.io), "
    "which it forwards to",
    DeprecationWarning,
    stacklevel=2,
)
