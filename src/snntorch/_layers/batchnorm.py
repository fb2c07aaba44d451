"""Batch normalisation over time and batch: one mean and one variance a channel for a whole sequence."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._neurons.ends import ends_now


def uses_batch(norm: Any) -> bool:
    """Whether what a norm of PyTorch gives, or keeps, depends on the whole batch."""
    return norm.training or norm.running_mean is None


def scale_and_shift(
    mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """What a batch norm is in evaluation, `x -> scale * x + shift` of each channel, in double precision."""
    scale = (var.double() + eps).rsqrt() * (1 if weight is None else weight.double())
    return scale, (0 if bias is None else bias.double()) - scale * mean.double()


def over_rows(normalise: Callable[[Tensor], Tensor], x: Tensor, rows: Tensor) -> Tensor:
    """Some rows normalised, those of samples that have not ended, and zeros for the others."""
    if not len(rows):
        return torch.zeros_like(x)
    made = normalise(x.index_select(0, rows))
    return made.new_zeros(x.shape).index_copy_(0, rows, made)


class _OverTime(nn.Module):
    """A batch norm of `torch.nn` that takes a whole sequence; the subclass names the kind and a step's dimensions."""

    takes_sequence = True
    sees_ends = True  # takes no value from behind a sample's end
    _steps: tuple[int, ...]  # dimensions of `[B, C, ...]`
    _shape: str
    running_mean: Tensor | None
    weight: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Normalise a whole sequence `[T, B, C, ...]`, or in evaluation one of its steps, `[B, C, ...]`.

        Raises:
            ValueError: for one step in training, whose statistics are those of the whole sequence; or another shape.
        """
        if input.dim() - 1 in self._steps:
            flat, ends = input.flatten(0, 1), ends_now(input.shape[0])
            if ends is None or not uses_batch(self):
                return self._normalise(flat).unflatten(0, input.shape[:2])
            ends.check(input.shape[1:], 0, type(self).__name__)
            return over_rows(self._normalise, flat, ends.whole_rows(flat.device)).unflatten(0, input.shape[:2])
        return self._of_one(input)

    def _of_one(self, input: Tensor) -> Tensor:
        """A single step, in evaluation."""
        if input.dim() not in self._steps or uses_batch(self):
            raise ValueError(
                f"{type(self).__name__} takes a whole sequence {self._shape}, over which it normalises in training, "
                f"got shape {tuple(input.shape)}: snntorch.unroll gives it one; in evaluation it takes single steps too"
            )
        return self._normalise(input)

    def _normalise(self, input: Tensor) -> Tensor:
        return super().forward(input)


class SequenceBatchNorm1d(_OverTime, nn.BatchNorm1d):
    """Batch normalisation of feature vectors over time and batch together.

    `y = γ (x - E[x]) / sqrt(Var[x] + ε) + β`, with mean and variance of each feature over all steps and samples.

    In training it takes whole sequences `[T, B, C]` or `[T, B, C, L]`, as `snntorch.unroll` gives them to it; in a loop
    over steps the statistics of steps to come are not there, and it raises. In evaluation it is a fixed linear map,
    and takes a step, `[B, C]` or `[B, C, L]`, as well.

    The arguments are those of `torch.nn.BatchNorm1d`.

    Raises:
        ValueError: for a single step in training.

    Source: S. Ioffe and C. Szegedy, "Batch normalization", ICML 2015, with time joined to the batch as in Zheng et al.,
    "Going deeper with directly-trained larger spiking neural networks", AAAI 2021.

    Example:
        >>> import snntorch as snn
        >>> norm = SequenceBatchNorm1d(3)
        >>> net = nn.Sequential(nn.Linear(4, 3), norm, snn.Leaky(beta=0.9, init_hidden=True))
        >>> snn.unroll(net, torch.rand(10, 2, 4)).shape
        torch.Size([10, 2, 3])
        >>> norm(torch.rand(10, 2, 3)).mean((0, 1)).abs() < 1e-6
        tensor([True, True, True])
    """

    _steps, _shape = (2, 3), "[T, B, C] or [T, B, C, L]"

    def forward(self, input: Tensor) -> Tensor:
        """As the class says; three dimensions are `[T, B, C]` where the last one is C, else `[B, C, L]`."""
        if input.dim() == 3 and input.shape[-1] != self.num_features:
            return self._of_one(input)
        return super().forward(input)


class SequenceBatchNorm2d(_OverTime, nn.BatchNorm2d):
    """Batch normalisation of images over time and batch together: `SequenceBatchNorm1d` of `[T, B, C, H, W]`.

    The arguments are those of `torch.nn.BatchNorm2d`.

    Example:
        >>> SequenceBatchNorm2d(3)(torch.rand(4, 8, 3, 5, 5)).shape
        torch.Size([4, 8, 3, 5, 5])
    """

    _steps, _shape = (4,), "[T, B, C, H, W]"


class _ThresholdDependent(_OverTime):
    """The scale that training starts from is the threshold's."""

    def __init__(
        self, num_features: int, threshold: float = 1.0, alpha: float = 1.0, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(num_features, eps, momentum)
        self.threshold, self.alpha = threshold, alpha
        nn.init.constant_(self.weight, alpha * threshold)


class ThresholdDependentBatchNorm1d(_ThresholdDependent, SequenceBatchNorm1d):
    """Threshold-dependent batch normalisation (tdBN): over time and batch, to the scale of the threshold.

    `y = γ (x - E[x]) / sqrt(Var[x] + ε) + β`, where γ starts from `alpha * threshold`: the input of the neurons then
    has the spread of their threshold. (γ is what the paper writes as λ α V_th.) It takes what `SequenceBatchNorm1d`
    takes.

    Args:
        num_features: number of features C.
        threshold: of the neurons that follow.
        alpha: 1, or `1 / sqrt(n)` before a sum of n branches, such as a residual's.
        eps: ε, added to the variance.
        momentum: weight of the newest batch in the running statistics.

    Raises:
        ValueError: for a single step in training.

    Source: Zheng, Wu, Deng, Hu and Li, "Going deeper with directly-trained larger spiking neural networks", AAAI 2021.

    Example:
        >>> norm = ThresholdDependentBatchNorm1d(3, threshold=0.5)
        >>> norm(torch.rand(100, 20, 3)).std((0, 1), correction=0)
        tensor([0.5000, 0.5000, 0.5000], grad_fn=<...>)
    """


class ThresholdDependentBatchNorm2d(_ThresholdDependent, SequenceBatchNorm2d):
    """Threshold-dependent batch normalisation of images: `ThresholdDependentBatchNorm1d` of `[T, B, C, H, W]`.

    Example:
        >>> ThresholdDependentBatchNorm2d(3, threshold=0.5)(torch.rand(4, 8, 3, 5, 5)).shape
        torch.Size([4, 8, 3, 5, 5])
    """


class _TemporalEffective(_OverTime):
    """A learnt weight of each step behind the norm."""

    def __init__(self, num_features: int, time_steps: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps, momentum)
        self.time_steps = time_steps
        self.step_weight = nn.Parameter(torch.ones(time_steps))

    def forward(self, input: Tensor, step: int | None = None) -> Tensor:
        """Normalise a whole sequence, or in evaluation the step whose number is given.

        Raises:
            ValueError: for a sequence longer than `time_steps`, a step outside of it, or one in training.
        """
        weight = self.step_weight
        if step is not None:
            if not 0 <= step < len(weight):
                raise ValueError(f"step must lie in [0, {len(weight)}), the layer's time steps, got {step}")
            return self._of_one(input) * weight[step]
        if input.dim() - 1 not in self._steps:
            raise ValueError(
                f"{type(self).__name__} takes a whole sequence {self._shape}, or in evaluation one step and its "
                f"number, got shape {tuple(input.shape)}"
            )
        if len(input) > len(weight):
            raise ValueError(f"input has {len(input)} time steps, but the layer was made for {len(weight)}")
        return super().forward(input) * weight[: len(input)].view(-1, *(1,) * (input.dim() - 1))


class TemporalEffectiveBatchNorm1d(_TemporalEffective, SequenceBatchNorm1d):
    """Temporal effective batch normalisation (TEBN): over time and batch, then a learnt weight of each step.

    `y[t] = p[t] (γ (x[t] - E[x]) / sqrt(Var[x] + ε) + β)`, with mean and variance over all steps and samples.

    In training it takes whole sequences, as `SequenceBatchNorm1d` does; in evaluation also one step and its number,
    `norm(x, step=t)`.

    Args:
        num_features: number of features C.
        time_steps: number of time steps T at most.
        eps: ε, added to the variance.
        momentum: weight of the newest batch in the running statistics.

    Attributes:
        step_weight: p, `[time_steps]`, from 1 at first.

    Raises:
        ValueError: for a longer sequence, or a single step in training.

    Source: Duan, Ding, Chen, Yu and Huang, "Temporal effective batch normalization in spiking neural networks",
    NeurIPS 2022.

    Example:
        >>> norm = TemporalEffectiveBatchNorm1d(3, time_steps=4)
        >>> norm(torch.rand(4, 8, 3)).shape
        torch.Size([4, 8, 3])
        >>> norm.eval()(torch.rand(8, 3), step=2).shape
        torch.Size([8, 3])
    """


class TemporalEffectiveBatchNorm2d(_TemporalEffective, SequenceBatchNorm2d):
    """Temporal effective batch normalisation of images: `TemporalEffectiveBatchNorm1d` of `[T, B, C, H, W]`.

    Example:
        >>> TemporalEffectiveBatchNorm2d(3, time_steps=4)(torch.rand(4, 8, 3, 5, 5)).shape
        torch.Size([4, 8, 3, 5, 5])
    """
