"""The products of inputs and weights that a step computes, noted where they are computed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_WEIGHTED = {F.linear, torch.conv1d, torch.conv2d, torch.conv3d}
_MATRIX = {torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__}


class Product:
    """`y = function(x, weight, bias, ...)`, linear or a convolution, computed by `owner`.

    Attributes:
        x: the input, without its past.
        node: what made y.
        before: what made the input.
    """

    def __init__(
        self, owner: nn.Module, function: Callable, y: Tensor, input: Tensor, weight: Tensor,
        bias: Tensor | None = None, *args: Any, **kwargs: Any,
    ) -> None:  # fmt: skip
        self.owner, self.function, self.y, self.x = owner, function, y, input.detach()
        self.weight, self.bias, self.args, self.kwargs = weight, bias, args, kwargs
        self.node = y.grad_fn
        self.before = get_gradient_edge(input).node if input.requires_grad else None

    @property
    def learning(self) -> list[Tensor]:
        """The weight and the bias, as far as they learn."""
        return [t for t in (self.weight, self.bias) if t is not None and t.requires_grad]

    @property
    def is_linear(self) -> bool:
        """Whether it is no convolution."""
        return self.weight.dim() == 2

    def again(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, **others: Any) -> Tensor:
        """The same of other tensors."""
        return self.function(x, weight, bias, *self.args, **self.kwargs, **others)


class Products(TorchFunctionMode):
    """Notes the products of one step in order, in the calls that it is put around."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Product] = []
        self.owner = nn.Module()

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        y = func(*args, **(kwargs or {}))
        if func in _WEIGHTED:
            self.found.append(Product(self.owner, func, y, *args, **(kwargs or {})))
        elif func in _MATRIX and not kwargs and args[0].dim() > 1 and args[1].dim() == 2:
            self.found.append(Product(self.owner, F.linear, y, args[0], args[1].t()))
        return y

    @contextmanager
    def around(self, owner: nn.Module, names: tuple[str, ...]) -> Iterator[None]:
        """Note what these methods of a module compute."""
        kept = {name: vars(owner)[name] for name in names if name in vars(owner)}
        for name in names:
            vars(owner)[name] = self._noting(owner, getattr(owner, name))
        try:
            yield
        finally:
            for name in names:
                del vars(owner)[name]
            vars(owner).update(kept)

    def _noting(self, owner: nn.Module, method: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.owner = owner
            with self:
                return method(*args, **kwargs)

        return call
