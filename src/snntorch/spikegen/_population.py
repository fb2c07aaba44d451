"""Population code: one value is spread over neurons with overlapping Gaussian receptive fields."""

import torch
from torch import Tensor

from ._checks import floating, positive, real, whole


def population(data: Tensor, num_neurons: int, low: float = 0.0, high: float = 1.0, overlap: float = 1.5) -> Tensor:
    """Responses aᵢ = exp(-(x - μᵢ)² / 2σ²) of n neurons, whose centres cover [low, high] evenly.

    With Δ = (high - low) / (n - 2): μᵢ = low + (i - 3/2) Δ for i = 1 … n, and σ = Δ / overlap. Responses lie in [0, 1]
    and go on to any other code: `latency` with `linear` and `clip` (the code of the paper), `rate`, `burst` …

    Args:
        data: values `[B, ...]`; outside [low, high] the responses fade.
        num_neurons: n, at least 3.
        low: lower end of the range.
        high: upper end of the range.
        overlap: β of the paper; the larger, the narrower the fields.

    Returns:
        `[B, ..., n]` in the data's floating dtype.

    Raises:
        ValueError: if `num_neurons` < 3, `high` ≤ `low` or `overlap` is not positive.

    Source: Bohte, La Poutré, Kok. Unsupervised Clustering With Spiking Neurons By Sparse Temporal Coding and Multilayer
    RBF Networks. IEEE Transactions on Neural Networks 13(2), 426-435, 2002.

    Example:
        >>> population(torch.tensor([0.0, 0.5]), num_neurons=3)
        tensor([[0.7548, 0.7548, 0.0796],
                [0.3247, 1.0000, 0.3247]])
    """
    values = floating(data)
    positive(overlap=overlap)
    centre, spacing = _centres(num_neurons, low, high, values)
    return torch.exp(-0.5 * ((values[..., None] - centre) * (overlap / spacing)) ** 2)


def population_decode(activity: Tensor, low: float = 0.0, high: float = 1.0, *, silence: float | None = None) -> Tensor:
    """The centre of mass of the population's activity: x̂ = Σ aᵢ μᵢ / Σ aᵢ.

    From the responses of `population` with its own overlap, within 0.1 Δ anywhere in the range, and much
    closer inside. Σ aᵢ = 0 says nothing about x: a silent population decodes to `silence`, with the gradient 0.

    Args:
        activity: responses, spike counts or rates, `[B, ..., n]`.
        low: lower end of the range.
        high: upper end of the range.
        silence: the value of a silent population; the middle of the range, what all neurons together say, if None.
            `math.nan` marks it.

    Returns:
        `[B, ...]` in the floating dtype of the activity.

    Raises:
        ValueError: if n < 3 or `high` ≤ `low`.

    Source: Georgopoulos, Schwartz, Kettner. Neuronal population coding of movement direction. Science 233, 1416-1419,
    1986.

    Example:
        >>> population_decode(population(torch.tensor([0.3, 0.5]), num_neurons=12))
        tensor([0.3000, 0.5000])
    """
    weights = floating(activity, "activity")
    centre, _ = _centres(weights.shape[-1] if weights.dim() else 0, low, high, weights)
    total = weights.sum(-1)
    silent = total == 0
    decoded = (weights * centre).sum(-1) / total.masked_fill(silent, 1)
    return decoded.masked_fill(silent, (low + high) / 2 if silence is None else silence)


def _centres(num_neurons: int, low: float, high: float, like: Tensor) -> tuple[Tensor, float]:
    """The centres μ `[n]` and the spacing Δ between them."""
    neurons = whole(num_neurons, "num_neurons", least=3)
    real(low=low, high=high)
    if not high > low:
        raise ValueError(f"high must be above low, got low = {low}, high = {high}")
    spacing = (high - low) / (neurons - 2)
    centre = low + spacing * (torch.arange(neurons, dtype=torch.float64, device=like.device) - 0.5)
    return centre.to(like.dtype), spacing
