"""The page of surrogates: each that is registered, with its picture, and what autograd calls."""

from collections.abc import Callable
from pathlib import Path

from snntorch import surrogate

FACTORIES, FUNCTIONS = "% every factory\n", "% every function\n"
FACTORY = """
```{{eval-rst}}
.. autofunction:: {name}

   .. image:: {picture}
      :alt: The step of a spike, and the derivative that {key}() gives it
      :class: figure
```
"""
FUNCTION = """
```{{eval-rst}}
.. autoclass:: {name}
```
"""


def draw(key: str, to: Path) -> None:
    """The spike and its surrogate derivative, with the factory's defaults."""
    import matplotlib

    matplotlib.use("Agg")
    import torch
    from matplotlib import pyplot as plt

    torch.manual_seed(0)  # some draw
    x = torch.linspace(-2, 2, 401, requires_grad=True)
    spikes = surrogate.FACTORIES[key]()(x)
    (derivative,) = torch.autograd.grad(spikes.sum(), x)
    with plt.rc_context(fname=Path(__file__).parent.parent / "tutorials" / "matplotlibrc"):
        fig, (left, right) = plt.subplots(1, 2, figsize=(5.5, 1.5))
        left.plot(x.detach(), spikes.detach(), color="black")
        right.plot(x.detach(), derivative)
        left.set(title="forward", xlabel="mem - threshold")
        right.set(title="backward", xlabel="mem - threshold")
        fig.savefig(to / f"{key}.svg")
        plt.close(fig)


def name(of: Callable) -> str:
    """Where it is."""
    return f"{of.__module__}.{of.__name__}"


def rewrite(app, page: str, source: list[str]) -> None:
    """Draw them all and put them in their places on the page."""
    if FACTORIES not in source[0]:
        return
    folder = Path(app.srcdir) / "_build" / "pictures" / "surrogates"
    folder.mkdir(parents=True, exist_ok=True)
    factories, functions = "", ""
    for key, factory in surrogate.FACTORIES.items():
        draw(key, folder)
        factories += FACTORY.format(name=name(factory), key=key, picture=f"/_build/pictures/surrogates/{key}.svg")
        if function := getattr(factory, "function", None):
            functions += FUNCTION.format(name=name(function))
    source[0] = source[0].replace(FACTORIES, factories).replace(FUNCTIONS, functions)


def setup(app):
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
