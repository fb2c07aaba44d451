"""Networks from the Neuromorphic Intermediate Representation (NIR). The equations stand in `snntorch._nir`."""

from __future__ import annotations

import keyword
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from . import _nir, surrogate
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

if TYPE_CHECKING:
    import nir

Edge = tuple[str, str]


def import_from_nir(
    graph: nir.NIRGraph | str | os.PathLike,
    dt: float | None = None,
    spike_grad: surrogate.SpikeGrad | str | None = None,
) -> fx.GraphModule:
    """Build a network from a NIR graph.

    The network runs one time step a call, `net(x, state=None) -> (out, state)`. The neurons keep their states
    (`init_hidden=True`): successive calls go on where the last one ended, `utils.reset(net)` starts anew. The returned
    `state` maps the neurons' names to the tuples of their states; a `state` that is passed replaces what they keep, and
    a neuron that it leaves out starts from zero. Modules are named by their nodes, with "." replaced by "_".

    LIF and CubaLIF become `Leaky` and `Synaptic`, inside a loop with one weight `RLeaky` and `RSynaptic` (which take
    the spikes of the last step), IF a `Leaky` that does not leak; they reset to zero in the step of the spike, unless
    snnTorch's metadata say otherwise. In any other loop, what closes it is the last step's output of its last neuron.
    Parameters take PyTorch's default dtype.

    Args:
        graph: a `nir.NIRGraph`, which is not changed, or the path of a NIR file.
        dt: length of a time step in seconds; None for the dt that snnTorch's export recorded, else 1e-4.
        spike_grad: surrogate gradient of every neuron, as for `SpikingNeuron`; NIR holds none.

    Raises:
        ValueError: for time constants below dt, gains that are not positive, parameters that are not finite, loops
            without a neuron or edges without a node.
        NotImplementedError: for a reset potential other than the leak potential, several inputs or outputs, and nodes
            or settings that have no counterpart.

    Source: Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
    brain-inspired computing", Nature Communications 15, 2024.

    Example:
        >>> import nir, numpy as np, snntorch as snn, torch
        >>> lif = nir.LIF(tau=np.full(3, 0.01), r=np.full(3, 10.0), v_leak=np.zeros(3), v_threshold=np.ones(3))
        >>> net = snn.import_nir.import_from_nir(nir.NIRGraph.from_list(nir.Linear(np.ones((3, 2))), lif), dt=1e-3)
        >>> spk, state = snn.unroll(net, torch.ones(4, 1, 2))
        >>> spk[:, 0, 0].detach()
        tensor([1., 1., 1., 1.])
    """
    import nir

    if isinstance(graph, (str, os.PathLike)):
        graph = nir.read(os.fspath(graph), type_check=False)
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(f"graph must be a nir.NIRGraph or the path of one, got {type(graph).__name__}")
    if dt is None:
        dt = _metadata(graph).get("dt", _nir.DT)
    dt = _nir.check_dt(dt)  # type: ignore[arg-type]
    graph.validate_structure()
    nodes, edges = _flat(graph)
    modules: dict[str, nn.Module] = {}
    for name, node in nodes.items():
        if isinstance(node, (nir.Input, nir.Output)):
            continue
        if type(node).__name__ not in _BUILDERS:
            raise NotImplementedError(f"node {name!r}: {type(node).__name__} has no counterpart in snntorch")
        modules[name] = _BUILDERS[type(node).__name__](node, name, dt)
    for neuron, weight in _recurrent_pairs(modules, edges):
        modules[neuron] = _recurrent(modules[neuron], modules.pop(weight))
        edges = [(a, b) for a, b in edges if weight not in (a, b)]
        del nodes[weight]
    if spike_grad is not None:
        for module in modules.values():
            if isinstance(module, (Threshold, SpikingNeuron)):
                module.spike_grad = surrogate.resolve(spike_grad)
    return _wire(nodes, edges, modules)


# -- nodes


def _metadata(node: nir.NIRNode) -> dict[str, Any]:
    """What snnTorch's export noted about a node; text may come back from a file as bytes, numbers as arrays."""
    noted = node.metadata.get(_nir.KEY, {}) if isinstance(node.metadata, Mapping) else {}
    values = {
        key: value.item() if isinstance(value, (np.ndarray, np.generic)) else value for key, value in noted.items()
    }
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in values.items()}


def _tensor(values: Any) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.get_default_dtype())


def _ints(value: Any, count: int) -> Any:
    """A size of `count` dimensions, from an int, an array or a pair; "same" and "valid" stay text."""
    if isinstance(value, (str, bytes)):
        return value.decode() if isinstance(value, bytes) else value
    values = np.asarray(value).reshape(-1).astype(int).tolist()
    return tuple(values * count if len(values) == 1 else values)


