"""What `accuracy.py` trains: the recipes of the examples, and what comes of a network once it is trained.

A run takes the folder of its data and reports the test accuracy of a row of the table whenever it knows one.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

import snntorch as snn
import snntorch.utils  # the published package does not import it by itself

PUBLISHED = not hasattr(snn, "unroll")
if PUBLISHED:  # it has the loop only
    snn.unroll = lambda net, x, num_steps: torch.stack([net(x) for _ in range(num_steps)])
    snn.layerwise = lambda net: net

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
import digits  # noqa: E402
import mnist  # noqa: E402
import vowels  # noqa: E402

Reached = Callable[[str, float], str]


@dataclass(frozen=True)
class Row:
    """A row of the table: what was trained, the accuracy that it is to reach, and how often it is tested."""

    title: str
    aim: float | None
    epochs: int = 1


STEPS = 32  # of the converted network
BATCHES = 120  # that delays are learnt from
ROWS = {
    "fc": Row("MNIST, 784-1000-10, T=25", 0.98, mnist.RECIPES["fc"].epochs),
    "conv": Row("MNIST, 12C5-P2-64C5-P2-10, T=5", 0.99, mnist.RECIPES["conv"].epochs),
    "residual": Row("MNIST, residual network of ReLUs", 0.99, 2),
    "converted": Row(f"the row above, converted into spiking neurons, T={STEPS}", 0.98),
    "digits": Row("digits of scikit-learn, 64-128-10, T=25", 0.97, digits.EPOCHS),
    "32 bits": Row("digits, half as long, in floating point", 0.96),
    "8 bits": Row("the row above, weights of 8 bits", 0.96),
    "4 bits": Row("and of 4 bits", 0.96),
    "vowels": Row("JapaneseVowels, 12-256-256-9, T=7 to 29", 0.97, vowels.EPOCHS),
    "delays": Row("which of two spikes came first, delays learnt, neurons without memory", 1.0),
    "no delays": Row("the row above, without delays", None),
}


def train_mnist(name: str, folder: Path, reached: Reached) -> None:
    """The loop over time of `examples/mnist.py`."""
    recipe = mnist.RECIPES[name]
    train_x, test_x, train_y, test_y = mnist.load_data(folder)
    net = snn.layerwise(recipe.net())
    mnist.train(net, recipe, train_x, train_y, after=lambda: reached(name, mnist.accuracy(net, test_x, test_y)))


def train_digits(folder: Path, reached: Reached) -> None:
    """The demo's network."""
    train_x, test_x, train_y, test_y = digits.load_data()
    net = digits.build_net()
    digits.train(net, train_x, train_y, after=lambda: reached("digits", digits.accuracy(net, test_x, test_y)))


class Static(nn.Module):
    """A network without time in the form of those of `examples/mnist.py`, with one step `[1, B, 10]`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, twice."""
        out = self.net(x)[None]
        return out, out


class Stepped(Static):
    """A network of one time step in the same form, `[STEPS, B, 10]`."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs of all steps, twice."""
        snn.utils.reset(self.net)
        out = snn.unroll(self.net, x, num_steps=STEPS)
        return out, out


def convert(folder: Path, reached: Reached) -> None:
    """Train a residual network of ReLUs, and make a spiking one of it."""
    from convert_digits import Block

    from snntorch.conversion import ann_to_snn

    def conv(inputs: int, outputs: int, size: int, stride: int) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU(), Block(outputs)]

    train_x, test_x, train_y, test_y = mnist.load_data(folder)
    layers = [*conv(1, 16, size=5, stride=2), nn.AvgPool2d(2), *conv(16, 32, size=3, stride=1)]
    net = Static(nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 49, 10)))

    def test() -> str:
        net.eval()
        told = reached("residual", mnist.accuracy(net, test_x, test_y))
        net.train()
        return told

    recipe = mnist.Recipe(lambda: net, ROWS["residual"].epochs, rate=5e-3)
    mnist.train(net, recipe, train_x, train_y, after=test)
    spiking = Stepped(ann_to_snn(net.net.eval(), train_x[:1000], threshold="channel"))
    reached("converted", mnist.accuracy(spiking, test_x, test_y))


def quantise(folder: Path, reached: Reached) -> None:
    """Weights of 8 and 4 bits."""
    import quantise_digits

    for bits, accuracy in quantise_digits.main(seed=torch.initial_seed()).items():
        reached(f"{bits} bits", accuracy)


def train_vowels(folder: Path, reached: Reached) -> None:
    """Sequences of unequal length; the data come with aeon, or lie in the folder."""
    train, test = vowels.load_data(folder if (folder / "JapaneseVowels_TRAIN.ts").exists() else vowels.folder())
    net = vowels.Net()
    vowels.train(net, train, after=lambda: reached("vowels", vowels.accuracy(net, test)))


def order(size: int, gap: int = 6, steps: int = 24) -> tuple[Tensor, Tensor]:
    """Two inputs spike once each, `gap` steps apart, and the class is the one that is first: `[steps, size, 2]`."""
    label, first = torch.randint(0, 2, (size,)), torch.randint(0, steps - 8 - gap, (size,))
    x, sample = torch.zeros(steps, size, 2), torch.arange(size)
    x[first, sample, label] = x[first + gap, sample, 1 - label] = 1
    return x, label


def learn_order(synapses: nn.Module, name: str, reached: Reached) -> None:
    """Train synapses before neurons that see what arrives at a step, and nothing of the steps before it."""
    neurons = snn.Leaky(beta=0, threshold=1.5, reset_mechanism="none", init_hidden=True, output=True)
    net = nn.Sequential(synapses, neurons)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.2)
    test_x, test_y = order(1000)

    def potentials(x: Tensor) -> Tensor:
        snn.utils.reset(net)
        return snn.unroll(net, x)[1]

    for i in range(BATCHES):
        if isinstance(synapses, snn.SynapticDelay):
            synapses.width = max(0.5, 4 * 0.97**i)
        x, label = order(32)
        loss = nn.functional.cross_entropy(4 * potentials(x).amax(0), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if isinstance(synapses, snn.SynapticDelay):
        synapses.width = 0  # whole steps
    with torch.no_grad():
        reached(name, float((potentials(test_x).amax(0).argmax(1) == test_y).float().mean()))


def delays(folder: Path, reached: Reached) -> None:
    """The task of the page on delays, with them and without."""
    delayed = snn.SynapticDelay(2, 2, max_delay=8, width=4.0, bias=False, init_hidden=True)
    nn.init.ones_(delayed.weight).requires_grad_(False)  # the delays alone are learnt
    learn_order(delayed, "delays", reached)
    learn_order(nn.Linear(2, 2), "no delays", reached)


RUNS: dict[str, Callable[[Path, Reached], None]] = {
    "fc": lambda folder, reached: train_mnist("fc", folder, reached),
    "conv": lambda folder, reached: train_mnist("conv", folder, reached),
    "convert": convert,
    "digits": train_digits,
    "quantise": quantise,
    "vowels": train_vowels,
    "delays": delays,
}


def epoch_seconds(name: str, folder: Path, batches: int = 40) -> float:
    """How long an epoch of a recipe of MNIST takes, from some of its batches, once everything is warm."""
    recipe = replace(mnist.RECIPES[name], epochs=1)
    images, _, labels, _ = mnist.load_data(folder)
    net = snn.layerwise(recipe.net())
    some = batches * recipe.batch
    mnist.train(net, recipe, images[: some // 4], labels[: some // 4])
    began = time.perf_counter()
    mnist.train(net, recipe, images[:some], labels[:some])
    return (time.perf_counter() - began) * len(images) / some
