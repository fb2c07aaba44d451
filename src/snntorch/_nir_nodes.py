"""Layers as nodes of NIR, one function for each kind of layer. The equations stand in `_nir`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from . import _nir
from ._layers.delay import Delay
from ._layers.gradedspikes import GradedSpikes
from ._layers.integrator import LeakyIntegrator, SynapticIntegrator
from ._layers.scale import Scale
from ._layers.threshold import Threshold
from ._neurons.lapicque import Lapicque
from ._neurons.leaky import Leaky
from ._neurons.recurrent import RecurrentOneToOne
from ._neurons.rleaky import RLeaky
from ._neurons.rsynaptic import RSynaptic
from ._neurons.synaptic import Synaptic
from .surrogate import Surrogate

if TYPE_CHECKING:
    import nir

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Context:
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
class Part:
    """The nodes that stand for one layer, by the suffix of their names, and which of them give its outputs."""

    nodes: dict[str, nir.NIRNode]
    exits: dict[str, str] = field(default_factory=lambda: {"out": ""})
    edges: list[tuple[str, str]] = field(default_factory=list)
    entry: str = ""


def _numpy(value: Any) -> np.ndarray:
    """An array of a tensor or number; half types, which NumPy or HDF5 may lack, become single."""
    tensor = torch.as_tensor(value).detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor).numpy().copy()


def _linear(layer: Any, context: Context) -> nir.NIRNode:
    import nir

    if len(context.in_shape) > 1:
        raise context.missing(f"Linear along the last of several dimensions, and its input is {context.in_shape}")
    weight = _numpy(layer.weight)
    return nir.Linear(weight) if layer.bias is None else nir.Affine(weight, _numpy(layer.bias))


def _convolution(layer: Any, context: Context) -> nir.NIRNode:
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


def _typed(node: nir.NIRNode, context: Context) -> nir.NIRNode:
    """The node with the shapes that were seen; nir's own rule for convolutions errs with groups and oblong kernels."""
    node.input_type, node.output_type = {"input": np.array(context.in_shape)}, {"output": np.array(context.out_shape)}
    return node


def _pool(layer: Any, context: Context) -> nir.NIRNode:
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


def _flatten(layer: Any, context: Context) -> nir.NIRNode:
    import nir

    start, end = layer.start_dim % context.rank, layer.end_dim % context.rank
    if end > start and any(start <= d <= end for d in context.ignored):
        raise ValueError(f"layer {context.name!r}: Flatten({layer.start_dim}, {layer.end_dim}) mixes samples")
    before = sum(d < start for d in context.ignored)
    last = -1 if end == context.rank - 1 else end - before
    return nir.Flatten(input_type={"input": np.array(context.in_shape)}, start_dim=start - before, end_dim=last)


def _scale(layer: Any, context: Context) -> nir.NIRNode:
    import nir

    factor = layer.scale if isinstance(layer, Scale) else layer.weights
    if isinstance(layer, GradedSpikes) and (layer.size == 1 or context.in_shape[-1:] == (layer.size,)):
        factor = factor[:, 0]
    return nir.Scale(context.array(factor, "scale"))


def _threshold(layer: Any, context: Context) -> nir.NIRNode:
    import nir

    _check_spike(layer, context)
    return nir.Threshold(context.array(layer.threshold, "threshold"), metadata={_nir.KEY: _surrogate_name(layer)})


def _delay(layer: Any, context: Context) -> nir.NIRNode:
    import nir

    return nir.Delay(context.array(layer.steps, "steps") * context.dt)


# -- neurons


def _check_spike(layer: Any, context: Context) -> None:
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


def _integrating(layer: Any, context: Context, spikes: bool) -> nir.NIRNode:
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


def _silent(layer: Any, context: Context) -> nir.NIRNode:
    if context.states:
        raise context.missing(f"signal for the state {', '.join(context.states)} of {type(layer).__name__}")
    return _integrating(layer, context, spikes=False)


def _neuron(layer: Any, context: Context) -> Part:
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
    part = Part({membrane: _integrating(layer, context, spikes=mechanism != "none")}, entry=membrane)
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


def _noted(layer: Any, context: Context) -> dict[str, Any]:
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


def _recurrent_weight(layer: Any, context: Context) -> nir.NIRNode:
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


_CONVERTERS: dict[type, Callable[[Any, Context], Any]] = {
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


def converter(layer: nn.Module) -> Callable[[Any, Context], Any] | None:
    """What converts the layer: that of its class, or of a base whose forward and step it still uses."""
    for base in type(layer).__mro__:
        if base in _CONVERTERS:
            same = all(
                getattr(type(layer), f, None) is getattr(base, f, None) for f in ("forward", "step", "drive", "project")
            )
            return _CONVERTERS[base] if same else None
    return None
