"""Layers of PyTorch's whose forward is one recorded call: at later steps that call is all that is recorded."""

from operator import is_
from typing import Any

from torch import nn

from .recording import Place


class Again:
    """A call of a layer that came to one recorded call, as long as the layer is what it was then.

    Args:
        module: the layer.
        place: where in its forward the recorded call is made.
    """

    __slots__ = ("_attributes", "_module", "_tensors", "place")

    def __init__(self, module: nn.Module, place: Place) -> None:
        self._module, self.place = module, place
        self._attributes, self._tensors = self._now()

    def _now(self) -> tuple[tuple, tuple]:
        module = self._module
        return tuple(vars(module).values()), (*module._parameters.values(), *module._buffers.values())

    def holds(self) -> bool:
        """Whether the layer still has the same attributes, the very parameters and buffers, and no hooks."""
        module: Any = self._module
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
            return False
        attributes, tensors = self._now()
        return _same(attributes, self._attributes) and _same(tensors, self._tensors)


def _same(now: tuple, then: tuple) -> bool:
    return len(now) == len(then) and all(map(is_, now, then))
