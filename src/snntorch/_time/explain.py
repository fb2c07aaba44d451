"""Which path each layer of a net takes over time, and why."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._engine import ONE_EACH, choices
from .._neurons.neurons import SpikingNeuron
from .held import aside
from .layerwise import is_layerwise
from .unroll import unroll


class Path(NamedTuple):
    """How one layer runs.

    Attributes:
        name: of the layer in the module, empty for the module itself.
        layer: its class.
        path: `fused cpu`, `fused cuda`, `folded` (all steps as one batch), `whole sequence` or `stepped`.
        reason: why, where it is not fused.
    """

    name: str
    layer: str
    path: str
    reason: str


def paths(
    module: Any, x: Tensor, *states: Any, num_steps: int | None = None, run: Callable[..., Any] | None = None
) -> list[Path]:
    """The path of each layer, in the order in which they run; see `explain`."""
    held = module if isinstance(module, nn.Module) else nn.Module()
    names = {id(layer): name for name, layer in held.named_modules()}
    with torch.no_grad(), aside(held), torch.random.fork_rng(devices=()), choices() as made:
        if run is not None:
            run(module, x, *states)
        elif isinstance(module, nn.Module) and not is_layerwise(module):
            _unrolled(module, x, *states, num_steps=num_steps)
        else:
            module(x, *states)
    steps = [(id(who), (path, why)) for who, path, why in made if path == "stepped"]
    last = dict(sorted(steps, key=lambda step: step[1][1] != ONE_EACH))  # a reason, where there is one
    found = (
        Path(names.get(id(who), ""), getattr(who, "__name__", type(who).__name__), path, why)
        for who, path, why in made
        # of a neuron that steps the last reason, and none of its kernels
        if not isinstance(who, SpikingNeuron) or last.get(id(who), (path, why)) == (path, why)
    )
    return list(dict.fromkeys(found))  # a stepped layer chooses at every step


def _unrolled(module: nn.Module, x: Tensor, *states: Any, num_steps: int | None) -> None:
    """Run a module over time; where it fails, say that it was taken for one time step, as its own code may not be."""
    try:
        unroll(module, x, *states, num_steps=num_steps)
    except Exception as error:
        if not type(module).__module__.startswith(("torch.", "snntorch.")):
            error.args = (f"{error}\n{_ONE_STEP.format(type(module).__name__)}", *error.args[1:])
        raise


_ONE_STEP = (
    "explain ran {0} as one time step, on one step of x after the other. If its forward holds the loop over time, call "
    "explain(snntorch.layerwise(net), x), or pass run=lambda net, x: net(x)"
)


def explain(
    module: Any, x: Tensor, *states: Any, num_steps: int | None = None, run: Callable[..., Any] | None = None
) -> None:
    """Print which path each layer of a network takes over time, and why.

    It runs once without gradients; its states, buffers and attributes are as before afterwards.

    Args:
        module: a neuron, layer or module of one time step, as `snntorch.unroll` takes it; or what `snntorch.layerwise`
            returned, which is called.
        x: an input.
        *states: initial states, where the module takes them.
        num_steps: number of steps for a static input of `unroll`.
        run: runs the network where that is neither, `run(module, x, *states)`.

    Example:
        >>> import snntorch as snn, torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=True))
        >>> snn.explain(net, torch.rand(10, 2, 4))
        0  Linear  folded     takes all steps as one batch
        1  Leaky   fused cpu
    """
    found = paths(module, x, *states, num_steps=num_steps, run=run)
    widths = [max(map(len, column), default=0) for column in zip(*found, strict=True)]
    for path in found:
        print("  ".join(f"{text:{width}}" for text, width in zip(path, widths, strict=True)).rstrip())