def _linear(node: Any, name: str, dt: float) -> nn.Module:
    weight = _tensor(node.weight)
    if weight.dim() != 2:
        raise NotImplementedError(f"node {name!r}: weights must be [out, in], got shape {tuple(weight.shape)}")
    bias = getattr(node, "bias", None)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    return _with_weights(layer, weight, bias)


def _convolution(node: Any, name: str, dt: float) -> nn.Module:
    weight, groups = _tensor(node.weight), int(node.groups)
    dims = weight.dim() - 2
    layer = {1: nn.Conv1d, 2: nn.Conv2d}[dims](
        in_channels=weight.shape[1] * groups,
        out_channels=weight.shape[0],
        kernel_size=tuple(weight.shape[2:]),  # type: ignore[arg-type]
        stride=_ints(node.stride, dims),
        padding=_ints(node.padding, dims),
        dilation=_ints(node.dilation, dims),
        groups=groups,
        device="meta",  # the weights follow, so none are drawn
    )
    return _with_weights(layer, weight, node.bias)


def _with_weights(layer: nn.Linear | nn.Conv1d | nn.Conv2d, weight: Tensor, bias: Any) -> nn.Module:
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(_tensor(bias).reshape(len(weight)))
    return layer


def _average_pool(node: Any, name: str, dt: float) -> nn.Module:
    return nn.AvgPool2d(_ints(node.kernel_size, 2), _ints(node.stride, 2), _ints(node.padding, 2))


def _sum_pool(node: Any, name: str, dt: float) -> nn.Module:
    pool = _average_pool(node, name, dt)
    pool.divisor_override = 1  # type: ignore[assignment]
    return pool


def _flatten(node: Any, name: str, dt: float) -> nn.Module:
    start, end = int(node.start_dim), int(node.end_dim)
    return nn.Flatten(start + (start >= 0), end + (end >= 0))  # NIR counts without the batch dimension


def _scale(node: Any, name: str, dt: float) -> nn.Module:
    scale = _tensor(node.scale)
    if scale.dim() != 1:
        return Scale(scale)
    graded = GradedSpikes(len(scale), constant_factor=1.0)
    graded.weights = nn.Parameter(scale[:, None])
    return graded


def _threshold(node: Any, name: str, dt: float) -> nn.Module:
    return Threshold(_tensor(node.threshold))


def _delay(node: Any, name: str, dt: float) -> nn.Module:
    return Delay(torch.as_tensor(np.rint(np.asarray(node.delay) / dt).astype(np.int64)), init_hidden=True)


def _double(node: Any, *names: str) -> list[np.ndarray]:
    return [np.asarray(getattr(node, name), np.float64) for name in names]


def _membrane_gain(node: Any, tau: str, dt: float) -> np.ndarray:
    time_constant, r = _double(node, tau, "r")
    return r * dt / time_constant


def _synapse_gain(node: Any, dt: float) -> np.ndarray:
    w_in, tau_syn = _double(node, "w_in", "tau_syn")
    return w_in * dt / tau_syn


def _resets(node: Any, name: str, gain: np.ndarray, v_leak: np.ndarray) -> dict[str, Any]:
    """Threshold and reset of the scaled potential, as keyword arguments of a neuron."""
    v_threshold, v_reset = _double(node, "v_threshold", "v_reset")
    noted = _metadata(node)
    mechanism = noted.get("reset_mechanism", "zero")
    target = 0.0 if mechanism == "subtract" else v_reset  # what is subtracted is the threshold, counted from 0
    if not np.allclose(target, v_leak, rtol=1e-6, atol=0):
        raise NotImplementedError(
            f"node {name!r}: a neuron resets to its resting potential only, got v_reset {v_reset.reshape(-1)[:3]}... "
            f"with v_leak {v_leak.reshape(-1)[:3]}... and the reset mechanism {mechanism!r}"
        )
    threshold = _tensor((v_threshold - v_leak) / _nir.positive(gain, name))
    # A step resets those who were above the threshold before it. Below rest that holds of neurons that never spiked: a
    # reset within the step goes astray, the delayed one of `Leaky` does not and gives NIR's spikes as well.
    return {
        "threshold": threshold,
        "reset_mechanism": mechanism,
        "reset_delay": bool(noted.get("reset_delay", _restless(threshold))),
        "init_hidden": True,
    }


def _restless(threshold: Tensor) -> bool:
    """Whether a neuron spikes without input."""
    return bool((threshold < 0).any())


