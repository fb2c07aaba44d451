"""Curves of a training: loss, accuracy and the like over the epochs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from ._canvas import COLORS, ink, new_figure, tidy, to_numpy, whole_ticks

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

SPLITS = {"train", "training", "val", "valid", "validation", "test"}


def training_curves(
    history: Mapping[str, Iterable[float] | torch.Tensor | np.ndarray],
    *,
    best: str | None = None,
    mode: str = "min",
    fig: Figure | SubFigure | None = None,
) -> list[Line2D]:
    """Plot a training's history over its epochs, one panel a metric.

    Names that differ only in the part of the data, such as "loss", "val_loss" and "test/loss", share a panel. Each
    part has the same colour in every panel.

    Args:
        history: name -> values of a metric, one for each epoch; the first epoch is 1. NaN stands for no value, as
            in epochs without validation; the curve then joins the values around it.
        best: name of the metric whose best epoch is marked in every panel and given in the title.
        mode: "min" or "max": whether the lowest or the highest value is `best`.
        fig: figure to draw in, best with `layout="constrained"`; a new one when left out.

    Returns:
        The curves, one for each entry of `history`; their `axes` are the panels.

    Raises:
        TypeError: an entry of `history` is a lone number.
        ValueError: `history` is empty, its entries are not `[epochs]` with equally many epochs, it has no metric
            `best` or no value of it, or `mode` is unknown.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> history = {"loss": [2.1, 1.2, 0.8], "val_loss": [2.2, 1.4, 1.5], "val_accuracy": [0.3, 0.7, 0.6]}
        >>> figure = Figure(layout="constrained")
        >>> curves = splt.training_curves(history, best="val_loss", fig=figure)
        >>> [curve.axes.get_ylabel() for curve in curves]
        ['Loss', 'Loss', 'Val accuracy']
        >>> figure.get_suptitle()
        'best epoch 2: val_loss 1.4'
    """
    curves = {name: _curve(values, f"history[{name!r}]") for name, values in history.items()}
    if not curves:
        raise ValueError("history is empty; expected at least one metric")
    num_epochs = len(next(iter(curves.values())))
    for name, values in curves.items():
        if len(values) != num_epochs:
            raise ValueError(f"history[{name!r}] has {len(values)} entries; expected {num_epochs}, one for each epoch")
    if best is not None and best not in curves:
        raise ValueError(f"best is {best!r}; expected one of history's {', '.join(map(repr, curves))}")
    if best is not None and np.isnan(curves[best]).all():
        raise ValueError(f"history[{best!r}] has no finite value; expected at least one to be best")
    if mode not in ("min", "max"):
        raise ValueError(f"mode is {mode!r}; expected 'min' or 'max'")

    metrics: dict[str, list[str]] = {}
    for name in curves:
        metrics.setdefault(_metric_and_split(name)[0], []).append(name)
    splits = list(dict.fromkeys(_metric_and_split(name)[1] for name in curves))

    fig = new_figure((6.4, max(4.8, 2.4 * len(metrics)))) if fig is None else fig
    panels = fig.subplots(len(metrics), sharex=True, squeeze=False)[:, 0]
    epochs = np.arange(1, num_epochs + 1)
    lines = {}
    for ax, (metric, names) in zip(panels, metrics.items(), strict=True):
        for name in names:
            known = ~np.isnan(curves[name])
            color = COLORS[splits.index(_metric_and_split(name)[1]) % len(COLORS)]
            lines[name] = ax.plot(epochs[known], curves[name][known], ".-", color=color, label=name)[0]
        title = metric if len(names) > 1 else " ".join(_words(names[0]))
        tidy(ax, "", title[:1].upper() + title[1:])
        if len(names) > 1:
            beside = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}  # where no curve is hidden
            ax.legend(ncols=len(names), frameon=False, fontsize="small", **beside)
    panels[-1].set_xlabel("Epoch")
    panels[-1].set_xlim(0.5, num_epochs + 0.5)
    whole_ticks(panels[-1].xaxis)
    if best is not None:
        index = int((np.nanargmin if mode == "min" else np.nanargmax)(curves[best]))
        for ax in panels:
            ax.axvline(epochs[index], color=ink(ax), linestyle="--", linewidth=1)
        fig.suptitle(f"best epoch {epochs[index]}: {best} {curves[best][index]:.3g}", fontsize="medium")
    return [lines[name] for name in curves]


def _curve(values: Iterable[float] | torch.Tensor | np.ndarray, name: str) -> np.ndarray:
    """Return the values of a metric as an array, those that are not finite as NaN."""
    if not np.iterable(values):
        raise TypeError(f"{name} is {values!r}; expected a sequence of numbers, one for each epoch")
    numbers = [value.tolist() if isinstance(value, torch.Tensor) else value for value in values]
    array = to_numpy(np.array(numbers, dtype=float), name, ndim=(1,))
    return np.where(np.isfinite(array), array, np.nan)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\s_/.-]+", name) if word]


def _metric_and_split(name: str) -> tuple[str, str]:
    """Return what an entry measures and on which part of the data: "val_top1" -> ("top1", "val")."""
    words = _words(name)
    split = [word for word in words if word.lower() in SPLITS]
    return " ".join(word for word in words if word not in split), " ".join(split)
