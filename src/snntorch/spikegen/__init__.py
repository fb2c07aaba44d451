"""Turn data into spikes, spikes back into data, and labels into target trains.

Time is the first dimension: data of shape `[B, ...]` become trains of shape `[T, B, ...]`. Dtype and device
follow the data (integers become the default floating dtype), and every function that draws takes `generator=`
or follows `torch.manual_seed`.

============================  ==========================================  ======================
code                          encode                                      decode
============================  ==========================================  ======================
rate                          `rate`, `rate_conv`, `poisson`              mean over time
latency                       `latency`                                   `latency_decode`
time to first spike           `ttfs`                                      `ttfs_decode`
phase                         `phase`                                     `phase_decode`
burst                         `burst`                                     count of spikes
population                    `population`, then any code above           `population_decode`
change                        `delta`, `threshold_based`, `step_forward`  `delta_decode`
change against a moving mean  `moving_window`                             `moving_window_decode`
address events                `to_events`                                 `from_events`
============================  ==========================================  ======================
"""

from ._burst import burst as burst
from ._change import delta as delta
from ._change import delta_decode as delta_decode
from ._change import moving_window as moving_window
from ._change import moving_window_decode as moving_window_decode
from ._change import step_forward as step_forward
from ._change import threshold_based as threshold_based
from ._events import Events as Events
from ._events import from_events as from_events
from ._events import to_events as to_events
from ._latency import latency as latency
from ._latency import latency_code as latency_code
from ._latency import latency_code_linear as latency_code_linear
from ._latency import latency_code_log as latency_code_log
from ._latency import latency_decode as latency_decode
from ._one_hot import from_one_hot as from_one_hot
from ._one_hot import to_one_hot as to_one_hot
from ._one_hot import to_one_hot_inverse as to_one_hot_inverse
from ._phase import phase as phase
from ._phase import phase_decode as phase_decode
from ._population import population as population
from ._population import population_decode as population_decode
from ._rate import poisson as poisson
from ._rate import rate as rate
from ._rate import rate_conv as rate_conv
from ._rate import target_rate_code as target_rate_code
from ._spike_times import latency_interpolate as latency_interpolate
from ._spike_times import rate_interpolate as rate_interpolate
from ._targets import targets_convert as targets_convert
from ._targets import targets_latency as targets_latency
from ._targets import targets_rate as targets_rate
from ._ttfs import ttfs as ttfs
from ._ttfs import ttfs_decode as ttfs_decode
