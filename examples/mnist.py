"""Train a spiking network on MNIST, fully connected or convolutional, with the loop over time in its forward.

    python examples/mnist.py --data FOLDER [--net conv] [--epochs N]

FOLDER holds the four files of MNIST, zipped or not; without them torchvision, where it is installed, fetches them.
"""

import argparse
import gzip
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

import snntorch as snn
from snntorch import functional as SF

SOURCE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FILES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte")


def read_idx(path: Path) -> torch.Tensor:
    """Bytes of an idx file: two zeros, 8 for bytes, the number of dimensions, their sizes, the values."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        data = file.read()
    start = 4 + 4 * data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
    shape = struct.unpack_from(f">{data[3]}I", data, 4) if 0 < start <= len(data) else ()
    if not shape or len(data) - start != math.prod(shape):
        raise ValueError(f"{path} is no whole idx file of bytes")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)[start:].view(shape)


def find(folder: Path, name: str) -> Path | None:
    """One of the files, in a folder or where torchvision puts it there."""
    places = (folder, folder / "MNIST" / "raw")
    return next((p for place in places for p in (place / name, place / f"{name}.gz") if p.exists()), None)


def load_data(folder: Path) -> list[torch.Tensor]:
    """Images `[N, 1, 28, 28]` in [0, 1] and labels: train and test images, train and test labels."""
    if not all(find(folder, name) for name in FILES):
        try:
            from torchvision.datasets import MNIST
        except ImportError:
            raise SystemExit(
                f"MNIST is not in {folder}: give --data (or SNNTORCH_MNIST) a folder with {', '.join(FILES)}, zipped "
                f"or not, from {SOURCE}; or install torchvision, which fetches them."
            ) from None
        MNIST(folder, download=True)
    train_x, test_x, train_y, test_y = (read_idx(find(folder, name)) for name in FILES)
    return [train_x[:, None] / 255, test_x[:, None] / 255, train_y.long(), test_y.long()]


class FullyConnected(nn.Module):
    """784-1000-10; the image is the input current of every step."""

    def __init__(self, num_steps: int = 25) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.fc1, self.lif1 = nn.Linear(784, 1000), snn.Leaky(beta=0.95)
        self.fc2, self.lif2 = nn.Linear(1000, 10), snn.Leaky(beta=0.95)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Output spikes and membrane potentials, `[T, B, 10]`."""
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for _ in range(self.num_steps):
            spk1, mem1 = self.lif1(self.fc1(x.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


class Convolutional(nn.Module):
    """12C5-MP2-64C5-MP2-10; the image is the input current of every step."""

    def __init__(self, num_steps: int = 5) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.conv1, self.lif1 = nn.Conv2d(1, 12, 5), snn.Leaky(beta=0.5)
        self.conv2, self.lif2 = nn.Conv2d(12, 64, 5), snn.Leaky(beta=0.5)
        self.fc, self.lif3 = nn.Linear(64 * 4 * 4, 10), snn.Leaky(beta=0.5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Output spikes and membrane potentials, `[T, B, 10]`."""
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        spikes, membranes = [], []
        for _ in range(self.num_steps):
            spk1, mem1 = self.lif1(F.max_pool2d(self.conv1(x), 2), mem1)
            spk2, mem2 = self.lif2(F.max_pool2d(self.conv2(spk1), 2), mem2)
            spk3, mem3 = self.lif3(self.fc(spk2.flatten(1)), mem3)
            spikes.append(spk3)
            membranes.append(mem3)
        return torch.stack(spikes), torch.stack(membranes)


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained: Adam, its rate falling to nothing as half a cosine."""

    net: Callable[[], nn.Module]
    epochs: int
    rate: float
    batch: int = 128


RECIPES = {"fc": Recipe(FullyConnected, epochs=10, rate=1e-3), "conv": Recipe(Convolutional, epochs=6, rate=5e-3)}


def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images whose neuron spikes most."""
    with torch.no_grad():
        right = [
            SF.accuracy_rate(net(x)[0], y) * len(y) for x, y in zip(images.split(500), labels.split(500), strict=True)
        ]
    return float(sum(right) / len(labels))


def train(
    net: nn.Module, recipe: Recipe, images: torch.Tensor, labels: torch.Tensor, after: Callable[[], str] = str
) -> None:
    """Train a network; `after` runs after each epoch, and what it returns stands beside the bar."""
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.rate)
    batches = math.ceil(len(labels) / recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * batches)
    loss_function = SF.ce_count_loss()
    for epoch in range(recipe.epochs):
        bar = tqdm(torch.randperm(len(labels)).split(recipe.batch), desc=f"epoch {epoch + 1}/{recipe.epochs}")
        for batch in bar:
            spikes, _ = net(images[batch])
            loss = loss_function(spikes, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        tqdm.write(f"epoch {epoch + 1}: {after()}")


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = Path(os.environ.get("SNNTORCH_MNIST", "mnist"))
    parser.add_argument("--data", type=Path, default=folder, help=f"MNIST's folder (default {folder})")
    parser.add_argument("--net", choices=RECIPES, default="fc")
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    recipe = RECIPES[options.net]
    if options.epochs:
        recipe = replace(recipe, epochs=options.epochs)
    train_x, test_x, train_y, test_y = load_data(options.data)
    torch.manual_seed(0)
    net = snn.layerwise(recipe.net())  # the same as recipe.net(), run layer by layer instead of step by step
    train(net, recipe, train_x, train_y, after=lambda: f"{accuracy(net, test_x, test_y):.2%} of the test images")


if __name__ == "__main__":
    main()
