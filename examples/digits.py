"""Train a spiking network on the handwritten digits that ship with scikit-learn, and draw what it does."""

import base64
from collections.abc import Callable
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
NEXT = {
    "docs/first-network.md": "this network, line by line",
    "docs/own-neuron.md": "a neuron of your own, in one function",
    "docs/speed.md": "why this was fast, and how your own loop becomes so",
    "examples/mnist.py": "the same at full size, as a loop over time",
}


def load_data() -> list[torch.Tensor]:
    """Pixels in [0, 1] and labels: train and test images, train and test labels, split 80/20."""
    digits = load_digits()
    parts = train_test_split(digits.data / 16, digits.target, test_size=0.2, stratify=digits.target, random_state=0)
    return [torch.as_tensor(p, dtype=torch.float32 if p.ndim == 2 else torch.int64) for p in parts]


def build_net() -> nn.Sequential:
    """Two layers of leaky integrate-and-fire neurons with trainable decay."""
    lif = {"beta": 0.9, "learn_beta": True, "init_hidden": True}
    return nn.Sequential(nn.Linear(64, 128), snn.Leaky(**lif), nn.Linear(128, 10), snn.Leaky(**lif))


def run(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Output spikes `[T, B, 10]`; the pixels are the input current of every step."""
    snn.utils.reset(net)
    return snn.unroll(net, images, num_steps=NUM_STEPS)


def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images whose neuron spikes most."""
    with torch.no_grad():
        return float(SF.accuracy_rate(run(net, images), labels))


def train(
    net: nn.Sequential, images: torch.Tensor, labels: torch.Tensor, epochs: int = EPOCHS, after: Callable = str
) -> list[float]:
    """Train; what `after` returns after each epoch stands beside the bar. Returns each epoch's mean loss."""
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    loss_fn = SF.ce_rate_loss()
    losses = []
    bar = trange(epochs, desc="training")
    for _ in bar:
        total = 0.0
        for batch in torch.randperm(len(images)).split(BATCH):
            loss = loss_fn(run(net, images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        losses.append(total / len(images))
        bar.set_postfix(loss=f"{losses[-1]:.3f}", test=after())
    return losses


def draw_raster(hidden: torch.Tensor, output: torch.Tensor, label: int, path: Path) -> None:
    """Every spike of one image, in both layers."""
    fig, (top, bottom) = plt.subplots(2, 1, sharex=True, height_ratios=(3, 2), figsize=(7, 6), layout="constrained")
    spikeplot.raster(hidden, top, s=4)
    spikeplot.raster(output, bottom, s=60, marker="|")
    top.set(ylabel="hidden neuron", title=f"One test image of a {label}", ylim=(-1, hidden.shape[1]))
    bottom.set(xlabel="time step", ylabel="output neuron", xlim=(-0.5, NUM_STEPS - 0.5), ylim=(-0.6, 9.6))
    bottom.set_yticks(range(10))
    bottom.axhspan(label - 0.5, label + 0.5, alpha=0.15)
    fig.savefig(path)


def draw_confusion(predicted: torch.Tensor, labels: torch.Tensor, path: Path) -> None:
    """How many images of each digit the network took for which."""
    counts = torch.zeros(10, 10).index_put_((labels, predicted), torch.ones(len(labels)), accumulate=True)
    fig, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
    ax.imshow(counts.sqrt().numpy(), cmap="Blues")  # the root, so that single mistakes show
    for row, column in counts.nonzero().tolist():
        n = int(counts[row, column])
        ax.text(column, row, n, ha="center", va="center", color="white" if n > 15 else "black")
    ax.set(xlabel="digit that the network saw", ylabel="digit that it was", xticks=range(10), yticks=range(10))
    ax.set_title(f"{int(counts.trace())} of {len(labels)} test images right")
    fig.savefig(path)


def write_page(facts: dict[str, str], pictures: dict[str, str], out: Path) -> None:
    """One page with the pictures in it, which needs no other file."""
    rows = "".join(f"<tr><td>{name}<td>{value}" for name, value in facts.items())
    kinds = {".png": "image/png", ".gif": "image/gif"}
    body = ""
    for name, text in pictures.items():
        data = base64.b64encode((out / name).read_bytes()).decode()
        body += f'<figure><img alt="{text}" src="data:{kinds[Path(name).suffix]};base64,{data}">'
        body += f"<figcaption>{text}</figcaption></figure>"
    further = "".join(f"<li><code>{path}</code>: {what}" for path, what in NEXT.items())
    style = "body{font:16px/1.5 sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}img{max-width:100%}"
    style += "figure{margin:2rem 0}td{padding-right:2rem}"
    (out / "index.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>A spiking network reads digits</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style>'
        f"<h1>A spiking network reads digits</h1><table>{rows}</table>{body}<h2>Read next</h2><ul>{further}</ul></html>"
    )


def main(out: Path = Path("demo_out"), epochs: int = EPOCHS) -> float:
    """Train, report, draw; returns the test accuracy."""
    torch.manual_seed(0)
    train_x, test_x, train_y, test_y = load_data()
    net = build_net()
    reached: list[float] = []

    def test() -> str:
        reached.append(accuracy(net, test_x, test_y))
        return f"{reached[-1]:.1%}"

    losses = train(net, train_x, train_y, epochs, after=test)
    with torch.no_grad():
        hidden, output = run(net[:2], test_x), run(net, test_x)
    facts = {
        "test accuracy": f"{reached[-1]:.1%}",
        "parameters": f"{sum(p.numel() for p in net.parameters())}",
        "hidden spikes per neuron and step": f"{hidden.mean():.3f}",
        "output spikes per neuron and step": f"{output.mean():.3f}",
    }
    for name, value in facts.items():
        print(f"{name:35}{value}")

    out.mkdir(exist_ok=True)
    draw_raster(hidden[:, 0], output[:, 0], int(test_y[0]), out / "raster.png")
    draw_confusion(output.sum(0).argmax(-1), test_y, out / "confusion.png")
    fig = plt.figure(layout="constrained")
    spikeplot.training_curves({"train_loss": losses, "test_accuracy": reached}, fig=fig)
    fig.savefig(out / "training.png")
    fig, ax = plt.subplots(figsize=(3, 3))
    spikes = spikegen.rate(test_x[0].view(8, 8), num_steps=NUM_STEPS)
    spikeplot.animator(spikes, fig, ax).save(out / "digit.gif", writer="pillow")
    plt.close("all")
    pictures = {
        "raster.png": "Every spike while one image is shown. The output neuron that spikes most names the digit.",
        "confusion.png": "Rows: what the test images were. Columns: what the network saw in them.",
        "training.png": "The loss falls, the accuracy on images that were not trained on rises.",
        "digit.gif": "The same image as random spikes, the brighter a pixel the more: spikegen.rate.",
    }
    write_page(facts, pictures, out)
    print(f"\nwrote {out / 'index.html'} (open it in a browser), {', '.join(pictures)}")
    print("read next:", *(f"  {path:25}{what}" for path, what in NEXT.items()), sep="\n")
    return reached[-1]


if __name__ == "__main__":
    main()
