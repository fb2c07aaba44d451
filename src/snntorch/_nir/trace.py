"""What happens to a sample on its way through a network: the layers it meets, and what each gets and gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._layers.feedback import Feedback
from .._layers.scale import Scale
from .._neurons.neurons import SpikingNeuron
from .exporting import Exporter, Shape
from .functions import FUNCTIONS

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


class _Lost(str):
    """Stands for the sources of a tensor that NIR cannot describe: the reason."""


_ADD, _MULTIPLY, _DIVIDE = (
    {"add", "radd", "iadd"},
    {"mul", "rmul", "imul", "multiply"},
    {"div", "truediv", "itruediv", "divide"},
)
_SAME = {"contiguous", "clone", "detach", "to", "float", "double", "half", "bfloat16", "cpu", "cuda", "type"}
_RESHAPE = {"flatten", "view", "reshape", "view_as", "reshape_as"}
_READ = {"item", "tolist", "numpy", "array", "bool", "float", "int", "index", "contains", "iter", "equal", "allclose"}
_TRANSPARENT = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Trace(TorchFunctionMode):
    """Follows the sample through the layers by the identity of tensors, whatever Python does in between."""

    def __init__(self, module: nn.Module, sample: Tensor, find: Finder) -> None:
        super().__init__()
        self.find = find
        self.paths = {m: name or type(m).__name__.lower() for name, m in module.named_modules()}
        self.names: set[str] = set()
        self.calls: list[Call] = []
        self.loops: dict[str, tuple[Signal, ...]] = {}
        self.output: tuple[Signal, ...] = ()
        self.out_shape: Shape = ()
        self._sources: dict[int, tuple[Signal, ...] | _Lost] = {}
        self._alive: list[Tensor] = []  # so that no identity is used twice
        self._path: list[str] = []
        self._inside = 0  # depth inside a layer that is one node
        self._mark(sample, (("", "out"),))

    def _mark(self, tensor: Any, sources: tuple[Signal, ...] | _Lost) -> None:
        self._alive.append(tensor)
        self._sources[id(tensor)] = sources

    def _known(self, value: Any) -> list[tuple[Signal, ...] | _Lost]:
        return [self._sources[id(t)] for t in _tensors(value) if id(t) in self._sources]

    def _call(self, name: str, layer: nn.Module, sources: tuple[Signal, ...], x: Tensor, out: Tensor) -> str:
        name = unique(name, self.names)
        self.names.add(name)
        self.calls.append(Call(name, layer, sources, tuple(x.shape), tuple(out.shape)))
        return name

    # -- functions outside of layers

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._inside or not (known := self._known((args, kwargs))):
            return result
        name = getattr(func, "__name__", str(func))
        if name == "__get__":  # a property
            name = getattr(getattr(func, "__self__", None), "__name__", name)
        plain = name.strip("_")
        where = f"{plain} in {self._path[-1]!r}" if self._path and self._path[-1] else plain
        if not (outputs := list(_tensors(result))):
            if plain in _READ:
                raise NotImplementedError(f"{where} reads a signal's value, and NIR has no such operation")
            if plain == "setitem":
                self._mark(args[0], _Lost(where))
            return result
        sources = next((s for s in known if isinstance(s, _Lost)), None)
        if sources is None:
            sources = self._through(plain, args, kwargs, outputs[0]) if len(outputs) == 1 else None
        for output in outputs:
            self._mark(output, _Lost(where) if sources is None else sources)
        return result

    def _through(self, name: str, args: tuple, kwargs: dict, out: Tensor) -> tuple[Signal, ...] | None:
        """The sources of a function's result; None where NIR has no such function."""
        if not args:  # all by keyword
            kwargs = dict(kwargs)
            args = (kwargs.pop("input", None),)
        x: Any = args[0]
        other: Any = args[1] if len(args) > 1 else kwargs.get("other")
        mine, others = (next(iter(self._known(operand)), None) for operand in (x, other))
        both = mine is not None and others is not None
        if name in _ADD and kwargs.get("alpha", 1) == 1:
            if both:
                return (*mine, *others)  # type: ignore[misc]
            return (mine or others) if any(isinstance(o, int) and o == 0 for o in (x, other)) else None  # type: ignore[return-value]
        if mine is None and name in _MULTIPLY:
            x, other, mine = other, x, others
        if mine is None or isinstance(mine, _Lost):
            return None
        if name == "dropout":
            return None if kwargs.get("training", args[2] if len(args) > 2 else True) else mine
        if name in _SAME or (name in _RESHAPE and out.shape == x.shape):
            return mine
        if name in _RESHAPE and (dims := _flattened(x.shape, out.shape)):
            return ((self._call(self._local("flatten"), nn.Flatten(*dims), mine, x, out), "out"),)
        if name in FUNCTIONS:
            if len(self._known((args, kwargs))) > 1:
                return None  # weights that depend on the sample
            layer = FUNCTIONS[name](*args[1:], **kwargs)
            return ((self._call(self._local(name), layer, mine, x, out), "out"),)
        if both or out.shape != x.shape or name not in (_MULTIPLY | _DIVIDE) or kwargs.get("rounding_mode"):
            return None
        factor = torch.as_tensor(other, dtype=x.dtype)
        scale = Scale(1 / factor if name in _DIVIDE else factor)
        return ((self._call(self._local("scale"), scale, mine, x, out), "out"),)

    def _local(self, name: str) -> str:
        path = self._path[-1] if self._path else ""
        return f"{path}.{name}" if path else name

    # -- layers

    def _is_leaf(self, layer: nn.Module) -> bool:
        """Whether a layer is one unit to NIR; containers and the user's own modules are looked into."""
        if isinstance(layer, _CONTAINERS):
            return False
        return (
            self.find(layer) is not None
            or isinstance(layer, SpikingNeuron)
            or type(layer).__module__.startswith(("torch.nn.modules.", "snntorch._"))
        )

    @contextmanager
    def hooked(self, module: nn.Module) -> Iterator[None]:
        """Watch the module and all that it holds."""
        handles = []
        for m in self.paths:
            # Nearest to the forward itself, so that what the user's own hooks do is seen.
            handles.append(m.register_forward_pre_hook(self._enter, with_kwargs=True))
            handles.append(m.register_forward_hook(self._leave, with_kwargs=True, prepend=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, layer: nn.Module, args: tuple, kwargs: dict) -> None:
        self._path.append("" if not self._path else self.paths[layer])
        if self._inside or self._is_leaf(layer):
            self._inside += 1

    def _leave(self, layer: nn.Module, args: tuple, kwargs: dict, out: Any) -> None:
        self._path.pop()
        if not self._inside:
            return
        self._inside -= 1
        if not self._inside:
            self._record(layer, self.paths[layer], [*_tensors((args, kwargs))], out)

    def _record(self, layer: nn.Module, name: str, given: list[Tensor], out: Any) -> None:
        """A layer has run: note the call and mark what came out."""
        known = self._known(given)
        if isinstance(layer, Feedback):
            if len(given) > 1:  # the write, which gives its input back
                self.loops[name] = _described(self._sources.get(id(given[1]), ()))
            else:
                self._mark(out, ((name, "out"),))
            return
        if not known:
            return  # the layer's work does not depend on the sample
        outputs = list(_tensors(out))
        if self.find(layer) is None and not isinstance(layer, (*_TRANSPARENT, *BATCH_NORMS)):
            for output in outputs:
                self._mark(output, _Lost(f"layer {name!r} ({type(layer).__name__})"))
            return
        if id(given[0]) not in self._sources or len(known) > 1:
            raise NotImplementedError(f"layer {name!r}: its input comes from the sample, its states must not")
        sources = _described(known[0])
        if isinstance(layer, _TRANSPARENT):
            self._mark(out, sources)
            return
        if isinstance(layer, SpikingNeuron) and any(call.layer is layer for call in self.calls):
            raise ValueError(
                f"layer {name!r} is called more than once, and NIR describes one time step: export a module whose call "
                "is one step, without the loop over time"
            )
        name = self._call(name, layer, sources, given[0], outputs[0])
        self._mark(outputs[0], ((name, "out"),))
        if isinstance(layer, SpikingNeuron):
            for state in layer.states:
                if getattr(layer, state) is not outputs[0]:
                    self._mark(getattr(layer, state), ((name, state),))

    def finish(self, result: Any) -> None:
        """The first tensor of what the module returned is the output."""
        out = next(_tensors(result), None)
        if out is None or id(out) not in self._sources:
            raise ValueError("the module's output does not depend on its input")
        self.output = _described(self._sources[id(out)])
        self.out_shape = tuple(out.shape)
        for _ in self.loops:  # what one loop feeds back may come from another
            self.calls = [replace(call, sources=self._closed(call.sources)) for call in self.calls]
            self.output = self._closed(self.output)
            self.loops = {name: self._closed(sources) for name, sources in self.loops.items()}

    def _closed(self, sources: tuple[Signal, ...]) -> tuple[Signal, ...]:
        """Signals from a Feedback replaced by what was fed into it."""
        return tuple(s for signal in sources for s in self.loops.get(signal[0], (signal,)))


def follow(module: nn.Module, sample: Tensor, further: Sequence[Any], find: Finder) -> Trace:
    """Run the module on the sample; its training mode and the neurons' states are as before afterwards."""
    trace = Trace(module, sample, find)
    modes = {m: m.training for m in trace.paths}
    states = {m: [getattr(m, s) for s in m.states] for m in trace.paths if isinstance(m, SpikingNeuron)}
    module.eval()
    try:
        for neuron in states:  # the sample is of another batch than they are
            neuron.reset_mem()
        with torch.no_grad(), trace.hooked(module), trace:
            result = module(sample, *further)
    finally:
        for m, mode in modes.items():
            m.training = mode
        for neuron, values in states.items():
            neuron._store(values)
    trace.finish(result)
    return trace


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _described(sources: tuple[Signal, ...] | _Lost) -> tuple[Signal, ...]:
    """The sources themselves.

    Raises:
        NotImplementedError: where NIR cannot describe what made the tensor.
    """
    if isinstance(sources, _Lost):
        raise NotImplementedError(f"NIR has no counterpart of {sources}")
    return sources


def unique(name: str, taken: Any) -> str:
    candidates = (name, *(f"{name}_{i}" for i in range(1, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _flattened(before: Shape, after: Shape) -> tuple[int, int] | None:
    """The dimensions whose flattening makes one shape the other; None where nothing does."""
    for start in reversed(range(len(before))):
        for end in range(start + 1, len(before)):
            if (*before[:start], math.prod(before[start : end + 1]), *before[end + 1 :]) == tuple(after):
                return start, end
    return None
