"""What a recorder knows of PyTorch's functions."""

from typing import Any

import torch
from torch import Tensor

from .._engine.private import set_grad_mode
from .later import Later

# Answered by what stands for the value.
KNOWN = {
    getattr(Tensor, name).__get__
    for name in ("_version", "shape", "dtype", "device", "ndim", "layout", "is_cuda", "is_cpu", "is_meta", "is_sparse",
                 "is_quantized", "is_nested", "is_mkldnn", "is_mps", "itemsize", "nbytes", "names")
    if hasattr(Tensor, name)
} | {
    Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel, Tensor.nelement, Tensor.stride, Tensor.element_size,
    Tensor.is_floating_point, Tensor.is_complex, Tensor.is_contiguous, Tensor.is_signed, Tensor.__len__,
    Tensor.get_device, Tensor.is_inference, torch.is_floating_point, torch.is_complex, torch.numel,
    Tensor.storage_offset, torch.is_conj, Tensor.is_conj, Tensor.is_neg,
}  # fmt: skip
REQUIRES_GRAD = Tensor.requires_grad.__get__  # type: ignore[attr-defined]
TRANSPOSED = {getattr(Tensor, name).__get__ for name in ("T", "mT", "H", "mH")}  # properties that compute
# New tensors whose values are known at once.
CONSTANT = {
    torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like, Tensor.new_zeros, Tensor.new_ones,
    Tensor.new_empty, Tensor.new_full, Tensor.new_tensor,
}  # fmt: skip
# Of tensors that are there: at once, whatever waits.
AT_ONCE = KNOWN | {
    torch.zeros_like, torch.ones_like, torch.empty_like, Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty,
    set_grad_mode,
}  # fmt: skip
DRAWN = {torch.rand_like, torch.randn_like, torch.randint_like}  # at once, in the order of the code
ASKS, LEAVES = Tensor.requires_grad_, {Tensor.detach_, torch.detach_}  # of the very tensor, whose values stay
SPECIAL = {
    REQUIRES_GRAD, *DRAWN, Tensor.__iter__, Tensor.unbind, torch.unbind, Tensor.__setitem__, *CONSTANT, ASKS, *LEAVES,
}  # fmt: skip
RANDOM = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli", "normal",
           "poisson", "multinomial", "binomial", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
           "feature_dropout", "feature_alpha_dropout", "rrelu", "gumbel_softmax", "uniform", "exponential",
           "geometric", "cauchy", "log_normal", "random"}  # fmt: skip


def setitem(x: Tensor, index: Any, value: Any) -> Tensor:
    """`x[index] = value`, which gives x."""
    x[index] = value
    return x


# Writes that follow each other need not have run before the next one.
ACCUMULATES = {Tensor.__iadd__, Tensor.__isub__, Tensor.__setitem__, Tensor.add_, Tensor.sub_}


def finds(function: Any, args: tuple, kwargs: dict) -> bool:
    """Whether it tells where a tensor is not zero, so that the shape of what it gives depends on values."""
    return function is torch.where and len(args) + len(kwargs) == 1


SELECT = {Tensor.__getitem__, Tensor.select, torch.select}


def selected(func: Any, args: tuple, kwargs: dict) -> tuple[int, int] | None:
    """Dimension and index, where a call takes one step out of a sequence."""
    if kwargs or func not in SELECT:
        return None
    if func is not Tensor.__getitem__:
        return (args[1] % len(args[0].meta.shape), args[2]) if type(args[0]) is Later and type(args[2]) is int else None
    source, index = args
    if type(source) is not Later:
        return None
    if type(index) is int:
        return 0, index
    if type(index) is tuple and index and type(index[-1]) is int and all(i == slice(None) for i in index[:-1]):
        return len(index) - 1, index[-1]
    if type(index) is tuple and len(index) > 1 and type(index[0]) is int and all(
        (type(i) is slice and i == slice(None)) or i is Ellipsis for i in index[1:]
    ):  # fmt: skip
        return 0, index[0]
    return None


_INPLACE = {f"__{name}__" for name in "iadd isub imul itruediv ifloordiv imod ipow iand ior ixor setitem set".split()}


def writes_in_place(name: str, kwargs: dict) -> bool:
    """Whether a function of that name writes into one of its arguments."""
    if name.startswith("__"):
        return name in _INPLACE
    return name.endswith("_") or kwargs.get("out") is not None or "foreach" in name or kwargs.get("inplace") is True


def statistics(name: str, args: Any, kwargs: Any) -> list[Any]:
    """The running mean and variance that a functional normalisation in training writes, if it is one."""
    if name not in ("batch_norm", "instance_norm"):
        return []
    order = ("input", "running_mean", "running_var", "weight", "bias", "training")
    if len(args) > 6 and not isinstance(args[6], float):  # torch.batch_norm's own order has `training` there
        order = ("input", "weight", "bias", "running_mean", "running_var", "training")
    named = {**dict(zip(order, args, strict=False)), **kwargs}
    training = named.get("training", named.get("use_input_stats", name == "instance_norm"))
    held = [named.get("running_mean"), named.get("running_var")]
    return [t for t in held if t is not None] if training else []
