"""Animations: a movie of data over time, and a camera that films any figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
import torch

from ._canvas import steps_shown, to_numpy

if TYPE_CHECKING:
    from matplotlib.animation import ArtistAnimation
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def animator(
    data: torch.Tensor | np.ndarray,
    fig: Figure,
    ax: Axes,
    num_steps: int | bool | None = False,
    interval: int = 40,
    cmap: str = "plasma",
) -> ArtistAnimation:
    """Animate images over time, all on one colour scale.

    Args:
        data: `[T, H, W]`, or `[T, N]`, which is shown as a row of N pixels.
        fig: figure to animate.
        ax: axes of `fig` to draw on; its frame and ticks are switched off.
        num_steps: how many steps to show; all of them when not given.
        interval: milliseconds between two frames.
        cmap: colour map.

    Returns:
        The animation, one frame a step. Keep a reference to it, as an animation that is garbage collected stops.

    Raises:
        ValueError: `data` has another number of dimensions or no steps, or `num_steps` exceeds its steps.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> fig = Figure()
        >>> movie = splt.animator(torch.rand(3, 28, 28), fig, fig.subplots())
        >>> "<img" in movie.to_jshtml()
        True
    """
    images = to_numpy(data, "data", ndim=(2, 3))
    images = images[: steps_shown(num_steps, len(images))]
    aspect = "auto" if images.ndim == 2 else "equal"
    images = images.reshape(len(images), -1, images.shape[-1])
    low, high = float(images.min()), float(images.max())
    ax.axis("off")
    frames = [[ax.imshow(image, cmap=cmap, vmin=low, vmax=high, aspect=aspect)] for image in images]
    return movie(fig, frames, interval=interval)


def movie(figure: Figure, frames: list[Any], *args: Any, **kwargs: Any) -> ArtistAnimation:
    """An animation that a notebook shows as a player, which matplotlib's does only where it is told to."""
    from matplotlib.animation import ArtistAnimation

    class Movie(ArtistAnimation):
        def _repr_html_(self) -> str:
            return self.to_jshtml()

    return Movie(figure, frames, *args, **kwargs)


class Camera:
    """Film a figure: draw, `snap`, draw again, `snap`, ..., `animate`.

    Args:
        figure: figure to film.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> fig = Figure()
        >>> ax = fig.subplots()
        >>> camera = splt.Camera(fig)
        >>> for step in range(3):
        ...     _ = ax.plot([0, step], color="C0")
        ...     _ = camera.snap()
        >>> movie = camera.animate(interval=50)
        >>> "<img" in movie.to_jshtml()
        True
    """

    def __init__(self, figure: Figure) -> None:
        self._figure = figure
        self._seen: WeakSet[Artist] = WeakSet()
        self._frames: list[list[Artist]] = []

    def snap(self) -> list[Artist]:
        """Record as one frame, and return, the artists added to any axes since the last snap."""
        new = [
            artist
            for ax in self._figure.axes
            for kind in (ax.collections, ax.patches, ax.lines, ax.texts, ax.artists, ax.images)
            for artist in kind
            if artist not in self._seen
        ]
        self._seen.update(new)
        self._frames.append(new)
        return new

    def animate(self, *args: Any, **kwargs: Any) -> ArtistAnimation:
        """Return the recorded frames as an animation; the arguments go to matplotlib's `ArtistAnimation`.

        Raises:
            ValueError: no frame has been recorded.
        """
        if not self._frames:
            raise ValueError("the camera has no frames; call snap() after drawing each one")
        return movie(self._figure, self._frames, *args, **kwargs)
