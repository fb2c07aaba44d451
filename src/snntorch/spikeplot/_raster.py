"""Raster plots: a mark for each spike, time across, neurons up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ._canvas import COLORS, at_least_one, ink, named, new_figure, tidy, time_scale, to_numpy, whole_ticks
from ._statistics import psth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure, SubFigure


def raster(data: torch.Tensor | np.ndarray, ax: Axes, **kwargs: Any) -> PathCollection:
    """Mark each spike at (time step, neuron).

    Args:
        data: spikes `[T, N...]`; dimensions after the first are flattened into one. `[T]` is one neuron.
        ax: axes to draw on.
        **kwargs: passed to `ax.scatter`, such as `s=1.5, c="black", marker="|"`.

    Returns:
        The marks.

    Raises:
        ValueError: `data` has no dimension or no steps.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> marks = splt.raster(torch.eye(3), Figure().subplots(), s=1.5, c="black")
        >>> marks.get_offsets().tolist()
        [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    """
    spikes = to_numpy(data, "data")
    steps, neurons = spikes.reshape(len(spikes), -1).nonzero()
    return ax.scatter(steps, neurons, **kwargs)


def raster_groups(
    spikes: torch.Tensor | np.ndarray,
    groups: Mapping[str, Any] | None = None,
    *,
    ax: Axes | None = None,
    rate_ax: Axes | None = None,
    colors: Sequence[Any] = COLORS,
    bin_size: int | None = None,
    time_step: float | None = None,
    **kwargs: Any,
) -> list[PathCollection]:
    """Raster of groups of neurons, each in its colour, with the groups' mean rates above it.

    The groups are stacked from the bottom up in the order of the mapping, each labelled at its rows.

    Args:
        spikes: spikes of one sample, `[T, N...]`; dimensions after the first are flattened.
        groups: name of each group -> its neurons: a slice, indices or a mask into the N neurons. One group of
            all neurons when left out.
        ax: axes for the raster. Left out, a new figure is made with both axes.
        rate_ax: axes for the rates; without them, given `ax`, no rates are drawn.
        colors: colours of the groups, repeated when there are more groups.
        bin_size: steps in a bin of the rate; by default such that there are about 50 bins.
        time_step: seconds in a step, to show seconds and Hz rather than steps.
        **kwargs: passed to `ax.scatter`.

    Returns:
        The marks, one collection a group.

    Raises:
        ValueError: there are no groups, a group is empty, `rate_ax` comes without `ax`, or a size is not positive.
        IndexError: a group names neurons that are not there.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> top, bottom = Figure().subplots(2, sharex=True)
        >>> spikes = torch.rand(100, 50) < 0.1
        >>> groups = {"excitatory": slice(0, 40), "inhibitory": slice(40, 50)}
        >>> marks = splt.raster_groups(spikes, groups, ax=bottom, rate_ax=top, time_step=1e-3)
        >>> [tick.get_text() for tick in bottom.get_yticklabels()]
        ['excitatory', 'inhibitory']
    """
    step, time_label, _ = time_scale(time_step)
    array = to_numpy(spikes, "spikes")
    array = array.reshape(len(array), -1)
    chosen = {"": slice(None)} if groups is None else groups
    members = {name: array[:, index] for name, index in chosen.items()}
    if not members:
        raise ValueError("groups is empty; expected at least one group, or None for all neurons")
    for name, member in members.items():
        if member.ndim != 2 or member.shape[1] == 0:
            raise ValueError(f"groups[{name!r}] selects shape {list(member.shape)}; expected [T, neurons]")
    if ax is None:
        if rate_ax is not None:
            raise ValueError("rate_ax was given without ax; expected both or neither")
        figure = new_figure()
        grid = figure.add_gridspec(2, height_ratios=(1, 3))
        rate_ax = figure.add_subplot(grid[0])
        rate_ax.tick_params(labelbottom=False)
        ax = figure.add_subplot(grid[1], sharex=rate_ax)

    first_rows = np.cumsum([0, *(member.shape[1] for member in members.values())])
    tints = [colors[i % len(colors)] for i in range(len(members))]
    row_height = ax.get_window_extent().height * 72 / ax.figure.dpi / first_rows[-1]  # in points
    style = {"marker": "|", "s": np.clip(row_height, 2.5, 8) ** 2, "linewidths": 1.0} | kwargs
    marks = []
    for first, member, tint in zip(first_rows, members.values(), tints, strict=False):
        steps, rows = member.nonzero()
        marks.append(ax.scatter(steps * step, rows + first, **({"color": tint} | style)))

    ax.set_xlim(0, len(array) * step)
    ax.set_ylim(-0.5, first_rows[-1] - 0.5)
    tidy(ax, time_label, ax.get_ylabel() if groups else "Neuron")
    if groups:
        ax.set_yticks((first_rows[:-1] + first_rows[1:] - 1) / 2, list(members))
        ax.tick_params(axis="y", length=0)
        for tick, tint in zip(ax.get_yticklabels(), tints, strict=True):
            tick.set_color(tint)
        for edge in first_rows[1:-1]:
            ax.axhline(edge - 0.5, color=ink(ax), linewidth=0.5, alpha=0.4)
    else:
        whole_ticks(ax.yaxis)
    if rate_ax is not None:
        for member, tint in zip(members.values(), tints, strict=True):
            psth(member.mean(axis=1), ax=rate_ax, bin_size=bin_size, time_step=time_step, color=tint)
        rate_ax.set_xlabel("")
    return marks


def raster_grid(
    spikes: torch.Tensor | np.ndarray,
    labels: Sequence[Any] | torch.Tensor | np.ndarray | None = None,
    *,
    columns: int | None = None,
    time_step: float | None = None,
    fig: Figure | SubFigure | None = None,
    **kwargs: Any,
) -> list[PathCollection]:
    """Raster of every sample of a batch, side by side on shared axes.

    Args:
        spikes: `[T, B, N...]`; dimensions after the batch are flattened.
        labels: titles of the B samples, such as their targets; None numbers them.
        columns: rasters in a row; by default as near to a square of rasters as can be.
        time_step: seconds in a step, to show seconds rather than steps.
        fig: figure to draw in, best with `layout="constrained"`; a new one when left out.
        **kwargs: passed to `ax.scatter`.

    Returns:
        The marks, one collection a sample.

    Raises:
        ValueError: `spikes` is not `[T, B, N...]` or empty, `labels` has another length than B, or a size is
            not positive.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> spikes, targets = torch.rand(25, 6, 10) < 0.2, torch.tensor([3, 1, 4, 1, 5, 9])
        >>> marks = splt.raster_grid(spikes, targets, columns=3, fig=Figure(layout="constrained"))
        >>> [mark.axes.get_title() for mark in marks]
        ['3', '1', '4', '1', '5', '9']
    """
    _, time_label, _ = time_scale(time_step)
    array = to_numpy(spikes, "spikes")
    if array.ndim < 3 or array.size == 0:
        raise ValueError(f"spikes has shape {list(array.shape)}; expected [T, B, N...], none empty")
    num_samples = array.shape[1]
    if isinstance(labels, torch.Tensor):
        labels = labels.tolist()
    prefix = "sample " if labels is None else ""
    titles = [f"{prefix}{label}" for label in named(labels, num_samples, "spikes", "samples")]
    at_least_one(columns=columns)
    columns = int(np.ceil(num_samples**0.5)) if columns is None else min(columns, num_samples)
    rows = -(-num_samples // columns)
    fig = new_figure((max(6.4, 1.6 * columns), max(4.8, 1.2 * rows))) if fig is None else fig
    grid = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in grid[num_samples:]:
        ax.remove()
    marks = []
    for sample, (ax, title) in enumerate(zip(grid, titles, strict=False)):
        marks += raster_groups(array[:, sample], ax=ax, colors=[ink(ax)], time_step=time_step, **kwargs)
        ax.set_title(title, fontsize="medium")
        ax.set(xlabel="", ylabel="")
        ax.tick_params(labelbottom=sample >= num_samples - columns)  # also where nothing is drawn below
    grid[0].xaxis.get_major_locator().set_params(prune="upper")  # else its label meets the next raster's first
    fig.supxlabel(time_label, fontsize="medium", color=ink(grid[0]))
    fig.supylabel("Neuron", fontsize="medium", color=ink(grid[0]))
    return marks
