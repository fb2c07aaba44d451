"""What is timed: a registry of workloads that one file defines for every library.

`REGISTRY` maps a name to a `Workload`; its `build(impl, **sizes)` makes a `Task` whose `step()` is what the
clock sees. `peers` holds the implementations: a library and a way to use it, one class each.

Inputs and weights are drawn from fixed seeds, so every environment computes the same thing.
"""

# ruff: noqa: D102  (the forward of a net)

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from peers import IMPLEMENTATIONS, Peer
from peers.base import BETA
from peers.snntorch import STEPPED, WHOLE
from torch import Tensor, nn
from torch.nn import functional as F

BOTH = ("snntorch", "unmodified")
ALL = ("snntorch", "spikingjelly", "unmodified", "unroll", "floor")
TOY = {"T": 3, "B": 2}  # overrides the sizes in tests
STATES = {"Leaky": 1, "Synaptic": 2, "own": 2}  # state variables of the neurons that have a floor


@dataclass
class Task:
    """One built workload: `step()` returns spikes and, where they are recorded, last membranes."""

    step: Callable[[], tuple]
    leaves: Sequence[Tensor] = ()  # their gradients are compared across implementations


@dataclass(frozen=True)
class Workload:
    """A named amount of work, the implementations that can do it, and how their results are compared."""

    name: str
    group: str  # "neuron" and "net" are the main table; others are tables of their own
    build: Callable[..., Task]
    impls: tuple[str, ...]
    sizes: dict[str, Any]
    gate: str = "spikes"  # or "values" (equal to rounding) or "mean" (random draws)
    scan: dict[str, tuple] = field(default_factory=dict)  # one size to vary; its first value passes the gate

    def make(self, impl: str, **override: Any) -> Task:
        """Build the task of one implementation, with some sizes replaced."""
        torch.manual_seed(0)
        known = {k: v for k, v in override.items() if k in self.sizes}
        return self.build(impl, **self.sizes | known)


REGISTRY: dict[str, Workload] = {}


def add(title: str, group: str, build: Callable[..., Task], impls: Iterable[str], /, **options: Any) -> None:
    """Register a workload; options other than `gate` and `scan` are its sizes."""
    gate, scan = options.pop("gate", "spikes"), options.pop("scan", {})
    REGISTRY[title] = Workload(title, group, build, tuple(impls), options, gate, scan)


def fill(module: nn.Module) -> nn.Module:
    """Draw weights, the same in every library: neurons fire, and gradients through time stay bounded."""
    generator = torch.Generator().manual_seed(1)
    for name, p in module.named_parameters():
        kept = "norm" in name or name.startswith("rnn.weight_hh")  # that one holds LeakyParallel's decay
        if p.dim() and not kept:
            fan_in = p[0].numel() if p.dim() > 1 else p.numel()
            gain = 0.2 if "recurrent" in name else 4
            p.data = (torch.rand(p.shape, generator=generator) - 0.5) * gain / fan_in**0.5
    return module


def clear(leaves: Sequence[Tensor]) -> None:
    for leaf in leaves:
        leaf.grad = None


# --- a neuron alone: forward + backward to its input, the gradient of its spikes given --------------------


