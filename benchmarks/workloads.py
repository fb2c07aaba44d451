"""What is timed: a registry of workloads that one file defines for every library.

`REGISTRY` maps a name to a `Workload`; its `build(impl, **sizes)` makes a `Task` whose `step()` is what the
clock sees. An implementation (`impl`) is a library and a way to use it:

| impl | Python environment | what runs |
|---|---|---|
| snntorch | the published snnTorch | the loop over time steps that its users write |
| spikingjelly | SpikingJelly | its multi-step mode; stateless layers fold time into the batch |
| norse | Norse | its box neuron, lifted over time |
| sinabs | Sinabs | its LIF, on `[B, T, ...]` |
| unmodified | ours | exactly the code of `snntorch` |
| unroll | ours | `snn.unroll` |
| floor | ours | the same net with ReLU for neurons and time folded into the batch; |
| | | for a neuron alone, a plain copy of the bytes that must move |
| floor-stepped | ours | the linear layers alone, called once a step |

Inputs and weights are drawn from fixed seeds, so every environment computes the same thing.
Libraries are imported where they are used: each environment has only its own.
"""
# ruff: noqa: D102  (the classes that stand for a library share four small methods)

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ENVIRONMENT = {
    "snntorch": "snntorch",
    "spikingjelly": "spikingjelly",
    "norse": "norse",
    "sinabs": "sinabs",
    "unmodified": "ours",
    "unroll": "ours",
    "floor": "ours",
    "floor-stepped": "ours",
}
BOTH = ("snntorch", "unmodified")
ALL = ("snntorch", "spikingjelly", "unmodified", "unroll", "floor")
TOY = {"T": 3, "B": 2}  # overrides the sizes in tests
BETA, ALPHA = 0.9, 0.8  # decay of the membrane and of the synaptic current


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
        if p.dim() and not name.startswith("rnn.weight_hh"):  # that one holds LeakyParallel's decay
            fan_in = p[0].numel() if p.dim() > 1 else p.numel()
            gain = 0.2 if "recurrent" in name else 4
            p.data = (torch.rand(p.shape, generator=generator) - 0.5) * gain / fan_in**0.5
    return module


def clear(leaves: Sequence[Tensor]) -> None:
    for leaf in leaves:
        leaf.grad = None


# --- a neuron alone: forward + backward to its input, the gradient of its spikes given --------------------


