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

from ._burst import burst
from ._change import (
    delta,
    delta_decode,
    moving_window,
    moving_window_decode,
    step_forward,
    threshold_based,
)
from ._events import Events, from_events, to_events
from ._latency import (
    latency,
    latency_code,
    latency_code_linear,
    latency_code_log,
    latency_decode,
)
from ._latency_train import latency_interpolate
from ._one_hot import from_one_hot, to_one_hot, to_one_hot_inverse
from ._phase import phase, phase_decode
from ._population import population, population_decode
from ._rate import poisson, rate, rate_conv
from ._rate_code import rate_interpolate, target_rate_code
from ._targets import targets_convert, targets_latency, targets_rate
from ._ttfs import ttfs, ttfs_decode

__all__ = [
    "Events",
    "burst",
    "delta",
    "delta_decode",
    "from_events",
    "from_one_hot",
    "latency",
    "latency_code",
    "latency_code_linear",
    "latency_code_log",
    "latency_decode",
    "latency_interpolate",
    "moving_window",
    "moving_window_decode",
    "phase",
    "phase_decode",
    "poisson",
    "population",
    "population_decode",
    "rate",
    "rate_conv",
    "rate_interpolate",
    "step_forward",
    "target_rate_code",
    "targets_convert",
    "targets_latency",
    "targets_rate",
    "threshold_based",
    "to_events",
    "to_one_hot",
    "to_one_hot_inverse",
    "ttfs",
    "ttfs_decode",
]
