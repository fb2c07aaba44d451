"""LIF, CubaLIF and IF, and LI, CubaLI and I, which do not spike."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from .._layers.integrator import LeakyIntegrator, SynapticIntegrator
from .._neurons.lapicque import Lapicque
from .._neurons.leaky import Leaky
from .._neurons.linearleaky import LinearLeaky
from .._neurons.rleaky import RLeaky
from .._neurons.rsynaptic import RSynaptic
from .._neurons.stateleaky import StateLeaky
from .._neurons.synaptic import Synaptic
from .equations import KEY, decay, integrator_gain, leaky_gain, snapped, time_constant
from .exporting import Context, NIRNode, Part, nir_node
from .importing import Node, as_tensor
from .linear import export_linear
from .recurrence import below_rest, export_recurrent_weight
from .threshold import check_spike, surrogate_name, threshold_node

# -- to NIR


def export_neuron(layer: Any, context: Context) -> Part:
    """A neuron that spikes: its membrane, the threshold, the graded factor and the recurrent weight."""
    if layer.overrides:
        raise context.missing(f"counterpart of {type(layer).__name__}, which overrides {', '.join(layer.overrides)}")
    if layer.inhibition:
        raise context.missing("inhibition")
    if layer.state_quant:
        raise context.missing("quantised states (state_quant)")
    check_spike(layer, context)
    mechanism, kind = "none" if isinstance(layer, StateLeaky) else layer.reset_mechanism, type(layer).__name__
    readable = {"mem"} if mechanism == "none" else set()
    if unreadable := context.states - readable:
        raise context.missing(f"signal for {kind}'s state {', '.join(sorted(unreadable))} with reset {mechanism!r}")
    recurrent = isinstance(layer, (RLeaky, RSynaptic))
    out = membrane = "lif" if recurrent else ""
    part = Part({membrane: _membrane(layer, context, spikes=mechanism != "none")}, entry=membrane)
    if mechanism == "none":
        part.nodes["spike"] = threshold_node(layer, context)
        part.edges.append((membrane, "spike"))
        out = "spike"
    else:
        resting = (context.array(layer.threshold, "threshold") < 0).any()
        if mechanism == "zero" and resting and not (isinstance(layer, Leaky) and layer.reset_delay):
            raise context.missing(f"reset of {kind} where the threshold is below the resting potential")
        part.nodes[membrane].metadata = {KEY: _noted(layer, context)}
    factor = context.array(layer.graded_spikes_factor, "graded_spikes_factor")
    if (factor != 1).any():
        part.nodes["graded"] = nir_node("Scale", scale=factor)
        part.edges.append((out, "graded"))
        out = "graded"
    if recurrent:
        part.nodes["w_rec"] = export_recurrent_weight(layer, context)
        part.edges += [(out, "w_rec"), ("w_rec", membrane)]
    part.exits = {"out": out, "mem": membrane}
    return part


def export_state_leaky(layer: Any, context: Context) -> Part:
    """A membrane without reset, and the threshold behind it where spikes are returned."""
    if layer.kernel_truncation_steps is not None:
        raise context.missing("sum over the last inputs alone (kernel_truncation_steps)")
    part = export_neuron(layer, context)
    if not layer.output:
        part.exits["out"] = part.exits["mem"]
    return part


def export_linear_leaky(layer: Any, context: Context) -> Part:
    """A linear map, and what is behind it."""
    part = export_state_leaky(layer, replace(context, in_shape=context.out_shape))
    part.nodes = {"linear": export_linear(layer.linear, context), **part.nodes}
    part.edges.append(("linear", part.entry))
    part.entry = "linear"
    return part


def export_integrator(layer: Any, context: Context) -> NIRNode:
    """A neuron that does not spike."""
    if context.states:
        raise context.missing(f"signal for the state {', '.join(context.states)} of {type(layer).__name__}")
    return _membrane(layer, context, spikes=False)


def _membrane(layer: Any, context: Context, spikes: bool) -> NIRNode:
    """The membrane of any neuron, with (LIF, CubaLIF, IF) or without (LI, CubaLI, I) spikes."""
    dt = context.dt
    if isinstance(layer, Lapicque):
        r, C, step = (context.array(getattr(layer, what), what) for what in ("R", "C", "time_step"))
        tau = r * C * dt / step
        if not (tau >= dt * (1 - 1e-6)).all():
            raise ValueError(f"layer {context.name!r}: time_step > R * C has no NIR counterpart")
        leaks, gain, rest = np.array(True), None, np.zeros_like(tau)
    else:
        beta = context.array(layer.decay if isinstance(layer, StateLeaky) else layer.beta, "beta").clip(0, 1)
        leaks, tau = beta < 1, time_constant(beta, dt)
        integrator = isinstance(layer, LeakyIntegrator)
        gain = context.array(layer.gain if integrator else 1.0, "gain")
        rest = context.array(layer.rest if integrator else 0.0, "rest")
        r = gain * tau / dt
    firing = {}
    if spikes:
        firing = {"v_threshold": context.array(layer.threshold, "threshold"), "v_reset": np.zeros_like(tau)}
    if hasattr(layer, "alpha"):
        tau_syn = time_constant(context.array(layer.alpha, "alpha").clip(0, 1), dt)
        kind = "CubaLIF" if spikes else "CubaLI"
        return nir_node(kind, tau_syn=tau_syn, tau_mem=tau, r=r, v_leak=rest, w_in=tau_syn / dt, **firing)
    if not leaks.any() and not rest.any():
        r = np.where(gain == 1, 1 / dt, gain)  # type: ignore[arg-type]
        return nir_node("IF" if spikes else "I", r=r, **firing)
    return nir_node("LIF" if spikes else "LI", tau=tau, r=r, v_leak=rest, **firing)


def _noted(layer: Any, context: Context) -> dict[str, Any]:
    """What NIR does not say about a neuron; warns where other readers would find other spikes."""
    delay = bool(getattr(layer, "reset_delay", True))
    noted = {"reset_mechanism": layer.reset_mechanism, "reset_delay": delay, **surrogate_name(layer)}
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


# -- from NIR


def import_leaky(node: Node) -> nn.Module:
    """A Leaky, of IF one that does not leak, or the Lapicque that it was."""
    beta, gain = _membrane_of(node)
    settings = _resets(node, gain)
    if node.kind == "IF" or node.noted.get("neuron") != "Lapicque":
        return Leaky(beta=as_tensor(beta), **settings)
    del settings["reset_delay"]  # Lapicque's reset is always delayed
    time_step, (tau, r) = float(node.noted["time_step"]), _time_constants(node, "tau")
    C = tau * time_step / (r * node.dt)
    settings["threshold"] = as_tensor(node.array("v_threshold", infinite=True))
    return Lapicque(R=as_tensor(r), C=as_tensor(C), time_step=time_step, **settings)


def import_synaptic(node: Node) -> nn.Module:
    """A Synaptic."""
    alpha, beta, gain = _synapse(node)
    settings = _resets(node, gain)
    if settings["reset_mechanism"] == "zero" and below_rest(settings["threshold"]):
        raise node.missing("the threshold of a CubaLIF must not lie below v_leak")
    return Synaptic(alpha=as_tensor(alpha), beta=as_tensor(beta), **settings)


def import_integrator(node: Node) -> nn.Module:
    """A LeakyIntegrator, of I one that does not leak."""
    beta, gain = map(as_tensor, _membrane_of(node))
    rest = node.tensor("v_leak") if node.kind == "LI" else 0.0
    return LeakyIntegrator(beta, gain=gain, rest=rest, init_hidden=True)


def import_synaptic_integrator(node: Node) -> nn.Module:
    """A SynapticIntegrator."""
    alpha, beta, gain = map(as_tensor, _synapse(node))
    return SynapticIntegrator(alpha, beta, gain=gain, rest=node.tensor("v_leak"), init_hidden=True)


def _time_constants(node: Node, tau: str) -> list[np.ndarray]:
    """Time constants and resistances; infinite ones mean no leak, and the gain 1 only where both are."""
    constants, r = node.arrays(tau, "r", infinite=True)
    if (np.isinf(r) & ~np.isinf(constants)).any():
        raise ValueError(f"r must not be infinite where {tau} is not")
    return [constants, r]


def _membrane_of(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Decay and gain of a membrane without a synapse before it."""
    if node.kind in ("IF", "I"):
        gain = integrator_gain(node.array("r"), node.dt)
        return np.ones_like(gain), gain
    tau, r = _time_constants(node, "tau")
    return decay(tau, node.dt), snapped(leaky_gain(r, tau, node.dt))


