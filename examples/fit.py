"""A training loop with a progress bar: short enough to copy into your own code and change.

    python examples/fit.py

It trains on scikit-learn's digits, and prints the accuracy and how much each layer fires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

import snntorch as snn
from snntorch import functional as SF
from snntorch import utils
from snntorch.functional.probe import Recorder


def fit(
    net: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    lr: float = 5e-3,
    num_steps: int = 20,
) -> list[float]:
    """Train on static inputs `[B, ...]`, shown for `num_steps` steps; return the loss of each epoch."""
    optimizer = torch.optim.Adam(net.parameters(), lr)
    losses = []
    for epoch in range(epochs):
        total, count = 0.0, 0
        for x, targets in (bar := tqdm(batches, desc=f"epoch {epoch + 1}/{epochs}", leave=False, disable=None)):
            utils.reset(net)
            loss = loss_function(snn.unroll(net, x, num_steps=num_steps), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, count = total + loss.item() * len(x), count + len(x)
            bar.set_postfix(loss=f"{total / count:.4f}")
        losses.append(total / count)
    return losses


def main(epochs: int = 10) -> float:
    """Train on digits, print how much each layer fires, return the accuracy on held-out ones."""
    utils.seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    train, test = utils.stratified_split(TensorDataset(images, labels), 0.2, labels)
    net = nn.Sequential(
        nn.Linear(64, 128),
        snn.Leaky(beta=0.9, init_hidden=True),
        nn.Linear(128, 10),
        snn.Leaky(beta=0.9, init_hidden=True),
    )
    losses = fit(net, DataLoader(train, 64, shuffle=True), SF.ce_rate_loss(), epochs)

    x, targets = images[test.indices], labels[test.indices]
    utils.reset(net)
    with torch.no_grad(), Recorder(net) as recorder:
        accuracy = SF.accuracy_rate(snn.unroll(net, x, num_steps=20), targets)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {accuracy:.1%}")
    for name, rate in utils.firing_rates(recorder.spikes).items():
        print(f"layer {name}: {rate.mean:.3f} spikes a step and neuron, {rate.silent:.0%} silent")
    return float(accuracy)


if __name__ == "__main__":
    main()
