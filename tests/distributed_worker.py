"""What each process of `test_distributed.py` runs under torchrun; in the first life one of them is killed."""

import importlib.util
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

import snntorch as snn

SPEC = importlib.util.spec_from_file_location("distributed", Path(__file__).parents[1] / "examples" / "distributed.py")
assert SPEC is not None and SPEC.loader is not None
example = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(example)

SETTINGS = {"epochs": 2, "batch": 6}
KILLED = 5  # steps; 4 are an epoch


def made():
    """The data, 19 samples so that the last batch is one alone, and the net."""
    torch.manual_seed(0)
    x, y = torch.rand(19, 5, dtype=torch.double), torch.randint(3, (19,))
    layers = (
        nn.Linear(5, 8), snn.Leaky(torch.full((8,), 0.8), threshold=0.3, learn_beta=True, init_hidden=True),
        nn.Linear(8, 3), snn.RLeaky(0.8, linear_features=3, threshold=0.3, init_hidden=True),
    )  # fmt: skip
    return example.OverTime(*layers, num_steps=4).double(), x, y


def main(folder: Path) -> None:
    """Train by DDP, to be killed and to go on, and by FSDP2 in parts; the first process writes what came out."""
    example.join("gloo")
    rank, life = dist.get_rank(), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    write, steps = example.save, []

    def save(*args):
        steps.append(args[-1])
        if rank == 1 and life == 0 and len(steps) == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)  # with the step done and nothing written
        write(*args)

    example.save = save
    net, x, y = made()
    ddp = example.train(net, x, y, checkpoint=folder / "run.pt", **SETTINGS)
    found = {"ddp": {name: p.detach() for name, p in net.named_parameters()}, "steps": steps}
    ddp(x[rank : rank + 1])
    ddp(x[rank : rank + 1])  # whose buffers are broadcast before
    every = [torch.empty(1, 8, dtype=torch.double) for _ in range(2)]
    dist.all_gather(every, net.layers[1].mem.detach())
    found["states"] = every
    if example.fully_shard is not None:
        net, x, y = made()
        sharded = example.train(net, x, y, engine="fsdp", accumulate=3, **SETTINGS)
        found["fsdp"] = {name: p.full_tensor().detach() for name, p in sharded.named_parameters()}
    if rank == 0:
        torch.save(found, folder / "found.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
