"""Learn digit prototypes without labels: winner-take-all neurons and spike-timing-dependent plasticity.

Each pixel of scikit-learn's 8x8 digits fires at a rate given by its brightness. The neuron that the pixels
drive most fires and silences the others; STDP moves its weights towards the pixels that made it fire; its
threshold rises with every spike, so that each neuron gets its share. Labels are used only afterwards: each
neuron is called after the digit that it fires for most.

The scheme is that of P. U. Diehl and M. Cook, "Unsupervised learning of digit recognition using
spike-timing-dependent plasticity", Frontiers in Computational Neuroscience 9, 2015.

    python examples/stdp_digits.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import snntorch as snn
from snntorch import spikegen
from snntorch.functional.stdp_learner import STDPLearner, weight_bounds


class WinnerTakeAll(nn.Module):
    """Leaky neurons of which one at most fires in a step, and whose thresholds rise with their own spikes."""

    def __init__(self, size: int, threshold: float, adaptation: float):
        super().__init__()
        self.lif = snn.Leaky(beta=0.9, threshold=torch.full((size,), threshold))
        self.adaptation = adaptation
        self.reset()

    def reset(self) -> None:
        """Start a new sequence; keep the thresholds."""
        self.mem = self.lif.reset_mem()

    def forward(self, current: Tensor) -> Tensor:
        """Take one step with input current `[B, size]`."""
        spk, mem = self.lif(current, self.mem)
        winner = nn.functional.one_hot((mem - self.lif.threshold).argmax(1), mem.shape[1])
        spk = spk * winner
        self.mem = mem * (1 - spk.sum(1, keepdim=True))  # a spike silences everyone
        if self.training:
            self.lif.threshold += self.adaptation * (spk.sum(0) - spk.sum() / spk.shape[1])
        return spk


class Prototypes(nn.Module):
    """Pixels, plastic weights whose sum is kept, and winner-take-all neurons."""

    def __init__(self, inputs: int, size: int, weight_sum: float = 10.0):
        super().__init__()
        self.synapse = nn.Linear(inputs, size, bias=False)
        nn.init.uniform_(self.synapse.weight, 0, 1)
        self.neurons = WinnerTakeAll(size, threshold=weight_sum, adaptation=0.05)
        self.learner = STDPLearner(self.synapse, self.neurons, 10.0, 10.0, *weight_bounds(0, 1, a_pre=0.1))
        self.weight_sum = weight_sum
        self.normalise()

    @torch.no_grad()
    def normalise(self) -> None:
        """Let the pixels compete: the weights into each neuron keep their sum."""
        w = self.synapse.weight.clamp_(0, 1)
        w *= self.weight_sum / w.sum(1, keepdim=True)

    @torch.no_grad()
    def forward(self, spikes: Tensor, rate: float = 0.0) -> Tensor:
        """Count each neuron's answers `[B, size]` to spikes `[T, B, inputs]`; learn at the given rate."""
        self.train(rate > 0)
        self.neurons.reset()
        self.learner.reset()
        counts = torch.stack([self.neurons(self.synapse(x)) for x in spikes]).sum(0)
        if rate > 0:
            self.synapse.weight += self.learner.step(on_grad=False, scale=rate)
            self.normalise()
        return counts


def main(size: int = 100, epochs: int = 3, num_steps: int = 20, batch: int = 16) -> float:
    """Train, name the neurons, and return the accuracy on 300 images that were held out."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    test, train = torch.randperm(len(images)).tensor_split([300])

    net = Prototypes(images.shape[1], size)
    for _ in range(epochs):
        for chunk in train[torch.randperm(len(train))].split(batch):
            net(spikegen.rate(images[chunk], num_steps), rate=0.02)

    one_hot = nn.functional.one_hot(labels[train], 10).float()
    answers = net(spikegen.rate(images[train], num_steps))
    names = (one_hot.T @ answers / one_hot.sum(0)[:, None]).argmax(0)  # of each neuron: its favourite digit
    members = nn.functional.one_hot(names, 10).float()
    votes = net(spikegen.rate(images[test], num_steps)) @ members / members.sum(0).clamp(min=1)
    accuracy = (votes.argmax(1) == labels[test]).float().mean().item()
    print(f"{size} neurons, no labels in training: {accuracy:.1%} of held-out digits right (chance: 10%)")
    return accuracy


if __name__ == "__main__":
    main()
