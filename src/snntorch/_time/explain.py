"""Which path each layer of a net takes over time, and why."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._engine import choices
from .unroll import unroll


class Path(NamedTuple):
    """How one layer runs.

    Attributes:
        name: of the layer in the module, empty for the module itself.
        layer: its class.
        path: `fused cpu`, `fused cuda`, `folded` (all steps as one batch) or `stepped`.
        reason: why, where it is not fused.
    """

    name: str
    layer: str
    path: str
    reason: str


def paths(module: nn.Module, x: Tensor, *states: Any, num_steps: int | None = None) -> list[Path]:
    """The path of each layer that `snntorch.unroll(module, x, *states, num_steps=num_steps)` runs, in that order.

    The module stays as it is: a copy runs.
    """
    module = copy.deepcopy(module)
    names = {id(layer): name for name, layer in module.named_modules()}
    with torch.no_grad(), choices() as made:
        unroll(module, x, *states, num_steps=num_steps)
    found = (Path(names.get(id(who), ""), type(who).__name__, path, why) for who, path, why in made)
    return list(dict.fromkeys(found))  # a stepped layer chooses at every step


def explain(module: nn.Module, x: Tensor, *states: Any, num_steps: int | None = None) -> None:
    """Print which path each layer of a module takes in `snntorch.unroll`, and why.

    Args:
        module: a neuron, an `nn.Sequential` or any module.
        x: an input as `unroll` takes it.
        *states: initial states, where the module takes them.
        num_steps: number of steps for a static input.

    Example:
        >>> import snntorch as snn, torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=True))
        >>> snn.explain(net, torch.rand(10, 2, 4))
        0  Linear  folded     takes all steps as one batch
        1  Leaky   fused cpu
    """
    found = paths(module, x, *states, num_steps=num_steps)
    widths = [max(map(len, column), default=0) for column in zip(*found, strict=True)]
    for path in found:
        print("  ".join(f"{text:{width}}" for text, width in zip(path, widths, strict=True)).rstrip())
