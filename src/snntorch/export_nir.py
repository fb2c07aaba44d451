"""Networks as graphs of the Neuromorphic Intermediate Representation (NIR). The equations stand in `snntorch._nir`."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from . import _nir
from ._layers.delay import Delay
from ._layers.feedback import Feedback
from ._layers.gradedspikes import GradedSpikes
from ._layers.integrator import LeakyIntegrator, SynapticIntegrator
from ._layers.scale import Scale
from ._layers.threshold import Threshold
from ._neurons.lapicque import Lapicque
from ._neurons.leaky import Leaky
from ._neurons.neurons import SpikingNeuron
from ._neurons.recurrent import RecurrentOneToOne
from ._neurons.rleaky import RLeaky
from ._neurons.rsynaptic import RSynaptic
from ._neurons.synaptic import Synaptic
from .surrogate import Surrogate

if TYPE_CHECKING:
    import nir

Shape = tuple[int, ...]
Signal = tuple[str, str]  # a layer's name, and which of its outputs: "out", or a state


def export_to_nir(
    module: nn.Module,
    sample_data: Tensor,
    model_name: str = "snntorch",
    model_fwd_args: Sequence[Any] = (),
    ignore_dims: Sequence[int] = (),
    dt: float = _nir.DT,
) -> nir.NIRGraph:
    """Describe a network as a NIR graph, which `nir.write` stores.

    The network runs once on the sample, in eval mode; its graph is what happened to the sample. Its hidden states and
    training mode are as before afterwards. Nodes are named by their modules' paths. Where a layer gets a sum of
    signals, its node has several edges. Dropout and Identity leave no node, a BatchNorm is folded into the Linear or
    convolution before it (or becomes one), `x.flatten(1)` is a Flatten, `x * constant` a Scale, what does not reach
    the output is left out.

    Neurons that reset to zero are LIF, CubaLIF, or IF where beta is 1; without a reset they are LI, CubaLI or I with a
    Threshold behind it (`.spike`), and that alone where the network uses their potential. A graded factor is a Scale
    behind them (`.graded`). Recurrent neurons become `.lif` and `.w_rec` in a loop. What NIR cannot say, a subtracted
    or a delayed reset, is noted in the node's metadata, from which `import_from_nir` restores it, and warned of.
    Surrogate gradients are no part of NIR; metadata hold their names.

    `nir` 1.0.8 misjudges the shapes of convolutions with groups or with kernels that are not square: files with these
    are read by `import_from_nir(path)` or `nir.read(path, type_check=False)`.

    Args:
        module: a network or layer whose call is one time step.
        sample_data: an input, whose values do not matter, `[B, ...]`.
        model_name: a name, kept in the graph's metadata.
        model_fwd_args: further positional arguments of the module's forward.
        ignore_dims: dimensions that belong to no sample, such as `[0]`. Where empty: the first one, unless the sample
            is one-dimensional or a convolution or pooling got it without a batch.
        dt: length of a time step in seconds.

    Returns:
        The graph; its parameters are arrays of each layer's shape.

    Raises:
        NotImplementedError: for a layer, operation or setting that NIR does not have, by its name: inhibition,
            quantised states, spikes that are no step function, the potential of a neuron with a reset as a signal.
        ValueError: where a neuron is called more than once (export one time step), the output does not depend on the
            input, or parameters do not fit.
        TypeError: where `sample_data` is no tensor.

    Source: Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
    brain-inspired computing", Nature Communications 15, 2024.

    Example:
        >>> import snntorch as snn, torch
        >>> lif = snn.Leaky(beta=0.9, reset_mechanism="zero", init_hidden=True)
        >>> graph = snn.export_nir.export_to_nir(torch.nn.Sequential(torch.nn.Linear(4, 3), lif), torch.rand(1, 4))
        >>> {name: type(node).__name__ for name, node in graph.nodes.items()}
        {'input': 'Input', '0': 'Affine', '1': 'LIF', 'output': 'Output'}
    """
    import nir

    if not isinstance(sample_data, Tensor):
        raise TypeError(f"sample_data must be a tensor, got {type(sample_data).__name__}")
    dt = _nir.check_dt(dt)
    trace = _trace(module, sample_data, model_fwd_args)
    calls, output = _folded(trace.calls, trace.output)
    ignored = _ignored(ignore_dims, sample_data, calls)
    used = {signal for call in calls for signal in call.sources} | {*output}

    def gone(shape: Sequence[int]) -> frozenset[int]:
        return frozenset(d % len(shape) for d in ignored)

    def sample_shape(shape: Sequence[int]) -> Shape:
        return tuple(n for d, n in enumerate(shape) if d not in gone(shape))

    source, sink = _unique("input", trace.names), _unique("output", trace.names)
    shape = np.array(sample_shape(sample_data.shape))
    nodes: dict[str, nir.NIRNode] = {source: nir.Input(input_type={"input": shape})}
    edges: list[tuple[str, str]] = []
    outputs: dict[Signal, str] = {("", "out"): source}
    inputs: dict[str, str] = {}
    for call in calls:
        context = _Context(
            name=call.name,
            in_shape=sample_shape(call.in_shape),
            out_shape=sample_shape(call.out_shape),
            dt=dt,
            states=frozenset(which for name, which in used if name == call.name) - {"out"},
            rank=len(call.in_shape),
            ignored=gone(call.in_shape),
        )
        part = _converter(call.layer)(call.layer, context)  # type: ignore[misc]
        if not isinstance(part, _Part):
            part = _Part({"": part})
        named = {suffix: f"{call.name}.{suffix}" if suffix else call.name for suffix in part.nodes}
        nodes |= {named[suffix]: node for suffix, node in part.nodes.items()}
        edges += [(named[a], named[b]) for a, b in part.edges]
        inputs[call.name] = named[part.entry]
        outputs |= {(call.name, which): named[suffix] for which, suffix in part.exits.items()}
    out_shape = np.array(sample_shape(trace.out_shape))
    nodes[sink] = nir.Output(output_type={"output": out_shape})
    incoming = [*((call.sources, inputs[call.name]) for call in calls), (output, sink)]
    edges += [(outputs[signal], target) for sources, target in incoming for signal in sources]
    kept = _leading_to(sink, edges) | {source}
    nodes = {name: node for name, node in nodes.items() if name in kept}
    edges = [edge for edge in edges if edge[0] in kept and edge[1] in kept]
    if len(set(edges)) < len(edges):
        twice = next(edge for edge in edges if edges.count(edge) > 1)
        raise NotImplementedError(f"{twice[1]!r} gets {twice[0]!r} twice, and NIR has one edge between two nodes")
    noted = {_nir.KEY: {"dt": dt, "model_name": model_name}}
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=noted)


# -- what happens to the sample


@dataclass(frozen=True)
class _Call:
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
_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class _Trace(TorchFunctionMode):
    """Follows the sample through the layers by the identity of tensors, whatever Python does in between."""

    def __init__(self, module: nn.Module, sample: Tensor) -> None:
        super().__init__()
        self.paths = {m: name or type(m).__name__.lower() for name, m in module.named_modules()}
        self.names: set[str] = set()
        self.calls: list[_Call] = []
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
        name = _unique(name, self.names)
        self.names.add(name)
        self.calls.append(_Call(name, layer, sources, tuple(x.shape), tuple(out.shape)))
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
        if both or out.shape != x.shape or name not in (_MULTIPLY | _DIVIDE) or kwargs.get("rounding_mode"):
            return None
        factor = torch.as_tensor(other, dtype=x.dtype)
        scale = Scale(1 / factor if name in _DIVIDE else factor)
        return ((self._call(self._local("scale"), scale, mine, x, out), "out"),)

    def _local(self, name: str) -> str:
        path = self._path[-1] if self._path else ""
        return f"{path}.{name}" if path else name

    # -- layers

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
        if self._inside or _is_leaf(layer):
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
        if _converter(layer) is None and not isinstance(layer, (*_TRANSPARENT, *_BATCH_NORMS)):
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


def _trace(module: nn.Module, sample: Tensor, further: Sequence[Any]) -> _Trace:
    """Run the module on the sample; its training mode and the neurons' states are as before afterwards."""
    trace = _Trace(module, sample)
    modes = {m: m.training for m in trace.paths}
    states = {m: [getattr(m, s) for s in m.states] for m in trace.paths if isinstance(m, SpikingNeuron)}
    module.eval()
    try:
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


