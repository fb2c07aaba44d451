"""Train a spiking network on the handwritten digits that ship with scikit-learn, and draw what it does."""

from pathlib import Path

import matplotlib
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from tqdm import trange

import snntorch as snn
from snntorch import functional as SF
from snntorch import spikegen, spikeplot

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NUM_STEPS, EPOCHS, BATCH = 25, 40, 64


def load_data() -> list[torch.Tensor]:
    """Pixels in [0, 1] and labels: train and test images, train and test labels, split 80/20."""
    digits = load_digits()
    parts = train_test_split(digits.data / 16, digits.target, test_size=0.2, stratify=digits.target, random_state=0)
    return [torch.as_tensor(p, dtype=torch.float32 if p.ndim == 2 else torch.int64) for p in parts]


def build_net() -> nn.Sequential:
    """Two layers of leaky integrate-and-fire neurons with trainable decay."""
    lif = {"beta": 0.9, "learn_beta": True, "init_hidden": True}
    return nn.Sequential(nn.Linear(64, 128), snn.Leaky(**lif), nn.Linear(128, 10), snn.Leaky(**lif))


def run(net: nn.Sequential, images: torch.Tensor) -> torch.Tensor:
    """Output spikes `[T, B, 10]`; the pixels are the input current of every step."""
    snn.utils.reset(net)
    return snn.unroll(net, images, num_steps=NUM_STEPS)


def main(out: Path = Path("demo_out"), epochs: int = EPOCHS) -> float:
    """Train, report, draw; returns the test accuracy."""
    torch.manual_seed(0)
    train_x, test_x, train_y, test_y = load_data()
    net = build_net()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    loss_fn = SF.ce_rate_loss()
    history = {"train_loss": [], "test_accuracy": []}
    bar = trange(epochs, desc="training")
    for _ in bar:
        total = 0.0
        for batch in torch.randperm(len(train_x)).split(BATCH):
            loss = loss_fn(run(net, train_x[batch]), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        with torch.no_grad():
            accuracy = float(SF.accuracy_rate(run(net, test_x), test_y))
        history["train_loss"].append(total / len(train_x))
        history["test_accuracy"].append(accuracy)
        bar.set_postfix(loss=f"{history['train_loss'][-1]:.3f}", test=f"{accuracy:.1%}")

    with torch.no_grad():
        hidden = run(net[:2], test_x)
        output = run(net, test_x)
    print(f"parameters              {sum(p.numel() for p in net.parameters())}")
    print(f"hidden spikes per neuron and step  {hidden.mean():.3f}")
    print(f"output spikes per neuron and step  {output.mean():.3f}")
    print(f"test accuracy           {accuracy:.1%}")

    out.mkdir(exist_ok=True)
    fig, (top, bottom) = plt.subplots(2, 1, sharex=True, layout="constrained")
    spikeplot.raster(hidden[:, 0], top, s=4)
    spikeplot.raster(output[:, 0], bottom, s=12)
    top.set(ylabel="hidden neuron", title=f"One test image of a {test_y[0]}")
    bottom.set(xlabel="time step", ylabel="output neuron")
    fig.savefig(out / "raster.png")

    fig = plt.figure(layout="constrained")
    spikeplot.training_curves(history, fig=fig)
    fig.savefig(out / "training.png")

    fig, ax = plt.subplots()
    spikes = spikegen.rate(test_x[0].view(8, 8), num_steps=NUM_STEPS)
    spikeplot.animator(spikes, fig, ax).save(out / "digit.gif", writer="pillow")
    plt.close("all")
    return accuracy


if __name__ == "__main__":
    main()
