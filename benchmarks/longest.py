"""The longest sequence of which a training step fits a memory: fitted from exact bytes, then run under that limit.

    python benchmarks/longest.py [--gib N] [--name NAME]

Bytes of tensors, the input's among them, are counted at two lengths, between which they grow in proportion to the
number of steps; the length that fits follows. A fresh process, which is given that much address space more than it has
at its first step, then trains on nine tenths of it, with glibc as it is where memory is short: see its environment
variable in `SHORT`. Writes `benchmarks/results/<date>-<name>.json`.
"""

import argparse
import datetime
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

NET, FEW, MANY = "kept by MLP 784-512-512-10, T=200, B=100", 100, 200
WAYS = ("unroll", "packed", "recompute")
SHORT = {
    "MALLOC_TRIM_THRESHOLD_": "131072"
}  # no freed memory is kept, between whose rests a large tensor finds no hole


def task(way: str, steps: int) -> tuple[Any, int]:
    """A training step of so many steps, and the bytes of its input, which is filled piece by piece."""
    import torch
    from peers import IMPLEMENTATIONS
    from torch.nn.functional import cross_entropy
    from workloads import REGISTRY, fill

    net, batch = REGISTRY[NET].sizes["net"], REGISTRY[NET].sizes["B"]
    lib = IMPLEMENTATIONS[way]()
    model, labels = fill(net(lib)), torch.arange(batch) % 10
    x = torch.empty(steps, batch, 784)
    for now in x:
        now.bernoulli_(0.2)
    return lambda: cross_entropy(lib.run(model, x)[0].sum(0), labels).backward(), x.nbytes


def fit(way: str, gib: float) -> dict:
    """Bytes that are there in any case, bytes a step, and how many steps fit."""
    from worker import tensors

    task(way, 20)[0]()
    found = []
    for steps in (FEW, MANY):
        step, given = task(way, steps)
        found.append(tensors(step)["most_bytes"] + given)
    slope = (found[1] - found[0]) / (MANY - FEW)
    fixed = found[0] - slope * FEW
    return {"fixed_bytes": fixed, "bytes_a_step": slope, "steps": int((gib * 2**30 - fixed) / slope)}


def train(way: str, gib: float, steps: int) -> dict:
    """Train on so many steps within a limit of the address space. Needs a fresh process."""
    task(way, 20)[0]()
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize:"))
    limit = int(1024 * int(line.split()[1]) + gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    step, _ = task(way, steps)
    start = time.perf_counter()
    step()
    return {"ran_steps": steps, "seconds": time.perf_counter() - start}


def main() -> None:
    """Fit and run every way, print and keep the result."""
    from run import HERE, Worker, machine

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--gib", type=float, default=8)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--name", default="longest", help="the result's name")
    options = parser.parse_args()
    date, rows = datetime.date.today().isoformat(), []
    for way in options.ways:
        with Worker(sys.executable) as worker:
            about, row = machine({"ours": worker}), worker.ask("fit", way=way, gib=options.gib)
        with Worker(sys.executable, **SHORT) as worker:
            row |= worker.ask("train", way=way, gib=options.gib, steps=int(0.9 * row["steps"]))
        rows.append({"way": way, "gib": options.gib} | row)
        print(rows[-1], flush=True)
    result = dict(date=date, machine=about, workload=NET, rows=rows)
    (HERE / "results" / f"{date}-{options.name}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
