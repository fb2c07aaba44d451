"""Regularisers of spikes and membrane potentials, to be added to a loss.

Each is a callable on a tensor [T, B, ...], or on a sequence of them, one a layer, whose penalties it adds up.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class _Regularizer:
    """Lambda · penalty, summed over layers; a subclass defines the penalty of one layer's tensor."""

    def __init__(self, Lambda: float | Sequence[float]) -> None:
        self.Lambda = Lambda
        self.__name__ = type(self).__name__

    def __call__(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """The penalty of one layer's tensor [T, B, ...], or the sum over several layers' tensors."""
        layers = [x] if isinstance(x, Tensor) else list(x)
        factors = self.Lambda if isinstance(self.Lambda, Sequence) else [self.Lambda] * len(layers)
        if not layers or len(factors) != len(layers):
            raise ValueError(f"{self.__name__} got {len(layers)} layers for {len(factors)} values of Lambda")
        penalties = [
            # Sums over a half-precision layer overflow: accumulate in float32.
            factor * self._penalty(layer.to(torch.promote_types(layer.dtype, torch.float32)))
            for factor, layer in zip(factors, layers, strict=True)
        ]
        total = sum(penalties[1:], penalties[0])
        return total.to(layers[0].dtype) if layers[0].is_floating_point() else total

    def _penalty(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class l1_rate_sparsity(_Regularizer):
    r"""Penalty on all spikes: few spikes are cheap spikes.

    .. math:: λ \sum_{t,b,n} x_{bn}[t]

    Args:
        Lambda: strength λ; a sequence gives each layer its own.

    Call:
        `reg(spk)` with spikes of any shape, or a sequence of such layers. Returns a scalar of their dtype.

    Raises:
        ValueError: as many layers as values of Lambda are expected, where that is a sequence.

    Example:
        >>> l1_rate_sparsity(Lambda=0.5)(torch.ones(5, 2, 3))
        tensor(15.)
        >>> l1_rate_sparsity(Lambda=[0.5, 1.0])([torch.ones(5, 2, 3), torch.ones(5, 2, 1)])
        tensor(25.)
    """

    def __init__(self, Lambda: float | Sequence[float] = 1e-5) -> None:
        super().__init__(Lambda)

    def _penalty(self, x: Tensor) -> Tensor:
        return x.sum()


class _Bounds(_Regularizer):
    """Mean squared distance from [lower, upper]."""

    def __init__(self, lower: float, upper: float, Lambda: float | Sequence[float]) -> None:
        super().__init__(Lambda)
        if not lower <= upper:
            raise ValueError(f"lower must not exceed upper, got lower={lower} and upper={upper}")
        self.lower = lower
        self.upper = upper

    def _penalty(self, x: Tensor) -> Tensor:
        return (x - x.clamp(self.lower, self.upper)).square().mean()


class rate_bounds(_Bounds):
    r"""Penalty on firing rates outside of bounds, against silent and against saturated neurons.

    .. math:: \frac{λ}{N} \sum_n \max(0, lower - r_n)^2 + \max(0, r_n - upper)^2

    with r the spikes of a neuron per step, averaged over time and batch. Equal bounds make it homeostasis: a
    rate that every neuron is drawn to.

    Args:
        lower: lowest rate without penalty, in spikes per step.
        upper: highest rate without penalty, in spikes per step.
        Lambda: strength λ; a sequence gives each layer its own.
        population: bound the mean rate of the layer instead of each neuron's.

    Call:
        `reg(spk)` with spikes [T, B, ...], or a sequence of such layers. Returns a scalar of their dtype.

    Raises:
        ValueError: lower > upper, or not as many layers as values of Lambda, where that is a sequence.

    Source: Zenke, Vogels, "The remarkable robustness of surrogate gradient learning for instilling complex function in
    spiking neural networks", Neural Computation 33, 2021.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[1.0, 1.0]], [[1.0, 0.0]]])
        >>> rate_bounds(lower=0.25, upper=0.5)(spk)
        tensor(0.1250)
        >>> rate_bounds(lower=0.25, upper=0.5, population=True)(spk)
        tensor(0.0156)
    """

    def __init__(
        self, lower: float = 0.0, upper: float = 1.0, Lambda: float | Sequence[float] = 1.0, population: bool = False
    ) -> None:
        super().__init__(lower, upper, Lambda)
        self.population = population

    def _penalty(self, x: Tensor) -> Tensor:
        return super()._penalty(x.mean() if self.population else x.mean((0, 1)))


class membrane_bounds(_Bounds):
    r"""Penalty on membrane potentials outside of bounds, where a surrogate gradient has nothing to say.

    .. math:: \frac{λ}{TBN} \sum_{t,b,n} \max(0, lower - u_{bn}[t])^2 + \max(0, u_{bn}[t] - upper)^2

    Args:
        lower: lowest potential without penalty.
        upper: highest potential without penalty.

    Lambda, the call, of membranes of any shape, and errors are as for `rate_bounds`.

    Example:
        >>> membrane_bounds(lower=-1.0, upper=2.0)(torch.tensor([[[-3.0, 0.0, 2.0, 4.0]]]))
        tensor(2.)
    """

    def __init__(self, lower: float = -1.0, upper: float = 2.0, Lambda: float | Sequence[float] = 1.0) -> None:
        super().__init__(lower, upper, Lambda)
