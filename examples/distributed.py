"""Train on several processes: DDP or FSDP2, accumulated gradients, mixed precision, exact resume within an epoch.

    torchrun --nproc-per-node 2 --max-restarts 3 examples/distributed.py --checkpoint digits.pt

Every step takes one batch, of which each process has its share, none padded and none dropped, so that the result is
that of one process, however many there are. After each step what has been reached is written in one piece: when a
worker dies, torchrun starts all again, and they go on where the last whole step ended.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

import snntorch as snn
from snntorch import utils

try:
    from torch.distributed.fsdp import fully_shard  # from torch 2.6 on
except ImportError:
    fully_shard = None

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)  # one file for any number of processes


class OverTime(nn.Module):
    """The layers over all steps, from fresh states: what DDP and FSDP2 wrap.

    They act before and after a call. A wrapped layer inside would have to be called at every step, so wrap a module
    that holds the whole sequence; in a large network each block in one of these.
    """

    def __init__(self, *layers: nn.Module, num_steps: int) -> None:
        super().__init__()
        self.layers, self.num_steps = nn.Sequential(*layers), num_steps

    def forward(self, x: Tensor) -> Tensor:
        """Spikes `[T, B, ...]` of static inputs `[B, ...]`."""
        utils.reset(self.layers)
        return snn.unroll(self.layers, x, num_steps=self.num_steps)


def join(backend: str) -> None:
    """Meet the other processes; in each life under keys of its own, where PyTorch may read addresses of the dead."""
    store, rank, size = next(dist.rendezvous("env://"))
    life = dist.PrefixStore(f"life {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group(backend, store=life, rank=rank, world_size=size)


def shares(count: int, batch: int, seed: int, epoch: int) -> Iterator[tuple[Tensor, int]]:
    """For each batch of an epoch the samples that are this process's, and how many all have: maybe one more or less."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed + epoch))
    for part in order.split(batch):
        yield part[dist.get_rank() :: dist.get_world_size()], len(part)


def spread(net: nn.Module, engine: str) -> nn.Module:
    """The net on all processes: copies whose gradients are averaged, or each with a part of the weights."""
    if engine == "ddp":
        return DistributedDataParallel(net)  # states are no buffers: nothing broadcasts them
    if fully_shard is None:
        raise RuntimeError(f"fully_shard needs torch 2.6 or later, got {torch.__version__}")
    return fully_shard(net)


@contextlib.contextmanager
def summing(net: nn.Module, last: bool) -> Iterator[None]:
    """Gradients go over the network in the last of the parts that add up to a step."""
    if isinstance(net, DistributedDataParallel):
        with contextlib.nullcontext() if last else net.no_sync():
            yield
    else:
        net.set_requires_gradient_sync(last)  # type: ignore[operator]
        yield


def save(path: Path, net: nn.Module, optimizer: torch.optim.Optimizer, place: tuple[int, int]) -> None:
    """Write weights, the optimiser's, the random numbers' state of each process and the place in the data at once."""
    weights, moments = get_state_dict(net, optimizer, options=WHOLE)
    generators: list[Tensor | None] = [None] * dist.get_world_size()
    dist.all_gather_object(generators, torch.get_rng_state())
    if dist.get_rank() == 0:
        part = path.with_suffix(".part")
        torch.save({"net": weights, "optimizer": moments, "generators": generators, "place": place}, part)
        os.replace(part, path)  # a reader finds the old file or the new one


def load(path: Path, net: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, int]:
    """Take up what `save` wrote; returns the epoch and the number of its steps that are done."""
    kept = torch.load(path, weights_only=True)
    set_state_dict(net, optimizer, model_state_dict=kept["net"], optim_state_dict=kept["optimizer"], options=WHOLE)
    if len(kept["generators"]) == dist.get_world_size():  # else there is no state for each
        torch.set_rng_state(kept["generators"][dist.get_rank()])
    return kept["place"]


def train(
    net: nn.Module, x: Tensor, y: Tensor, engine: str = "ddp", epochs: int = 10, batch: int = 64, accumulate: int = 1,
    amp: bool = False, lr: float = 5e-3, seed: int = 0, checkpoint: Path | None = None,
) -> nn.Module:  # fmt: skip
    """Train a net, which every process has made alike, from the checkpoint on if there is one.

    Args:
        net: takes `[B, ...]`, gives spikes `[T, B, classes]`.
        x: all inputs.
        y: their classes.
        engine: `"ddp"` or `"fsdp"`.
        epochs: number of epochs.
        batch: samples a step, of all processes together.
        accumulate: parts in which each process takes its share.
        amp: whether to compute in bfloat16 where autocast does.
        lr: Adam's learning rate.
        seed: of the samples' order.
        checkpoint: where to write after every step.

    Returns:
        The wrapped net.
    """
    net = spread(net, engine)
    optimizer = torch.optim.Adam(net.parameters(), lr)
    begin, done = load(checkpoint, net, optimizer) if checkpoint and checkpoint.exists() else (0, 0)
    for epoch in range(begin, epochs):
        steps = list(shares(len(x), batch, seed, epoch))
        bar = tqdm(steps, f"epoch {epoch + 1}/{epochs}", initial=done, disable=None if dist.get_rank() == 0 else True)
        for step, (mine, total) in enumerate(steps[done:], done):
            for k, part in enumerate(mine.tensor_split(accumulate)):
                with summing(net, last=k == accumulate - 1):
                    with torch.autocast(x.device.type, torch.bfloat16, enabled=amp):
                        # the engines average over processes, each of which has its share of the sum
                        loss = cross_entropy(net(x[part]).sum(0), y[part], reduction="sum")
                        loss = loss * dist.get_world_size() / total
                    loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if checkpoint:
                save(checkpoint, net, optimizer, (epoch, step + 1))
            bar.update()
        bar.close()
        done = 0
    return net


def main() -> None:
    """Train on digits; the first process prints the accuracy on all of them."""
    from sklearn.datasets import load_digits

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("ddp", "fsdp"), default="ddp")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--checkpoint", type=Path)
    options = vars(parser.parse_args())

    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    join("nccl" if device.type == "cuda" else "gloo")
    utils.seed(0)  # the same weights everywhere
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32, device=device) / 16
    y = torch.tensor(digits.target, device=device)
    layers = nn.Linear(64, 128), snn.Leaky(0.9, init_hidden=True), nn.Linear(128, 10), snn.Leaky(0.9, init_hidden=True)
    net = train(OverTime(*layers, num_steps=20).to(device), x, y, **options)
    with torch.no_grad():
        accuracy = (net(x).sum(0).argmax(1) == y).float().mean()
    if dist.get_rank() == 0:
        print(f"accuracy {accuracy:.1%}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
