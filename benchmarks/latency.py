"""What one step costs at batch 1, in µs: a Leaky neuron's, and the same by hand in torch.

    python benchmarks/latency.py [rounds]

The rows take turns; reported are the least and the median over the rounds. On a busy machine only the least tells.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

import snntorch as snn

SIZE, CALLS = 10, 20  # neurons, and calls that are timed together


class Spike(torch.autograd.Function):
    """A spike with the arctangent's gradient, as it is written by hand."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """1 where x > 0."""
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        """The gradient of `atan(pi x) / pi`."""
        (x,) = ctx.saved_tensors
        return grad / (1 + (torch.pi * x) ** 2)


def by_hand(x: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
    """A step of Leaky."""
    mem = 0.9 * mem + x - (mem > 1).to(mem.dtype)
    return (Spike.apply(mem - 1) if mem.requires_grad else (mem > 1).to(mem.dtype)), mem  # type: ignore[return-value]


def rows() -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    found: dict[str, Callable[[], object]] = {}
    for name, step in (("Leaky", snn.Leaky(0.9)), ("by hand", by_hand)):
        x, mem, weight = torch.rand(1, SIZE), torch.zeros(1, SIZE), torch.ones(1, SIZE)
        leaf = x.clone().requires_grad_()

        def train(step: Callable = step, leaf: Tensor = leaf, mem: Tensor = mem, weight: Tensor = weight) -> None:
            leaf.grad = None
            step(leaf, mem)[0].backward(weight)

        found[f"{name}, no gradient"] = lambda step=step, x=x, mem=mem: step(x, mem)
        found[f"{name}, forward for a gradient"] = lambda step=step, leaf=leaf, mem=mem: step(leaf, mem)
        found[f"{name}, forward and backward"] = train
    return found


def main(rounds: int) -> None:
    """Time the rows and print them."""
    torch.set_num_threads(1)
    found = rows()
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name, call in found.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            if turn:  # the first compiles
                times[name].append((time.perf_counter() - start) / CALLS * 1e6)
    print(f"{'':32} least  median")
    for name, spent in times.items():
        print(f"{name:32}{min(spent):6.1f}{median(spent):8.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