def _lif(node: Any, name: str, dt: float) -> nn.Module:
    tau, r, v_leak, v_threshold = _double(node, "tau", "r", "v_leak", "v_threshold")
    beta = _nir.decay(tau, dt, name)
    gain = _nir.snapped(_membrane_gain(node, "tau", dt))
    settings = _resets(node, name, gain, v_leak)
    noted = _metadata(node)
    if noted.get("neuron") != "Lapicque":
        return Leaky(beta=_tensor(beta), **settings)
    del settings["reset_delay"]  # Lapicque's reset is always delayed
    time_step = noted["time_step"]
    C = tau * time_step / (r * dt)
    settings["threshold"] = _tensor(v_threshold)
    return Lapicque(R=_tensor(r), C=_tensor(C), time_step=time_step, **settings)


def _if(node: Any, name: str, dt: float) -> nn.Module:
    (r,) = _double(node, "r")
    gain = _nir.integrator_gain(r, dt)
    return Leaky(beta=torch.ones(r.shape), **_resets(node, name, gain, np.zeros(r.shape)))


def _cuba_lif(node: Any, name: str, dt: float) -> nn.Module:
    tau_syn, tau_mem, v_leak = _double(node, "tau_syn", "tau_mem", "v_leak")
    alpha, beta = _nir.decay(tau_syn, dt, name), _nir.decay(tau_mem, dt, name)
    gain = _nir.snapped(_synapse_gain(node, dt) * _membrane_gain(node, "tau_mem", dt))
    settings = _resets(node, name, gain, v_leak)
    if settings["reset_mechanism"] == "zero" and _restless(settings["threshold"]):
        raise NotImplementedError(f"node {name!r}: the threshold of a CubaLIF must not lie below v_leak")
    return Synaptic(alpha=_tensor(alpha), beta=_tensor(beta), **settings)


def _li(node: Any, name: str, dt: float) -> nn.Module:
    beta = _nir.decay(node.tau, dt, name)
    gain = _nir.snapped(_membrane_gain(node, "tau", dt))
    return LeakyIntegrator(_tensor(beta), gain=_tensor(gain), rest=_tensor(node.v_leak), init_hidden=True)


def _i(node: Any, name: str, dt: float) -> nn.Module:
    gain = _nir.integrator_gain(node.r, dt)
    return LeakyIntegrator(torch.ones(gain.shape), gain=_tensor(gain), init_hidden=True)


def _cuba_li(node: Any, name: str, dt: float) -> nn.Module:
    alpha, beta = _nir.decay(node.tau_syn, dt, name), _nir.decay(node.tau_mem, dt, name)
    gain = _nir.snapped(_synapse_gain(node, dt) * _membrane_gain(node, "tau_mem", dt))
    return SynapticIntegrator(
        _tensor(alpha), _tensor(beta), gain=_tensor(gain), rest=_tensor(node.v_leak), init_hidden=True
    )


_BUILDERS: dict[str, Callable[[Any, str, float], nn.Module]] = {
    "Affine": _linear,
    "AvgPool2d": _average_pool,
    "Conv1d": _convolution,
    "Conv2d": _convolution,
    "CubaLI": _cuba_li,
    "CubaLIF": _cuba_lif,
    "Delay": _delay,
    "Flatten": _flatten,
    "I": _i,
    "IF": _if,
    "LI": _li,
    "LIF": _lif,
    "Linear": _linear,
    "Scale": _scale,
    "SumPool2d": _sum_pool,
    "Threshold": _threshold,
}


# -- loops and subgraphs


def _flat(graph: nir.NIRGraph, prefix: str = "") -> tuple[dict[str, nir.NIRNode], list[Edge]]:
    """Nodes and edges with every subgraph's put in its place, named "subgraph.node"."""
    import nir

    nodes: dict[str, nir.NIRNode] = {}
    edges: list[Edge] = [(prefix + a, prefix + b) for a, b in graph.edges]
    for name, node in graph.nodes.items():
        name = prefix + name
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inner, inner_edges = _flat(node, f"{name}.")
        ports = [_only(inner, kind, f"subgraph {name!r}") for kind in (nir.Input, nir.Output)]
        edges = [(ports[1] if a == name else a, ports[0] if b == name else b) for a, b in edges] + inner_edges
        nodes |= inner
        for port in ports:  # what enters a port goes on to wherever it leads
            targets = [b for a, b in edges if a == port]
            edges = [(a, c) for a, b in edges if a != port for c in (targets if b == port else [b])]
            del nodes[port]
    return nodes, edges


