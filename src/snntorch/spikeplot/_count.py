"""Spike counts per class, as a chart or an animation of how they build up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ._animation import movie
from ._canvas import COLORS, at_least_one, named, steps_shown, tidy, to_numpy

if TYPE_CHECKING:
    from matplotlib.animation import ArtistAnimation
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def spike_count(
    data: torch.Tensor | np.ndarray,
    fig: Figure,
    ax: Axes,
    labels: Sequence[Any] | None,
    num_steps: int | bool | None = False,
    animate: bool = False,
    interpolate: int = 1,
    gridshader: bool = True,
    interval: int = 25,
    time_step: float | bool | None = False,
) -> ArtistAnimation | None:
    """Show how often each output neuron fired: a stem and a dot for each label.

    Args:
        data: spikes of one sample, `[T, C]`.
        fig: figure to animate.
        ax: axes of `fig` to draw on.
        labels: names of the C classes; None numbers them.
        num_steps: how many steps to count; all of them when not given.
        animate: show the counts growing over time rather than the final ones.
        interpolate: frames to a step, for a smoother time line.
        gridshader: shade every other interval between two ticks.
        interval: milliseconds between two frames.
        time_step: seconds in a step, to label the time axis in seconds.

    Returns:
        The animation of `num_steps * interpolate` frames if `animate` (keep a reference to it), else None.

    Raises:
        ValueError: `data` is not `[T, C]`, `labels` has another length than C, `num_steps` exceeds T, or
            `interpolate` is below 1.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> fig = Figure()
        >>> ax = fig.subplots()
        >>> splt.spike_count(torch.eye(4), fig, ax, labels=["cat", "dog", "owl", "bat"])
        >>> [tick.get_text() for tick in ax.get_yticklabels()]
        ['cat', 'dog', 'owl', 'bat']
    """
    spikes = to_numpy(data, "data", ndim=(2,))
    num_steps = steps_shown(num_steps, len(spikes))
    num_classes = spikes.shape[1]
    labels = named(labels, num_classes, "data", "classes")
    at_least_one(" frame to a step", interpolate=interpolate)
    rows = np.arange(1, num_classes + 1)
    counts = spikes[:num_steps].cumsum(axis=0)

    ax.set_xlim(0, num_steps)
    ax.set_ylim(0, num_classes + 1)
    ax.set_yticks(rows, [str(label) for label in labels])
    tidy(ax, "Time [s]" if time_step else "Time Step", "Labels")
    ticks = [tick for tick in ax.get_xticks() if 0 <= tick <= num_steps]
    ax.set_xticks(ticks, [f"{tick * (time_step or 1):g}" for tick in ticks])
    if gridshader:
        for left, right in list(pairwise([*ticks, num_steps]))[::2]:
            ax.axvspan(left, right, color="grey", alpha=0.15, linewidth=0, zorder=0)

    def stems(length: np.ndarray) -> list[Artist]:
        lines = ax.hlines(rows, 0, length, color=COLORS[0], linewidth=2)
        dots = ax.scatter(length, rows, color=COLORS[0], s=40, zorder=2, clip_on=False)
        return [lines, dots]

    if not animate:
        stems(counts[-1])
        return None
    bars = [stems(count) for count in counts]
    frames = [
        [*bars[frame // interpolate], ax.axvline(frame / interpolate, color="tab:orange")]
        for frame in range(num_steps * interpolate)
    ]
    return movie(fig, frames, interval=interval)