def _neurons() -> dict[str, Callable[..., nn.Module]]:
    """Neurons by name; each takes a number of features and the constructor's other arguments."""
    import snntorch as snn

    return {
        "Leaky": lambda n, **k: snn.Leaky(BETA, **k),
        "Leaky reset at once": lambda n, **k: snn.Leaky(BETA, reset_delay=False, **k),
        "Lapicque": lambda n, **k: snn.Lapicque(BETA, R=10, **k),
        "Synaptic": lambda n, **k: snn.Synaptic(ALPHA, BETA, **k),
        "Alpha": lambda n, **k: snn.Alpha(BETA, ALPHA, **k),
        "DeltaLeaky": lambda n, **k: snn.DeltaLeaky(0.2, BETA, **k),
        "RLeaky": lambda n, **k: snn.RLeaky(BETA, linear_features=n, **k),
        "RLeaky one-to-one": lambda n, **k: snn.RLeaky(BETA, V=-0.5, all_to_all=False, **k),
        "RSynaptic": lambda n, **k: snn.RSynaptic(ALPHA, BETA, linear_features=n, **k),
        "RSynaptic one-to-one": lambda n, **k: snn.RSynaptic(ALPHA, BETA, V=-0.5, all_to_all=False, **k),
        "SLSTM": lambda n, **k: snn.SLSTM(n, n, threshold=0.1, **k),
        "SConv2dLSTM": lambda n, **k: snn.SConv2dLSTM(2, 2, 3, threshold=0.1, **k),
        "StateLeaky": lambda n: snn.StateLeaky(BETA, n),
        "LinearLeaky": lambda n: snn.LinearLeaky(BETA, n, n),
        "LeakyParallel": lambda n: snn.LeakyParallel(n, n, beta=BETA),
        "own": own,
        "AssociativeLeaky": lambda n: snn.AssociativeLeaky(n, n // 16, 16, n, use_q_projection=False),
    }


def own(n: int, **options: Any) -> nn.Module:
    """A neuron as a user writes it: two states, an adaptive threshold, a learnable decay per channel."""
    import snntorch as snn

    class Own(snn.SpikingNeuron):
        states = ("mem", "adaptation")

        def __init__(self, n: int, **options: Any) -> None:
            super().__init__(**options)
            self.register_value("beta", torch.full((n,), BETA), learn=True)
            self.register_value("rho", ALPHA)

        @staticmethod
        def step(x, mem, adaptation, *, beta, rho, threshold, spike):
            mem = beta * mem + x
            spk = spike(mem - threshold - adaptation)
            return spk, mem - spk * threshold, rho * adaptation + 0.1 * spk

    return Own(n, **options)


STEPPED = ("Leaky", "Lapicque", "Synaptic", "Alpha", "DeltaLeaky", "RLeaky", "RLeaky one-to-one")
STEPPED += ("RSynaptic", "RSynaptic one-to-one", "SLSTM", "SConv2dLSTM")
WHOLE = ("StateLeaky", "LinearLeaky", "LeakyParallel", "AssociativeLeaky")  # called with the whole sequence
STATES = {"Leaky": 1, "Synaptic": 2, "own": 2}  # state variables of the neurons that have a floor


def loop(neuron: nn.Module, steps: Iterable[Tensor]) -> tuple[Tensor, list[Any]]:
    """Step a neuron with explicit states, as snnTorch's users do."""
    states: Any = ((None, None),) if type(neuron).__name__ == "DeltaLeaky" else neuron.reset_mem()
    states = states if isinstance(states, tuple) else (states,)
    recurrent = type(neuron).__name__ in ("RLeaky", "RSynaptic")  # whose spikes are a state
    outs = []
    for x in steps:
        outs.append(neuron(x, *states))
        states = outs[-1] if recurrent else outs[-1][1:]
    return torch.stack([out[0] for out in outs]), [out[-1] for out in outs]


def jelly_lif(step_mode: str = "m") -> nn.Module:
    """SpikingJelly's LIF with our constants; its soft reset precedes the decay, else the same work."""
    from spikingjelly.activation_based import neuron, surrogate

    constants = dict(tau=1 / (1 - BETA), v_threshold=1.0, decay_input=False, v_reset=None, detach_reset=True)
    return neuron.LIFNode(surrogate_function=surrogate.ATan(alpha=2.0), step_mode=step_mode, **constants)


def norse_lif() -> nn.Module:
    """Norse's LIF without synapse; it scales its input by the leak, and here the threshold instead."""
    import norse.torch as norse
    from norse.torch.functional.reset import reset_subtract

    leak = torch.tensor(1 - BETA)
    constants = norse.LIFBoxParameters(tau_mem_inv=leak, v_th=leak, reset_method=reset_subtract)
    return norse.Lift(norse.LIFBoxCell(constants, dt=1.0))


def sinabs_lif() -> nn.Module:
    """Sinabs' LIF with our constants."""
    from sinabs.activation import SingleSpike
    from sinabs.layers import LIF

    return LIF(tau_mem=-1 / math.log(BETA), norm_input=False, spike_fn=SingleSpike)


def sequence(impl: str, neuron: str, n: int, indexed: bool) -> tuple[nn.Module, Callable[[Tensor], Any]]:
    """A module, and the function from its input `[T, B, ...]` to spikes or to spikes and membranes."""
    if impl == "spikingjelly":
        module = jelly_lif()
        return module, lambda x: (module.reset(), module(x))[1]
    if impl == "norse":
        module = norse_lif()
        return module, lambda x: module(x)[0]
    if impl == "sinabs":
        module = sinabs_lif()
        return module, lambda x: (module.reset_states(), module(x))[1]
    if neuron in WHOLE:
        module = _neurons()[neuron](n)
        return module, module
    if impl == "unroll":
        import snntorch as snn

        module = _neurons()[neuron](n, init_hidden=True)
        return module, lambda x: (module.reset_mem(), snn.unroll(module, x))[1]
    module = _neurons()[neuron](n)
    return module, lambda x: loop(module, (x[t] for t in range(len(x))) if indexed else x.unbind())


def alone(impl: str, neuron: str, T: int, B: int, N: int, indexed: bool = False) -> Task:
    image = (2, 8, N // 16) if neuron == "SConv2dLSTM" else (N,)
    lead = (B, T) if impl == "sinabs" else (T, B)
    x = (0.3 * torch.randn(*lead, *image) + 0.15).requires_grad_()
    if impl == "floor":
        # Forward reads the input and writes spikes and states; backward reads states and the spikes'
        # gradient and writes the input's: 4 + 2 states passes over 4 + states tensors; a copy is two passes.
        tensors = torch.rand(n := 4 + STATES[neuron], T, B, N).unbind()
        return Task(lambda: tuple(tensors[(2 * i + 1) % n].copy_(tensors[2 * i % n]) for i in range(n - 2)))
    module, run = sequence(impl, neuron, N, indexed)
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


class SnnTorch:
    """The published package, and ours with the same code."""

    def __init__(self) -> None:
        import snntorch
        from snntorch import utils

        self.snn, self.utils = snntorch, utils

    def layers(self, *stateless: nn.Module) -> Sequence[nn.Module]:
        return stateless

    def lif(self, last: bool = False) -> nn.Module:
        return self.snn.Leaky(BETA, init_hidden=True, output=last)

    def recurrent(self, n: int) -> nn.Module:
        return self.snn.RLeaky(BETA, linear_features=n, init_hidden=True)

    def run(self, net: nn.Module, x: Tensor, T: int | None) -> tuple:
        """Spikes and membranes of the last layer; with `T`, every step sees the same `x`."""
        self.utils.reset(net)
        spikes, membranes = zip(*[net(x_t) for x_t in ([x] * T if T else x)], strict=True)
        return torch.stack(spikes), membranes


class Unroll(SnnTorch):
    """Ours, the whole sequence in one call."""

    def run(self, net: nn.Module, x: Tensor, T: int | None) -> tuple:
        self.utils.reset(net)
        return self.snn.unroll(net, x, num_steps=T)


class Floor:
    """The whole sequence layer by layer: ReLU for neurons, time folded into the batch."""

    def layers(self, *stateless: nn.Module) -> Sequence[nn.Module]:
        return (Folded(*stateless),)

    def lif(self, last: bool = False, step_mode: str = "m") -> nn.Module:
        return nn.ReLU()

    def recurrent(self, n: int) -> nn.Module:
        return Recurrent(n, self.lif(step_mode="s"))

    def run(self, net: nn.Module, x: Tensor, T: int | None) -> tuple:
        """Spikes of the last layer; the first block of a static input runs once."""
        first, *rest = net.children()
        x = first(x[None]).expand(T, *[-1] * x.dim()) if T else first(x)
        for module in rest:
            x = module(x)
        return (x,)


class SpikingJelly(Floor):
    """Multi-step mode. That a static input's first block runs once is the faster of its idioms."""

    def lif(self, last: bool = False, step_mode: str = "m") -> nn.Module:
        return jelly_lif(step_mode)

    def run(self, net: nn.Module, x: Tensor, T: int | None) -> tuple:
        from spikingjelly.activation_based import functional

        functional.reset_net(net)
        return super().run(net, x, T)


class Folded(nn.Sequential):
    """Stateless layers on `[T, B, ...]`: time folds into the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Recurrent(nn.Module):
    """`node(x[t] + W out[t-1])`, the recurrence that RLeaky computes, around a single-step node."""

    def __init__(self, n: int, node: nn.Module) -> None:
        super().__init__()
        self.recurrent, self.node = nn.Linear(n, n), node

    def forward(self, x: Tensor) -> Tensor:
        outs = [torch.zeros_like(x[0])]
        for x_t in x.unbind():
            outs.append(self.node(x_t + self.recurrent(outs[-1])))
        return torch.stack(outs[1:])


LIBRARY = dict(snntorch=SnnTorch, unmodified=SnnTorch, unroll=Unroll, spikingjelly=SpikingJelly, floor=Floor)


def linear_lif(lib: Any) -> list[nn.Module]:
    return [*lib.layers(nn.Linear(512, 512)), lib.lif(last=True)]


def mlp(lib: Any) -> list[nn.Module]:
    fc1, fc2, fc3 = (lib.layers(nn.Linear(a, b)) for a, b in ((784, 512), (512, 512), (512, 10)))
    return [*fc1, lib.lif(), *fc2, lib.lif(), *fc3, lib.lif(last=True)]


def convnet(lib: Any) -> list[nn.Module]:
    conv1 = lib.layers(nn.Conv2d(1, 12, 5), nn.MaxPool2d(2))
    conv2 = lib.layers(nn.Conv2d(12, 32, 5), nn.MaxPool2d(2))
    fc = lib.layers(nn.Flatten(), nn.Linear(32 * 4 * 4, 10))
    return [*conv1, lib.lif(), *conv2, lib.lif(), *fc, lib.lif(last=True)]


def recurrent(lib: Any) -> list[nn.Module]:
    fc1, fc2 = lib.layers(nn.Linear(140, 128)), lib.layers(nn.Linear(128, 20))
    return [*fc1, lib.recurrent(128), *fc2, lib.lif(last=True)]


INPUT = {linear_lif: (512,), mlp: (784,), convnet: (1, 28, 28), recurrent: (140,)}  # of one sample


def train(impl: str, net: Callable[[Any], list[nn.Module]], T: int, B: int, static: bool = False) -> Task:
    lib = LIBRARY[impl]()
    model = fill(nn.Sequential(*net(lib)))
    x = torch.rand(B, *INPUT[net]) if static else (torch.rand(T, B, *INPUT[net]) < 0.2).float()
    y = torch.randint(10, (B,))
    leaves = list(model.parameters())

    def step() -> tuple:
        clear(leaves)
        out = lib.run(model, x, T if static else None)
        F.cross_entropy(out[0].sum(0), y).backward()
        return out

    return Task(step, leaves)


# --- the training loop of snnTorch's fifth tutorial: its code, Adam step included -------------------------


class TutorialNet(nn.Module):
    """Two layers with explicit states and recorded spikes and membranes, as the tutorial's users write it."""

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


def tutorial(impl: str, T: int, B: int) -> Task:
    fc1, fc2 = nn.Linear(784, 1000), nn.Linear(1000, 10)
    x, y = torch.rand(B, 784), torch.randint(10, (B,))
    if impl in BOTH:
        net: nn.Module = TutorialNet()
        forward = lambda: net(x, T)  # noqa: E731
    elif impl == "floor-stepped":
        net = nn.Sequential(fc1, nn.ReLU(), fc2)
        forward = lambda: (torch.stack([net(x) for _ in range(T)]),)  # noqa: E731
    else:
        lib = LIBRARY[impl]()
        last = [lib.lif(last=True)] if impl == "unroll" else []
        net = nn.Sequential(*lib.layers(fc1), lib.lif(), *lib.layers(fc2), *last)
        forward = lambda: lib.run(net, x, T)  # noqa: E731
    leaves = list(fill(net).parameters())
    optimizer = torch.optim.Adam(leaves, lr=5e-4)

    def step() -> tuple:
        *spikes, membranes = forward()
        if impl in BOTH:
            loss = torch.zeros(1)
            for t in range(T):
                loss = loss + F.cross_entropy(membranes[t], y)
        else:
            loss = T * F.cross_entropy(membranes.flatten(0, 1), y.repeat(T))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return *spikes, membranes

    return Task(step, leaves)


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
add("tutorial 5, 784-1000-10, T=25, B=128", "net", tutorial, (*SNN, "floor", "floor-stepped"), T=25, B=128)
add("a user's own neuron, T=100, 64×512", "variant", alone, ("unmodified", "unroll", "floor"), neuron="own", **WIDE)
ONCE = (*SNN, "norse", "sinabs")
add("Leaky, reset at once, T=100, 64×512", "variant", alone, ONCE, neuron="Leaky reset at once", **WIDE)
add("Leaky alone, input indexed x[t]", "variant", alone, SNN, neuron="Leaky", **WIDE, indexed=True)

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