def _only(nodes: Mapping[str, nir.NIRNode], kind: type, where: str) -> str:
    """The name of the one node of this kind."""
    names = [name for name, node in nodes.items() if isinstance(node, kind)]
    if not names:
        raise ValueError(f"{where} has no {kind.__name__} node")
    if len(names) > 1:
        raise NotImplementedError(f"{where} has several {kind.__name__} nodes, {', '.join(names)}; one is supported")
    return names[0]


def _recurrent_pairs(modules: Mapping[str, nn.Module], edges: Sequence[Edge]) -> list[Edge]:
    """Every neuron with the weight that takes its spikes and gives to it, and does nothing else."""
    pairs: dict[str, str] = {}
    for weight, module in modules.items():
        sources = [a for a, b in edges if b == weight]
        if (
            isinstance(module, (nn.Linear, nn.Conv2d, Scale, GradedSpikes))
            and len(sources) == 1
            and [b for a, b in edges if a == weight] == sources
            and isinstance(neuron := modules.get(sources[0]), (Leaky, Synaptic))
            and not (neuron.reset_mechanism == "zero" and _restless(neuron.threshold))
        ):
            pairs.setdefault(sources[0], weight)
    return list(pairs.items())


def _recurrent(neuron: Any, weight: nn.Module) -> RLeaky | RSynaptic:
    """A `Leaky` or `Synaptic` neuron with its spikes fed back through the weight."""
    settings: dict[str, Any] = {
        name: getattr(neuron, name) for name in ("beta", "threshold", "reset_mechanism", "reset_delay", "init_hidden")
    }
    one_to_one = weight
    if isinstance(weight, (Scale, GradedSpikes)):
        V = weight.scale if isinstance(weight, Scale) else weight.weights[:, 0]
        one_to_one = RecurrentOneToOne(nn.Parameter(V.detach().clone()))
    elif isinstance(weight, nn.Linear) and weight.bias is None and weight.in_features == weight.out_features:
        diagonal = weight.weight.detach().diagonal().clone()
        if torch.equal(weight.weight, diagonal.diag()):
            one_to_one = RecurrentOneToOne(nn.Parameter(diagonal))
    if isinstance(one_to_one, RecurrentOneToOne):
        settings |= {"all_to_all": False, "V": one_to_one.V}
    elif isinstance(weight, nn.Linear):
        settings |= {"linear_features": weight.in_features}
    elif isinstance(weight, nn.Conv2d):
        settings |= {"conv2d_channels": weight.in_channels, "kernel_size": weight.kernel_size}
    recurrent = (
        RSynaptic(alpha=neuron.alpha, **settings) if isinstance(neuron, Synaptic) else RLeaky(**settings)  # type: ignore[arg-type]
    )
    if recurrent.all_to_all:
        recurrent.recurrent = weight
    return recurrent


def _cycle(start: str, nodes: Sequence[str], edges: Sequence[Edge]) -> list[str] | None:
    """The nodes of one loop, in the order in which a walk from `start` meets them; None where there is none."""
    targets: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in edges:
        targets[a].append(b)
    done: set[str] = set()
    for root in (start, *nodes):
        path, branches = [root], [iter(targets[root])]
        while path and root not in done:
            for target in branches[-1]:
                if target in path:
                    return path[path.index(target) :]
                if target not in done:
                    path.append(target)
                    branches.append(iter(targets[target]))
                    break
            else:
                done.add(path.pop())
                branches.pop()
    return None


def _opened(start: str, modules: Mapping[str, nn.Module], nodes: Sequence[str], edges: list[Edge]) -> list[Edge]:
    """The edges that close loops: each leads away from the last neuron of its loop and carries its last step's output.

    Raises:
        ValueError: for a loop without a neuron, whose signals would depend on themselves.
    """
    closing: list[Edge] = []
    while loop := _cycle(start, nodes, [e for e in edges if e not in closing]):
        neurons = [i for i, name in enumerate(loop) if isinstance(modules[name], (SpikingNeuron, Threshold))]
        if not neurons:
            raise ValueError(f"the loop {' -> '.join(loop)} holds no neuron, so its signals depend on themselves")
        closing.append((loop[neurons[-1]], loop[(neurons[-1] + 1) % len(loop)]))
    return closing


# -- the network


class States(dict):
    """The states of a network's neurons by name; by position as well, so that `snntorch.unroll` can stack them."""

    def __missing__(self, key: Any) -> Any:
        if isinstance(key, int) and 0 <= key < len(self):
            return list(self.values())[key]
        raise KeyError(key)


