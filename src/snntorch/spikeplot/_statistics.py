"""Statistics of spike trains: rates over time and over neurons, and the intervals between spikes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ._canvas import COLORS, at_least_one, ink, new_axes, tidy, time_scale, to_numpy, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import StepPatch


def psth(
    spikes: torch.Tensor | np.ndarray,
    *,
    ax: Axes | None = None,
    bin_size: int | None = None,
    time_step: float | None = None,
    color: Any = COLORS[0],
    label: str | None = None,
) -> StepPatch:
    r"""Peri-stimulus time histogram: the mean firing rate of a neuron over time, across trials.

    .. math:: r_k = \frac{1}{B\,N\,|k|\,\Delta t} \sum_{b=1}^{B} \sum_{n=1}^{N} \sum_{t \in k} S_{t,b,n}

    for the steps t in bin k. The shade is the standard error of the mean over the B trials.

    Args:
        spikes: `[T, B, N...]`: steps, trials (the batch), neurons. `[T, B]` is one neuron, `[T]` also one trial.
        ax: axes to draw on; a new figure when left out.
        bin_size: steps in a bin (the last one may be shorter); by default such that there are about 50 bins.
        time_step: seconds in a step, to show seconds and Hz rather than steps.
        color: colour of the line and its shade.
        label: the line's name in a legend.

    Returns:
        The line; its `get_data()` has the rates and the edges of the bins.

    Raises:
        ValueError: `spikes` has no steps, trials or neurons, or a size is not positive.

    Source: G. L. Gerstein and N. Y.-S. Kiang, "An approach to the quantitative analysis of electrophysiological data
    from single neurons", Biophysical Journal 1(1), 1960.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> spikes = torch.zeros(6, 2)
        >>> spikes[0, :] = 1
        >>> line = splt.psth(spikes, ax=Figure().subplots(), bin_size=2, time_step=0.001)
        >>> line.get_data().values.tolist()
        [500.0, 0.0, 0.0]
    """
    step, time_label, rate_label = time_scale(time_step)
    array = to_numpy(spikes, "spikes")
    if array.size == 0:
        raise ValueError(f"spikes has shape {list(array.shape)}; expected at least one trial and one neuron")
    at_least_one(" step", bin_size=bin_size)
    bin_size = -(-len(array) // 50) if bin_size is None else bin_size
    trials = array.reshape(len(array), array.shape[1] if array.ndim > 1 else 1, -1)
    trials = trials.mean(axis=2, dtype=float)
    starts = np.arange(0, len(array), bin_size)
    edges = np.append(starts, len(array)) * step
    rates = np.add.reduceat(trials, starts, axis=0) / np.diff(edges)[:, None]
    mean = rates.mean(axis=1)

    ax = new_axes() if ax is None else ax
    line = ax.stairs(mean, edges, baseline=None, color=color, label=label, linewidth=1.5)
    line.sticky_edges.y.append(0)  # the rate starts at zero, and its axis still grows with what else is drawn
    ax.update_datalim([(0, 0)])
    if trials.shape[1] > 1:
        error = rates.std(axis=1, ddof=1) / trials.shape[1] ** 0.5
        low = np.maximum(mean - error, 0)  # the difference is never negative but by rounding
        ax.stairs(mean + error, edges, baseline=low, fill=True, color=color, alpha=0.3, linewidth=0)
    ax.autoscale_view()
    ax.set_xlim(0, edges[-1])
    tidy(ax, time_label, rate_label)
    return line


def rate_histogram(
    spikes: torch.Tensor | np.ndarray,
    *,
    ax: Axes | None = None,
    bins: int = 30,
    time_step: float | None = None,
    color: Any = COLORS[0],
) -> StepPatch:
    r"""Histogram over the neurons of their firing rates.

    .. math:: r_n = \frac{1}{T\,B\,\Delta t} \sum_{t=1}^{T} \sum_{b=1}^{B} [S_{t,b,n} \neq 0]

    The dashed line marks the mean; the title gives it and how many neurons never fired.

    Args:
        spikes: `[T, N]`, or `[T, B, N...]` with the batch. Any value but zero is one spike.
        ax: axes to draw on; a new figure when left out.
        bins: how many bins there are at most; each holds equally many of the rates that can occur.
        time_step: seconds in a step, to show Hz rather than spikes a step.
        color: colour of the bars.

    Returns:
        The bars; their `get_data()` has the numbers of neurons and the edges of the bins.

    Raises:
        ValueError: `spikes` has no steps, samples or neurons, or a size is not positive.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> ax = Figure().subplots()
        >>> bars = splt.rate_histogram(torch.tensor([[0, 1, 1], [0, 0, 1]]), ax=ax, time_step=0.01)
        >>> bars.get_data().values.tolist()  # rates of 0, 50 and 100 Hz
        [1, 1, 1]
        >>> ax.get_title()
        'mean 50 Hz, 1 of 3 silent'
    """
    step, _, rate_label = time_scale(time_step)
    array = to_numpy(spikes, "spikes")
    if array.size == 0:
        raise ValueError(f"spikes has shape {list(array.shape)}; expected at least one sample and one neuron")
    at_least_one(bins=bins)
    trials = array.reshape(len(array), array.shape[1] if array.ndim > 2 else 1, -1)
    spike_counts = np.count_nonzero(trials, axis=(0, 1))
    duration = trials.shape[0] * trials.shape[1] * step
    mean, silent = spike_counts.mean() / duration, np.count_nonzero(spike_counts == 0)

    possible = int(spike_counts.max()) + 1  # counts from 0 to the largest
    bin_size = -(-possible // bins)
    edges = bin_size * np.arange(-(-possible // bin_size) + 1) - 0.5  # counts lie inside the bins, not on edges
    neurons, _ = np.histogram(spike_counts, edges)

    ax = new_axes() if ax is None else ax
    bars = ax.stairs(neurons, edges / duration, fill=True, color=color)
    ax.axvline(mean, color=ink(ax), linestyle="--", linewidth=1)
    unit = "spikes a step" if time_step is None else "Hz"
    ax.set_title(f"mean {mean:.3g} {unit}, {silent} of {len(spike_counts)} silent", fontsize="medium")
    ax.set_ylim(bottom=0)
    whole_ticks(ax.yaxis)
    tidy(ax, rate_label, "Neurons")
    return bars


def isi_histogram(
    spikes: torch.Tensor | np.ndarray,
    *,
    ax: Axes | None = None,
    bin_size: int | None = None,
    time_step: float | None = None,
    color: Any = COLORS[0],
) -> StepPatch:
    """Histogram of the inter-spike intervals: the gaps between one spike of a neuron and its next.

    The title gives their mean and their coefficient of variation (standard deviation over mean): 0 for a
    clock, 1 for a Poisson process, above 1 for bursts.

    Args:
        spikes: `[T, ...]`: spike trains over time, which are pooled.
        ax: axes to draw on; a new figure when left out.
        bin_size: steps in a bin; by default such that there are at most about 50 bins.
        time_step: seconds in a step, to show seconds rather than steps.
        color: colour of the bars.

    Returns:
        The bars; their `get_data()` has the counts and the edges of the bins.

    Raises:
        ValueError: `spikes` has no steps, or a size is not positive.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> bars = splt.isi_histogram(torch.tensor([1, 0, 1, 0, 1, 1]), ax=Figure().subplots())
        >>> bars.get_data().values.tolist()  # intervals of 1, 2 and 3 steps
        [1, 2]
    """
    step, _, _ = time_scale(time_step)
    array = to_numpy(spikes, "spikes")
    at_least_one(" step", bin_size=bin_size)
    trains, steps = array.reshape(len(array), -1).T.nonzero()  # train by train, each in order of time
    intervals = np.diff(steps)[np.diff(trains) == 0]

    longest = int(intervals.max(initial=1))
    bin_size = -(-longest // 50) if bin_size is None else bin_size
    num_bins = -(-longest // bin_size)
    edges = 0.5 + bin_size * np.arange(num_bins + 1)  # whole steps lie inside the bins, not on their edges
    counts, _ = np.histogram(intervals, edges)

    ax = new_axes() if ax is None else ax
    bars = ax.stairs(counts, edges * step, fill=True, color=color)
    if intervals.size:
        mean, deviation = intervals.mean(), intervals.std()
        unit = "steps" if time_step is None else "s"
        ax.set_title(f"mean {mean * step:.3g} {unit}, CV {deviation / mean:.2f}", fontsize="medium")
    else:
        ax.set_title("no neuron fired twice", fontsize="medium")
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    tidy(ax, "Interval [steps]" if time_step is None else "Interval [s]", "Count")
    return bars
