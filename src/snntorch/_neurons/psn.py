"""Parallel spiking neurons: without a reset a whole sequence is one matrix product."""

import math

import torch
from torch import Tensor, nn

from ..surrogate import SpikeGrad
from .base import SpikingNeuron
from .pieces import initial_tensor
from .states import state_dtype


class _Parallel(SpikingNeuron):
    """A sequence mixed over time by learnt weights, with a spike where the mixture is above the threshold."""

    honours = frozenset()
    takes_sequence = True
    num_steps: int | None = None  # that a sequence must have
    weight: Tensor

    def __init__(
        self, weight: Tensor, threshold: float | Tensor, spike_grad: SpikeGrad | str | None, surrogate_disable: bool
    ) -> None:
        super().__init__(threshold, spike_grad, surrogate_disable, learn_threshold=True, reset_mechanism="none")
        self.weight = nn.Parameter(weight)

    def mixing(self, steps: int) -> Tensor:
        """What each step, a row, takes of every other, `[steps, steps]`."""
        return self.weight

    def forward(self, input_: Tensor) -> Tensor:  # type: ignore[override]
        """Run over `[T, B, ...]`; see the class."""
        if input_.dim() < 2 or (self.num_steps is not None and input_.shape[0] != self.num_steps):
            steps = "T" if self.num_steps is None else self.num_steps
            raise ValueError(f"input_ must be [{steps}, B, ...], got shape {tuple(input_.shape)}")
        x = input_.to(state_dtype(input_.dtype))
        h = (self.mixing(x.shape[0]).to(x.dtype) @ x.flatten(1)).view(x.shape)
        threshold = self.threshold.to(h.dtype).view(-1, *(1,) * (h.dim() - 1))
        return self.spike_grad(h - threshold).to(input_.dtype)


class PSN(_Parallel):
    """Parallel spiking neuron on `[T, B, ...]`: every step sees every other, by learnt weights.

    `h = W x`, over time, and `spk[t] = S(h[t] - threshold[t])`.

    Args:
        num_steps: T.
        threshold: that training starts from, at each step.
        spike_grad: the surrogate gradient, as for `SpikingNeuron`.
        surrogate_disable: let no gradient through the spike.

    Attributes:
        weight: W, `[T, T]`.
        threshold: `[T]`.

    Returns the spikes, `[T, B, ...]`.

    Raises:
        ValueError: for a sequence of another length.

    Source: Fang et al., "Parallel spiking neurons with high efficiency and ability to learn long-term dependencies",
    NeurIPS 2023.

    Example:
        >>> import snntorch as snn, torch
        >>> snn.PSN(num_steps=5)(torch.rand(5, 2, 3)).shape
        torch.Size([5, 2, 3])
    """

    def __init__(
        self,
        num_steps: int,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
    ) -> None:
        weight = nn.init.kaiming_uniform_(torch.empty(num_steps, num_steps), a=math.sqrt(5))
        super().__init__(weight, _one_each(threshold, num_steps), spike_grad, surrogate_disable)
        self.num_steps = num_steps


class MaskedPSN(PSN):
    """`PSN` of which a step sees the last `order` steps alone, and nothing of the future.

    `h = (W * M) x`, where `M[t, s] = 1` for `t - order < s <= t` and `1 - masking` elsewhere.

    Args:
        num_steps: T.
        order: number of steps that a step sees.
        masking: 1, or less while training goes from `PSN` (0) to the masked neuron; a training loop raises the
            attribute.

    The other arguments, and the source, are those of `PSN`.

    Raises:
        ValueError: for a sequence of another length, an order that is not positive or a masking outside [0, 1].

    Example:
        >>> import snntorch as snn, torch
        >>> snn.MaskedPSN(num_steps=5, order=2)(torch.rand(5, 2, 3)).shape
        torch.Size([5, 2, 3])
    """

    mask: Tensor

    def __init__(
        self,
        num_steps: int,
        order: int,
        masking: float = 1.0,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
    ) -> None:
        super().__init__(num_steps, threshold, spike_grad, surrogate_disable)
        self.order, self.masking = _positive(order), masking
        ones = torch.ones(num_steps, num_steps)
        self.register_buffer("mask", ones.tril() * ones.triu(1 - order), persistent=False)

    def mixing(self, steps: int) -> Tensor:
        """The masked weights."""
        if not 0 <= self.masking <= 1:
            raise ValueError(f"masking must lie in [0, 1], got {self.masking}")
        return self.weight * (self.masking * self.mask + (1 - self.masking))


class SlidingPSN(_Parallel):
    """Parallel spiking neuron whose weights are the same at every step, so that it runs on any number of them.

    `h[t] = sum over k < order of weight[k] x[t - k]`, and `spk = S(h - threshold)`.

    Args:
        order: number of steps that a step sees.

    The other arguments, and the source, are those of `PSN`.

    Attributes:
        weight: `[order]`, of the newest step first; training starts from `0.5 ** k`.
        threshold: one.

    Returns the spikes, `[T, B, ...]`.

    Raises:
        ValueError: for an order that is not positive.

    Example:
        >>> import snntorch as snn, torch
        >>> snn.SlidingPSN(order=2)(torch.tensor([[0.9], [0.3], [1.0], [0.0]])).flatten()
        tensor([0., 0., 1., 0.], grad_fn=<...>)
    """

    def __init__(
        self,
        order: int,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
    ) -> None:
        weight = 0.5 ** torch.arange(_positive(order), dtype=torch.get_default_dtype())
        super().__init__(weight, _one_each(threshold, 1), spike_grad, surrogate_disable)
        self.order = order

    def mixing(self, steps: int) -> Tensor:
        """The weights along the diagonals."""
        step = torch.arange(steps, device=self.weight.device)
        age = step[:, None] - step
        seen = (age >= 0) & (age < self.order)
        return torch.where(seen, self.weight[age.clamp(0, self.order - 1)], 0.0)


def _one_each(threshold: float | Tensor, count: int) -> Tensor:
    """A threshold for each of so many; a parameter that is that already as it is."""
    if isinstance(threshold, nn.Parameter) and threshold.shape == (count,):
        return threshold
    return initial_tensor("threshold", threshold).expand(count)


def _positive(order: int) -> int:
    if not isinstance(order, int) or order < 1:
        raise ValueError(f"order must be a positive int, got {order!r}")
    return order
