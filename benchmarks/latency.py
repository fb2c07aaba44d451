"""What one step costs at batch 1, as in streaming inference: ours, the peers', and the same by hand in torch.

    python benchmarks/latency.py [--peers FOLDER] [--rounds N] [--name NAME]

Every way carries its states from step to step, on one thread. The ways take turns, each in a process of its library's
environment; reported are the median and the least over the rounds, kept are all of them, in
`benchmarks/results/<date>-<name>.json`.
"""

import argparse
import contextlib
import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

BETA, INPUTS, HIDDEN, OUTPUTS = 0.9, 64, 100, 10
CALLS = 50  # that are timed together
Step = Callable[[Tensor], Any]


class Spike(torch.autograd.Function):
    """A spike with the arctangent's gradient, as it is written by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """1 where x > 0."""
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        """The gradient of `atan(pi x) / pi`."""
        (x,) = ctx.saved_tensors
        return grad / (1 + (torch.pi * x) ** 2)


class ByHand(nn.Module):
    """A leaky neuron."""

    mem: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """One step."""
        mem = torch.as_tensor(self.mem, dtype=x.dtype)
        self.mem = BETA * mem + x - (mem > 1).to(x.dtype)
        return Spike.apply(self.mem - 1)  # type: ignore[return-value]


def leaky() -> nn.Module:
    """Ours and the published package's."""
    import snntorch as snn

    return snn.Leaky(BETA, init_hidden=True)


def lif() -> nn.Module:
    """SpikingJelly's."""
    from peers.spikingjelly import lif

    return lif("s")


NEURONS: dict[str, tuple[str, Callable[[], nn.Module]]] = {  # by way: the environment, the neuron
    "by hand": ("ours", ByHand),
    "ours": ("ours", leaky),
    "ours, compiled": ("ours", leaky),
    "snntorch": ("snntorch", leaky),
    "spikingjelly": ("spikingjelly", lif),
}


def compiled(net: nn.Module) -> Step:
    """A step of a net by the default compiler of `torch.compile`, with states that are kept outside."""
    import snntorch as snn

    neurons = [m for m in net.modules() if isinstance(m, snn.Leaky)]

    @torch.compile(fullgraph=True)
    def step(x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        for neuron, mem in zip(neurons, states, strict=True):
            neuron.mem = mem
        return net(x), [neuron.mem for neuron in neurons]

    states = [torch.zeros(1, n) for n in ((INPUTS,) if len(neurons) == 1 else (HIDDEN, OUTPUTS))]

    def carried(x: Tensor) -> Tensor:
        nonlocal states
        out, states = step(x, states)
        return out

    return carried


def neuron(way: str) -> Step:
    """A neuron alone, without a gradient."""
    made = NEURONS[way][1]()
    return without_gradient(compiled(made) if "compiled" in way else made)


def trained(way: str) -> Step:
    """A neuron's step that is kept for a backward pass, which ends at its state."""
    made = NEURONS[way][1]()
    name = "v" if way == "spikingjelly" else "mem"

    def step(x: Tensor) -> Tensor:
        out = made(x)
        setattr(made, name, getattr(made, name).detach())
        return out

    return step


def network(way: str) -> Step:
    """Two layers, without a gradient."""
    torch.manual_seed(0)
    make = NEURONS[way][1]
    net = nn.Sequential(nn.Linear(INPUTS, HIDDEN), make(), nn.Linear(HIDDEN, OUTPUTS), make())
    return without_gradient(compiled(net) if "compiled" in way else net)


def without_gradient(step: Step) -> Step:
    """As it is called in inference."""
    return torch.no_grad()(step)


ROWS: dict[str, Callable[[str], Step]] = {
    f"a neuron, {INPUTS}": neuron,
    f"a neuron, {INPUTS}, forward for a gradient": trained,
    f"a net {INPUTS}-{HIDDEN}-{OUTPUTS}": network,
}


def steps(row: str, way: str) -> Callable[[], None]:
    """What is timed: a number of steps."""
    step, x = ROWS[row](way), torch.rand(1, INPUTS, requires_grad="gradient" in row)

    def run() -> None:
        for _ in range(CALLS):
            step(x)

    return run


def main() -> None:
    """Time every way of every row, print and keep the result."""
    from run import ENVIRONMENTS, HERE, Worker, environment, machine

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--peers", type=Path, default=HERE / ".peers", help="where the peers' environments are or go")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--name", default="latency", help="the result's name")
    options = parser.parse_args()
    homes = {home for home, _ in NEURONS.values()}
    pythons = {"ours": sys.executable} | {e: environment(e, options.peers) for e in ENVIRONMENTS if e in homes}
    date = datetime.date.today().isoformat()
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(python)) for name, python in pythons.items()}
        microseconds: dict[str, dict[str, list[float]]] = {}
        errors: dict[str, str] = {}
        for row in ROWS:
            found = microseconds[row] = {}
            for turn in range(options.rounds + 1):
                for way, (home, _) in NEURONS.items():
                    if way in errors or ("compiled" in way and "gradient" in row):
                        continue
                    answer = workers[home].ask("latency", row=row, way=way, threads=1)
                    if "error" in answer:
                        errors[way] = answer["error"]
                    elif turn:  # the first compiles
                        found.setdefault(way, []).append(round(1e6 * answer["seconds"] / CALLS, 2))
            for way, spent in found.items():
                print(f"{row:44}{way:16}{median(spent):8.1f}{min(spent):8.1f}", flush=True)
        result = dict(
            date=date, rounds=options.rounds, machine=machine(workers), errors=errors, microseconds=microseconds
        )
    (HERE / "results" / f"{date}-{options.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(errors or "no errors")


if __name__ == "__main__":
    main()
