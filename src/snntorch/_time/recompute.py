"""Trade time for memory: keep the states every K steps, and run the steps between again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .._engine import asked, backend
from .._neurons.neurons import SpikingNeuron, running_again
from .later import fill, hollow

# What a module's attributes are kept in by PyTorch, beside those that a forward sets.
_OF_PYTORCH = set(vars(nn.Module()))


def unroll_in_segments(
    unroll: Callable[..., Any], module: nn.Module, x: Tensor, states: Sequence[Any], num_steps: int | None, length: int
) -> Any:
    """`unroll(module, x, *states, num_steps=num_steps)`, of which backward keeps the states every `length` steps.

    Raises:
        ValueError: for a module with a layer that takes whole sequences, which hands no state from one segment to the
            next.
    """
    for name, layer in module.named_modules():
        if getattr(layer, "takes_sequence", False) is True:
            raise ValueError(f"recompute can't cut the sequence that {name or 'the module'} takes as a whole")
    steps = len(x) if num_steps is None else num_steps
    outputs: list[list[Tensor]] = []
    template: Any = None
    for start in range(0, steps, length):
        number = min(length, steps - start)
        piece = x[start : start + number] if num_steps is None else x
        segment = _Segment(unroll, module, None if num_steps is None else number)
        out = checkpoint(segment, piece, *states, use_reentrant=False)
        if states:
            states = [o[-1] for o in out[len(out) - len(states) :]]
        found: list[Tensor] = []
        template = hollow(out, found, lambda t: True)
        outputs.append(found)
    return fill(template, [torch.cat(column) for column in zip(*outputs, strict=True)])


class _Segment:
    """A few steps, which run once, and again in the backward pass from what the modules held before."""

    def __init__(self, unroll: Callable[..., Any], module: nn.Module, steps: int | None) -> None:
        self.unroll, self.module, self.steps = unroll, module, steps
        self.backend = asked()
        self.before: _Held | None = None

    def __call__(self, x: Tensor, *states: Tensor) -> Any:
        if self.before is None:
            self.before = _Held(self.module, copies=True)
            return self.unroll(self.module, x, *states, num_steps=self.steps)
        with self._again(self.before), backend(self.backend):
            return self.unroll(self.module, x, *states, num_steps=self.steps)

    @contextmanager
    def _again(self, before: _Held) -> Iterator[None]:
        """Run from what the modules held, and leave in them what they hold now."""
        now = _Held(self.module, copies=False)
        before.restore(copies=True)
        try:
            with running_again():
                yield
        finally:
            now.restore(copies=False)


class _Held:
    """What the modules of a network hold beside parameters: attributes, which are states among others, and buffers.

    Args:
        module: the network.
        copies: whether buffers are copied, since layers write into them, and lists and dicts, which may grow.
    """

    def __init__(self, module: nn.Module, copies: bool) -> None:
        self.attributes = [(m, _attributes(m, copies)) for m in module.modules()]
        # those of neurons do not change, and are many
        holders = [m for m in module.modules() if not isinstance(m, SpikingNeuron)]
        self.buffers = [(m, _copied(m._buffers) if copies else dict(m._buffers)) for m in holders]

    def restore(self, copies: bool) -> None:
        """Let the modules hold this again, or copies of it."""
        for module, attributes in self.attributes:
            kept = vars(module)
            for name in [n for n in kept if n not in _OF_PYTORCH and n not in attributes]:
                del kept[name]
            kept.update({name: _copy(value) for name, value in attributes.items()} if copies else attributes)
        for module, buffers in self.buffers:
            module._buffers.update(_copied(buffers) if copies else buffers)


def _attributes(module: nn.Module, copies: bool) -> dict[str, Any]:
    return {n: _copy(v) if copies else v for n, v in vars(module).items() if n not in _OF_PYTORCH}


def _copy(value: Any) -> Any:
    return value.copy() if type(value) in (list, dict, set) else value


def _copied(buffers: dict[str, Any]) -> dict[str, Any]:
    """Copies of what is written in place; a buffer with a history is a state, which is set anew."""
    return {n: b if b is None or b.requires_grad else b.detach().clone() for n, b in buffers.items()}