def alone(impl: str, neuron: str, T: int, B: int, N: int, indexed: bool = False, scale: float = 1.0) -> Task:
    image = (2, 8, N // 16) if neuron == "SConv2dLSTM" else (N,)
    peer = IMPLEMENTATIONS[impl]()
    lead = (B, T) if peer.batch_first else (T, B)
    x = (scale * (0.3 * torch.randn(*lead, *image) + 0.15)).requires_grad_()
    if impl == "floor":
        # Forward reads the input and writes spikes and states; backward reads states and the spikes'
        # gradient and writes the input's: 4 + 2 states passes over 4 + states tensors; a copy is two passes.
        tensors = torch.rand(n := 4 + STATES[neuron], T, B, N).unbind()
        return Task(lambda: tuple(tensors[(2 * i + 1) % n].copy_(tensors[2 * i % n]) for i in range(n - 2)))
    module, run = peer.alone(neuron, N, T, indexed)
    leaves = [x, *fill(module).parameters()]
    gradient: list[Tensor] = []

    def step() -> tuple:
        clear(leaves)
        spikes, *rest = out if isinstance(out := run(x), tuple) else (out,)
        if not gradient:
            seeded = torch.Generator().manual_seed(2)  # the same, however many numbers a constructor drew
            gradient.append(torch.randn(spikes.shape, generator=seeded))
        spikes.backward(gradient[0])
        return spikes, *rest

    return Task(step, leaves)


# --- nets: forward + cross-entropy of spike counts + backward to the weights ------------------------------


def chain(*parts: nn.Module) -> nn.Sequential:
    """Parts in a row; what is a plain row itself becomes part of this one."""
    return nn.Sequential(*[m for part in parts for m in (part if type(part) is nn.Sequential else (part,))])


def linear_lif(lib: Peer) -> nn.Module:
    return chain(lib.layers(nn.Linear(512, 512)), lib.lif(last=True))


def mlp(lib: Peer) -> nn.Module:
    fc1, fc2, fc3 = (lib.layers(nn.Linear(a, b)) for a, b in ((784, 512), (512, 512), (512, 10)))
    return chain(fc1, lib.lif(), fc2, lib.lif(), fc3, lib.lif(last=True))


def convnet(lib: Peer, channels: int = 32) -> nn.Module:
    conv1 = lib.layers(nn.Conv2d(1, 12, 5), nn.MaxPool2d(2))
    conv2 = lib.layers(nn.Conv2d(12, channels, 5), nn.MaxPool2d(2))
    fc = lib.layers(nn.Flatten(), nn.Linear(channels * 4 * 4, 10))
    return chain(conv1, lib.lif(), conv2, lib.lif(), fc, lib.lif(last=True))


def recurrent(lib: Peer) -> nn.Module:
    fc1, fc2 = lib.layers(nn.Linear(140, 128)), lib.layers(nn.Linear(128, 20))
    return chain(fc1, lib.recurrent(128), fc2, lib.lif(last=True))


class SEW(nn.Module):
    """Two residual blocks that add spikes to spikes (Fang et al., NeurIPS 2021), batch normalisation in training."""

    def __init__(self, lib: Peer, channels: int = 32) -> None:
        super().__init__()

        def block(inputs: int) -> nn.Module:
            convolution = lib.layers(nn.Conv2d(inputs, channels, 3, padding=1, bias=False))
            layers = {"conv": convolution, "norm": lib.norm(nn.BatchNorm2d(channels)), "lif": lib.lif()}
            return nn.Sequential(OrderedDict(layers))

        self.stem = block(2)
        self.blocks = nn.ModuleList(nn.Sequential(block(channels), block(channels)) for _ in range(2))
        pooled = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head, self.last = lib.layers(*pooled, nn.Linear(channels, 10)), lib.lif(last=True)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(self.head(x))


class Attention(nn.Module):
    """Spiking self-attention (Zhou et al., "Spikformer", ICLR 2023) of 4 heads, a residual, a head over its tokens."""

    def __init__(self, lib: Peer, width: int = 64) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (lib.layers(nn.Linear(width, width)) for _ in range(4))
        self.lif_query, self.lif_key, self.lif_value, self.lif, self.lif_out = (lib.lif() for _ in range(5))
        self.head, self.last = lib.layers(nn.Linear(width, 10)), lib.lif(last=True)

    def forward(self, x: Tensor) -> Any:
        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (4, -1)).transpose(-3, -2)

        query, key = heads(self.lif_query(self.query(x))), heads(self.lif_key(self.key(x)))
        value = heads(self.lif_value(self.value(x)))
        mixed = (query @ key.transpose(-2, -1)) @ value * 0.125
        mixed = self.lif(mixed.transpose(-3, -2).flatten(-2))
        x = x + self.lif_out(self.out(mixed))
        return self.last(self.head(x.mean(-2)))


