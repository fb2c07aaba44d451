"""Trade time for memory: keep the states every K steps, and run the steps between again in the backward pass."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .._engine import asked, backend
from .._neurons.neurons import SpikingNeuron
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
    rows: list[_Rows] = []
    template: Any = None
    pool = _Pool(-(-steps // length))
    for start in range(0, steps, length):
        number = min(length, steps - start)
        piece = x[start : start + number] if num_steps is None else x
        left = None if lengths is None else (lengths - start).clamp(0, number)
        given = None if num_steps is None else number
        segment = _Segment(pool, unroll, module, num_steps=given, lengths=left)
        out = checkpoint(segment, piece, *states, use_reentrant=False)
        if states:
            states = [o[-1].clone() for o in out[len(out) - len(states) :]]  # alone, not with the rows before
        found: list[Tensor] = []
        template = hollow(out, found)
        rows = rows or [_Rows(steps, o) for o in found]
        for row, o in zip(rows, found, strict=True):
            row.add(o)
        del out, found
    return fill(template, [row.joined() for row in rows])


# What is kept of a segment would lie between what is freed of it, and the next segment would find no hole that is large
# enough: memory grew by several megabytes a segment. So it moves to one place, which is made beforehand.


class _Rows:
    """An output's place, filled segment by segment."""

    def __init__(self, steps: int, first: Tensor) -> None:
        self.whole = first.new_empty((steps, *first.shape[1:]))
        self.filled = 0
        self.sources: list[tuple[slice, Tensor]] = []

    def add(self, rows: Tensor) -> None:
        """The next ones, which are free to go then."""
        place = slice(self.filled, self.filled + len(rows))
        self.filled = place.stop
        with torch.no_grad():
            self.whole[place] = rows
        if rows.requires_grad:
            self.sources.append((place, _Handle.apply(rows)))

    def joined(self) -> Tensor:
        """All of them, with their gradients."""
        if not self.sources:
            return self.whole
        places, handles = zip(*self.sources, strict=True)
        return _Joined.apply(self.whole, places, *handles)


class _Handle(torch.autograd.Function):
    """Stands for a tensor in the graph, without its memory."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return rows.new_empty(()).expand(rows.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class _Joined(torch.autograd.Function):
    """The rows whose handles these are."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, places: Sequence[slice], *handles: Tensor) -> Tensor:
        ctx.places = places
        return whole.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(grads[0][place] for place in ctx.places)


class _Pool:
    """A place for the states that neurons hold when a segment begins."""

    def __init__(self, segments: int) -> None:
        self.segments = segments
        self.places: dict[Any, Tensor] = {}
        self.begun = 0

    def move(self, held: Held) -> None:
        """Let it hold copies of neurons' states."""
        for neuron, attributes in held.attributes:
            for name in neuron.states if isinstance(neuron, SpikingNeuron) else ():
                state = attributes.get(name)
                if type(state) is Tensor and state.grad_fn is not None:
                    like = torch.empty_like(state, device="meta")  # what lies in another order may run another way
                    place = neuron, name, like.shape, like.stride(), like.dtype
                    if place not in self.places:
                        strides = like.numel(), *like.stride()
                        self.places[place] = state.new_empty_strided((self.segments, *like.shape), strides)
                    copy = self.places[place][self.begun]
                    copy.copy_(state.detach())
                    attributes[name] = copy.detach().requires_grad_()
        self.begun += 1


class _Segment:
    """A few steps, which run once, and again in the backward pass from what the modules held before."""

    def __init__(self, pool: _Pool, unroll: Callable[..., Any], module: nn.Module, **settings: Any) -> None:
        self.pool, self.unroll, self.module, self.settings = pool, unroll, module, settings
        self.backend = asked()
        self.before: Held | None = None

    def __call__(self, x: Tensor, *states: Tensor) -> Any:
        if self.before is None:
            self.before = Held(self.module, copies=True)
            self.pool.move(self.before)
            return self.unroll(self.module, x, *states, **self.settings)
        with aside(self.module, self.before), running_again(), backend(self.backend):
            return self.unroll(self.module, x, *states, **self.settings)
