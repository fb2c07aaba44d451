"""What training takes on long sequences, a process for each: added peak memory, input included, and time.

    python benchmarks/long.py [--steps N ...] [--ways WAY ...] [--name NAME]

One gradient of a net 64-100-10 on a batch of 8; the input comes in pieces of bytes, which "whole" and "recompute" put
together. Writes `benchmarks/results/<date>-<name>.json`.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import snntorch as snn

PIECE, BATCH, SIZES = 200, 8, (64, 100, 10)
LABELS = torch.arange(BATCH)


class Numbers(nn.Module):
    """Bytes to floats."""

    def forward(self, x: Tensor) -> Tensor:
        """The same, as numbers."""
        return x.float()


def network() -> nn.Module:
    """Two layers."""
    torch.manual_seed(0)
    layers = [(nn.Linear(a, b), snn.Leaky(0.9, init_hidden=True)) for a, b in pairwise(SIZES)]
    return nn.Sequential(Numbers(), *[layer for pair in layers for layer in pair])


def pieces(steps: int) -> Iterator[Tensor]:
    """The input."""
    for start in range(0, steps, PIECE):
        yield torch.rand(min(PIECE, steps - start), BATCH, SIZES[0]) < 0.1


def whole(net: nn.Module, steps: int, **options: int) -> None:
    """The exact gradient."""
    spk = snn.unroll(net, torch.cat(list(pieces(steps))), **options)
    cross_entropy(spk.sum(0), LABELS).backward()


def truncated(net: nn.Module, steps: int) -> None:
    """A piece at a time."""
    for x in pieces(steps):
        cross_entropy(snn.unroll(net, x).sum(0), LABELS).backward()
        snn.utils.detach(net)


def forward_in_time(net: nn.Module, steps: int, rule: Callable) -> None:
    """A step at a time."""
    rule(net, (x for piece in pieces(steps) for x in piece), LABELS, cross_entropy)


WAYS: dict[str, Callable[[nn.Module, int], None]] = {
    "whole": whole,
    "recompute": lambda net, steps: whole(net, steps, recompute=max(1, round(steps**0.5))),
    "truncated": truncated,
    "ottt": lambda net, steps: forward_in_time(net, steps, snn.backprop.ottt),
    "eprop": lambda net, steps: forward_in_time(net, steps, snn.backprop.eprop),
}


def main() -> None:
    """Measure every way at every length, print and keep the result."""
    from run import HERE, Worker, machine

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--steps", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--name", default="long", help="the result's name")
    options = parser.parse_args()
    date, rows = datetime.date.today().isoformat(), []
    for way in options.ways:
        for steps in [n for n in options.steps if n <= 10_000 or way not in ("ottt", "eprop")]:  # of a millisecond each
            with Worker(sys.executable) as worker:
                about, found = machine({"ours": worker}), worker.ask("long", way=way, steps=steps, threads=1)
            rows.append(dict(way=way, steps=steps, **found))
            print(rows[-1], flush=True)
    result = dict(date=date, machine=about, rows=rows)
    (HERE / "results" / f"{date}-{options.name}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
