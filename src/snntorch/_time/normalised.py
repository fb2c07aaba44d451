"""Batch normalisation of all steps by the statistics of the batch, each by its own, in one call."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .._engine.private import apply_plainly, enable_grad
from .._neurons.states import state_dtype


def normalised(module: Any, x: Tensor, calls: int, tracks: bool, momentum: float | None, eps: float) -> Tensor:
    """What calls of the layer with each step of `[T, B, C, ...]` give, and do to its running statistics.

    Args:
        module: the layer.
        x: the steps, or one where all are the same.
        calls: number of calls.
        tracks: whether its running statistics follow.
        momentum: by how much; None for their average.
        eps: as the layer's.
    """
    running, rates = (None, None), (momentum or 0.0,) * calls
    if tracks:
        running = module.running_mean, module.running_var
        if module.num_batches_tracked is not None:
            if momentum is None:
                seen = int(module.num_batches_tracked)
                rates = tuple([1 / (seen + k) for k in range(1, calls + 1)])
            module.num_batches_tracked.add_(calls)
    by = _AtOnce if at_once(x) else _StepByStep
    return apply_plainly(by)(x, module.weight, module.bias, running, rates, eps)


def at_once(x: Tensor) -> bool:
    """Whether a few operations over all steps are faster than one for each step: where launching takes the time."""
    return x.is_cuda


class _StepByStep(torch.autograd.Function):
    """`torch.nn.functional.batch_norm` of every step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Any, bias: Any, running: tuple, rates: Sequence[float], eps: float):
        x = x if _lies_step_by_step(x) else x.contiguous()
        out = torch.empty_like(x)
        mean, deviation = x.new_empty(2, len(x), x.shape[2], dtype=state_dtype(x.dtype)).unbind()
        repeated = len(rates) > len(x) and running[0] is not None
        follow = [torch.zeros_like(t) for t in running] if repeated else running
        steps = zip(*[t.unbind() for t in (x, out, mean, deviation)], [1.0] if repeated else rates, strict=False)
        for now, to, of_mean, of_deviation, rate in steps:
            _forward(
                now, weight, bias, *follow, True, rate, eps, out=to, save_mean=of_mean, save_invstd=of_deviation
            )  # fmt: skip
        if repeated:
            for rate in rates:
                for statistic, now in zip(running, follow, strict=True):
                    statistic.mul_(1 - rate).add_(now, alpha=rate)
        ctx.save_for_backward(x, weight, bias, mean, deviation)
        ctx.eps = eps
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight, bias, mean, deviation = ctx.saved_tensors
        if torch.is_grad_enabled():  # so that it can be differentiated again
            return (*_differentiable(x, weight, bias, ctx.eps, grads[0]), None, None, None)
        asked = ctx.needs_input_grad[:3]
        of_x = torch.empty_like(x) if asked[0] else None
        of_params = []
        for k, (grad, now, of_mean, of_deviation) in enumerate(zip(grads[0], x, mean, deviation, strict=True)):
            of_now, *others = _backward(grad, now, weight, None, None, of_mean, of_deviation, True, ctx.eps, asked)
            of_params.append(others)
            if of_x is not None:
                of_x[k] = of_now  # whose memory the next step's takes
        sums = [
            torch.stack(each).sum(0) if ask else None
            for each, ask in zip(zip(*of_params, strict=True), asked[1:], strict=True)
        ]
        return of_x, *sums, None, None, None


class _AtOnce(torch.autograd.Function):
    """The same of all steps in each operation; halves are normalised in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Any, bias: Any, running: tuple, rates: tuple[float, ...], eps: float):
        variance, mean = torch.var_mean(x.to(state_dtype(x.dtype)), _over(x), correction=0, keepdim=True)
        scale = torch.rsqrt(variance + eps)
        if running[0] is not None:
            shares, rest = _shares(rates, mean.dtype, x.device)
            values = x[0].numel() // x.shape[2]  # of which the variance that is kept is unbiased
            for statistic, now, factor in zip(running, (mean, variance), (1.0, values / (values - 1)), strict=True):
                each = now.flatten(0, 1).view(len(x), -1).expand(len(rates), -1)
                statistic.data.addmv_(each.T, shares, beta=rest, alpha=factor)  # unseen by autograd, as PyTorch does it
        ctx.save_for_backward(x, weight, bias, mean, scale)
        ctx.eps = eps
        out = (x - mean).mul_(scale)
        if weight is not None:
            out.mul_(_per_channel(weight, x)).add_(_per_channel(bias, x))
        return out.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight, bias, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # so that it can be differentiated again
            return (*_differentiable(x, weight, bias, ctx.eps, grads[0]), None, None, None)
        normal, grad = (x - mean).mul_(scale), grads[0].to(mean.dtype)
        of_bias, of_weight = (t.sum(_over(x), keepdim=True) for t in (grad, grad * normal))
        of_x = None
        if ctx.needs_input_grad[0]:
            values = x[0].numel() // x.shape[2]
            of_x = grad - normal.mul_(of_weight / values).add_(of_bias / values)
            of_x = of_x.mul_(scale if weight is None else scale * _per_channel(weight, x)).to(x.dtype)
        sums = [t.sum(0).flatten() if ask else None
                for t, ask in zip((of_weight, of_bias), ctx.needs_input_grad[1:3], strict=True)]  # fmt: skip
        return of_x, *sums, None, None, None


def _over(x: Tensor) -> list[int]:
    """The dimensions of `[T, B, C, ...]` over which a step's statistics are taken."""
    return [1, *range(3, x.dim())]


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """One value a channel, beside `[T, B, C, ...]`."""
    return values.view(-1, *[1] * (x.dim() - 3))


@functools.lru_cache(64)
def _shares(rates: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, float]:
    """What running statistics take of each step's, and of what they were before."""
    shares, rest = [], 1.0
    for rate in reversed(rates):
        shares.append(rate * rest)
        rest *= 1 - rate
    return torch.tensor(shares[::-1], dtype=dtype, device=device), rest


_forward = torch.ops.aten.native_batch_norm.out
_backward = torch.ops.aten.native_batch_norm_backward


def _lies_step_by_step(x: Tensor) -> bool:
    """Whether each step lies in one piece, in an order that PyTorch's `out` variant knows: in others it goes wrong."""
    return x.is_contiguous() or (x.dim() == 5 and x[0].is_contiguous(memory_format=torch.channels_last))


def _differentiable(x: Tensor, weight: Any, bias: Any, eps: float, grad: Tensor) -> list[Tensor | None]:
    """The gradients of the inputs, as a function of them and of the outputs' one."""
    inputs = (x, weight, bias)
    asked = [t for t in inputs if t is not None and t.requires_grad]
    with enable_grad():
        out = torch.stack([F.batch_norm(now, None, None, weight, bias, True, 0.0, eps) for now in x.unbind()])
        found = iter(torch.autograd.grad(out, asked, grad, create_graph=True))
    return [next(found) if t is not None and t.requires_grad else None for t in inputs]