def _synapse(node: Node) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both decays and the gain of a synapse and the membrane behind it."""
    tau_mem, r = _time_constants(node, "tau_mem")
    tau_syn, _, w_in = node.arrays("tau_syn", "tau_mem", "w_in", infinite=True)
    gain = leaky_gain(w_in, tau_syn, node.dt) * leaky_gain(r, tau_mem, node.dt)
    return decay(tau_syn, node.dt), decay(tau_mem, node.dt), snapped(gain)


def _resets(node: Node, gain: np.ndarray) -> dict[str, Any]:
    """Threshold and reset of the scaled potential, as keyword arguments of a neuron.

    Of `v_leak` and `v_reset` what is missing is 0; an infinite `v_threshold` is never reached.
    """
    given = [name for name in ("v_leak", "v_reset") if node.values.get(name) is not None]
    for name in given:
        node.array(name)
    v_threshold, *others = node.arrays("v_threshold", *given, infinite=True)
    potentials = dict(zip(given, others, strict=True))
    v_leak, v_reset = (potentials.get(name, np.zeros_like(v_threshold)) for name in ("v_leak", "v_reset"))
    mechanism = node.noted.get("reset_mechanism", "zero")
    target = 0.0 if mechanism == "subtract" else v_reset  # what is subtracted is the threshold, counted from 0
    if not np.allclose(target, v_leak, rtol=1e-6, atol=0):
        raise node.missing(
            f"a neuron resets to its resting potential only, got v_reset {v_reset.reshape(-1)[:3]}... "
            f"with v_leak {v_leak.reshape(-1)[:3]}... and the reset mechanism {mechanism!r}"
        )
    if not (gain > 0).all():
        raise ValueError(f"the gain of the input, made of r (and w_in), must be positive, got {np.min(gain)}")
    threshold = as_tensor((v_threshold - v_leak) / gain)
    # A step resets those who were above the threshold before it. Below rest that holds of neurons that never spiked: a
    # reset within the step goes astray, the delayed one of `Leaky` does not and gives NIR's spikes as well.
    return {
        "threshold": threshold,
        "reset_mechanism": mechanism,
        "reset_delay": bool(node.noted.get("reset_delay", below_rest(threshold))),
        "init_hidden": True,
    }


EXPORTERS = {
    **dict.fromkeys((Lapicque, Leaky, RLeaky, RSynaptic, Synaptic), export_neuron),
    **dict.fromkeys((LeakyIntegrator, SynapticIntegrator), export_integrator),
    LinearLeaky: export_linear_leaky,
    StateLeaky: export_state_leaky,
}
IMPORTERS = {
    **dict.fromkeys(("IF", "LIF"), import_leaky),
    **dict.fromkeys(("I", "LI"), import_integrator),
    "CubaLIF": import_synaptic,
    "CubaLI": import_synaptic_integrator,
}
