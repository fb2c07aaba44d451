"""A network's calls, as the layers that NIR knows: what each gets, and how signals add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .._layers.batchnorm import SequenceBatchNorm1d, SequenceBatchNorm2d
from .._layers.bntt import _BatchNormTT
from .._layers.dropout import SequenceDropout
from .._layers.feedback import Feedback
from .._layers.of_functions import FUNCTIONS, flattened, unique
from .._layers.scale import Scale
from .._neurons.neurons import SpikingNeuron
from .._time.arguments import leaves
from .._time.layers import takes_sequence
from .._time.read import Call as Made
from .._time.read import Reading, Ref, read, refs
from .exporting import Exporter, Shape

Finder = Callable[[nn.Module], Exporter | None]

Signal = tuple[str, str]  # a layer's name, and which of its outputs: "out", or a state


@dataclass(frozen=True)
class Call:
    """One layer at work: what it got and gave, with the shapes of the whole batch."""

    name: str
    layer: nn.Module
    sources: tuple[Signal, ...]
    in_shape: Shape
    out_shape: Shape


_ADD, _MULTIPLY = {"add", "radd", "iadd"}, {"mul", "rmul", "imul", "multiply"}
_DIVIDE = {"div", "truediv", "itruediv", "divide"}
_SAME = {"contiguous", "clone", "detach", "to", "float", "double", "half", "bfloat16", "cpu", "cuda", "type"}
_RESHAPE = {"flatten", "view", "reshape", "view_as", "reshape_as"}
_TRANSPARENT = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
    SequenceDropout,
)  # fmt: skip
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_NORMALISES = {kind.forward for kind in (*BATCH_NORMS, SequenceBatchNorm1d, SequenceBatchNorm2d)}


def is_batch_norm(layer: nn.Module) -> bool:
    """Whether a layer is in eval mode the linear map of a BatchNorm, the same one at every step."""
    return isinstance(layer, BATCH_NORMS) and type(layer).forward in _NORMALISES


def follow(module: nn.Module, sample: Tensor, further: Sequence[Any], find: Finder) -> Trace:
    """What happens to a sample; the module is as before afterwards.

    Raises:
        NotImplementedError: for what NIR has no counterpart of, where the output depends on it.
        ValueError: where a neuron is called more than once, or the output does not depend on the sample.
    """

    def is_one(layer: nn.Module) -> bool:
        """Whether a layer is one unit to NIR; containers and the user's own modules are looked into."""
        known = find(layer) is not None or type(layer).__module__.startswith(("torch.nn.modules.", "snntorch._"))
        return known and (isinstance(layer, _BatchNormTT) or not isinstance(layer, _CONTAINERS))

    whole = _takes_sequence(module)
    timed = whole or any(takes_sequence(layer) for layer in module.modules())
    try:
        reading = read(module, sample[:1] if whole else sample, further, is_one, one_step=not whole)
    except ValueError as error:  # of one that wants its own number of steps, say, or the other form of sample
        for name, layer in module.named_modules():
            if isinstance(layer, SpikingNeuron) and takes_sequence(layer) and find(layer) is None:
                kind = type(layer).__name__
                raise NotImplementedError(f"NIR has no counterpart of layer {name!r} ({kind})") from error
        if timed:
            form = "a whole sequence, [T, B, ...]" if whole else "one step, [B, ...]"
            raise ValueError(f"the sample is taken for {form}: {error}") from error
        raise
    return Trace(reading, find, whole, timed)


def _takes_sequence(module: nn.Module) -> bool:
    """Whether one call of a network is a whole sequence: it says so, or each of its neurons does."""
    neurons = [layer for layer in module.modules() if isinstance(layer, SpikingNeuron)]
    return takes_sequence(module) or (bool(neurons) and all(map(takes_sequence, neurons)))


