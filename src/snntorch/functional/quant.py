"""Quantisation of neuron states: the nearest of 2^bits levels forward, the identity backward."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

# The multiplier of exponential levels, by number of bits; more bits take the last one.
_DEFAULT_MULTIPLIER = {1: 0.05, 2: 0.1, 3: 0.3, 4: 0.5, 5: 0.7, 6: 0.9, 7: 0.925, 8: 0.95}


class _StraightThrough(torch.autograd.Function):
    """`nearest(x)` in float32 forward, the unclipped identity backward (Bengio et al., 2013)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, nearest: Callable[[Tensor], Tensor]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Half precision has too few digits to tell neighbouring levels apart.
        return nearest(x.to(torch.promote_types(x.dtype, torch.float32))).to(torch.float32)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.dtype = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return grad.to(ctx.dtype), None


def _nearest_of(x: Tensor, levels: Tensor) -> Tensor:
    """The nearest of the ascending `levels` [L] to each element, the lower of two as near; NaN stays NaN."""
    midpoints = (levels[1:] + levels[:-1]) / 2
    return torch.where(x.isnan(), x, levels[torch.bucketize(x, midpoints)])


class StateQuant:
    """Quantisation to any levels.

    Example:
        >>> StateQuant.apply(torch.tensor([-3.0, 0.2, 0.7]), torch.tensor([0.0, 0.5, 1.0]))
        tensor([0.0000, 0.0000, 0.5000])
    """

    @staticmethod
    def apply(x: Tensor, levels: Tensor) -> Tensor:
        """Replace every element by the nearest level; the gradient passes unchanged.

        Args:
            x: tensor of any shape.
            levels: the values to choose from, [L], in any order.

        Returns:
            float32, x's shape. Ties take the lower level, infinities the outermost ones, NaN stays NaN.
        """
        ordered = levels.detach().sort().values
        return _StraightThrough.apply(x, lambda x: _nearest_of(x, ordered.to(x)))  # pyright: ignore[reportReturnType]


