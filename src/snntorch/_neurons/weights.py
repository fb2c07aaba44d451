"""Modules with weights inside neurons: when their weights may be read, and when the module must be called."""

from torch import Tensor, nn


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of exactly that kind and computes what the kind does, from its weights as they are.

    A hook, a parametrisation, pruning or another forward may change weights and result: such a module is called.
    """
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return type(module) is kind and not hooked and "forward" not in module.__dict__


def in_dtype_of(module: nn.Module, x: Tensor) -> Tensor:
    """The tensor in the dtype of the module's weights, where it has any.

    A weight is not read by its name, which with `spectral_norm` would be a step of that.
    """
    for parameter in module._parameters.values():
        if parameter is not None:
            return x.to(parameter.dtype)
    first = next(module.parameters(), None)
    return x if first is None else x.to(first.dtype)