class Trace:
    """The layers that a network's output depends on, with what reaches them.

    A network that takes whole sequences is read on a sequence of one step, and a layer that does gets one: to take a
    step out of it, or to put steps together, is then nothing.
    """

    def __init__(self, reading: Reading, find: Finder, whole: bool, timed: bool) -> None:
        self.reading, self.find, self._has_time = reading, find, timed
        self.names: set[str] = set()
        self.calls: list[Call] = []
        self._loops: dict[str, tuple[Signal, ...]] = {}
        self._signals: dict[Ref, tuple[Signal, ...]] = {Ref(1, 0): (("", "out"),)}
        self._timed = {Ref(1, 0)} if whole else set()  # what has a dimension of time before the others
        out = next(iter(refs(reading.output)), None)
        if out is None or out is not leaves(reading.output, Tensor | Ref)[0]:
            raise ValueError("the module's output does not depend on its input")
        self._check_steps()
        made = reading.calls
        writes = {n: call for n, call in made.items() if isinstance(call.module, Feedback) and len(call.sources) > 1}
        for number in reading.needed([out, *(call.sources for call in writes.values())])[1:]:
            if number not in writes:
                self._take(number, made[number])
        for call in writes.values():
            self._loops[self._path(call.owner)] = self._signals[call.sources[1]]
        self.in_shape, self.out_shape = self._shape(Ref(1, 0)), self._shape(out)
        self.output = self._signals[out]
        for _ in self._loops:  # what one loop feeds back may come from another
            self.calls = [replace(call, sources=self._closed(call.sources)) for call in self.calls]
            self.output = self._closed(self.output)
            self._loops = {name: self._closed(sources) for name, sources in self._loops.items()}

    def _closed(self, sources: tuple[Signal, ...]) -> tuple[Signal, ...]:
        """Signals from a Feedback replaced by what was fed into it."""
        return tuple(s for signal in sources for s in self._loops.get(signal[0], (signal,)))

    def _check_steps(self) -> None:
        called: set[nn.Module] = set()
        for call in self.reading.calls.values():
            neuron = call.module
            if not isinstance(neuron, SpikingNeuron) or isinstance(neuron, Feedback):
                continue
            if neuron in called:
                raise ValueError(
                    f"layer {self._path(neuron)!r} is called more than once, and NIR describes one time step: export a "
                    "module whose call is one step, without the loop over time, or say by `takes_sequence = True` that "
                    "its input is a sequence, `[T, B, ...]`"
                )
            called.add(neuron)

    def _path(self, layer: Any) -> str:
        return self.reading.paths.get(layer) or type(layer).__name__.lower()

    def _take(self, number: int, call: Made) -> None:
        """Take a call as a layer, or as what it makes of signals."""
        timed = call.sources[0] in self._timed
        if self._changes_time(call, timed):
            signals, timed = {0: self._signals[call.sources[0]]}, not timed
        elif call.module is not None:
            signals = self._layer(call)
        else:
            found = self._function(call) if len(call.metas) == 1 else None
            if found is None:
                raise NotImplementedError(f"NIR has no counterpart of {self.reading.where(call)}")
            signals = {0: found}
        for out, sources in signals.items():
            self._signals[Ref(number, out)] = sources
            if timed:
                self._timed.add(Ref(number, out))

    def _shape(self, ref: Ref) -> Shape:
        """Of one step."""
        return tuple(self.reading.meta(ref).shape)[ref in self._timed :]

    def _changes_time(self, call: Made, timed: bool) -> bool:
        """Whether a call takes the one step out of a sequence, or makes a sequence of it."""
        names = ("select", "squeeze") if timed else ("stack", "unsqueeze")
        dim = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0)
        return self._has_time and call.name in names and dim == 0 and len(call.sources) == 1

    def _layer(self, call: Made) -> dict[int, tuple[Signal, ...]]:
        """The signals of a layer's outputs, by their numbers."""
        layer: Any = call.module
        name = self._path(layer)
        if isinstance(layer, Feedback):
            return {0: ((name, "out"),)}
        if self.find(layer) is None and not (isinstance(layer, _TRANSPARENT) or is_batch_norm(layer)):
            raise NotImplementedError(f"NIR has no counterpart of layer {name!r} ({type(layer).__name__})")
        given = leaves((call.args, call.kwargs), Tensor | Ref)[0]
        if not isinstance(given, Ref) or len(call.sources) > 1:
            raise NotImplementedError(f"layer {name!r}: its input comes from the sample, its states must not")
        if isinstance(layer, _TRANSPARENT):
            return {0: self._signals[given]}
        name = self._call(name, layer, given, call)
        kept = call.states or ({"mem": len(call.metas) - 1} if takes_sequence(layer) else {})  # which it returns last
        states = {out: ((name, state),) for state, out in kept.items()}
        return states | {0: ((name, "out"),)}

    def _call(self, name: str, layer: nn.Module, x: Ref, call: Made) -> str:
        name = unique(name, self.names)
        self.names.add(name)
        shape, out_shape = self._shape(x), tuple(call.metas[0].shape)[x in self._timed :]
        if isinstance(layer, nn.Flatten) and x in self._timed:
            layer = nn.Flatten(*flattened(shape, out_shape) or (0, 0))
        self.calls.append(Call(name, layer, self._signals[x], shape, out_shape))
        return name

    def _function(self, call: Made) -> tuple[Signal, ...] | None:
        """The signal that a function's result is; None where NIR has no such function."""
        name, args, kwargs = call.name, call.args, call.kwargs
        if not args:  # all by keyword
            kwargs = dict(kwargs)
            args = (kwargs.pop("input", None),)
        x: Any = args[0]
        other: Any = args[1] if len(args) > 1 else kwargs.get("other")
        both = isinstance(x, Ref) and isinstance(other, Ref)
        if name in _ADD and kwargs.get("alpha", 1) == 1:
            if both:
                return (*self._signals[x], *self._signals[other])
            if not isinstance(x, Ref):
                x, other = other, x
            return self._signals[x] if isinstance(other, int) and other == 0 else None
        if not isinstance(x, Ref) and name in _MULTIPLY:
            x, other = other, x
        if not isinstance(x, Ref):
            return None
        before, after = self._shape(x), tuple(call.metas[0].shape)[x in self._timed :]
        if name == "dropout":
            return None if kwargs.get("training", args[2] if len(args) > 2 else True) else self._signals[x]
        if name in _SAME or (name in _RESHAPE and before == after):
            return self._signals[x]
        layer: nn.Module | None = None
        if name in _RESHAPE and (dims := flattened(before, after)):
            name, layer = "flatten", nn.Flatten(*dims)
        elif name in FUNCTIONS and len(call.sources) == 1:  # else weights depend on the sample
            layer = FUNCTIONS[name](*args[1:], **kwargs)
            layer = layer if self.find(layer) else None
        elif name in _MULTIPLY | _DIVIDE and not both and before == after and not kwargs.get("rounding_mode"):
            factor = torch.as_tensor(other, dtype=self.reading.meta(x).dtype)
            name, layer = "scale", Scale(1 / factor if name in _DIVIDE else factor)
        if layer is None:
            return None
        path = self.reading.paths.get(call.owner, "")
        return ((self._call(f"{path}.{name}" if path else name, layer, x, call), "out"),)
