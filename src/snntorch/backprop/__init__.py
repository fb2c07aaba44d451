"""Training through time: epochs of backpropagation, whole or truncated."""

from ._truncated import BPTT as BPTT
from ._truncated import RTRL as RTRL
from ._truncated import TBPTT as TBPTT
