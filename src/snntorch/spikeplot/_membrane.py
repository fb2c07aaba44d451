"""Membrane potentials over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ._canvas import COLORS, ink, named, new_axes, tidy, time_scale, to_numpy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def traces(
    data: torch.Tensor | np.ndarray,
    spk: torch.Tensor | np.ndarray | None = None,
    dim: tuple[int, int] = (3, 3),
    spk_height: float = 5,
    titles: Sequence[str] | None = None,
) -> None:
    """Plot a grid of traces in pyplot's current figure, one neuron a cell.

    Args:
        data: membrane potentials of one sample, `[T, N]`. Cells beyond N stay empty; neurons beyond the
            grid are not drawn.
        spk: spikes of the same shape, added to the traces `spk_height` high.
        dim: rows and columns of the grid.
        spk_height: height of a spike.
        titles: titles of the cells that are drawn; None or empty for none.

    Raises:
        ValueError: `data` is not `[T, N]`, `spk` has another shape, `dim` is not two positive numbers, or
            there are fewer titles than cells drawn.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> import torch
        >>> from snntorch import spikeplot as splt
        >>> fig = plt.figure()
        >>> splt.traces(torch.rand(20, 4), spk=torch.rand(20, 4) < 0.1, dim=(2, 2))
        >>> len(fig.axes)
        4
        >>> plt.close(fig)
    """
    import matplotlib.pyplot as plt

    potentials = to_numpy(data, "data", ndim=(2,))
    if len(dim) != 2 or min(dim) < 1:
        raise ValueError(f"dim is {dim}; expected two positive numbers, the rows and columns of the grid")
    if spk is not None:
        spikes = to_numpy(spk, "spk")
        if spikes.shape != potentials.shape:
            raise ValueError(f"spk has shape {list(spikes.shape)}; expected data's {list(potentials.shape)}")
        potentials = potentials + spk_height * spikes
    cells = min(dim[0] * dim[1], potentials.shape[1])
    titles = [] if titles is None else list(titles)
    if titles and len(titles) < cells:
        raise ValueError(f"titles has {len(titles)} entries; expected {cells}, one for each trace")

    figure = plt.gcf()
    first = None
    for cell in range(cells):
        ax = figure.add_subplot(*dim, cell + 1, sharey=first)
        first = first or ax
        ax.plot(potentials[:, cell])
        ax.axis("off")
        if titles:
            ax.set_title(titles[cell])


def membrane_traces(
    mem: torch.Tensor | np.ndarray,
    spikes: torch.Tensor | np.ndarray | None = None,
    threshold: float | torch.Tensor | np.ndarray | None = None,
    *,
    ax: Axes | None = None,
    labels: Sequence[Any] | None = None,
    time_step: float | None = None,
) -> list[Line2D]:
    """Stack the membrane traces of several neurons, with threshold lines and spike marks.

    Each neuron has a lane, the first one on top. All lanes have one scale: a tick stands at the lane's zero,
    and the dashed line at its threshold, whose value is written beside it.

    Args:
        mem: membrane potentials of one sample, `[T, N]`, or `[T]` for one neuron.
        spikes: spikes of the same shape, marked above the traces.
        threshold: one for all neurons, or `[N]`.
        ax: axes to draw on; a new figure when left out.
        labels: names of the N neurons; None numbers them.
        time_step: seconds in a step, to show seconds rather than steps.

    Returns:
        The traces' lines, one a neuron.

    Raises:
        ValueError: `mem` is not `[T, N]` or `[T]`, or another argument does not match its shape.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> mem = torch.rand(50, 3)
        >>> lines = splt.membrane_traces(mem, mem > 0.9, threshold=0.9, ax=Figure().subplots())
        >>> len(lines)
        3
    """
    step, time_label, _ = time_scale(time_step)
    potentials = to_numpy(mem, "mem", ndim=(1, 2))
    fired = None if spikes is None else to_numpy(spikes, "spikes")
    if fired is not None and fired.shape != potentials.shape:
        raise ValueError(f"spikes has shape {list(fired.shape)}; expected mem's {list(potentials.shape)}")
    potentials = potentials.reshape(len(potentials), -1)
    num_steps, num_neurons = potentials.shape
    if num_neurons == 0:
        raise ValueError(f"mem has shape {list(potentials.shape)}; expected at least one neuron")
    labels = named(labels, num_neurons, "mem", "neurons")
    levels = None if threshold is None else to_numpy(np.atleast_1d(threshold), "threshold")
    if levels is not None and levels.shape not in ((1,), (num_neurons,)):
        raise ValueError(f"threshold has shape {list(levels.shape)}; expected one value or [{num_neurons}]")

    extent = potentials if levels is None else np.append(potentials, levels)
    top, bottom = max(extent.max(), 0.0), min(extent.min(), 0.0)
    height = 1.35 * (top - bottom) or 1.0  # leaves room for the spike marks
    zeros = height * np.arange(num_neurons)[::-1]
    times = step * np.arange(num_steps)

    ax = new_axes() if ax is None else ax
    lines = ax.plot(times, potentials + zeros, color=COLORS[0], linewidth=1.2)
    if levels is not None:
        heights = np.broadcast_to(levels, num_neurons)
        ax.hlines(heights + zeros, 0, times[-1], color=ink(ax), linestyle="--", linewidth=0.8, alpha=0.6)
        for value, zero in zip(heights, zeros, strict=True):
            where: Any = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
            ax.annotate(f"θ = {value:.3g}", (1, value + zero), (4, 0), fontsize="small", **where)
    if fired is not None:
        steps, neurons = fired.reshape(num_steps, -1).nonzero()
        marks = zeros[neurons] + top + 0.12 * height
        ax.scatter(steps * step, marks, marker="|", s=30, linewidths=1.5, color=COLORS[1])
    ax.set_yticks(zeros, [str(label) for label in labels])
    ax.set_ylim(bottom - 0.12 * height, zeros[0] + top + 0.22 * height)
    ax.set_xlim(0, times[-1] or step)
    tidy(ax, time_label, "Neuron")
    return lines
