"""Differential fuzzing: random nets, fused and over time, against a plain float64 loop of the eager backend.

`python tests/fuzz.py --cases 2000` draws nets of all layers and neurons in several forms, with random resets, layouts
in memory, dtypes, static inputs, repeated calls, recomputation, frozen parameters and hooks, and compares outputs,
states, running statistics and gradients. A disagreement prints its seed: `python tests/fuzz.py --seed 123` replays it.

Spikes are discontinuous. Where a potential of the reference comes closer to its threshold than rounding may move it, a
case says nothing and counts as *near*. Weights and inputs are multiples of 1/8, so that half precision rounds nothing
before the states, which are float32.
"""

import argparse
import copy
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import snntorch as snn
from helpers import flat
from snntorch import surrogate, utils
from snntorch._layers.delay import Delay
from snntorch._layers.integrator import LeakyIntegrator, SynapticIntegrator
from snntorch._layers.scale import Scale
from snntorch._layers.threshold import Threshold

# How far rounding may move a value, and how far from the threshold a potential must stay to say anything.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4, torch.bfloat16: 3e-2, torch.float16: 3e-2}
MARGIN = {torch.float64: 1e-9, torch.float32: 2e-4, torch.bfloat16: 2e-4, torch.float16: 2e-4}
HALF = (torch.bfloat16, torch.float16)


class Disagreement(AssertionError):
    """The two ways to run a net differ."""