class SetStates(nn.Module):
    """Puts given states into the neurons before a step; None leaves them as they are."""

    def __init__(self, neurons: Mapping[str, SpikingNeuron]) -> None:
        super().__init__()
        self.neurons = dict(neurons)  # in a dict, so that they belong to the network alone

    def forward(self, state: Mapping[str, Sequence[Tensor]] | None) -> None:
        """Set the states; a neuron that `state` leaves out starts from zero.

        Raises:
            ValueError: for a name that is no neuron's, or a wrong number of states.
        """
        if state is None:
            return
        if unknown := set(state) - set(self.neurons):
            raise ValueError(f"state names {', '.join(sorted(map(str, unknown)))}, but the neurons are "
                             f"{', '.join(self.neurons) or 'none'}")  # fmt: skip
        for name, neuron in self.neurons.items():
            if name not in state:
                neuron.reset_mem()
                continue
            if len(state[name]) != len(neuron.states):
                raise ValueError(
                    f"state[{name!r}] must be a tuple of {', '.join(neuron.states)}, got {len(state[name])}"
                )
            for attribute, value in zip(neuron.states, state[name], strict=True):
                setattr(neuron, attribute, value)


class GetStates(nn.Module):
    """Collects the neurons' states after a step."""

    def __init__(self, neurons: Mapping[str, SpikingNeuron]) -> None:
        super().__init__()
        self.neurons = dict(neurons)

    def forward(self) -> States:
        """The states of every neuron by name."""
        return States({n: tuple(getattr(m, attribute) for attribute in m.states) for n, m in self.neurons.items()})


def _identifiers(names: Sequence[str]) -> dict[str, str]:
    """A name for each node that a submodule can bear: without dots, no keyword, no attribute of a module, unique."""
    chosen: dict[str, str] = {}
    for name in names:
        identifier = name.replace(".", "_") or "node"
        while keyword.iskeyword(identifier) or hasattr(_EMPTY, identifier) or identifier in chosen.values():
            identifier += "_"
        chosen[name] = identifier
    return chosen


_EMPTY = fx.GraphModule(nn.Module(), fx.Graph())


def _wire(nodes: Mapping[str, nir.NIRNode], edges: list[Edge], modules: Mapping[str, nn.Module]) -> fx.GraphModule:
    """The network of these modules: nodes in the order of their inputs, several inputs of a node summed."""
    import nir

    source, sink = _only(nodes, nir.Input, "the graph"), _only(nodes, nir.Output, "the graph")
    sources: dict[str, list[str]] = {name: [a for a, b in edges if b == name] for name in nodes}
    if silent := [name for name in nodes if not sources[name] and name != source]:
        raise ValueError(f"node {silent[0]!r} has no input")
    closing = _opened(source, modules, list(nodes), edges)
    loops = {a: f"{a}.previous" for a, _ in closing}
    identifier = _identifiers(["set_states", "get_states", *modules, *loops.values()])
    input_dim = len(nodes[source].input_type["input"])
    children: dict[str, nn.Module] = {identifier[name]: module for name, module in modules.items()}
    for name, loop in loops.items():
        children[identifier[loop]] = Feedback(_output_shape(nodes[name], name), input_dim)
    neurons = {name: module for name, module in children.items() if isinstance(module, SpikingNeuron)}
    children |= {"set_states": SetStates(neurons), "get_states": GetStates(neurons)}

    network = fx.Graph()
    values: dict[str, Any] = {source: network.placeholder("input")}
    network.call_module("set_states", (network.placeholder("state", default_value=None),))
    previous = {a: network.call_module(identifier[loop], (values[source],)) for a, loop in loops.items()}
    waiting = [name for name in nodes if name != source]
    while waiting:
        for name in waiting:
            parts = [previous[a] if (a, name) in closing else values.get(a) for a in sources[name]]
            if all(part is not None for part in parts):
                break
        else:
            raise AssertionError("every loop was opened, so some node is ready")
        waiting.remove(name)
        total = parts[0]
        for part in parts[1:]:
            total = network.call_function(torch.add, (total, part))
        values[name] = total if name == sink else network.call_module(identifier[name], (total,))
    for name, loop in loops.items():
        network.call_module(identifier[loop], (values[source], values[name]))
    network.output((values[sink], network.call_module("get_states")))
    network.lint()
    return fx.GraphModule(children, network, class_name="NIRNetwork")  # type: ignore[arg-type]


def _output_shape(node: nir.NIRNode, name: str) -> tuple[int, ...]:
    shape = tuple(int(n) for n in np.asarray(node.output_type["output"]).reshape(-1))
    if not shape:
        raise NotImplementedError(f"node {name!r} closes a loop, so its parameters must have the shape of its output")
    return shape
