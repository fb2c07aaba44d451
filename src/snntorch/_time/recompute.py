"""Trade time for memory: keep the states every K steps, and run the steps between again in the backward pass."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .._engine import asked, backend
from .._neurons.states import running_again
from .arguments import fill, hollow
from .held import Held, aside
from .layers import takes_sequence
from .lengths import checked


def unroll_in_segments(
    unroll: Callable[..., Any], module: nn.Module, x: Tensor, states: Sequence[Any], num_steps: int | None, length: int,
    lengths: Any = None,
) -> Any:  # fmt: skip
    """`unroll(module, x, *states, num_steps=num_steps)`, of which backward keeps the states every `length` steps.

    Raises:
        ValueError: for a module with a layer that takes whole sequences, which hands no state from one segment to the
            next.
    """
    for name, layer in module.named_modules():
        if takes_sequence(layer):
            raise ValueError(f"recompute can't cut the sequence that {name or 'the module'} takes as a whole")
    steps = len(x) if num_steps is None else num_steps
    if lengths is not None:
        lengths = checked(lengths, x.shape[1 if num_steps is None else 0], steps)
    outputs: list[list[Tensor]] = []
    template: Any = None
    for start in range(0, steps, length):
        number = min(length, steps - start)
        piece = x[start : start + number] if num_steps is None else x
        left = None if lengths is None else (lengths - start).clamp(0, number)
        given = None if num_steps is None else number
        segment = _Segment(unroll, module, num_steps=given, lengths=left)
        out = checkpoint(segment, piece, *states, use_reentrant=False)
        if states:
            states = [o[-1] for o in out[len(out) - len(states) :]]
        found: list[Tensor] = []
        template = hollow(out, found)
        outputs.append(found)
    return fill(template, [torch.cat(column) for column in zip(*outputs, strict=True)])


class _Segment:
    """A few steps, which run once, and again in the backward pass from what the modules held before."""

    def __init__(self, unroll: Callable[..., Any], module: nn.Module, **settings: Any) -> None:
        self.unroll, self.module, self.settings = unroll, module, settings
        self.backend = asked()
        self.before: Held | None = None

    def __call__(self, x: Tensor, *states: Tensor) -> Any:
        if self.before is None:
            self.before = Held(self.module, copies=True)
            return self.unroll(self.module, x, *states, **self.settings)
        with aside(self.module, self.before), running_again(), backend(self.backend):
            return self.unroll(self.module, x, *states, **self.settings)
