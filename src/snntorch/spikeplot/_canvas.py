"""What every plot shares: data as arrays, axes to draw on, colours, and the time axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# After Okabe and Ito (2008), "Color Universal Design": distinct for every common colour vision. The blue is
# lighter than theirs, so that the first three have a contrast above 3:1 to white and 5:1 to black.
COLORS = ("#2383C4", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def to_numpy(data: torch.Tensor | np.ndarray, name: str, ndim: tuple[int, ...] | None = None) -> np.ndarray:
    """Return `data` as a NumPy array, whatever its device, dtype or gradient.

    Args:
        data: tensor or array whose first dimension is time (or, for weights, the neuron).
        name: what an error message calls the argument.
        ndim: the numbers of dimensions that are allowed; at least one dimension when left out.

    Raises:
        ValueError: `data` has another number of dimensions, or an empty first one.
    """
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu()
        if data.is_floating_point() and data.dtype != torch.float64:
            data = data.float()  # NumPy has no bfloat16
    array = np.asarray(data)
    if array.ndim == 0 or (ndim is not None and array.ndim not in ndim):
        expected = "at least 1" if ndim is None else " or ".join(map(str, ndim))
        raise ValueError(f"{name} has shape {list(array.shape)}; expected {expected} dimensions")
    if len(array) == 0:
        raise ValueError(f"{name} has shape {list(array.shape)}; its first dimension must not be empty")
    return array


def steps_shown(num_steps: int | bool | None, available: int) -> int:
    """Return how many steps to draw: all that are `available` when `num_steps` is not given."""
    if not num_steps:
        return available
    if not 0 < num_steps <= available:
        raise ValueError(f"num_steps is {num_steps}, but data has {available} steps")
    return int(num_steps)


def at_least_one(of: str = "", **sizes: float | None) -> None:
    """Raise a ValueError unless each of the sizes, of something, that is given is 1 or more."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} is {size}; expected at least 1{of}")


def named(labels: Any, count: int, name: str, what: str) -> Sequence[Any]:
    """Return the labels of `count` things, their numbers where none are given.

    Raises:
        ValueError: there are more or fewer labels than the argument `name` has of `what`.
    """
    labels = range(count) if labels is None else labels
    if len(labels) != count:
        raise ValueError(f"labels has {len(labels)} entries, but {name} has {count} {what}")
    return labels


def new_figure(figsize: tuple[float, float] | None = None) -> Figure:
    """Return a new pyplot figure, which notebooks then show, of `figsize` inches."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=figsize, layout="constrained")


def new_axes() -> Axes:
    """Return the axes of a new figure."""
    return new_figure().subplots()


def ink(ax: Axes) -> Any:
    """Return the colour in which `ax` writes its labels: black on a light style, white on a dark one."""
    return ax.xaxis.label.get_color()


def tidy(ax: Axes, xlabel: str, ylabel: str) -> None:
    """Label the axes, and hide the two spines that carry no scale."""
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)


def whole_ticks(axis: Axis) -> None:
    """Put the ticks of an axis that counts at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def time_scale(time_step: float | None) -> tuple[float, str, str]:
    """Return the length of a step on the time axis, that axis' label, and the label of a rate.

    Args:
        time_step: seconds in a step; None counts steps.
    """
    if time_step is None:
        return 1.0, "Time step", "Rate [1/step]"
    if not time_step > 0:
        raise ValueError(f"time_step is {time_step}; expected a positive number of seconds")
    return float(time_step), "Time [s]", "Rate [Hz]"
