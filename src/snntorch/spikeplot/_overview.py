"""One figure of a network's run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ._canvas import COLORS, at_least_one, ink, named, new_figure, tidy, to_numpy, whole_ticks
from ._raster import raster_groups
from ._statistics import psth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


def overview(
    run: Mapping[str, torch.Tensor | np.ndarray],
    *,
    sample: int = 0,
    labels: Sequence[Any] | None = None,
    time_step: float | None = None,
    max_neurons: int = 400,
    fig: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Show a network's run in one figure: input to output from top to bottom, then the output's spike counts.

    Each row has the raster of one sample on the left and, on the right, the mean rate over the batch with its
    standard error. The last row counts the output spikes of the sample; the largest counts are highlighted.

    Args:
        run: name -> spikes `[T, B, N...]`, the network's input first and its output last, T and B alike.
        sample: which sample of the batch the rasters and the counts show.
        labels: names of the output neurons; None numbers them.
        time_step: seconds in a step, to show seconds and Hz rather than steps.
        max_neurons: a raster with more neurons shows this many, evenly spaced, and says so.
        fig: figure to draw in, best with `layout="constrained"`; a new one when left out.

    Returns:
        The figure.

    Raises:
        ValueError: `run` is empty or its entries are not `[T, B, N...]` with equal T and B, `labels` has
            another length than the output, or `max_neurons` is below 1.
        IndexError: the batch has no such `sample`.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> spikes = {"input": torch.rand(25, 8, 64) < 0.2, "output": torch.rand(25, 8, 10) < 0.1}
        >>> figure = splt.overview(spikes, fig=Figure(layout="constrained"))
        >>> [ax.get_title() for ax in figure.axes]
        ['input: 64 neurons', 'mean of 8 samples', 'output: 10 neurons', '', 'output spikes']
    """
    layers = {name: to_numpy(spikes, f"run[{name!r}]") for name, spikes in run.items()}
    if not layers:
        raise ValueError("run is empty; expected at least one entry of spikes [T, B, N...]")
    expected = next(iter(layers.values())).shape[:2]
    for name, spikes in layers.items():
        if spikes.ndim < 3 or spikes.size == 0 or spikes.shape[:2] != expected:
            raise ValueError(
                f"run[{name!r}] has shape {list(spikes.shape)}; "
                f"expected [T, B, N...] with [T, B] = {list(expected)} and at least one neuron"
            )
    num_samples = expected[1]
    if not -num_samples <= sample < num_samples:
        raise IndexError(f"sample is {sample}, but the batch has {num_samples} samples")
    at_least_one(max_neurons=max_neurons)
    layers = {name: spikes.reshape(*expected, -1) for name, spikes in layers.items()}
    counts = list(layers.values())[-1][:, sample].sum(axis=0)
    if labels is not None:
        named(labels, len(counts), "the output", "neurons")

    fig = new_figure((9, 1.9 * (len(layers) + 1))) if fig is None else fig
    grid = fig.add_gridspec(len(layers) + 1, 2, width_ratios=(3, 2))
    shared = None
    for row, (name, spikes) in enumerate(layers.items()):
        left = fig.add_subplot(grid[row, 0], sharex=shared)
        shared = shared or left
        right = fig.add_subplot(grid[row, 1], sharex=shared)
        num_neurons = spikes.shape[2]
        shown = np.unique(np.linspace(0, num_neurons - 1, min(num_neurons, max_neurons)).round().astype(int))
        visible = np.zeros((len(spikes), num_neurons), spikes.dtype)
        visible[:, shown] = spikes[:, sample, shown]
        raster_groups(visible, ax=left, colors=[ink(left)], time_step=time_step)
        left.set_title(
            f"{name}: {num_neurons} neurons" + (f", {len(shown)} shown" if len(shown) < num_neurons else ""),
            fontsize="medium",
        )
        psth(spikes, ax=right, time_step=time_step)
        if row == 0:
            right.set_title(f"mean of {num_samples} sample{'s' * (num_samples > 1)}", fontsize="medium")
        if row < len(layers) - 1:
            for ax in (left, right):
                ax.set_xlabel("")
                ax.tick_params(labelbottom=False)
    _output_counts(counts, labels, fig.add_subplot(grid[-1, :]))
    return fig


def _output_counts(counts: np.ndarray, labels: Sequence[Any] | None, ax: Axes) -> None:
    """Draw a bar a class; the winners also carry their count, so that colour is not their only sign."""
    winners = (counts == counts.max()) & (counts > 0)
    bars = ax.bar(np.arange(len(counts)), counts, color=np.where(winners, COLORS[1], COLORS[0]).tolist())
    ax.bar_label(bars, np.where(winners, [f"{count:g}" for count in counts], "").tolist())
    ax.margins(y=0.2)
    if labels is None and len(counts) <= 20:
        labels = range(len(counts))
    if labels is None:
        whole_ticks(ax.xaxis)
    else:
        ax.set_xticks(np.arange(len(counts)), [str(label) for label in labels])
    ax.set_title("output spikes", fontsize="medium")
    tidy(ax, "Class", "Count")
