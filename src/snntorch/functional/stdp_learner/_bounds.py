"""Weight dependences of a learning rule: how far a weight may go."""

from collections.abc import Callable

from torch import Tensor

WeightFunction = Callable[[Tensor], Tensor]


def identity(w: Tensor) -> Tensor:
    return w


def weight_bounds(
    w_min: float = 0.0, w_max: float = 1.0, a_pre: float = 1.0, a_post: float = 1.0, power: float = 1.0
) -> tuple[WeightFunction, WeightFunction]:
    r"""Weight dependences `(f_pre, f_post)` that keep weights between bounds.

    .. math:: f_{pre}(w) = a_{pre} (w - w_{min})^μ \qquad f_{post}(w) = a_{post} (w_{max} - w)^μ

    Both are zero beyond their bound. μ = 1 is the multiplicative rule with soft bounds, μ = 0 the additive rule with
    hard bounds (a single update may still step over one: clamp afterwards, or learn in small steps).

    Source: R. Gütig, R. Aharonov, S. Rotter and H. Sompolinsky, "Learning input correlations through
    nonlinear temporally asymmetric Hebbian plasticity", Journal of Neuroscience 23(9), 2003.

    Args:
        w_min: lower bound.
        w_max: upper bound, above `w_min`.
        a_pre: amplitude of depression.
        a_post: amplitude of potentiation.
        power: exponent μ, at least 0.

    Returns:
        Two functions from weights to factors of the same shape, for `f_pre` and `f_post` of a learner.

    Example:
        >>> import torch
        >>> f_pre, f_post = weight_bounds(0, 1, a_post=0.1)
        >>> f_pre(torch.tensor([0.0, 0.25, 1.0])), f_post(torch.tensor([0.0, 0.5, 1.0]))
        (tensor([0.0000, 0.2500, 1.0000]), tensor([0.1000, 0.0500, 0.0000]))
    """
    if not w_min < w_max:
        raise ValueError(f"w_min must be below w_max, got {w_min} and {w_max}")
    if power < 0:
        raise ValueError(f"power must be at least 0, got {power}")

    def f_pre(w: Tensor) -> Tensor:
        return a_pre * (w > w_min) * (w - w_min).clamp(min=0) ** power

    def f_post(w: Tensor) -> Tensor:
        return a_post * (w < w_max) * (w_max - w).clamp(min=0) ** power

    return f_pre, f_post
