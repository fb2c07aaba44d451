"""Save an animation as a GIF, an MP4 or a web page, or show it in a notebook."""

from __future__ import annotations

import base64
import html
import io
import json
import sys
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.animation import AbstractMovieWriter, Animation


def save(animation: Animation, path: str | PathLike[str], fps: int | None = None, dpi: float | None = None) -> Path:
    """Save an animation in the format that the suffix of `path` names.

    `.gif` needs nothing more than matplotlib. `.mp4` needs the program `ffmpeg`. `.html` is a player
    in one file: it holds the frames, loads nothing from elsewhere, and plays, pauses and steps.

    Args:
        animation: what `animator`, `spike_count` or `Camera.animate` returned.
        path: file to write; its suffix is `.gif`, `.mp4`, `.html` or `.htm`.
        fps: frames a second; by default those of the animation's interval.
        dpi: dots an inch; by default the figure's.

    Returns:
        The path.

    Raises:
        ValueError: the suffix is another, or `fps` is not positive.
        RuntimeError: `path` is an MP4 and there is no `ffmpeg`.

    Example:
        >>> import tempfile, torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> fig = Figure(figsize=(1, 1))
        >>> movie = splt.animator(torch.rand(3, 8, 8), fig, fig.subplots())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     splt.save(movie, f"{folder}/movie.gif").name
        'movie.gif'
    """
    from matplotlib.animation import writers

    path = Path(path)
    if fps is not None and not fps > 0:
        raise ValueError(f"fps is {fps}; expected a positive number of frames a second")
    suffix = path.suffix.lower()
    if suffix == ".gif":
        animation.save(path, writer="pillow", fps=fps, dpi=dpi)
    elif suffix == ".mp4":
        if not writers.is_available("ffmpeg"):
            raise RuntimeError("MP4 needs the program ffmpeg, which was not found; save as .gif or .html")
        animation.save(path, writer="ffmpeg", fps=fps, dpi=dpi)
    elif suffix in (".html", ".htm"):
        interval = 1000 / fps if fps else getattr(animation, "_interval", 200)  # as matplotlib's save has it
        animation.save(path, writer=_player_writer(interval), dpi=dpi)
    else:
        raise ValueError(f"path ends in {path.suffix!r}; expected .gif, .mp4, .html or .htm")
    return path


@dataclass(frozen=True)
class Player:
    """A page that plays an animation, which a notebook shows in a frame of its own."""

    page: str
    height: int

    def _repr_html_(self) -> str:
        style = f"border: 0; width: 100%; height: {self.height}px"
        return f'<iframe class="player" title="animation" style="{style}" srcdoc="{html.escape(self.page)}"></iframe>'


def player(animation: Animation, fps: int | None = None, dpi: float | None = None) -> Player:
    """Show an animation in a notebook: it plays, pauses and steps, and loads nothing from elsewhere.

    Its pyplot figure is closed, as the notebook would show that, too.

    The arguments are those of `save`.

    Returns:
        The page of `save(animation, "x.html")`, as the last line of a cell shows it.

    Raises:
        ValueError: `fps` is not positive.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from snntorch import spikeplot as splt
        >>> fig = Figure(figsize=(1, 1))
        >>> movie = splt.animator(torch.rand(3, 8, 8), fig, fig.subplots())
        >>> splt.player(movie)._repr_html_()[:7]
        '<iframe'
    """
    fig: Any = getattr(animation, "_fig", None)
    with tempfile.TemporaryDirectory() as folder:
        page = save(animation, Path(folder) / "animation.html", fps, dpi).read_text("utf-8")
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(fig)  # notebooks show what is open behind a cell
    controls = 100  # pixels, in up to two rows
    return Player(page, int(fig.get_figheight() * (dpi or fig.dpi)) + controls)


def _player_writer(interval: float) -> AbstractMovieWriter:
    """Return a writer that keeps the frames as PNG and puts them into the page of `player.html`."""
    from matplotlib.animation import AbstractMovieWriter

    class PlayerWriter(AbstractMovieWriter):
        def setup(self, fig: Any, outfile: Any, dpi: Any = None) -> None:
            self.fig, self.outfile, self.dpi = fig, outfile, dpi
            self.frames: list[str] = []

        def grab_frame(self, **savefig_kwargs: Any) -> None:
            png = io.BytesIO()
            self.fig.savefig(png, format="png", dpi=self.dpi, **savefig_kwargs)
            self.frames.append("data:image/png;base64," + base64.b64encode(png.getvalue()).decode())

        def finish(self) -> None:
            path = Path(self.outfile)
            page = Template(files("snntorch.spikeplot").joinpath("player.html").read_text("utf-8"))
            fields = {"title": html.escape(path.stem), "frames": json.dumps(self.frames), "interval": interval}
            path.write_text(page.substitute(fields), encoding="utf-8")

    return PlayerWriter()
