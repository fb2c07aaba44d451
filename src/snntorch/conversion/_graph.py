"""The spiking network of what a ReLU network calls."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from .._layers.batchnorm import scale_and_shift
from .._layers.of_functions import AVERAGES, MAXIMA, WEIGHTED, flattened, unique
from .._layers.scale import Scale
from .._layers.spikemax import SpikeMax
from .._neurons.leaky import Leaky
from .._time.read import Call, Reading, Ref, refs

_SUMS = {"add": torch.add, "iadd": torch.add, "radd": torch.add, "sub": torch.sub, "isub": torch.sub,
         "rsub": torch.rsub, "neg": torch.neg}  # fmt: skip
_FACTORS = {"mul": torch.mul, "imul": torch.mul, "rmul": torch.mul, "multiply": torch.mul, "div": torch.div,
            "itruediv": torch.div, "truediv": torch.div, "divide": torch.div}  # fmt: skip
_SAME = {"alpha_dropout", "clone", "contiguous", "detach", "dropout", "dropout1d", "dropout2d", "dropout3d",
         "feature_alpha_dropout"}  # fmt: skip
_SHAPES = {"flatten", "reshape", "unflatten", "view"}
_CATS = {"cat", "concat", "concatenate"}
# What rates pass through as activations do: functions that are linear, and have no constant.
_PASSING = {*AVERAGES, *_SAME, *_SHAPES, *_CATS, "channel_shuffle", "flip", "getitem", "mean", "movedim", "narrow",
            "pad", "permute", "pixel_shuffle", "roll", "select", "squeeze", "sum", "swapaxes", "transpose",
            "unsqueeze"}  # fmt: skip
_BATCH_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_NO_EPS = 1e-30  # 1 + eps is 1, while PyTorch before 2.12 refuses 0
_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


class Conversion:
    """The spiking network of a reading, made call by call.

    Each node has a scale, by which its average over time is to be multiplied to be the activation there. Spikes have
    their neurons' scales, and keep them through pooling and the like. What weights give gets the scale that the next
    neuron asks for, inside the weights; a Scale stands where there are none.
    """

    def __init__(self, reading: Reading, scales: dict[int, Tensor], one: Tensor) -> None:
        self.reading, self.scales, self.one = reading, scales, one
        self.graph, self.modules = fx.Graph(), dict[str, Any]()  # in the order in which they run
        needed = reading.needed(reading.output)[1:]
        self.uses = Counter(refs([reading.output, *(reading.calls[number].sources for number in needed)]))
        self.made: dict[Ref, tuple[fx.Node, Tensor]] = {Ref(1, 0): (self.graph.placeholder("input"), one)}
        for number in needed:
            self._fire(Ref(number, 0), reading.calls[number])
        self.graph.output(self._filled(reading.output, {ref: self.natural(ref)[0] for ref in refs(reading.output)}))

    def network(self) -> nn.Module:
        """A Sequential where one layer follows another; else a graph module."""
        nodes = list(self.graph.nodes)
        chain = all(after.args == (before,) for before, after in itertools.pairwise(nodes))
        if chain and all(node.op == "call_module" for node in nodes[1:-1]):
            return nn.Sequential(*[self.modules[str(node.target)] for node in nodes[1:-1]]).eval()
        net = fx.GraphModule(nn.Module(), fx.Graph(), class_name="Converted")
        for name, part in self.modules.items():
            net.register_buffer(name, part) if isinstance(part, Tensor) else net.add_submodule(name, part)
        net.graph = self.graph
        return net.eval()

    # -- nodes and their scales

    def natural(self, ref: Ref) -> tuple[fx.Node, Tensor]:
        """A node that stands for an activation, with the scale that it has by itself."""
        if ref not in self.made:
            call = self._call(ref)
            scale = self._kept_scale(call) if self._passes(ref) else None
            if scale is None:
                self.made[ref] = self._linear(ref, call, self.one), self.one
            else:
                self.made[ref] = self._passed(ref, call, [self.natural(source)[0] for source in call.sources]), scale
        return self.made[ref]

    def scaled(self, ref: Ref, scale: Tensor) -> fx.Node:
        """A node that stands for an activation, of a given scale."""
        if ref not in self.made and self.uses[ref] == 1 and not self._passes(ref):
            return self._linear(ref, self._call(ref), scale)
        node, own = self.natural(ref)
        return self._times(self._call(ref), node, own / scale)

    def _call(self, ref: Ref) -> Call:
        return self.reading.calls[ref.call]

    def _passes(self, ref: Ref) -> bool:
        """Whether it is spikes, or the input, perhaps in another shape, which have a scale already."""
        return ref in self.made or (
            self._call(ref).name in _PASSING and all(self._passes(source) for source in self._call(ref).sources)
        )

    def _kept_scale(self, call: Call) -> Tensor | None:
        """The scale of what passes a function; None where its parts have different ones that can't be told."""
        scales = [self.natural(source)[1] for source in call.sources]
        if call.name in AVERAGES or call.name in _SAME or all(s.numel() == 1 and s == scales[0] for s in scales):
            return scales[0]
        shapes = [self.reading.meta(source).shape[1:] for source in call.sources]
        if call.name in _CATS and call.kwargs.get("dim", call.args[-1]) == 1:
            of_channels = [s.expand(shape[0], *[1] * (len(shape) - 1)) for s, shape in zip(scales, shapes, strict=True)]
            return torch.cat(of_channels)
        if call.name == "flatten" and call.args[1:] in ((1,), (1, -1)):
            return scales[0].expand(shapes[0]).flatten()
        return None

    # -- what is linear

    def _linear(self, ref: Ref, call: Call, scale: Tensor) -> fx.Node:
        """A node for what a linear call gives, of a given scale."""
        if call.name in WEIGHTED or call.name == "batch_norm":
            layer, source, call = self._weights(call)
            x, own = self.natural(source)
            if not _multiply(layer, own, inputs=True):
                x = self._times(call, x, own)
            if _multiply(layer, 1 / scale, inputs=False):
                return self._layer(call, layer, x)
            return self._times(call, self._layer(call, layer, x), 1 / scale)
        terms = {k: self.scaled(a, scale) for k, a in enumerate(call.args) if isinstance(a, Ref)}
        if call.name in _SUMS and call.kwargs.get("alpha", 1) == 1:
            args = [terms[k] if k in terms else self._constant(a / scale) for k, a in enumerate(call.args)]
            return self.graph.call_function(_SUMS[call.name], tuple(args))
        if call.name in _FACTORS and len(terms) == 1 and (0 in terms or _FACTORS[call.name] is torch.mul):
            args = [terms[k] if k in terms else self._constant(a * self.one) for k, a in enumerate(call.args)]
            return self.graph.call_function(_FACTORS[call.name], tuple(args))
        if call.name in _PASSING:
            inner = scale if scale.numel() == 1 else self.one
            node = self._passed(ref, call, [self.scaled(source, inner) for source in call.sources])
            return self._times(call, node, inner / scale)
        raise self._refusal(call)

    def _weights(self, call: Call) -> tuple[Any, Ref, Call]:
        """A copy of a layer with weights, what it takes, and its call; a BatchNorm goes into the weights before it."""
        if call.name != "batch_norm":
            args, kwargs = map_aggregate((call.args[1:], call.kwargs), _cloned)
            if not isinstance(call.args[0], Ref) or len(call.sources) > 1:
                raise self._refusal(call)
            return WEIGHTED[call.name](*args, **kwargs), call.args[0], call
        norm: Any = dict(zip(_BATCH_NORM, call.args, strict=False)) | call.kwargs
        if norm["running_mean"] is None or norm.get("training"):
            raise NotImplementedError(f"{self._where(call)} cannot be converted: it has no running statistics")
        mean, var, eps = norm["running_mean"], norm["running_var"], norm.get("eps", 1e-5)
        factor, shift = scale_and_shift(mean, var, norm.get("weight"), norm.get("bias"), eps)
        source: Ref = norm["input"]
        before = self._call(source)
        if before.name in WEIGHTED and self.uses[source] == 1:
            layer, source, call = self._weights(before)
            _multiply(layer, factor, inputs=False)
            shift = shift if layer.bias is None else shift + layer.bias.double()
        else:
            layer: Any = _BATCH_NORMS[len(self.reading.meta(source).shape)](len(factor), eps=_NO_EPS)
            layer.weight = nn.Parameter(factor)
        layer.bias = nn.Parameter(shift)
        return layer.to(self.one), source, call

    def _passed(self, ref: Ref, call: Call, nodes: Sequence[fx.Node]) -> fx.Node:
        """A node for a call that rates pass, of batches of any size."""
        shape, before = tuple(call.metas[ref.out].shape), tuple(self.reading.meta(call.sources[0]).shape)
        if call.name in _SAME:
            training = call.kwargs.get("training", call.args[2] if len(call.args) > 2 else True)
            if "dropout" in call.name and training:
                raise NotImplementedError(f"{self._where(call)} cannot be converted: it draws in evaluation too")
            return nodes[0]
        if call.name == "pad" and (call.kwargs.get("value") or (*call.args, *[0] * 3)[3]):
            raise self._refusal(call)
        if call.name in AVERAGES:
            return self._layer(call, AVERAGES[call.name](*call.args[1:], **call.kwargs), nodes[0])
        if call.name in _SHAPES and shape[:1] == before[:1]:
            if dims := flattened(before, shape):
                return self._layer(call, nn.Flatten(*dims), nodes[0])
            flat = self.graph.call_function(torch.flatten, (nodes[0], 1))
            return self.graph.call_function(torch.unflatten, (flat, 1, shape[1:]))
        values = dict(zip(call.sources, nodes, strict=True))
        args, kwargs = self._filled((call.args, call.kwargs), values)
        return self.graph.call_function(call.function, args, kwargs)

    def _filled(self, template: Any, nodes: dict[Ref, fx.Node]) -> Any:
        return map_aggregate(template, lambda v: nodes[v] if isinstance(v, Ref) else v)

    # -- what is made

    def _fire(self, ref: Ref, call: Call) -> None:
        """Neurons for a ReLU, a gate for a maximum; what is linear is made when somebody asks for it."""
        if is_relu(call):
            scale = self.scales[id(call)]
            if not scale.any():
                raise ValueError(f"{self._where(call)} is never active on data, so it has no scale")
            neuron = Leaky(beta=1.0, threshold=1.0, init_hidden=True).to(self.one)
            self.made[ref] = self._layer(call, neuron, self.scaled(call.sources[0], scale)), scale
        elif call.name in MAXIMA and len(call.metas) == 1:
            x, scale = self.natural(call.sources[0])
            gate = SpikeMax(MAXIMA[call.name](*call.args[1:], **call.kwargs)).to(self.one)
            self.made[ref] = self._layer(call, gate, x), scale
        elif call.name not in {*WEIGHTED, *_SUMS, *_FACTORS, *_PASSING, "batch_norm"}:
            raise self._refusal(call)

    def _layer(self, call: Call, layer: nn.Module, x: fx.Node, suffix: str = "") -> fx.Node:
        """A node for a layer, which bears the name of the one in its place."""
        path = self.reading.paths.get(call.owner, "")
        if not _is_layer(call.owner):
            path = f"{path}.{call.name}" if path else call.name
        name = unique((path or call.name) + suffix, self.modules)
        self.modules[name] = layer
        return self.graph.create_node("call_module", name, (x,), name="value")

    def _times(self, call: Call, x: fx.Node, factor: Tensor) -> fx.Node:
        if bool((factor == 1).all()):
            return x
        scale = Scale(1.0)
        scale.scale = nn.Parameter(factor.to(self.one))
        return self._layer(call, scale, x, "_scale")

    def _constant(self, value: Tensor) -> fx.Node:
        name = f"constant_{len(self.modules)}"
        self.modules[name] = value.to(self.one)
        return self.graph.get_attr(name)

    def _where(self, call: Call) -> str:
        if not _is_layer(call.owner):
            return self.reading.where(call)
        path, kind = self.reading.paths.get(call.owner, ""), type(call.owner).__name__
        return f"layer {path!r}, {kind}," if path else kind

    def _refusal(self, call: Call) -> NotImplementedError:
        return NotImplementedError(
            f"{self._where(call)} cannot be converted; a network may have linear and convolutional layers, BatchNorm, "
            "ReLU, max and average pooling, dropout, sums, concatenations, factors, and what changes shapes"
        )