class _Quantizer:
    """A hashable, picklable callable on tensors: `_nearest` is its arithmetic, the call adds the gradient."""

    def __call__(self, x: Tensor) -> Tensor:
        if isinstance(x, Tensor):
            return _StraightThrough.apply(x, self._nearest)  # pyright: ignore[reportReturnType]
        # A symbol: the engine is tracing a step.
        return x.with_vjp(lambda x: self._nearest(x).to(torch.float32), lambda x, grad: grad)

    def _nearest(self, x: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class UniformQuantizer(_Quantizer):
    """Rounding to `num_levels` equidistant levels from `low` to `high`.

    Example:
        >>> UniformQuantizer(low=-1.0, high=1.0, num_levels=3)(torch.tensor([-7.0, -0.2, 0.8]))
        tensor([-1.,  0.,  1.])
    """

    low: float
    high: float
    num_levels: int

    def _nearest(self, x: Tensor) -> Tensor:
        step = (self.high - self.low) / (self.num_levels - 1)
        # Midpoints fall on integers, which `ceil` keeps: a tie takes the lower level.
        index = torch.ceil((torch.clamp(x, self.low, self.high) - (self.low + step / 2)) * (1 / step))
        return index * step + self.low


@dataclass(frozen=True)
class LevelQuantizer(_Quantizer):
    """Rounding to the nearest of ascending `levels`.

    Example:
        >>> LevelQuantizer((0.0, 0.25, 1.0))(torch.tensor([0.1, 0.2, 0.7]))
        tensor([0.0000, 0.2500, 1.0000])
    """

    levels: tuple[float, ...]

    def _nearest(self, x: Tensor) -> Tensor:
        return _nearest_of(x, torch.tensor(self.levels, dtype=x.dtype, device=x.device))


def state_quant(
    num_bits: int = 8,
    uniform: bool = True,
    thr_centered: bool = True,
    threshold: float = 1,
    lower_limit: float = 0,
    upper_limit: float = 0.2,
    multiplier: float | None = None,
) -> UniformQuantizer | LevelQuantizer:
    r"""Quantise a neuron's state to L = 2^num_bits levels, for quantisation-aware training.

    The levels span [lo, hi] = [−θ(1 + lower_limit), θ(1 + upper_limit)] for the threshold θ. Uniform levels
    are equidistant. Exponential ones crowd around a centre c, the threshold or zero, where precision
    decides whether a neuron fires: with :math:`S(n) = \sum_{j<n} m^j`, n₋ = ⌊L(c−lo)/(hi−lo)⌋, n₊ = L − n₋,

    .. math::
        lo + (c - lo) \frac{S(i)}{S(n_-)}, \quad 0 ≤ i < n_-
        \qquad\text{and}\qquad
        c + (hi - c) \frac{S(n_+) - S(n_+ - k)}{S(n_+)}, \quad 1 ≤ k ≤ n_+ .

    Args:
        num_bits: bits of the state, 1 to 24 (the digits of float32).
        uniform: equidistant levels, or else exponential ones.
        thr_centered: exponential levels crowd around the threshold, or else around zero.
        threshold: the neuron's threshold θ.
        lower_limit: how far, as a fraction of θ, the levels reach below −θ.
        upper_limit: how far, as a fraction of θ, the levels reach above θ.
        multiplier: the exponential levels' m > 0, the ratio of neighbouring gaps; by default from .05 for
            one bit to .95 for eight and more.

    Returns:
        A callable that takes a tensor of any shape and dtype to a float32 tensor of the same shape, each element
        replaced by its nearest level. Ties take the lower level, infinities the outermost ones, NaN stays NaN; the
        gradient is the identity, also outside [lo, hi]. Equal settings give equal objects with equal hashes;
        they pickle.

    Raises:
        ValueError: num_bits out of range, multiplier ≤ 0, hi ≤ lo, or a centre outside [lo, hi].

    Source: Eshraghian, Lammie, Azghadi, Lu, "Navigating local minima in quantized spiking neural networks", AICAS 2022.
    The gradient: Bengio, Léonard, Courville, "Estimating or propagating gradients through stochastic neurons for
    conditional computation", 2013.

    Example:
        >>> quant = state_quant(num_bits=2, lower_limit=0, upper_limit=0)
        >>> quant(torch.tensor([-5.0, -0.9, 0.0, 0.4, 2.0]))
        tensor([-1.0000, -1.0000, -0.3333,  0.3333,  1.0000])
        >>> state_quant(num_bits=2, uniform=False)(torch.tensor([0.5, 0.95, 1.5]))
        tensor([0.8018, 0.9820, 1.2000])
    """
    if not isinstance(num_bits, int) or not 1 <= num_bits <= 24:
        raise ValueError(f"num_bits must be an integer from 1 to 24, got {num_bits!r}")
    threshold = float(threshold)
    low, high = -threshold * (1 + lower_limit), threshold * (1 + upper_limit)
    if not low < high:
        raise ValueError(
            f"threshold={threshold}, lower_limit={lower_limit} and upper_limit={upper_limit} leave no range "
            f"between the lowest level {low} and the highest {high}"
        )
    if uniform:
        return UniformQuantizer(low, high, 2**num_bits)
    if multiplier is None:
        multiplier = _DEFAULT_MULTIPLIER[min(num_bits, 8)]
    if not multiplier > 0:
        raise ValueError(f"multiplier must be positive, got {multiplier}")
    centre = threshold if thr_centered else 0.0
    if not low <= centre <= high:
        raise ValueError(
            f"lower_limit={lower_limit} and upper_limit={upper_limit} leave the centre {centre} outside of "
            f"the levels' range [{low}, {high}]"
        )
    return LevelQuantizer(_exponential_levels(2**num_bits, low, centre, high, multiplier))


def _exponential_levels(
    num_levels: int, low: float, centre: float, high: float, multiplier: float
) -> tuple[float, ...]:
    """Ascending levels whose gaps shrink by `multiplier` a step towards the centre, which itself is none."""
    num_lower = int(num_levels * (centre - low) / (high - low))
    num_upper = num_levels - num_lower
    # total[n] = Σ_{j<n} multiplier^j
    total = list(accumulate((multiplier**j for j in range(num_levels)), initial=0.0))
    lower = [low + (centre - low) * total[i] / total[num_lower] for i in range(num_lower)]
    upper = [centre + (high - centre) * (1 - total[num_upper - k] / total[num_upper]) for k in range(1, num_upper + 1)]
    return tuple(lower + upper)