@dataclass
class Case:
    """What a seed stands for; `notes` say it to a reader."""

    seed: int
    few_kernels: bool = False
    dtype: torch.dtype = torch.float64
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.generator = torch.Generator().manual_seed(self.seed)

    def any(self, *options: Any) -> Any:
        """One of the options."""
        return self.random.choice(options)

    def often(self, probability: float) -> bool:
        """True with that probability."""
        return self.random.random() < probability

    def note(self, text: str) -> None:
        self.notes.append(text)

    def grid(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Multiples of 1/8, float64."""
        return (torch.randn(shape, generator=self.generator, dtype=torch.float64) * scale * 8).round() / 8

    def between(self, low: float, high: float, shape: tuple[int, ...]) -> float | Tensor:
        """A number, or a tensor of them."""
        if self.few_kernels or self.often(0.7):
            return self.random.uniform(low, high)
        return low + (high - low) * torch.rand(shape, generator=self.generator)


# -- neurons and layers


def neuron(case: Case, shape: tuple[int, ...], **last: Any) -> tuple[nn.Module, tuple[int, ...]]:
    """A neuron for samples of a shape, and the shape of its output."""
    image, n = len(shape) == 3, shape[0]
    each = (n, 1, 1) if image else (n,)
    resets = ("subtract", "zero", "none")
    common: dict[str, Any] = {"init_hidden": True, "threshold": case.between(0.4, 1.2, each), **last}
    spikes: tuple = (None, surrogate.fast_sigmoid(10.0), surrogate.sigmoid(5.0), surrogate.gaussian(),
                     surrogate.straight_through_estimator(), surrogate.LSO(), surrogate.triangular(),
                     surrogate.custom_surrogate(hat), surrogate.learnable_width(surrogate.atan(), 1.5))  # fmt: skip
    beta, alpha = case.between(0.3, 0.99, each), case.between(0.8, 0.95, each)
    kinds = ["Leaky", "Synaptic", "RLeaky"]
    if not case.few_kernels:
        kinds += ["Leaky", "Lapicque", "Alpha", "RSynaptic", "DeltaLeaky", "SConv2dLSTM" if image else "SLSTM",
                  "Delay", "LeakyIntegrator", "SynapticIntegrator"]  # fmt: skip
        common |= {"spike_grad": case.any(*spikes), "learn_threshold": case.often(0.3)}
    kind = case.any(*kinds)
    learn = {f"learn_{p}": not case.few_kernels and case.often(0.4) for p in ("beta", "alpha")}
    reset = {"reset_mechanism": "subtract" if case.few_kernels else case.any(*resets)}
    now = {"reset_delay": case.few_kernels or case.often(0.7) or reset["reset_mechanism"] == "none"}
    learn_beta = {"learn_beta": learn["learn_beta"]}
    if kind == "Leaky":
        graded = {} if case.few_kernels else {"graded_spikes_factor": case.any(1.0, 2.0)}
        made: nn.Module = snn.Leaky(beta, **common, **reset, **now, **graded, **learn_beta)
    elif kind == "Lapicque":
        made = snn.Lapicque(case.random.uniform(0.5, 0.9), **common, **reset, **learn_beta)
    elif kind == "Synaptic":
        made = snn.Synaptic(alpha, beta, **common, **reset, **now, **learn)
    elif kind == "Alpha":
        made = snn.Alpha(0.9, case.random.uniform(0.3, 0.8), **common, **reset, **learn)
    elif kind in ("RLeaky", "RSynaptic"):
        form = case.any("all", "one")
        if form == "one":
            recurrent: dict[str, Any] = {"all_to_all": False, "V": case.between(-0.5, 0.5, each)}
        elif image:
            recurrent = {"conv2d_channels": n, "kernel_size": 3}
        else:
            recurrent = {"linear_features": n}
        options = {**common, **reset, **now, **recurrent, "learn_recurrent": case.often(0.7)}
        if kind == "RLeaky":
            made = snn.RLeaky(beta, **options, **learn_beta)
        else:
            made = snn.RSynaptic(alpha, beta, **options, **learn)
    elif kind == "DeltaLeaky":
        made = snn.DeltaLeaky(0.3, beta=beta, **{"output": False} | common)
    elif kind == "SLSTM":
        made = snn.SLSTM(n, n, **{**common, "threshold": 0.1}, **reset)
    elif kind == "SConv2dLSTM":
        made = snn.SConv2dLSTM(n, n, 3, **{**common, "threshold": 0.1}, **reset)
    elif kind == "Delay":
        made = Delay(case.any(0, 1, 3), **{k: v for k, v in common.items() if k in ("init_hidden", "output")})
    else:
        options = {k: v for k, v in common.items() if k in ("init_hidden", "output")}
        made = (
            LeakyIntegrator(beta, **options)
            if kind == "LeakyIntegrator"
            else SynapticIntegrator(alpha, beta, **options)
        )
    return made, shape


def hat(x: Tensor, grad: Tensor, spk: Tensor) -> Tensor:
    """A user's surrogate gradient, smooth but at 0."""
    return grad * (1 + spk) / (1 + x * x)


def layer(case: Case, shape: tuple[int, ...], in_place: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """A layer that is no neuron, for samples of a shape, and the shape of its output."""
    exact, n = case.dtype in HALF, shape[0]
    if len(shape) == 3:
        options: list[Callable[[], tuple[nn.Module, tuple[int, ...]]]] = [
            lambda: (nn.Conv2d(n, 3, 3, padding=1, groups=case.any(1, n) if n == 3 else 1), (3, *shape[1:])),
            lambda: (nn.Conv2d(n, 2, 1, bias=False), (2, *shape[1:])),
            lambda: (nn.Flatten(), (n * shape[1] * shape[2],)),
            lambda: (nn.MaxPool2d(2), (n, shape[1] // 2, shape[2] // 2)) if shape[1] > 1 else (nn.Identity(), shape),
            lambda: (nn.AvgPool2d(2), (n, shape[1] // 2, shape[2] // 2)) if shape[1] > 1 else (nn.Identity(), shape),
        ]
        if not exact:
            # No GroupNorm: PyTorch's backward of channels-last crashes where the input has no gradient.
            options += [lambda: (nn.LayerNorm(shape[1:]), shape), lambda: (nn.BatchNorm2d(n), shape)]
    else:
        size = case.any(2, 4, 6)
        options = [
            lambda: (nn.Linear(n, size, bias=case.often(0.7)), (size,)),
            lambda: (nn.Linear(n, size), (size,)),
            lambda: (Scale(case.grid(n).float()), shape),
            lambda: (snn.GradedSpikes(n, 1.5), shape),
        ]
        if not exact:
            options += [lambda: (nn.LayerNorm(n), shape), lambda: (nn.BatchNorm1d(n), shape)]
    options += [lambda: (nn.ReLU(inplace=in_place and case.often(0.5)), shape), lambda: (nn.Identity(), shape)]
    if not exact:
        options += [lambda: (nn.Tanh(), shape), lambda: (nn.Dropout(0.0), shape), lambda: (Threshold(0.25), shape)]
    return case.any(*options)()


class Residual(nn.Module):
    """Two branches of one step, added."""

    def __init__(self, a: nn.Module, b: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.last = a, b, last

    def forward(self, x: Tensor) -> Any:
        return self.last(self.a(x) + self.b(x))


class Feedback(nn.Module):
    """A loop by the user's own hand: the output of the step before is added to the input."""

    def __init__(self, inner: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.inner, self.last, self.before = inner, last, None

    def forward(self, x: Tensor) -> Any:
        out = self.inner(x if self.before is None or self.before.shape != x.shape else x + 0.5 * self.before)
        self.before = out
        return self.last(out)


class Looped(nn.Module):
    """A net whose forward holds the loop over time."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Any:
        return stacked([self.step(now) for now in x])


def stacked(outputs: list) -> Any:
    """Outputs of the steps, each stacked over time, whatever the nesting."""
    if isinstance(outputs[0], Tensor):
        return torch.stack(outputs)
    return tuple(stacked([out[i] for out in outputs]) for i in range(len(outputs[0])))


def chain(case: Case, shape: tuple[int, ...], length: int) -> tuple[list[nn.Module], tuple[int, ...]]:
    """Layers and neurons, one after the other."""
    layers: list[nn.Module] = []
    for _ in range(length):
        # Elsewhere the loop itself would fail, as it writes into its input.
        last = layers[-1] if layers else None
        in_place = isinstance(last, nn.Linear | nn.Conv2d | snn.SpikingNeuron)
        made, shape = neuron(case, shape) if case.often(0.4) else layer(case, shape, in_place)
        layers.append(made)
    return layers, shape


def network(case: Case) -> tuple[nn.Module, tuple[int, ...]]:
    """A net of one step in some form, and the shape of its samples."""
    shape: tuple[int, ...] = case.any((4,), (6,), (3, 4, 4))
    form = case.any("flat", "flat", "nested", "residual", "feedback", "reused", "lone")
    case.note(form)
    layers, out = chain(case, shape, 0 if form == "lone" else case.any(1, 2, 3))
    last = neuron(case, out, **({"output": True} if case.often(0.5) else {}))[0]
    if form == "nested" and len(layers) > 1:
        return nn.Sequential(nn.Sequential(*layers[:1]), nn.Sequential(*layers[1:], last)), shape
    if form == "residual":
        branch, same = chain(case, shape, 1)
        if same == out:
            return Residual(nn.Sequential(*layers), nn.Sequential(*branch), last), shape
    if form == "feedback":
        return Feedback(nn.Sequential(*layers), last), shape
    if form == "reused" and out == shape:
        return nn.Sequential(*layers, *layers, last), shape
    return (last if form == "lone" else nn.Sequential(*layers, last)), shape


# -- layouts


def laid_out(case: Case, x: Tensor, normalised: bool) -> Tensor:
    """The same values in some other order in memory."""
    how = case.any("contiguous", "contiguous", "transposed", "strided", "offset", "last", "flipped", "expanded")
    case.note(how)
    if how == "transposed" and x.dim() > 1:
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if how == "strided":
        wide = torch.full((*x.shape[:-1], 2 * x.shape[-1]), torch.nan, dtype=x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if how == "offset":
        return torch.cat([x.new_full((1,), torch.nan), x.flatten()])[1:].view(x.shape)
    if how == "last" and x.dim() >= 4:
        return x.movedim(-3, -1).contiguous().movedim(-1, -3)
    if how == "flipped":
        return x.flip(0).clone().flip(0)
    if how == "expanded" and not normalised:  # by a deviation of nothing but rounding
        return x[..., :1].expand(x.shape)
    return x


# -- one case


@contextmanager
def quiet() -> Iterator[None]:
    """Warnings are for users: an unstable time constant, a state that was dropped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Watched:
    """A spike function that notes how close to their threshold potentials came."""

    def __init__(self, spike: Any, look: Callable[[Tensor], None]) -> None:
        self.spike, self.look = spike, look

    def __call__(self, x: Tensor) -> Tensor:
        self.look(x.detach().abs())
        return self.spike(x)


def watch(net: nn.Module, closest: list[float]) -> None:
    """Note how close any neuron comes to its threshold, and what else is decided by comparing."""

    def look(x: Tensor) -> None:
        closest[0] = min(closest[0], float(x.min()) if x.numel() else closest[0])

    for module in net.modules():
        spike = getattr(module, "spike_grad", None)
        if isinstance(spike, nn.Module):
            spike.register_forward_pre_hook(lambda _, args: look(args[0].detach().abs()))
        elif callable(spike):
            module.spike_grad = Watched(spike, look)
        elif isinstance(module, nn.ReLU):  # 0 is the same in every precision
            module.register_forward_pre_hook(lambda _, args: look(args[0].detach()[args[0] != 0].abs()))


def states(net: nn.Module) -> dict[str, Tensor]:
    """Stored states and statistics, by name."""
    found = {}
    for name, module in net.named_modules():
        for state in getattr(module, "states", ()) if isinstance(module, snn.SpikingNeuron) else ():
            value = getattr(module, state, None)
            if isinstance(value, Tensor):
                found[f"{name}.{state}"] = value
    return found | {name: b for name, b in net.named_buffers() if "running" in name}


def check(seed: int, few_kernels: bool = False) -> str:
    """Run a case both ways.

    Args:
        seed: of the case.
        few_kernels: keep to a handful of neurons, whose kernels compile in seconds.

    Returns:
        "agree", or "near" where the case says nothing.

    Raises:
        Disagreement: which says what differs, in which net.
    """
    case = Case(seed, few_kernels)
    with quiet(), torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return _check(case)


def _check(case: Case) -> str:
    case.dtype = (
        case.any(torch.float64, torch.float32)
        if case.few_kernels
        else case.any(torch.float64, torch.float64, torch.float32, torch.bfloat16)
    )
    net, shape = network(case)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.copy_((parameter * 8).round() / 8 + (parameter.sign() / 8))
    net.to(case.dtype).train(case.often(0.7))
    frozen = [p for p in net.parameters() if case.often(0.15)]
    for parameter in frozen:
        parameter.requires_grad_(False)
    if case.often(0.1):
        next(iter(net.modules())).register_forward_hook(lambda module, args, out: None)
        case.note("hook")

    T, B, static = case.any(1, 2, 5, 7), case.any(2, 3, 5), case.often(0.25)
    wants = {"x": case.often(0.7), "grad": case.often(0.85)}
    recompute = case.any(1, 2, 3) if case.often(0.25) else None
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules()) or isinstance(net, Feedback):
        recompute = None
    layerwise = getattr(snn, "layerwise", None) if case.often(0.3) and not static and recompute is None else None
    case.note(
        f"{case.dtype} T={T} B={B} static={static} recompute={recompute} layerwise={layerwise is not None} {wants}"
    )
    case.note(repr(net))

    reference = copy.deepcopy(net).double()
    rounded = copy.deepcopy(net) if case.dtype in HALF else None  # what half precision makes of the same loop
    copies = [c for c in (net, reference, rounded) if c is not None]
    closest = [float("inf")]
    watch(reference, closest)
    ours = layerwise(Looped(net)) if layerwise else net

    calls = case.any(1, 1, 2, 3)
    found, expected, allowed = [], [], []
    for call in range(calls):
        if call and case.often(0.4):
            B = case.any(2, 3, 5)
            for each in copies:
                utils.reset(each)
                for module in each.modules():
                    if isinstance(module, Feedback):
                        module.before = None
        elif call:
            for each in copies:
                utils.detach(each)
                for module in each.modules():
                    if isinstance(module, Feedback) and module.before is not None:
                        module.before = module.before.detach()
        x = case.grid(*(() if static else (T,)), B, *shape, scale=1.5).to(case.dtype)
        x = laid_out(case, x, any(isinstance(m, nn.LayerNorm) for m in net.modules()))
        pair = (x.detach().requires_grad_(wants["x"]), x.double().detach().requires_grad_(wants["x"]))
        with torch.set_grad_enabled(wants["grad"]):
            with snn.backend("eager"):
                b = stacked([reference(now) for now in ((pair[1],) * T if static else pair[1])])
            if layerwise:
                a = ours(pair[0])
            else:
                a = snn.unroll(net, pair[0], num_steps=T if static else None, recompute=recompute)
        found.append(_results(net, a, pair[0]))
        expected.append(_results(reference, b, pair[1]))
        if rounded is not None:
            x = x.detach().requires_grad_(wants["x"])
            with torch.set_grad_enabled(wants["grad"]), snn.backend("eager"):
                c = stacked([rounded(now) for now in ((x,) * T if static else x)])
            allowed.append(_results(rounded, c, x))
    if closest[0] < MARGIN[case.dtype]:
        return "near"
    for call, (a, b) in enumerate(zip(found, expected, strict=True)):
        _compare(case, call, a, b, allowed[call] if allowed else b)
    return "agree"


def _results(net: nn.Module, out: Any, x: Tensor) -> dict[str, Tensor]:
    """Outputs, states and gradients of a weighted sum of all outputs; the same weights for both nets."""
    results = {f"output {i}": o for i, o in enumerate(flat(out))}
    total = sum(
        (torch.linspace(-1, 1.5, o.numel(), dtype=torch.float64).view_as(o).to(o) * o).sum() for o in results.values()
    )
    wanted: dict[str, Tensor] = {f"grad {n}": p for n, p in net.named_parameters() if p.requires_grad}
    if x.requires_grad:
        wanted["grad x"] = x
    depends = isinstance(total, Tensor) and total.requires_grad
    grads = torch.autograd.grad(total, list(wanted.values()), allow_unused=True) if depends and wanted else ()
    given = dict(zip(wanted, grads, strict=False))
    # What can have no gradient, and what has the gradient 0, are the same to an optimiser.
    results |= {n: torch.zeros_like(p) if given.get(n) is None else given[n] for n, p in wanted.items()}
    return {n: r.detach().double().clone() for n, r in (results | states(net)).items()}


def _compare(case: Case, call: int, a: dict[str, Tensor], b: dict[str, Tensor], rounded: dict[str, Tensor]) -> None:
    """Each result within the tolerance, and in half precision within twice what the loop itself is off."""
    if a.keys() != b.keys():
        raise Disagreement(f"seed {case.seed}, call {call}: {sorted(a.keys() ^ b.keys())} on one side\n{case.notes}")
    for name, value in a.items():
        expected = b[name]
        if value.shape != expected.shape:
            raise Disagreement(f"seed {case.seed}, call {call}: {name} is {value.shape}, not {expected.shape}")
        largest, off = (float(v.abs().max()) if v.numel() else 0 for v in (expected, rounded[name] - expected))
        tolerance = TOLERANCE[case.dtype] * (1 + largest) + 2 * off
        if not torch.allclose(value, expected, rtol=0, atol=tolerance, equal_nan=True):
            worst = float((value - expected).abs().max())
            notes = "\n".join(case.notes)
            raise Disagreement(
                f"seed {case.seed}, call {call}: {name} differs by {worst:.3g} > {tolerance:.2g}\n{notes}"
            )


def main() -> int:
    """Run cases and print those that disagree or fail."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="replay this case only")
    parser.add_argument("--few-kernels", action="store_true")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.cases)
    counts: dict[str, int] = {}
    started = time.monotonic()
    for seed in seeds:
        try:
            outcome = check(seed, options.few_kernels)
        except Exception as error:
            if options.seed is not None:
                raise
            outcome = "disagree" if isinstance(error, Disagreement) else f"{type(error).__name__}"
            print(f"-- seed {seed}: {error}", flush=True)
        counts[outcome] = counts.get(outcome, 0) + 1
    print(f"{sum(counts.values())} cases in {time.monotonic() - started:.0f} s: {counts}")
    return 0 if counts.keys() <= {"agree", "near"} else 1


if __name__ == "__main__":
    sys.exit(main())
