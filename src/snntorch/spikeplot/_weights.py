"""Weights: a layer's matrix and what each neuron looks for as images, and how they are distributed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ._canvas import COLORS, at_least_one, ink, new_axes, tidy, to_numpy, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.patches import StepPatch


def weight_map(
    weight: torch.Tensor | np.ndarray, *, ax: Axes | None = None, cmap: str = "RdBu_r", limit: float | None = None
) -> AxesImage:
    """Show a weight matrix with a colour scale that is symmetric about zero.

    Args:
        weight: `[out, in...]`; dimensions after the first are flattened.
        ax: axes to draw on; a new figure when left out.
        cmap: diverging colour map: red for positive and blue for negative weights by default.
        limit: magnitude at the ends of the colour scale; by default the largest one in `weight`.

    Returns:
        The image; its `colorbar` is drawn beside it.

    Raises:
        ValueError: `weight` has fewer than two dimensions or no entries.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> image = splt.weight_map(torch.tensor([[1.0, -3.0]]), ax=Figure().subplots())
        >>> image.get_clim()
        (-3.0, 3.0)
    """
    array = _weights(weight)
    ax = new_axes() if ax is None else ax
    image = _signed_image(array.reshape(len(array), -1), ax, cmap, limit)
    image.axes.set_aspect("auto")
    ax.set(xlabel="Input", ylabel="Neuron")
    whole_ticks(ax.xaxis)
    whole_ticks(ax.yaxis)
    return image


def receptive_fields(
    weight: torch.Tensor | np.ndarray,
    shape: tuple[int, int] | None = None,
    *,
    ax: Axes | None = None,
    columns: int | None = None,
    scale: str = "all",
    cmap: str = "RdBu_r",
) -> AxesImage:
    """Show the incoming weights of every neuron as a tile, in the shape of what it sees.

    Args:
        weight: of a linear layer, `[N, H * W]` with `shape`, or `[N, H, W]`; of a convolution,
            `[N, C, H, W]`, which gets a column of C tiles for each of its N filters (C > 1).
        shape: `(H, W)`, to fold the inputs of a linear layer.
        ax: axes to draw on; a new figure when left out.
        columns: tiles in a row; by default as near to a square of tiles as can be.
        scale: "all" gives all tiles one colour scale, "each" divides each tile by its largest magnitude.
        cmap: diverging colour map.

    Returns:
        The image of all tiles.

    Raises:
        ValueError: `weight` does not fit `shape` or has another number of dimensions, or `scale` is unknown.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> ax = Figure().subplots()
        >>> image = splt.receptive_fields(torch.randn(6, 28 * 28), (28, 28), ax=ax, columns=3)
        >>> image.get_array().shape  # 2 rows of 3 tiles, a pixel apart
        (57, 86)
    """
    array = _weights(weight)
    if shape is not None:
        if array[0].size != shape[0] * shape[1]:
            raise ValueError(f"weight has shape {list(array.shape)}, whose {array[0].size} inputs do not fill {shape}")
        array = array.reshape(len(array), *shape)
    if array.ndim not in (3, 4):
        raise ValueError(f"weight has shape {list(array.shape)}; expected [N, H, W], [N, C, H, W] or a shape to fold")
    if scale not in ("all", "each"):
        raise ValueError(f"scale is {scale!r}; expected 'all' or 'each'")
    tiles = array.swapaxes(0, -3).reshape(-1, *array.shape[-2:])  # all filters of a channel in turn
    at_least_one(columns=columns)
    if columns is None:
        has_channels = len(tiles) > len(array)
        columns = len(array) if has_channels else int(np.ceil(len(tiles) ** 0.5))
    if scale == "each":
        largest = np.abs(tiles).max(axis=(1, 2), keepdims=True)
        tiles = tiles / np.where(largest > 0, largest, 1)

    rows = -(-len(tiles) // columns)
    missing = rows * columns - len(tiles)
    tiles = np.pad(tiles.astype(float), ((0, missing), (0, 1), (0, 1)), constant_values=np.nan)
    height, width = tiles.shape[1:]
    grid = tiles.reshape(rows, columns, height, width).swapaxes(1, 2)
    mosaic = grid.reshape(rows * height, columns * width)

    ax = new_axes() if ax is None else ax
    image = _signed_image(mosaic[:-1, :-1], ax, cmap, None)
    ax.axis("off")
    return image


def weight_histogram(
    weight: torch.Tensor | np.ndarray | Mapping[str, torch.Tensor | np.ndarray],
    *,
    ax: Axes | None = None,
    bins: int = 50,
) -> list[StepPatch]:
    """Histogram of a layer's weights, or the outlines of several layers', with a dashed line at zero.

    The heights are fractions of a layer's weights, so that layers of different sizes can be compared. Zero is
    the edge of a bin: no bin mixes negative and positive weights.

    Args:
        weight: weights of any shape, or name -> weights of each layer.
        ax: axes to draw on; a new figure when left out.
        bins: into how many bins the range of the weights and zero is divided (one more where zero splits one).

    Returns:
        The histograms, one a layer; their `get_data()` has the fractions and the edges of the bins.

    Raises:
        ValueError: there are no layers, a layer has no weights or others than finite ones, or `bins` is below 1.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> layers = {"hidden": torch.tensor([-1.0, 0.5, 0.6, 3.0]), "output": torch.tensor([-1.0, 2.5])}
        >>> hidden, output = splt.weight_histogram(layers, ax=Figure().subplots(), bins=4)
        >>> hidden.get_data().values.tolist(), output.get_data().values.tolist()
        ([0.25, 0.5, 0.0, 0.25], [0.5, 0.0, 0.0, 0.5])
    """
    named = weight if isinstance(weight, Mapping) else {None: weight}
    if not named:
        raise ValueError("weight is empty; expected at least one layer")
    at_least_one(bins=bins)
    layers = {}
    for name, values in named.items():
        shown = "weight" if name is None else f"weight[{name!r}]"
        layers[name] = to_numpy(values, shown).astype(float)
        if layers[name].size == 0 or not np.isfinite(layers[name]).all():
            raise ValueError(f"{shown} has shape {list(layers[name].shape)}; expected finite weights, and at least one")

    low = min(0.0, *(values.min() for values in layers.values()))
    high = max(0.0, *(values.max() for values in layers.values()))
    width = (high - low or 1.0) / bins
    edges = width * np.arange(np.floor(low / width), max(np.ceil(high / width), 1) + 1)
    edges[[0, -1]] = min(edges[0], low), max(edges[-1], high)  # rounding leaves no weight out

    ax = new_axes() if ax is None else ax
    histograms = []
    for i, (name, values) in enumerate(layers.items()):
        heights = np.histogram(values, edges)[0] / values.size
        style: Any = {"color": COLORS[i % len(COLORS)], "linestyle": ("-", "--", ":")[i // len(COLORS) % 3]}
        histograms.append(ax.stairs(heights, edges, fill=name is None, linewidth=1.5, label=name, **style))
    ax.axvline(0, color=ink(ax), linestyle="--", linewidth=1)
    if None not in layers:
        ax.legend(fontsize="small")
    ax.set_ylim(bottom=0)
    tidy(ax, "Weight", "Fraction of weights")
    return histograms


def _weights(weight: torch.Tensor | np.ndarray) -> np.ndarray:
    """Return `weight` as an array of neurons by inputs, neither of them empty."""
    array = to_numpy(weight, "weight")
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"weight has shape {list(array.shape)}; expected [neurons, inputs...], none empty")
    return array


def _signed_image(matrix: np.ndarray, ax: Axes, cmap: str, limit: float | None) -> AxesImage:
    """Draw `matrix` with white at zero and a colour bar that leaves the other axes where they are."""
    if limit is None:
        limit = float(np.nanmax(np.abs(matrix))) or 1.0
    image = ax.imshow(matrix, cmap=cmap, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0, 0.04, 1)))
    return image
