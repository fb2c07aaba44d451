"""How one call of a function takes all steps at once.

The general way is `torch.vmap` over time: it gives each step what a call of its own would give, whatever the function
does with its dimensions. What is met most often is spelled out, since that is a hundred times cheaper: elementwise
functions, products, functions that name their dimensions (`dims.py`), and functions of `[B, ...]` that treat samples
alike, where time joins the batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .._engine.private import loops_in_vmap
from ..surrogate import SurrogateFunction
from . import dims
from .arguments import fill, leaves, mapped
from .pooling import pooled

ELEMENTWISE = set(
    "add sub mul div true_divide truediv divide multiply subtract radd rsub rmul rtruediv rdiv pow rpow neg negative "
    "pos abs absolute exp exp2 expm1 log log1p log2 sqrt rsqrt square reciprocal sin cos tan sinh cosh tanh atan "
    "sigmoid relu relu6 leaky_relu elu selu celu gelu silu mish softplus softsign softshrink hardtanh hardswish "
    "hardsigmoid hardshrink logsigmoid threshold clamp clip clamp_min clamp_max gt ge lt le eq ne greater less "
    "maximum minimum sign floor ceil round trunc erf lerp addcmul addcdiv where detach clone logical_and logical_or "
    "logical_not and or invert xor float double half bfloat16 dropout isnan isfinite heaviside fmod remainder "
    "contiguous to type_as".split()
)
PRODUCTS = {"matmul", "rmatmul"}
OF_LAST = {"layer_norm": 1, "rms_norm": 1, "linear": 1}  # functions of the last dimensions, whose first tensor folds
_KINDS = "conv", "conv_transpose", "max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"
RANKS = {f"{kind}{d}d": d + 2 for kind in _KINDS for d in (1, 2, 3)} | {
    "batch_norm": 0, "group_norm": 0, "prelu": 0, "upsample": 4, "pixel_shuffle": 4, "dropout2d": 4,
}  # fmt: skip


def fold(
    function: Callable, args: Any, kwargs: Any, values: Sequence[Tensor], batched: Sequence[bool], applied: Any = None
) -> Any:
    """What the function gives, each tensor with the steps as its first dimension.

    Args:
        function: of one step.
        args: its positional arguments, with slots for what is deferred.
        kwargs: its arguments by keyword, likewise.
        values: what belongs into the slots, `[T, ...]` where batched.
        batched: whether a value changes from step to step.
        applied: the `autograd.Function` that the function applies, if any.

    Raises:
        RuntimeError, ValueError, NotImplementedError: where PyTorch can't do that.
    """
    name = getattr(function, "__name__", "").strip("_")
    if (name in ELEMENTWISE and not kwargs.get("out")) or (
        applied is not None and issubclass(applied, SurrogateFunction)
    ):
        aligned = _aligned(values, batched, args, kwargs)
        return function(*fill(args, aligned), **fill(kwargs, aligned))
    if all(batched):
        shifted = dims.behind_time(function, name, args, kwargs, values)
        if shifted is not None:
            return shifted()
    alone = batched[0] and not any(batched[1:])
    if alone and args and fill(args[0], values) is values[0]:
        x = values[0]
        if name in OF_LAST and x.dim() > 1:
            return function(*fill(args, values), **fill(kwargs, values))
        # normalised by each step's own statistics
        own = name == "batch_norm" and (function is not torch.nn.functional.batch_norm or args[1] is None)
        if not own and name in RANKS and (RANKS[name] == x.dim() - 1 or (RANKS[name] == 0 and x.dim() > 2)):
            flat = [x.flatten(0, 1), *values[1:]]
            out = pooled(function, *fill(args, flat), **fill(kwargs, flat))
            return mapped(lambda t: t.unflatten(0, x.shape[:2]), out)
        if name.startswith(_KINDS) and RANKS.get(name) == x.dim():  # of a single sample, so that steps are a batch
            return function(*fill(args, values), **fill(kwargs, values))
    if name in PRODUCTS and not kwargs and all(v.dim() - b >= 2 for v, b in zip(values, batched, strict=True)):
        return function(*fill(args, _aligned(values, batched, args, kwargs)))

    def of_one_step(*now: Tensor) -> Any:
        return function(*fill(args, now), **fill(kwargs, now))

    return over_steps(of_one_step, values, tuple(0 if b else None for b in batched))


def over_steps(function: Callable, values: Sequence[Tensor], in_dims: tuple[int | None, ...]) -> Any:
    """`torch.vmap` of a function of one step, also where PyTorch has to loop for it, without its warning of that."""
    with loops_in_vmap():
        return torch.vmap(function, in_dims=in_dims, randomness="different")(*values)


def _aligned(values: Sequence[Tensor], batched: Sequence[bool], args: Any, kwargs: Any) -> list[Tensor]:
    """The values with as many dimensions a step each, so that they broadcast as they do at one step."""
    found: list[Tensor] = []
    ranks = [v.dim() - b for v, b in zip(values, batched, strict=True)]
    most = max(ranks + [t.dim() for t in leaves((args, kwargs))])
    for value, is_batched, rank in zip(values, batched, ranks, strict=True):
        if is_batched and rank < most:
            value = value.reshape(value.shape[0], *[1] * (most - rank), *value.shape[1:])
        found.append(value)
    return found
