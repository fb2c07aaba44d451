"""Save an animation as a GIF, an MP4 or a web page."""

from __future__ import annotations

import base64
import html
import io
import json
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
            fields = {
                "title": html.escape(path.stem),
                "frames": json.dumps(self.frames),
                "interval": interval,
            }
            path.write_text(page.substitute(fields), encoding="utf-8")

    return PlayerWriter()
