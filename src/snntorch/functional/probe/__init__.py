"""Record what flows through a network, through hooks, without editing its forward.

The monitors record each call of the layers they watch; `Recorder` records neurons through time.
"""

from ._monitors import AttributeMonitor as AttributeMonitor
from ._monitors import BaseMonitor as BaseMonitor
from ._monitors import GradInputMonitor as GradInputMonitor
from ._monitors import GradOutputMonitor as GradOutputMonitor
from ._monitors import InputMonitor as InputMonitor
from ._monitors import OutputMonitor as OutputMonitor
from ._monitors import unpack_len1_tuple as unpack_len1_tuple
from ._recorder import Recorder as Recorder
