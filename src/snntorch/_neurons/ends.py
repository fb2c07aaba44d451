"""Where each sample of a batch ends, and what its neurons hold from there on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from .emission import Emission, emitted
from .recorder import recorder_of

_now: ContextVar[Any] = ContextVar("snntorch.ends", default=None)


def ends_now(steps: int) -> Any:
    """Where the samples end that run over so many steps now; None where all run to the last."""
    if torch.compiler.is_compiling():  # which knows no context variables
        return None
    ends = _now.get()
    return ends if ends is not None and ends.steps == steps else None


def lasts(state: Any) -> bool:
    """Whether a recorded call's states last after their samples' ends, and its spikes do not."""
    return getattr(recorder_of(state), "ends", None) is not None


class Ends:
    """The lengths of a batch's samples, each of which takes no further step after its own end.

    Its neurons keep their states from there on, and are silent.

    Args:
        lengths: number of steps of each sample, int64 on the CPU.
        steps: T.

    Attributes:
        time: the step that is called now, where a loop of ours calls it; else the calls of each neuron are counted.
    """

    def __init__(self, lengths: Tensor, steps: int) -> None:
        self.lengths, self.steps = lengths, steps
        self.shortest = int(lengths.min()) if len(lengths) else steps
        self.time: int | None = None
        self.counted: dict[Any, int] = {}
        self.times: dict[Any, int] = {}  # of recorded calls
        self._made: dict[Any, Any] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """While the batch runs."""
        token = _now.set(self)
        try:
            yield
        finally:
            _now.reset(token)

    def step(self, time: int, module: Callable[..., Any], *args: Any) -> Any:
        """A call of a module in a loop over the steps; what it runs over time itself runs to its own last step."""
        token, self.time = _now.set(None), time
        try:
            return module(*args)
        finally:
            _now.reset(token)
            self.time = None

    def when(self, who: Any) -> int:
        """The step that a call of a neuron, or of a norm, belongs to."""
        if self.time is not None:
            return self.time
        count = self.counted.get(who, 0)
        self.counted[who] = count + 1
        return count

    # -- masks, once for each device

    def _once(self, key: Any, device: torch.device, make: Callable[[], Tensor]) -> Tensor:
        if (key, device) not in self._made:
            self._made[key, device] = make().to(device, non_blocking=True)
        return self._made[key, device]

    def _ended(self, times: Sequence[int], device: torch.device, rows: bool = False) -> Tensor:
        """Which samples have ended before each of some steps, `[steps, B]`; as `rows`, indices in one dimension."""
        times = tuple(times)

        def make() -> Tensor:
            ended = torch.tensor(times)[:, None] >= self.lengths
            return ended.flatten().nonzero().flatten() if rows else ended

        return self._once(("ended", times, rows), device, make)

    def _last(self, times: Sequence[int], device: torch.device, final: bool) -> tuple[Tensor, bool]:
        """Which of the calls so far is each sample's last, `[steps, B]` or `[1, B]`, from -1; and whether -1 is there.

        Args:
            times: the steps of the calls.
            device: of the result.
            final: of all calls, instead of those up to each.
        """
        times = tuple(times)

        def make() -> Tensor:
            alive = (torch.tensor(times)[:, None] < self.lengths).cumsum(0) - 1
            return alive[-1:] if final else alive

        return self._once(("last", times, final), device, make), self.shortest <= times[0]

    def rows(self, time: int, device: torch.device) -> Tensor | None:
        """The samples that take a step; None where all do."""
        if time < self.shortest:
            return None
        return self._once(("rows", time), device, lambda: (time < self.lengths).nonzero().flatten())

    def whole_rows(self, device: torch.device) -> Tensor:
        """The steps that are taken, of all steps and samples in one dimension."""
        make = lambda: (torch.arange(self.steps)[:, None] < self.lengths).flatten().nonzero().flatten()  # noqa: E731
        return self._once("whole rows", device, make)

    # -- what comes after an end

    def silent(self, x: Tensor, times: Sequence[int] | None = None, dim: int = 0) -> Tensor:
        """Zero after each sample's end, of `[steps, ...]`, where a step's dimension `dim` counts the samples."""
        times = range(self.steps) if times is None else times
        self.check(x.shape[1:], dim)
        if times[-1] < self.shortest:
            return x
        if dim == 0 and x.is_contiguous():  # a copy, and rows written: half of a mask's time
            return x.flatten(0, 1).index_fill(0, self._ended(times, x.device, rows=True), 0).view(x.shape)
        return x.masked_fill(self._ended(times, x.device).view(_view(x, dim)), 0)

    def held(
        self, course: Tensor, before: Tensor | None, times: Sequence[int], dim: int = 0, final: bool = False
    ) -> Tensor:
        """A course over some calls whose value after each sample's end is the one at its end.

        Args:
            course: `[calls, ...]`.
            before: the value before the first of the calls; None where the course holds that itself.
            times: the steps of the calls.
            dim: which dimension of a step counts the samples.
            final: give the last value alone.
        """
        self.check(course.shape[1:], dim)
        last, begins = self._last(times, course.device, final)
        last = last.view(_view(course, dim, len(last)))
        index = last.clamp(min=0) if begins else last
        found = course.gather(0, index.expand(len(last), *course.shape[1:]))
        if begins and before is not None:
            found = torch.where(last < 0, before, found)
        return found[0] if final else found

    def check(self, shape: Sequence[int], dim: int, name: str = "") -> None:
        """Raise ValueError unless a dimension counts the samples."""
        if dim >= len(shape) or shape[dim] != len(self.lengths):
            raise ValueError(
                f"lengths has {len(self.lengths)} entries, so dimension {dim} of what {name or 'is run'} holds must be "
                f"the samples, got shape {tuple(shape)}; where it is another one of a neuron, set its batch_dim"
            )

    # -- neurons

    def over_time(self, neuron: Any, times: Sequence[int]) -> Callable[..., tuple[list[Any], list[Tensor]]]:
        """A neuron's `over_time`, whose calls belong to these steps."""
        if times[-1] < self.shortest:
            return neuron.over_time

        def run(
            inputs: Tensor, state: list[Tensor], steps: int, static: bool, wanted: Sequence[bool]
        ) -> tuple[list[Any], list[Tensor]]:
            emission = self._emission(neuron, state)
            courses, _ = neuron.over_time(inputs, state, steps, static, [True] * len(wanted))
            return self._after(neuron, times, state, courses, wanted, emission)

        return run

    def call(self, call: Callable[..., Any], neuron: Any, args: tuple, kwargs: dict) -> Any:
        """One call of a neuron, whatever its forward does."""
        time = self.when(neuron)
        if time < self.shortest or not neuron.states:
            return call(neuron, *args, **kwargs)
        named = dict(kwargs)
        input_, *given = args or (named.pop("input_"),)
        before = neuron._begin(neuron.floating(input_), given, named)
        emission = self._emission(neuron, before)
        out = call(neuron, *args, **kwargs)
        new = [getattr(neuron, name) for name in neuron.states]
        spk, *states = out if isinstance(out, tuple) else (out,)
        spk, new_states = self.after(neuron, time, before, spk, new, emission)
        held = {id(a): b for a, b in zip(new, new_states, strict=True)}
        neuron._store(new_states)
        return (spk, *_exchanged(states, held)) if isinstance(out, tuple) else spk

    def after(
        self, neuron: Any, time: int, before: Sequence[Tensor], spk: Tensor, state: Sequence[Tensor],
        emission: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
        """The spikes of one step and the states after it, as far as each sample takes the step."""
        courses = [spk[None], *(s[None] for s in state)]
        courses, finals = self._after(neuron, (time,), before, courses, [True] + [False] * len(state), emission)
        return courses[0][0], finals

    def _after(
        self, neuron: Any, times: Sequence[int], before: Sequence[Tensor], courses: Sequence[Any],
        wanted: Sequence[bool], emission: Tensor | None,
    ) -> tuple[list[Any], list[Tensor]]:  # fmt: skip
        spk, *states = courses
        dim: int = neuron.batch_dim
        finals = [self.held(s, b, times, dim, final=True) for s, b in zip(states, before, strict=True)]
        rest = [self.held(s, b, times, dim) if w else None for s, b, w in zip(states, before, wanted[1:], strict=True)]
        # what comes before the samples in a state alone, such as a delay's slots
        ahead = max(0, states[0].dim() - spk.dim()) if states else 0
        dim = max(0, dim - ahead)
        if getattr(neuron, "_emission", None) is not None and "mem" in neuron.states:
            raw = spk.detach() / neuron.factor.to(spk)
            start = torch.zeros_like(raw[0]) if emission is None else emission.to(raw)
            last = self.held(raw, start, times, dim, final=True)
            neuron._emission = Emission.of(finals[neuron.states.index("mem")], last)
        return [self.silent(spk, times, dim) if wanted[0] else None, *rest], finals

    def _emission(self, neuron: Any, state: Sequence[Tensor]) -> Tensor | None:
        return emitted(neuron, state[neuron.states.index("mem")]) if "mem" in neuron.states else None


def _view(x: Tensor, dim: int, steps: int | None = None) -> list[int]:
    """The shape in which `[steps, B]` broadcasts against `[steps, ..., B, ...]`."""
    shape = [1] * x.dim()
    shape[0], shape[1 + dim] = len(x) if steps is None else steps, x.shape[1 + dim]
    return shape


def _exchanged(value: Any, held: dict[int, Tensor]) -> Any:
    if isinstance(value, tuple | list):
        return type(value)([_exchanged(v, held) for v in value])
    return held.get(id(value), value)
