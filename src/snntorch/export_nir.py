"""Networks as graphs of the Neuromorphic Intermediate Representation (NIR). The equations stand in `snntorch._nir`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from ._layers.of_functions import unique
from ._nir.batch_norm import fold_batch_norms
from ._nir.equations import DT, KEY, check_dt
from ._nir.exporting import Context, Exporter, Part, Shape
from ._nir.gain import fold_gains
from ._nir.layers import finder
from ._nir.trace import Call, Signal, follow

if TYPE_CHECKING:
    import nir


def export_to_nir(
    module: nn.Module,
    sample_data: Tensor,
    model_name: str = "snntorch",
    model_fwd_args: Sequence[Any] = (),
    ignore_dims: Sequence[int] = (),
    dt: float = DT,
    fold_gain: bool = False,
    exporters: Mapping[type, Exporter] | None = None,
) -> nir.NIRGraph:
    """Describe a network as a NIR graph, which `nir.write` stores.

    The network runs once on the sample, in eval mode; its graph is what happened to the sample. Its hidden states and
    training mode are as before afterwards. Nodes are named by their modules' paths. Where a layer gets a sum of
    signals, its node has several edges. Dropout and Identity leave no node, a BatchNorm is folded into the Linear or
    convolution before it (or becomes one), `x.flatten(1)` is a Flatten, `x * constant` a Scale, what does not reach
    the output is left out.

    Neurons that reset to zero are LIF, CubaLIF, or IF where beta is 1; without a reset, `StateLeaky` too, they are LI,
    CubaLI or I with a Threshold behind it (`.spike`), and that alone where the network uses their potential. A graded
    factor is a Scale behind them (`.graded`). Recurrent neurons become `.lif` and `.w_rec` in a loop. What NIR cannot
    say, a subtracted or a delayed reset, is noted in the node's metadata, from which `import_from_nir` restores it, and
    warned of. Surrogate gradients are no part of NIR; metadata hold their names.

    A convolution with groups is written as the dense one that it is, as `nir` can't read another; metadata restore the
    groups here. One whose kernel has an even and an odd size is read by `import_from_nir(path)` or
    `nir.read(path, type_check=False)`.

    Args:
        module: a network or layer whose call is one time step, as `snntorch.unroll` takes it; or one that takes a
            whole sequence, and says so by `takes_sequence = True`, or whose neurons all do (`StateLeaky`).
        sample_data: an input, whose values do not matter, `[B, ...]`; of a whole sequence `[T, B, ...]`.
        model_name: a name, kept in the graph's metadata.
        model_fwd_args: further positional arguments of the module's forward.
        ignore_dims: dimensions of one step that belong to no sample, such as `[0]`. Where empty: the first one, unless
            the sample is one-dimensional or a convolution or pooling got it without a batch.
        dt: length of a time step in seconds.
        fold_gain: write `r = 1`, with the neurons' resistances inside the weights before them, or as a Scale where
            there are none: the same network, for readers that ignore `r`, such as Norse.
        exporters: for classes of layers, functions `(layer, context) -> nir.NIRNode | Part`; they come before
            snnTorch's own. `context.array(value, name)` is a parameter in the layer's shape, a `Part` several nodes.

    Returns:
        The graph; its parameters are arrays of each layer's shape.

    Raises:
        NotImplementedError: for a layer, operation or setting that NIR does not have, by its name: inhibition,
            quantised states, spikes that are no step function, the potential of a neuron with a reset as a signal.
        ValueError: where a neuron is called more than once (a loop over time without `takes_sequence`), the output does
            not depend on the input, or parameters do not fit or are NaN.
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
    dt = check_dt(dt)
    find = finder(exporters or {})
    trace = follow(module, sample_data, model_fwd_args, find)
    calls, output = fold_batch_norms(trace.calls, trace.output)
    ignored = _ignored(ignore_dims, trace.in_shape, calls)
    used = {signal for call in calls for signal in call.sources} | {*output}

    def gone(shape: Sequence[int]) -> frozenset[int]:
        return frozenset(d % len(shape) for d in ignored)

    def sample_shape(shape: Sequence[int]) -> Shape:
        return tuple(n for d, n in enumerate(shape) if d not in gone(shape))

    source, sink = unique("input", trace.names), unique("output", trace.names)
    shape = np.array(sample_shape(trace.in_shape))
    nodes: dict[str, nir.NIRNode] = {source: nir.Input(input_type={"input": shape})}
    edges: list[tuple[str, str]] = []
    outputs: dict[Signal, str] = {("", "out"): source}
    inputs: dict[str, str] = {}
    for call in calls:
        context = Context(
            name=call.name,
            in_shape=sample_shape(call.in_shape),
            out_shape=sample_shape(call.out_shape),
            dt=dt,
            states=frozenset(which for name, which in used if name == call.name) - {"out"},
            rank=len(call.in_shape),
            ignored=gone(call.in_shape),
        )
        part = find(call.layer)(call.layer, context)  # type: ignore[misc]
        if not isinstance(part, Part):
            part = Part({"": part})
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
    if fold_gain:
        edges = fold_gains(nodes, edges, dt)
    for name, node in nodes.items():
        for parameter, value in vars(node).items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.isnan(value).any():
                raise ValueError(f"layer {name!r}: {parameter} holds NaN")
    noted = {KEY: {"dt": dt, "model_name": model_name}}
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=noted)


def _ignored(ignore_dims: Sequence[int], shape: Shape, calls: Sequence[Call]) -> tuple[int, ...]:
    """The dimensions that belong to no sample."""
    if len(ignore_dims):
        return tuple(ignore_dims)
    spatial = {nn.Conv1d: 1, nn.Conv2d: 2, nn.AvgPool2d: 2}
    unbatched = any(len(call.in_shape) == spatial.get(type(call.layer), -9) + 1 for call in calls)
    return () if unbatched or len(shape) < 2 else (0,)


def _leading_to(sink: str, edges: Sequence[tuple[str, str]]) -> set[str]:
    """The nodes from which a path leads to the sink."""
    kept: set[str] = {sink}
    while more := {a for a, b in edges if b in kept} - kept:
        kept |= more
    return kept
