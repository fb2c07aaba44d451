"""One table of what every layer of a network is, does and costs."""

import html
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from .. import utils
from .._time.explain import paths
from .._time.held import aside
from .._time.layers import uncut
from .._time.unroll import unroll
from ._calls import Calls
from .energy import Energy, EnergyModel
from .static import CONNECTIONS, footprint
from .workload import Workload, is_activation


@dataclass
class LayerSummary:
    """One layer's row. What a layer does not have is None.

    Attributes:
        name: in `net.named_modules()`.
        kind: its class.
        shape: of its output, per sample and step.
        parameters: how many numbers it learns.
        firing_rate: spikes per neuron, step and sample.
        dead: share of neurons that never fired.
        saturated: share of neurons that fired in every step of every sample.
        synops: effective synaptic operations, MACs and ACs, per sample.
        membrane_updates: per sample.
        energy: joules per sample.
        path: how it runs over time, as `snn.explain` says.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    firing_rate: float | None
    dead: float | None
    saturated: float | None
    synops: float | None
    membrane_updates: float | None
    energy: float | None
    path: str | None


@dataclass
class Summary:
    """What `summary` found; `print` it, or hand `to_dict` to a data frame.

    Attributes:
        layers: a row for each layer.
        parameters: of the network; shared ones count once.
        footprint: bytes of parameters and buffers.
        steps: number of time steps.
        samples: number of samples.
        workload: the counts behind the table.
        energy: joules per sample.
        remarks: in words, which layers are dead or saturated, and whose operations are not counted.

    Example:
        >>> import snntorch as snn
        >>> net = nn.Sequential(nn.Linear(3, 4), snn.Leaky(beta=0.9, init_hidden=True))
        >>> found = summary(net, torch.ones(2, 3), num_steps=10)
        >>> found.parameters, found.steps, found.to_dict()["kind"]
        (16, 10, ['Linear', 'Leaky'])
    """

    layers: list[LayerSummary]
    parameters: int
    footprint: int
    steps: int | None
    samples: int
    workload: Workload
    energy: Energy
    remarks: list[str]

    def to_dict(self) -> dict[str, list[Any]]:
        """The table by columns, as `pandas.DataFrame` takes it."""
        return {name: [getattr(row, name) for row in self.layers] for name in LayerSummary.__dataclass_fields__}

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def __str__(self) -> str:
        heads = ["layer", "output", "parameters", "rate", "dead", "saturated", "SynOps", "energy", "path"]
        cells = [
            [
                f"{row.name} {row.kind}".strip(),
                "" if row.shape is None else "×".join(map(str, row.shape)),
                f"{row.parameters:,}",
                "" if row.firing_rate is None else f"{row.firing_rate:.4f}",
                "" if row.dead is None else f"{row.dead:.1%}",
                "" if row.saturated is None else f"{row.saturated:.1%}",
                "" if row.synops is None else f"{row.synops:,.0f}",
                "" if row.energy is None else _joules(row.energy),
                row.path or "",
            ]
            for row in self.layers
        ]
        table, counts = _table([heads, *cells]), self.workload
        steps = "" if self.steps is None else f"{self.steps} steps, "
        lines = [
            *table,
            table[1],
            f"{self.parameters:,} parameters, {self.footprint:,} bytes; {steps}{self.samples} samples",
            f"per sample: {counts.macs:,.0f} MACs and {counts.acs:,.0f} ACs of {counts.dense:,.0f} dense operations, "
            f"{counts.membrane_updates:,.0f} membrane updates",
            f"activation sparsity {counts.activation_sparsity:.1%}; energy {_joules(self.energy.total)} "
            f"(arithmetic {_joules(self.energy.compute)}, memory {_joules(self.energy.memory)})",
            *self.remarks,
        ]
        return "\n".join(lines)


def _joules(value: float) -> str:
    for factor, unit in ((1, "J"), (1e3, "mJ"), (1e6, "µJ"), (1e9, "nJ")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e12:.3g} pJ"


def _table(rows: list[list[str]]) -> list[str]:
    """Columns of one width: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligns = [str.ljust, str.ljust, *[str.rjust] * (len(widths) - 3), str.ljust]
    lines = [
        "  ".join(align(*cell) for align, cell in zip(aligns, zip(row, widths, strict=True), strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "─" * max(map(len, lines)), *lines[1:]]


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers as a reader sees them: a neuron with its recurrent weight is one."""
    children = list(module.named_children())
    if not children or isinstance(module, CONNECTIONS) or is_activation(module):
        yield name, module
        return
    for child_name, child in children:
        yield from _layers(child, f"{name}.{child_name}" if name else child_name)


def _chunks(net: nn.Module, x: Tensor | Iterable[Tensor]) -> Iterator[Tensor]:
    """The input in the pieces that it comes in."""
    if isinstance(x, Tensor):
        yield x
        return
    whole = uncut(net)
    for i, chunk in enumerate(x):
        if i and whole:
            raise ValueError(f"x must be one tensor for {type(whole[0]).__name__}, which keeps no state between chunks")
        yield chunk


def _remarks(layers: list[LayerSummary], uncounted: list[str], steps: int | None, samples: int) -> list[str]:
    remarks, span = [], f"({steps} steps, {samples} samples)"
    for row in layers:
        label = f"Layer {row.name!r} ({row.kind})" if row.name else row.kind
        if row.dead is not None and row.dead > 0.5:
            remarks.append(
                f"{label} is dead: none of its neurons fired {span}."
                if row.dead == 1
                else f"{label} is mostly dead: {row.dead:.0%} of its neurons never fired {span}."
            )
        if row.saturated is not None and row.saturated > 0.5:
            word, how_many = ("", "all") if row.saturated == 1 else ("mostly ", f"{row.saturated:.0%}")
            remarks.append(f"{label} is {word}saturated: {how_many} of its neurons fired in every step {span}.")
    if uncounted:
        remarks.append(f"Not counted are the operations of {', '.join(uncounted)}.")
    return remarks


def summary(
    net: nn.Module,
    x: Tensor | Iterable[Tensor],
    num_steps: int | None = None,
    *,
    run: Callable[[nn.Module, Tensor], Any] | None = None,
    energy: EnergyModel | None = None,
) -> Summary:
    """Run a network once, in evaluation mode from freshly reset states, and say what every layer is, does and costs.

    The network's own states and modes are as before afterwards. Counts follow `Workload`; energy is an estimate
    whose assumptions are `EnergyModel`'s. A neuron is dead where it fires in no step of no sample of `x`, and
    saturated where it fires in all: take a batch that is large enough for that to mean something.

    Args:
        net: a network, or a single layer.
        x: `[T, B, ...]`, or `[B, ...]` with `num_steps`; or an iterable of chunks `[k, B, ...]` of one long sequence,
            which run one after the other: nothing of a chunk is kept but counts, and the table is that of the whole.
        num_steps: number of steps for a static input.
        run: runs the network, `run(net, x)`, where it has a loop over time of its own. The default is
            `snn.unroll(net, x, num_steps=num_steps)`.
        energy: what the operations cost.

    Returns:
        A `Summary`.

    Raises:
        ValueError: `num_steps` and `run` are both given, or `num_steps` and chunks; no chunks, or such of different
            batch sizes, or of a layer that keeps no state between them; the network has nothing to count.

    Example:
        >>> import snntorch as snn
        >>> net = nn.Sequential(nn.Linear(3, 4), snn.Leaky(beta=0.9, init_hidden=True))
        >>> _ = nn.init.constant_(net[0].weight, 0.5), nn.init.zeros_(net[0].bias)
        >>> print(summary(net, torch.ones(2, 3), num_steps=10))
        layer     output  parameters    rate  dead  saturated  SynOps   energy  path
        ─────────────────────────────────────────────────────────────────────────────────
        0 Linear  4               16                              120  1.31 nJ  folded
        1 Leaky   4                0  1.0000  0.0%     100.0%           984 pJ  fused cpu
        ─────────────────────────────────────────────────────────────────────────────────
        16 parameters, 84 bytes; 10 steps, 2 samples
        per sample: 0 MACs and 120 ACs of 120 dense operations, 40 membrane updates
        activation sparsity 0.0%; energy 2.29 nJ (arithmetic 292 pJ, memory 2 nJ)
        Layer '1' (Leaky) is saturated: all of its neurons fired in every step (10 steps, 2 samples).
    """
    if run is not None and num_steps is not None:
        raise ValueError("num_steps is for a static input; with run=, the function says how many steps there are")
    if num_steps is not None and not isinstance(x, Tensor):
        raise ValueError("num_steps is for a static input, a tensor; chunks of a sequence say how many steps there are")
    modules, workload = dict(_layers(net)), Workload(net)
    neurons = {name: m for name, m in modules.items() if is_activation(m) and not isinstance(m, nn.ReLU | nn.Sigmoid)}
    calls, chunks = Calls(modules, neurons), _chunks(net, x)
    batch = 0 if num_steps is not None or run is not None else 1  # where x counts the samples
    with torch.no_grad(), aside(net):  # which leaves states and modes as they were
        net.eval()
        utils.reset(net)
        if (first := next(chunks, None)) is None:
            raise ValueError("x must hold at least one chunk, got none")
        samples = first.shape[batch]
        ways = paths(net, first, num_steps=num_steps, run=run)  # before hooks make every layer step
        with calls, workload.batch(1):
            for chunk in chain((first,), chunks):
                if run is None and chunk.shape[batch] != samples:
                    raise ValueError(f"all chunks of x must have {samples} samples, got shape {tuple(chunk.shape)}")
                run(net, chunk) if run is not None else unroll(net, chunk, num_steps=num_steps)

    steps, samples = next(iter(calls.steps.values()), None), next(iter(calls.samples.values()), samples)
    workload.samples = samples
    rates = calls.rates
    model = energy or EnergyModel()
    rows = []
    for name, module in modules.items():
        counts = [count for key, count in workload.layers.items() if key == name or key.startswith(f"{name}.")]
        rate, shape = rates.get(name), calls.shapes.get(name)
        leading = 1 if shape is None or shape[:2] != (steps, samples) or calls.count[name] > 1 else 2
        macs, acs = (sum(getattr(count, kind) for count in counts) / samples for kind in ("macs", "acs"))
        updates = sum(count.membrane_updates for count in counts) / samples
        connects = any(count.dense for count in counts)
        way = ", ".join(path.path for path in ways if path.name == name)
        rows.append(
            LayerSummary(
                name=name,
                kind=type_before_parametrizations(module).__name__,
                shape=None if shape is None else shape[leading:],
                parameters=sum(p.numel() for p in module.parameters()),
                firing_rate=None if rate is None else rate.mean,
                dead=None if rate is None else rate.silent,
                saturated=None if rate is None else rate.saturated,
                synops=macs + acs if connects else None,
                membrane_updates=updates if name in neurons else None,
                energy=model.estimate(macs, acs, updates).total if connects or name in neurons else None,
                path=way or None,
            )
        )
    return Summary(
        layers=rows,
        parameters=sum(p.numel() for p in net.parameters()),
        footprint=footprint(net),
        steps=steps,
        samples=samples,
        workload=workload,
        energy=workload.energy(model),
        remarks=_remarks(rows, workload.uncounted, steps, samples),
    )
