"""Initialisation of weights for neurons that are to spike from the first step of training."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


def fluctuation_driven_(
    layer: nn.Module | Tensor,
    neuron: nn.Module,
    rate: float,
    mean: float = 0.0,
    xi: float = 1.0,
    share: float = 1.0,
    num_steps: int = 1000,
    generator: torch.Generator | None = None,
) -> nn.Module | Tensor:
    """Draw weights by which the neurons' potentials fluctuate up to their threshold, whatever the layer's size.

    A neuron with n inputs, each of which spikes with probability `rate` at each step, and a response ε to a single
    spike of weight 1, has a potential of::

        E[U]   = n E[w] rate Σ ε
        Var[U] = n E[w²] rate (1 - rate) Σ ε²

    Weights are drawn from a normal distribution for which `E[U] = mean` and the threshold lies `xi` standard deviations
    above it: `Var[U] = ((threshold - mean) / xi)²`. In a deep network every layer then spikes, where weights that fit
    networks of rates let activity die out from layer to layer.

    ε is measured on a copy of the neuron that does not spike, so that it may be any whose potential is linear below
    threshold, with decays of each neuron its own; of another it is the response near rest.

    Args:
        layer: `nn.Linear`, a convolution, or a weight `[out, in, ...]`; it is changed, and its bias set to 0.
        neuron: that takes the layer's output.
        rate: expected probability of a spike of an input at a step, between 0 and 1.
        mean: the potential's mean, counted from rest.
        xi: distance of threshold and mean in standard deviations; 1 to 3 in the paper.
        share: part of the variance that these weights bring, where a recurrent weight brings the rest.
        num_steps: number of steps after which the response counts no more.
        generator: draws the weights.

    Returns:
        The layer.

    Raises:
        TypeError: for a neuron without a membrane potential and a threshold, or a layer without weight.
        ValueError: for a rate outside (0, 1), other numbers that are not positive, a threshold that is not above the
            mean, or a mean for which no variance is left.

    Source: Rossbroich, Gygax and Zenke, "Fluctuation-driven initialization for spiking neural network training",
    Neuromorphic Computing and Engineering 2(4), 2022; there for Poisson spikes in continuous time, whose variance is
    `rate` in place of `rate (1 - rate)`.

    Example:
        >>> import snntorch as snn, torch
        >>> layer = fluctuation_driven_(nn.Linear(200, 100), snn.Leaky(beta=0.9), rate=0.05)
        >>> round(200 * layer.weight.var().item() * 0.05 * 0.95 / (1 - 0.9**2), 1)  # Var[U], for a threshold of 1
        1.0
    """
    weight = layer if isinstance(layer, Tensor) else getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() < 2:
        raise TypeError(f"layer must be a weight [out, in, ...] or have one, got {type(layer).__name__}")
    if not 0 < rate < 1:
        raise ValueError(f"rate must lie between 0 and 1, got {rate}")
    if not xi > 0 or not 0 < share <= 1:
        raise ValueError(f"xi must be positive and share lie in (0, 1], got {xi} and {share}")
    total, squares, height = _response(neuron, weight, num_steps)
    height = height - mean
    if not bool((height > 0).all()):
        raise ValueError(f"mean must be less than the threshold's distance from rest, got {mean}")
    n = weight[0].numel()
    expected = mean / (n * rate * total)
    variance = share * (height / xi) ** 2 / (n * rate * (1 - rate) * squares) - expected**2
    if not bool((variance > 0).all()):
        raise ValueError(f"a mean of {mean} by {n} inputs of rate {rate} fluctuates more than xi={xi} asks for")
    with torch.no_grad():
        drawn = torch.randn(weight.shape, generator=generator, device=weight.device, dtype=weight.dtype)
        weight.copy_(drawn * variance.sqrt().to(weight) + expected.to(weight))
        bias = getattr(layer, "bias", None) if isinstance(layer, nn.Module) else None
        if isinstance(bias, Tensor):
            bias.zero_()
    return layer


@torch.no_grad()
def _response(neuron: Any, weight: Tensor, num_steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Σ ε, Σ ε² and the threshold's distance from rest, of each output of the weight, `[out, 1, ...]`."""
    if not isinstance(neuron, nn.Module) or "mem" not in getattr(neuron, "states", ()) or not num_steps > 0:
        raise TypeError(f"neuron must have a membrane potential `mem`, got {type(neuron).__name__}")
    silent: Any = copy.deepcopy(neuron)
    silent.to(weight.device, torch.float64)
    threshold = silent.threshold.clone()
    silent.threshold.fill_(float("inf"))
    silent.reset_mechanism, silent.init_hidden = "none", True
    silent.reset_mem()
    inputs = torch.zeros(2, *weight.shape[:1], *(1,) * (weight.dim() - 2), device=weight.device, dtype=torch.float64)
    inputs[1] = 1  # beside a neuron that gets nothing
    total = squares = rest = torch.zeros_like(inputs[1])
    for _ in range(num_steps):
        silent(inputs)
        rest, potential = silent.mem
        total, squares = total + (potential - rest), squares + (potential - rest) ** 2
        inputs = torch.zeros_like(inputs)
    height = (threshold - rest).expand_as(rest)
    return total[:, None], squares[:, None], height[:, None]
