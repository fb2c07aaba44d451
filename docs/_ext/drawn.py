"""Pictures in the reference: a surrogate's derivative, and what the gallery draws with a plot."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snntorch import spikeplot, surrogate

REFERENCE = "_build/pictures/reference"
STYLE = Path(__file__).parent.parent / "tutorials" / "matplotlibrc"
USED = re.compile(r"\bspikeplot\.(\w+)\(")


def draw_surrogate(factory: Callable, to: Path) -> None:
    """The spike and its surrogate derivative, with the factory's defaults."""
    import torch
    from matplotlib import pyplot as plt

    torch.manual_seed(0)  # some draw
    x = torch.linspace(-2, 2, 401, requires_grad=True)
    spikes = factory()(x)
    (derivative,) = torch.autograd.grad(spikes.sum(), x)
    fig, (left, right) = plt.subplots(1, 2, figsize=(5.5, 1.5))
    left.plot(x.detach(), spikes.detach(), color="black")
    right.plot(x.detach(), derivative)
    left.set(title="forward", xlabel="mem - threshold")
    right.set(title="backward", xlabel="mem - threshold")
    fig.savefig(to / f"{factory.__module__}.{factory.__name__}.svg")
    plt.close(fig)


def draw_plots(gallery: Path, to: Path) -> None:
    """Run the gallery's cells; what one draws, a still or the film `movie`, is the picture of the plots in it."""
    import jupytext
    from matplotlib import pyplot as plt

    names: dict[str, Any] = {}
    cells = [cell.source for cell in jupytext.read(gallery, fmt="py:percent").cells if cell.cell_type == "code"]
    last = max(i for i, cell in enumerate(cells) if USED.search(cell))
    for cell in cells[: last + 1]:
        exec(compile(cell, str(gallery), "exec"), names)
        for plot in set(USED.findall(cell)):
            name = f"{spikeplot.__name__}.{plot}"
            if "movie" in names:
                spikeplot.save(names["movie"], to / f"{name}.gif", dpi=80)
            else:
                plt.gcf().savefig(to / f"{name}.png", dpi=130)
        names.pop("movie", None)
        plt.close("all")


def draw(app) -> None:
    """All of them, before the pages that show them are read."""
    import matplotlib
    from matplotlib import pyplot as plt

    matplotlib.use("Agg")
    to = Path(app.srcdir) / REFERENCE
    to.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(fname=STYLE):
        for factory in surrogate.FACTORIES.values():
            draw_surrogate(factory, to)
        draw_plots(Path(app.srcdir) / "tutorials" / "gallery.py", to)


def picture(source: Path, name: str) -> Path | None:
    """That of an object, if it has one."""
    paths = (source / REFERENCE / f"{name}{suffix}" for suffix in (".svg", ".png", ".gif"))
    return next((path for path in paths if path.exists()), None)


def show(app, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """Put an object's picture behind its first paragraph, which says what it shows."""
    if path := picture(Path(app.srcdir), name):
        end = lines.index("") if "" in lines else len(lines)
        says = " ".join((inspect.getdoc(of) or "").split("\n\n")[0].split()).replace("`", "")
        lines[end:end] = ["", f".. image:: /{REFERENCE}/{path.name}", f"   :alt: {says}", "   :class: figure", ""]


def setup(app):
    app.connect("builder-inited", draw)
    app.connect("autodoc-process-docstring", show, priority=300)  # before sections have other names
    return {"parallel_read_safe": True, "parallel_write_safe": True}
