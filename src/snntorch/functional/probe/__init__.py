"""Record what flows through a network, through hooks, without editing its forward.

The monitors record each call of the layers they watch; `Recorder` records neurons through time.
"""

from ._monitors import (
    AttributeMonitor,
    BaseMonitor,
    GradInputMonitor,
    GradOutputMonitor,
    InputMonitor,
    OutputMonitor,
    unpack_len1_tuple,
)
from ._recorder import Recorder

__all__ = [
    "AttributeMonitor",
    "BaseMonitor",
    "GradInputMonitor",
    "GradOutputMonitor",
    "InputMonitor",
    "OutputMonitor",
    "Recorder",
    "unpack_len1_tuple",
]