def _unique(name: str, taken: Any) -> str:
    candidates = (name, *(f"{name}_{i}" for i in range(1, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _is_leaf(layer: nn.Module) -> bool:
    """Whether a layer is one unit to NIR; containers and the user's own modules are looked into."""
    if isinstance(layer, _CONTAINERS):
        return False
    return (
        _converter(layer) is not None
        or isinstance(layer, SpikingNeuron)
        or type(layer).__module__.startswith(("torch.nn.modules.", "snntorch._"))
    )


def _flattened(before: Shape, after: Shape) -> tuple[int, int] | None:
    """The dimensions whose flattening makes one shape the other; None where nothing does."""
    for start in reversed(range(len(before))):
        for end in range(start + 1, len(before)):
            if (*before[:start], math.prod(before[start : end + 1]), *before[end + 1 :]) == tuple(after):
                return start, end
    return None


def _ignored(ignore_dims: Sequence[int], sample: Tensor, calls: Sequence[_Call]) -> tuple[int, ...]:
    """The dimensions that belong to no sample."""
    if len(ignore_dims):
        return tuple(ignore_dims)
    spatial = {nn.Conv1d: 1, nn.Conv2d: 2, nn.AvgPool2d: 2}
    unbatched = any(len(call.in_shape) == spatial.get(type(call.layer), -9) + 1 for call in calls)
    return () if unbatched or sample.dim() < 2 else (0,)


def _leading_to(sink: str, edges: Sequence[tuple[str, str]]) -> set[str]:
    """The nodes from which a path leads to the sink."""
    kept: set[str] = {sink}
    while more := {a for a, b in edges if b in kept} - kept:
        kept |= more
    return kept


def _folded(calls: Sequence[_Call], output: tuple[Signal, ...]) -> tuple[list[_Call], tuple[Signal, ...]]:
    """Calls and output with each BatchNorm inside the linear map before it, or as a linear map of its own."""
    folded: dict[str, _Call] = {}
    renamed: dict[Signal, Signal] = {}
    uses = [signal for call in calls for signal in call.sources] + list(output)
    for call in calls:
        now = replace(call, sources=tuple(renamed.get(signal, signal) for signal in call.sources))
        if isinstance(call.layer, _BATCH_NORMS):
            before = folded.get(now.sources[0][0]) if len(now.sources) == 1 else None
            if before is not None and isinstance(before.layer, _LINEAR) and uses.count(call.sources[0]) == 1:
                folded[before.name] = replace(before, layer=_normalised(before.layer, call.layer, call.name))
                renamed[call.name, "out"] = (before.name, "out")
                continue
            now = replace(now, layer=_normalised(_identity(call), call.layer, call.name))
        folded[call.name] = now
    return list(folded.values()), tuple(renamed.get(signal, signal) for signal in output)


def _identity(call: _Call) -> nn.Module:
    """The linear map that leaves a BatchNorm's input as it is."""
    features, dims = call.in_shape[1], len(call.in_shape) - 2
    weight = torch.eye(features, dtype=torch.float64).reshape(features, features, *[1] * dims)
    layer = _LINEAR[dims](features, features, *[1] * bool(dims), bias=False, device="meta")
    layer.weight = nn.Parameter(weight)
    return layer


def _normalised(linear: nn.Module, norm: Any, name: str) -> nn.Module:
    """A copy of the linear map with an eval-mode BatchNorm inside."""
    if norm.running_mean is None:
        raise NotImplementedError(f"layer {name!r}: a BatchNorm without running statistics is no fixed linear map")
    result: Any = copy.deepcopy(linear).double()
    scale = (norm.running_var.double() + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight.double())
    shift = (0 if norm.bias is None else norm.bias.double()) - scale * norm.running_mean.double()
    bias = 0 if result.bias is None else result.bias
    with torch.no_grad():
        result.weight = nn.Parameter(result.weight * scale.reshape(-1, *[1] * (result.weight.dim() - 1)))
        result.bias = nn.Parameter(scale * bias + shift)
    return result.to(norm.running_mean.dtype)


# -- layers as nodes


@dataclass(frozen=True)
class _Context:
    """What a conversion needs to know beside the layer. Shapes are one sample's."""

    name: str
    in_shape: Shape
    out_shape: Shape
    dt: float
    states: frozenset[str]  # the states that the network uses as signals
    rank: int  # dimensions of the layer's whole input, of which
    ignored: frozenset[int]  # these belong to no sample

    def array(self, value: Any, what: str) -> np.ndarray:
        """A parameter in double precision and the shape of the layer's input.

        Raises:
            ValueError: where it does not broadcast.
        """
        values = _numpy(value).astype(np.float64)
        while values.ndim > len(self.in_shape) and values.shape[0] == 1:
            values = values[0]
        try:
            return np.broadcast_to(values, self.in_shape).copy()
        except ValueError:
            raise ValueError(f"layer {self.name!r}: {what} of shape {values.shape} does not broadcast to the shape "
                             f"{self.in_shape} of one sample") from None  # fmt: skip

    def missing(self, what: str) -> NotImplementedError:
        """The error that NIR lacks something."""
        return NotImplementedError(f"layer {self.name!r}: NIR has no {what}")


@dataclass
class _Part:
    """The nodes that stand for one layer, by the suffix of their names, and which of them give its outputs."""

    nodes: dict[str, nir.NIRNode]
    exits: dict[str, str] = field(default_factory=lambda: {"out": ""})
    edges: list[tuple[str, str]] = field(default_factory=list)
    entry: str = ""


def _numpy(value: Any) -> np.ndarray:
    """An array of a tensor or number; half types, which NumPy or HDF5 may lack, become single."""
    tensor = torch.as_tensor(value).detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor).numpy().copy()


def _linear(layer: Any, context: _Context) -> nir.NIRNode:
    import nir

    if len(context.in_shape) > 1:
        raise context.missing(f"Linear along the last of several dimensions, and its input is {context.in_shape}")
    weight = _numpy(layer.weight)
    return nir.Linear(weight) if layer.bias is None else nir.Affine(weight, _numpy(layer.bias))


def _convolution(layer: Any, context: _Context) -> nir.NIRNode:
    import nir

    if layer.padding_mode != "zeros":
        raise context.missing(f"padding mode {layer.padding_mode!r}")
    one = isinstance(layer, nn.Conv1d)
    padding = layer.padding if isinstance(layer.padding, str) or not one else layer.padding[0]
    spatial = context.in_shape[1:]
    node = (nir.Conv1d if one else nir.Conv2d)(
        input_shape=spatial[0] if one else spatial,  # type: ignore[arg-type]
        weight=_numpy(layer.weight),
        stride=layer.stride[0] if one else layer.stride,
        padding=padding,
        dilation=layer.dilation[0] if one else layer.dilation,
        groups=layer.groups,
        bias=_numpy(torch.zeros_like(layer.weight[:, 0].flatten(1)[:, 0]) if layer.bias is None else layer.bias),
    )
    return _typed(node, context)


def _typed(node: nir.NIRNode, context: _Context) -> nir.NIRNode:
    """The node with the shapes that were seen; nir's own rule for convolutions errs with groups and oblong kernels."""
    node.input_type, node.output_type = {"input": np.array(context.in_shape)}, {"output": np.array(context.out_shape)}
    return node


def _pool(layer: Any, context: _Context) -> nir.NIRNode:
    import nir

    kernel, stride, padding = (
        np.array(value if isinstance(value, tuple) else (value, value))
        for value in (layer.kernel_size, layer.stride, layer.padding)
    )
    if layer.ceil_mode or (padding.any() and not layer.count_include_pad and layer.divisor_override is None):
        raise context.missing("pooling with ceil_mode or count_include_pad=False")
    if layer.divisor_override not in (None, 1, kernel.prod()):
        raise context.missing(f"pooling with divisor_override={layer.divisor_override}")
    kind = nir.SumPool2d if layer.divisor_override == 1 else nir.AvgPool2d
    return _typed(kind(kernel_size=kernel, stride=stride, padding=padding), context)


def _flatten(layer: Any, context: _Context) -> nir.NIRNode:
    import nir

    start, end = layer.start_dim % context.rank, layer.end_dim % context.rank
    if end > start and any(start <= d <= end for d in context.ignored):
        raise ValueError(f"layer {context.name!r}: Flatten({layer.start_dim}, {layer.end_dim}) mixes samples")
    before = sum(d < start for d in context.ignored)
    last = -1 if end == context.rank - 1 else end - before
    return nir.Flatten(input_type={"input": np.array(context.in_shape)}, start_dim=start - before, end_dim=last)


def _scale(layer: Any, context: _Context) -> nir.NIRNode:
    import nir

    factor = layer.scale if isinstance(layer, Scale) else layer.weights
    if isinstance(layer, GradedSpikes) and (layer.size == 1 or context.in_shape[-1:] == (layer.size,)):
        factor = factor[:, 0]
    return nir.Scale(context.array(factor, "scale"))


def _threshold(layer: Any, context: _Context) -> nir.NIRNode:
    import nir

    _check_spike(layer, context)
    return nir.Threshold(context.array(layer.threshold, "threshold"), metadata={_nir.KEY: _surrogate_name(layer)})


def _delay(layer: Any, context: _Context) -> nir.NIRNode:
    import nir

    return nir.Delay(context.array(layer.steps, "steps") * context.dt)


# -- neurons


def _check_spike(layer: Any, context: _Context) -> None:
    """Spikes must be the Heaviside step; every surrogate of ours is, a user's callable is tried."""
    x = torch.linspace(-2, 2, 101)
    with torch.no_grad():
        known = isinstance(layer.spike_grad, Surrogate)
        if not known and not torch.equal(layer.spike_grad(x.to(layer.threshold)), (x > 0).to(layer.threshold)):
            raise context.missing("spikes other than 1 above the threshold and 0 below it, as spike_grad gives here")


def _surrogate_name(layer: Any) -> dict[str, str]:
    """The surrogate's name for the reader, without addresses of Python objects."""
    spike = layer.spike_grad
    plain = isinstance(spike, Surrogate) and all(isinstance(p, (int, float)) for p in spike.parameters)
    inner = spike.function if isinstance(spike, Surrogate) else spike
    return {"spike_grad": repr(spike) if plain else getattr(inner, "__name__", type(inner).__name__)}


def _integrating(layer: Any, context: _Context, spikes: bool) -> nir.NIRNode:
    """The membrane of any neuron, with (LIF, CubaLIF, IF) or without (LI, CubaLI, I) spikes."""
    import nir

    dt = context.dt
    if isinstance(layer, Lapicque):
        r, C, step = (
            context.array(value, what)
            for value, what in ((layer.R, "R"), (layer.C, "C"), (layer.time_step, "time_step"))
        )
        tau = r * C * dt / step
        if not (tau >= dt * (1 - 1e-6)).all():
            raise ValueError(f"layer {context.name!r}: time_step > R * C has no NIR counterpart")
        leaks, gain, rest = np.array(True), None, np.zeros_like(tau)
    else:
        beta = context.array(layer.beta, "beta").clip(0, 1)
        leaks, tau = beta < 1, _nir.time_constant(beta, dt)
        integrator = isinstance(layer, LeakyIntegrator)
        gain = context.array(layer.gain if integrator else 1.0, "gain")
        rest = context.array(layer.rest if integrator else 0.0, "rest")
        r = gain * tau / dt
    firing = {}
    if spikes:
        firing = {"v_threshold": context.array(layer.threshold, "threshold"), "v_reset": np.zeros_like(tau)}
    if hasattr(layer, "alpha"):
        tau_syn = _nir.time_constant(context.array(layer.alpha, "alpha").clip(0, 1), dt)
        kind = nir.CubaLIF if spikes else nir.CubaLI
        return kind(tau_syn=tau_syn, tau_mem=tau, r=r, v_leak=rest, w_in=tau_syn / dt, **firing)
    if not leaks.any() and not rest.any():
        r = np.where(gain == 1, 1 / dt, gain)  # type: ignore[arg-type]
        return nir.IF(r=r, **firing) if spikes else nir.I(r=r)
    return (nir.LIF if spikes else nir.LI)(tau=tau, r=r, v_leak=rest, **firing)


def _silent(layer: Any, context: _Context) -> nir.NIRNode:
    if context.states:
        raise context.missing(f"signal for the state {', '.join(context.states)} of {type(layer).__name__}")
    return _integrating(layer, context, spikes=False)


def _neuron(layer: Any, context: _Context) -> _Part:
    """A neuron that spikes: its membrane, the threshold, the graded factor and the recurrent weight."""
    import nir

    if layer.inhibition:
        raise context.missing("inhibition")
    if layer.state_quant:
        raise context.missing("quantised states (state_quant)")
    _check_spike(layer, context)
    mechanism, kind = layer.reset_mechanism, type(layer).__name__
    readable = {"mem"} if mechanism == "none" else set()
    if unreadable := context.states - readable:
        raise context.missing(f"signal for {kind}'s state {', '.join(sorted(unreadable))} with reset {mechanism!r}")
    recurrent = isinstance(layer, (RLeaky, RSynaptic))
    out = membrane = "lif" if recurrent else ""
    part = _Part({membrane: _integrating(layer, context, spikes=mechanism != "none")}, entry=membrane)
    if mechanism == "none":
        threshold = context.array(layer.threshold, "threshold")
        part.nodes["spike"] = nir.Threshold(threshold, metadata={_nir.KEY: _surrogate_name(layer)})
        part.edges.append((membrane, "spike"))
        out = "spike"
    else:
        resting = (context.array(layer.threshold, "threshold") < 0).any()
        if mechanism == "zero" and resting and not (isinstance(layer, Leaky) and layer.reset_delay):
            raise context.missing(f"reset of {kind} where the threshold is below the resting potential")
        part.nodes[membrane].metadata = {_nir.KEY: _noted(layer, context)}
    factor = context.array(layer.graded_spikes_factor, "graded_spikes_factor")
    if (factor != 1).any():
        part.nodes["graded"] = nir.Scale(factor)
        part.edges.append((out, "graded"))
        out = "graded"
    if recurrent:
        part.nodes["w_rec"] = _recurrent_weight(layer, context)
        part.edges += [(out, "w_rec"), ("w_rec", membrane)]
    part.exits = {"out": out, "mem": membrane}
    return part


def _noted(layer: Any, context: _Context) -> dict[str, Any]:
    """What NIR does not say about a neuron; warns where other readers would find other spikes."""
    delay = bool(getattr(layer, "reset_delay", True))
    noted = {"reset_mechanism": layer.reset_mechanism, "reset_delay": delay, **_surrogate_name(layer)}
    if isinstance(layer, Lapicque):
        noted |= {"neuron": "Lapicque", "time_step": float(layer.time_step)}
    if layer.reset_mechanism == "subtract" or (delay and not isinstance(layer, Leaky)):
        what = "subtracts the threshold" if layer.reset_mechanism == "subtract" else "resets one step after the spike"
        warnings.warn(
            f"layer {context.name!r}: {type(layer).__name__} {what}, but NIR resets to zero with the spike; the "
            "graph's metadata say so to snntorch, other libraries will find other spikes",
            UserWarning,
            stacklevel=4,
        )
    return noted


def _recurrent_weight(layer: Any, context: _Context) -> nir.NIRNode:
    import nir

    weight = layer.recurrent
    inner = replace(context, out_shape=context.in_shape)
    if isinstance(weight, nn.Conv2d):
        return _convolution(weight, inner)
    if isinstance(weight, nn.Linear):
        return _linear(weight, inner)
    if not isinstance(weight, RecurrentOneToOne):
        raise context.missing(f"recurrent weight of type {type(weight).__name__}")
    V = context.array(weight.V, "V")
    return nir.Linear(np.diag(V)) if V.ndim == 1 else nir.Scale(V)


_CONVERTERS: dict[type, Callable[[Any, _Context], Any]] = {
    nn.AvgPool2d: _pool,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Flatten: _flatten,
    nn.Linear: _linear,
    Delay: _delay,
    GradedSpikes: _scale,
    Lapicque: _neuron,
    Leaky: _neuron,
    LeakyIntegrator: _silent,
    RLeaky: _neuron,
    RSynaptic: _neuron,
    Scale: _scale,
    Synaptic: _neuron,
    SynapticIntegrator: _silent,
    Threshold: _threshold,
}


def _converter(layer: nn.Module) -> Callable[[Any, _Context], Any] | None:
    """What converts the layer: that of its class, or of a base whose forward and step it still uses."""
    for base in type(layer).__mro__:
        if base in _CONVERTERS:
            same = all(
                getattr(type(layer), f, None) is getattr(base, f, None) for f in ("forward", "step", "drive", "project")
            )
            return _CONVERTERS[base] if same else None
    return None