def delayed(lib: Peer, layer: str) -> nn.Module:
    import snntorch as snn

    made = {
        "Delay": lambda: nn.Sequential(nn.Linear(140, 128), snn.Delay(torch.arange(128) % 10, init_hidden=True)),
        "AxonalDelay": lambda: nn.Sequential(snn.AxonalDelay(140, 10, 2.0, init_hidden=True), nn.Linear(140, 128)),
        "SynapticDelay": lambda: snn.SynapticDelay(140, 128, 10, 2.0, init_hidden=True),
    }
    return chain(made[layer](), lib.lif(), nn.Linear(128, 10), lib.lif(last=True))


def normed(lib: Peer, kind: str) -> nn.Module:
    fc1, fc2 = lib.layers(nn.Linear(140, 128)), lib.layers(nn.Linear(128, 10))
    return chain(fc1, lib.norm_over_time(kind, 128, 100), lib.lif(), fc2, lib.lif(last=True))


def of_literature(lib: Peer, name: str) -> nn.Module:
    """Small ones of `snntorch.models`, before neurons."""
    from snntorch import models

    made = {
        "SEW-ResNet": lambda: models.SEWResNet((1, 1, 1, 1), 10, "cifar", in_channels=2),
        "VGG": lambda: models.SpikingVGG(11, 10, "cifar", in_channels=2),
        "Spikformer": lambda: models.Spikformer(10, 64, 1, heads=4, in_channels=2),
        "QKFormer": lambda: models.QKFormer(10, 64, (1, 1, 1), in_channels=2, stem="cifar"),
        "DelayNet": lambda: models.DelayNet(140, (128,), 10, max_delay=10, width=2.0),
    }
    return nn.Sequential(made[name](), lib.lif(last=True))


DELAYS = {name: partial(delayed, layer=name) for name in ("Delay", "AxonalDelay", "SynapticDelay")}
MODELS = {
    name: partial(of_literature, name=name) for name in ("SEW-ResNet", "VGG", "Spikformer", "QKFormer", "DelayNet")
}
NORMS = {kind: partial(normed, kind=kind) for kind in ("SequenceBatchNorm", "tdBN", "TEBN", "BNTT", "SequenceDropout")}
AS_DRAWN = {*DELAYS.values(), *NORMS.values(), *MODELS.values()}  # whose constructors draw their weights
INPUT: dict[Any, tuple[int, ...]] = {  # of one sample
    linear_lif: (512,), mlp: (784,), convnet: (1, 28, 28), recurrent: (140,), SEW: (2, 16, 16), Attention: (64, 64),
    **dict.fromkeys(MODELS.values(), (2, 16, 16)),
    **dict.fromkeys([*DELAYS.values(), *NORMS.values(), MODELS["DelayNet"]], (140,)), MODELS["VGG"]: (2, 32, 32),
}  # fmt: skip


def train(impl: str, net: Callable[[Peer], nn.Module], T: int, B: int, static: bool = False) -> Task:
    lib = IMPLEMENTATIONS[impl]()
    model = net(lib) if net in AS_DRAWN else fill(net(lib))
    x = torch.rand(B, *INPUT[net]) if static else (torch.rand(T, B, *INPUT[net]) < 0.2).float()
    y = torch.randint(10, (B,))
    leaves = list(model.parameters())

    def step() -> tuple:
        clear(leaves)
        out = lib.run(model, x, T if static else None)
        F.cross_entropy(out[0].sum(0), y).backward()
        return out

    return Task(step, leaves)


# --- nets as snnTorch's users write them: a module with the loop, explicit states, recorded results ---------