def _is_layer(owner: nn.Module | None) -> bool:
    return type(owner).__module__.startswith("torch.nn.modules.") and not isinstance(owner, nn.Sequential)


def is_relu(call: Call) -> bool:
    low, high = (*call.args[1:], None, None)[:2]
    bounds = call.kwargs.get("min", low), call.kwargs.get("max", high)
    return call.name == "relu" or (call.name in ("clamp", "clamp_min", "clip") and bounds == (0, None))


def _cloned(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _multiply(layer: Any, factor: Tensor, inputs: bool) -> bool:
    """Multiply what a layer takes, or what it gives, by a factor of each channel, where weights can do that."""
    weight, bias = layer.weight.data.double(), None if layer.bias is None else layer.bias.data.double()
    if factor.numel() > 1:
        features = factor.dim() == 1 or (factor.shape[1:].numel() == 1 and not isinstance(layer, nn.Linear))
        if not features:
            return False
        factor = factor.reshape(-1)
        if inputs and weight.dim() > 1:
            groups = getattr(layer, "groups", 1)
            factor = factor.view(groups, 1, -1).repeat_interleave(len(weight) // groups, 1).flatten(0, 1)
            factor = factor.reshape(*factor.shape, *[1] * (weight.dim() - 2))
    by_output = factor if inputs or not factor.numel() > 1 else factor.view(-1, *[1] * (weight.dim() - 1))
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter((weight * by_output).to(dtype))
    if bias is not None and not inputs:
        layer.bias = nn.Parameter((bias * factor).to(dtype))
    return True
