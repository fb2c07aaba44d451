"""Training through time: epochs of backpropagation, whole or truncated, and learning forward in time."""

from ._feedback import RandomFeedback as RandomFeedback
from ._online import eprop as eprop
from ._online import ottt as ottt
from ._truncated import BPTT as BPTT
from ._truncated import RTRL as RTRL
from ._truncated import TBPTT as TBPTT