class FullyConnected(nn.Module):
    """The fifth tutorial's: two layers, a static input."""

    def __init__(self) -> None:
        import snntorch as snn

        super().__init__()
        self.fc1, self.lif1 = nn.Linear(784, 1000), snn.Leaky(beta=BETA)
        self.fc2, self.lif2 = nn.Linear(1000, 10), snn.Leaky(beta=BETA)

    def forward(self, x: Tensor, T: int) -> tuple[Tensor, Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for _ in range(T):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


class Convolutional(nn.Module):
    """The sixth tutorial's: functional pooling, a static input."""

    def __init__(self) -> None:
        import snntorch as snn

        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(1, 12, 5), snn.Leaky(beta=BETA)
        self.conv2, self.lif2 = nn.Conv2d(12, 64, 5), snn.Leaky(beta=BETA)
        self.fc1, self.lif3 = nn.Linear(64 * 4 * 4, 10), snn.Leaky(beta=BETA)

    def forward(self, x: Tensor, T: int) -> tuple[Tensor, Tensor]:
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        spikes, membranes = [], []
        for _ in range(T):
            spk1, mem1 = self.lif1(F.max_pool2d(self.conv1(x), 2), mem1)
            spk2, mem2 = self.lif2(F.max_pool2d(self.conv2(spk1), 2), mem2)
            spk3, mem3 = self.lif3(self.fc1(spk2.view(x.size(0), -1)), mem3)
            spikes.append(spk3)
            membranes.append(mem3)
        return torch.stack(spikes), torch.stack(membranes)


class Normalised(nn.Module):
    """As the sixth tutorial's, with a batch normalisation that trains."""

    def __init__(self) -> None:
        import snntorch as snn

        super().__init__()
        self.conv1, self.norm, self.lif1 = (
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            snn.Leaky(beta=BETA),
        )
        self.conv2, self.lif2 = nn.Conv2d(8, 8, 3, padding=1), snn.Leaky(beta=BETA)
        self.fc, self.lif3 = nn.Linear(8 * 14 * 14, 10), snn.Leaky(beta=BETA)

    def forward(self, x: Tensor, T: int) -> tuple[Tensor, Tensor]:
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        spikes, membranes = [], []
        for t in range(T):
            now = x if x.dim() == 4 else x[t]
            spk1, mem1 = self.lif1(F.max_pool2d(self.norm(self.conv1(now)), 2), mem1)
            spk2, mem2 = self.lif2(self.conv2(spk1), mem2)
            spk3, mem3 = self.lif3(self.fc(spk2.flatten(1)), mem3)
            spikes.append(spk3)
            membranes.append(mem3)
        return torch.stack(spikes), torch.stack(membranes)


class Spoken(nn.Module):
    """The size that is usual for the Spiking Heidelberg Digits, its class read from membranes that are never reset."""

    def __init__(self) -> None:
        import snntorch as snn

        super().__init__()
        self.fc1, self.lif1 = nn.Linear(700, 128), snn.Leaky(beta=BETA)
        self.fc2, self.lif2 = nn.Linear(128, 128), snn.Leaky(beta=BETA)
        self.fc3, self.readout = nn.Linear(128, 20), snn.Leaky(beta=BETA, reset_mechanism="none")

    def forward(self, x: Tensor, T: int) -> tuple[Tensor, Tensor]:
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.readout.init_leaky()
        spikes, membranes = [], []
        for t in range(T):
            spk1, mem1 = self.lif1(self.fc1(x[t]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk3, mem3 = self.readout(self.fc3(spk2), mem3)
            spikes.append(spk3)
            membranes.append(mem3)
        return torch.stack(spikes), torch.stack(membranes)


def fully_connected(lib: Peer) -> nn.Module:
    fc1, fc2 = lib.layers(nn.Linear(784, 1000)), lib.layers(nn.Linear(1000, 10))
    return chain(fc1, lib.lif(), fc2, lib.lif(last=True, membranes=True))


def normalised(lib: Peer) -> nn.Module:
    layers = {
        "conv1": lib.layers(nn.Conv2d(1, 8, 3, padding=1, bias=False)), "norm": lib.norm(nn.BatchNorm2d(8)),
        "pool": lib.layers(nn.MaxPool2d(2)), "lif1": lib.lif(),
        "conv2": lib.layers(nn.Conv2d(8, 8, 3, padding=1)), "lif2": lib.lif(),
        "fc": lib.layers(nn.Flatten(), nn.Linear(8 * 14 * 14, 10)), "lif3": lib.lif(last=True),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers))


def spoken(lib: Peer) -> nn.Module:
    fc1, fc2, fc3 = (lib.layers(nn.Linear(a, b)) for a, b in ((700, 128), (128, 128), (128, 20)))
    return chain(fc1, lib.lif(), fc2, lib.lif(), fc3, lib.readout())


# As users write it, layer by layer, the input of a sample, whether it is static, which output the loss takes
WRITTEN: dict[str, tuple] = {
    "fully connected": (FullyConnected, fully_connected, (784,), True, "membranes"),
    "convolutional": (Convolutional, partial(convnet, channels=64), (1, 28, 28), True, "spikes"),
    "normalised, static": (Normalised, normalised, (1, 28, 28), True, "spikes"),
    "normalised": (Normalised, normalised, (1, 28, 28), False, "spikes"),
    "spoken": (Spoken, spoken, (700,), False, "mean membrane"),
}


def written(impl: str, net: str, T: int, B: int) -> Task:
    """A training step with Adam; the loss of every step, summed in a Python loop where the net is written as one."""
    as_users, layer_by_layer, shape, static, judged = WRITTEN[net]
    lib = IMPLEMENTATIONS[impl]()
    looped = impl in (*BOTH, "layerwise")
    model = fill(as_users() if looped else layer_by_layer(lib))
    x = torch.rand(B, *shape) if static else (torch.rand(T, B, *shape) < 0.05).float()
    y = torch.randint(10, (B,))
    forward = lib.loop(model) if looped else lambda x, T: lib.run(model, x, T if static else None)
    leaves = list(model.parameters())
    optimizer = torch.optim.Adam(leaves, lr=5e-4)

    def step() -> tuple:
        out = forward(x, T)
        trace = out[0 if judged == "spikes" else -1]
        if judged == "mean membrane":
            loss = F.cross_entropy(trace.mean(0), y)
        elif looped:
            loss = torch.zeros(1)
            for t in range(T):
                loss = loss + F.cross_entropy(trace[t], y)
        else:
            loss = T * F.cross_entropy(trace.flatten(0, 1), y.repeat(T))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return out

    return Task(step, leaves)


# --- a net from NIR -----------------------------------------------------------------------------------------

NIR = (140, 128, 128, 20)  # the widths of its layers


def imported(impl: str, T: int, B: int) -> Task:
    """Two hidden layers, read from a graph where the library can; they reset to zero within the step."""
    lib = IMPLEMENTATIONS[impl]()
    generator = torch.Generator().manual_seed(1)
    weights = [(torch.rand(n, m, generator=generator) - 0.5) * 8 / m**0.5 for m, n in pairwise(NIR)]
    x, y = (torch.rand(T, B, NIR[0]) < 0.2).float(), torch.randint(10, (B,))  # before models, which draw differently
    model = lib.imported(weights)
    leaves = [p for p in model.parameters() if p.dim() == 2]

    def step() -> tuple:
        clear(leaves)
        spikes = lib.run(model, x)[0]
        F.cross_entropy(spikes.sum(0), y).backward()
        return (spikes,)

    return Task(step, leaves)


# --- conversion, initialisation, events: forward only -------------------------------------------------------


class Residual(nn.Module):
    """A block of two convolutions with their norms, of ReLUs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2, self.relu1, self.relu2 = (
            *(nn.BatchNorm2d(channels) for _ in range(2)),
            nn.ReLU(),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(x + self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x))))))


def converted(impl: str, T: int, B: int) -> Task:
    """Inference of a residual net of ReLUs that was made into integrate-and-fire neurons."""
    lib = IMPLEMENTATIONS[impl]()
    stem = nn.Conv2d(1, 16, 5), nn.ReLU(), nn.AvgPool2d(2)
    net = fill(nn.Sequential(*stem, Residual(16), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16 * 6 * 6, 10))).eval()
    x = torch.rand(B, 1, 28, 28)
    spiking = lib.converted(net, x)

    @torch.no_grad()
    def step() -> tuple:
        return lib.run(spiking, x, T)

    return Task(step)


def initialised(impl: str, inputs: int, outputs: int) -> Task:
    import snntorch as snn
    from snntorch.functional.init import fluctuation_driven_

    layer, neuron, generator = nn.Linear(inputs, outputs), snn.Leaky(BETA), torch.Generator()
    return Task(lambda: (fluctuation_driven_(layer, neuron, 0.1, generator=generator.manual_seed(0)).weight,))


def frames(impl: str, events: int, T: int, B: int) -> Task:
    """A batch of an event camera's structured arrays, in microseconds over a third of a second."""
    import numpy as np

    from snntorch import spikegen

    fields = [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i1")]
    draw, samples = np.random.default_rng(0), []
    for _ in range(B):
        sample = np.zeros(events, fields)
        for name, end in (("x", 34), ("y", 34), ("t", 300_000), ("p", 2)):
            sample[name] = draw.integers(0, end, events)
        samples.append(sample)
    dt = 300_000 / T
    return Task(lambda: (torch.stack([spikegen.from_events(s, (2, 34, 34), T, dt) for s in samples], 1),))


# --- what recording costs: a net so small that nothing else takes time, forward only --------------------------


def recording(impl: str, T: int, B: int, layers: int) -> Task:
    lib = IMPLEMENTATIONS[impl]()
    pairs = [(lib.layers(nn.Linear(4, 4)), lib.lif(last=i == layers - 1)) for i in range(layers)]
    model, x = fill(chain(*[part for pair in pairs for part in pair])), torch.rand(T, B, 4)

    @torch.no_grad()
    def step() -> tuple:
        return lib.run(model, x)

    return Task(step)


# --- losses (forward + backward) and spike generation (forward) -------------------------------------------


def loss(impl: str, name: str, T: int, B: int, N: int, **options: Any) -> Task:
    from snntorch import functional

    trace = torch.randn(T, B, N) if "membrane" in name else (torch.rand(T, B, N) < 0.05).float()
    trace.requires_grad_()
    timed = options.get("target_is_time", False)
    y = torch.randint(T, (B, N)).float() if timed else torch.randint(N, (B,))
    function = getattr(functional, name)
    measure = function if name.startswith("accuracy") else function(**options)

    def step() -> tuple:
        trace.grad = None
        value = measure(trace, y)
        if isinstance(value, Tensor) and value.requires_grad:
            value.sum().backward()
        return (value,)

    return Task(step, [trace])


def generate(impl: str, name: str, T: int, B: int, N: int, **options: Any) -> Task:
    from snntorch import spikegen

    function = getattr(spikegen, name)
    if name == "delta":
        x = torch.rand(T, B, N)
        return Task(lambda: (function(x, threshold=0.1, **options),))
    x = torch.randint(10, (B,)) if name.startswith("targets") else torch.rand(B, N)
    arguments = (x, 10) if name.startswith("targets") else (x,)
    return Task(lambda: (function(*arguments, num_steps=T, **options),))


# --- the registry -----------------------------------------------------------------------------------------

SNN = ("snntorch", "unmodified", "unroll")
WIDE = dict(T=100, B=64, N=512)
add("Leaky alone, T=100, 64×512", "neuron", alone, ALL, neuron="Leaky", **WIDE)
add("Leaky alone, T=25, 128×10", "neuron", alone, ALL[:-1], neuron="Leaky", T=25, B=128, N=10)
add("Synaptic alone, T=100, 64×512", "neuron", alone, (*SNN, "floor"), neuron="Synaptic", **WIDE)
add("StateLeaky, T=1024, 8×64", "neuron", alone, BOTH, neuron="StateLeaky", T=1024, B=8, N=64)
add("Linear(512,512)+LIF, T=500, B=16", "net", train, ALL, net=linear_lif, T=500, B=16)
add("MLP 784-512-512-10, T=30, B=100, spikes", "net", train, ALL, net=mlp, T=30, B=100)
add("MLP 784-512-512-10, T=30, B=100, static", "net", train, ALL, net=mlp, T=30, B=100, static=True)
add("conv 12C5-P2-32C5-P2-FC10, T=20, B=16", "net", train, ALL, net=convnet, T=20, B=16, static=True)
add("recurrent 140-128R-20, T=100, B=64", "net", train, ALL, net=recurrent, T=100, B=64)
STEPPED_TOO = (*SNN, "floor", "floor-stepped")
add("tutorial 5, 784-1000-10, T=25, B=128", "net", written, STEPPED_TOO, net="fully connected", T=25, B=128)
add("a user's own neuron, T=100, 64×512", "variant", alone, ("unmodified", "unroll", "floor"), neuron="own", **WIDE)
ONCE = (*SNN, "norse", "sinabs")
add("Leaky, reset at once, T=100, 64×512", "variant", alone, ONCE, neuron="Leaky reset at once", **WIDE)
add("Leaky alone, input indexed x[t]", "variant", alone, SNN, neuron="Leaky", **WIDE, indexed=True)

AS_WRITTEN = ("snntorch", "spikingjelly", "unmodified", "layerwise", "folded", "floor")
ONE_STEP = ("snntorch", "spikingjelly", "unmodified", "unroll", "layerwise", "folded", "floor")
add("tutorial 5 as written, T=25, B=128", "form", written, AS_WRITTEN, net="fully connected", T=25, B=128)
add("tutorial 6 as written, T=20, B=16", "form", written, AS_WRITTEN, net="convolutional", T=20, B=16)
NORMALISED = "conv 8C3-BN-P2-8C3-FC10 as written"
add(f"{NORMALISED}, static, T=10, B=64", "form", written, AS_WRITTEN, net="normalised, static", T=10, B=64)
add(f"{NORMALISED}, T=30, B=64", "form", written, AS_WRITTEN, net="normalised", T=30, B=64)
add("SHD size 700-128-128-20, membrane readout, T=100, B=64", "form", written, AS_WRITTEN, net="spoken", T=100, B=64)
add("SEW residual net with BatchNorm, T=8, B=16", "form", train, ONE_STEP, net=SEW, T=8, B=16)
add("spiking attention, 64 tokens, T=16, B=8", "form", train, ONE_STEP, net=Attention, T=16, B=8)
NOT_JELLY = tuple(impl for impl in ONE_STEP if impl != "spikingjelly")
add("from NIR, 140-128-128-20, T=100, B=64", "form", imported, NOT_JELLY, T=100, B=64)
RECORDED = ("unmodified", "unroll", "layerwise", "folded")
add("recording, 2 × (Linear, Leaky) of width 4", "recording", recording, RECORDED, T=100, B=1, layers=2)
add("recording over T", "recording", recording, RECORDED, scan={"T": (100, 1000)}, T=100, B=1, layers=4)

KEPT = ("snntorch", "spikingjelly", "memopt", "unroll", "packed", "recompute")
add("kept by MLP 784-512-512-10, T=200, B=100", "memory", train, KEPT, net=mlp, T=200, B=100)
NOT_MEMOPT = tuple(impl for impl in KEPT if impl != "memopt")  # which takes no static input as `run` gives it
add("kept by MLP 784-512-512-10, T=200, B=100, static", "memory", train, NOT_MEMOPT, net=mlp, T=200, B=100, static=True)
add("kept by recurrent 140-128-20, T=200, B=100", "memory", train, KEPT, net=recurrent, T=200, B=100)
add("kept by conv 12C5-P2-32C5-P2-FC10, T=100, B=16", "memory", train, KEPT, net=convnet, T=100, B=16)

OUR_WAYS = ("unmodified", "unroll")
JELLY = ("spikingjelly", *OUR_WAYS)
for kind, scale, ways, gate in (  # the scale of the input at which it fires
    ("ALIF", 1.0, OUR_WAYS, "spikes"),
    ("PLIF", 2.0, JELLY, "spikes"),
    ("QIF", 2.0, JELLY, "spikes"),
    ("EIF", 2500.0, JELLY, "spikes"),
    ("AdEx", 2500.0, OUR_WAYS, "spikes"),
    ("Izhikevich", 60.0, JELLY, "spikes"),
    ("BRF", 60.0, OUR_WAYS, "spikes"),
    ("GLIF", 4.0, JELLY, "spikes"),
    ("TwoCompartment", 2.0, OUR_WAYS, "spikes"),
    ("NoisyLeaky", 1.0, OUR_WAYS, "spikes"),
    ("Leaky, refractory", 1.0, OUR_WAYS, "spikes"),
    ("IntegerLeaky", 1.0, JELLY, "values"),
    ("SigmaDelta", 1.0, OUR_WAYS, "values"),
    ("SynapticIntegrator", 1.0, OUR_WAYS, "values"),
    ("PSN", 10.0, ("spikingjelly", "unroll"), "spikes"),
    ("MaskedPSN", 10.0, ("spikingjelly", "unroll"), "spikes"),
    ("SlidingPSN", 1.0, ("spikingjelly", "unroll"), "spikes"),
):
    add(f"{kind} alone, T=100, 64×512", "modern", alone, ways, neuron=kind, scale=scale, gate=gate, **WIDE)
for kind, net in DELAYS.items():  # a loop of SynapticDelay takes a quarter of a minute
    ways = OUR_WAYS[kind == "SynapticDelay" :]
    add(f"140-128-10 with {kind}, T=100, B=64", "modern", train, ways, net=net, T=100, B=64)
ENDING = (*OUR_WAYS, "lengths")
for kind, net in NORMS.items():  # BNTT cannot normalise the last steps, which a sample takes alone
    ways = ("spikingjelly", "unroll", "lengths")[kind == "SequenceDropout" : 2 if kind == "BNTT" else 3]
    add(f"140-128-10 with {kind}, T=100, B=64", "modern", train, ways, net=net, T=100, B=64)
add("MLP 784-512-512-10 and its samples' ends, T=30, B=100", "modern", train, ENDING, net=mlp, T=30, B=100)
add("recurrent 140-128R-20 and its samples' ends, T=100, B=64", "modern", train, ENDING, net=recurrent, T=100, B=64)
for kind, net in MODELS.items():
    add(f"{kind}, small, T=8, B=8", "modern", train, ("unroll",), net=net, T=8, B=8)
add("residual net converted, inference, T=32, B=16", "modern", converted, JELLY, gate="values", T=32, B=16)
add("fluctuation-driven weights, 784×512", "modern", initialised, OUR_WAYS[:1], gate="values", inputs=784, outputs=512)
add(
    "frames of 50,000 events of each of 8 samples",
    "modern",
    frames,
    OUR_WAYS[:1],
    gate="values",
    events=50_000,
    T=100,
    B=8,
)

STEPS, THREADS = {"T": (100, 200, 400, 800)}, {"threads": (1, 2, 4, 8)}
for kind in (*STEPPED, *WHOLE):
    impls = ("snntorch", "unroll") if kind in STEPPED else BOTH
    add(f"{kind} over T", "scaling", alone, impls, scan=STEPS, neuron=kind, T=100, B=16, N=128)
add("Leaky over N", "scaling", alone, ALL, scan={"N": (8, 64, 512, 4096)}, neuron="Leaky", **WIDE)
add("Leaky over threads", "scaling", alone, ALL, scan=THREADS, neuron="Leaky", **WIDE)
add("MLP over threads", "scaling", train, ALL, scan=THREADS, net=mlp, T=30, B=100)

MEASURES = "ce_rate_loss ce_count_loss ce_max_membrane_loss mse_count_loss mse_membrane_loss"
MEASURES += " mse_temporal_loss ce_temporal_loss accuracy_rate accuracy_temporal"
for name in MEASURES.split():
    options = {"target_is_time": True} if name == "mse_temporal_loss" else {}
    add(name, "loss", loss, BOTH, gate="values", name=name, T=100, B=128, N=10, **options)

for name, options in (
    ("rate", {}),
    ("latency", {"normalize": True}),
    ("latency", {"normalize": True, "linear": True}),
    ("delta", {"off_spike": True}),
    ("targets_latency", {"normalize": True}),
):
    title = "spikegen." + ", ".join([name, *options])
    compared = "mean" if name == "rate" else "values"
    add(title, "spikegen", generate, BOTH, gate=compared, name=name, T=100, B=128, N=784, **options)
