"""What the weight of a layer makes of the state that feeds back: a product with a matrix, or a convolution of images.

Either gives a part of each of the I inputs of the step at once, `[I, *state]`, and takes their cotangents back.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear, pad
from torch.nn.grad import conv2d_weight


class Matrix:
    """`state @ weight.T` of states `[B, F]`, for a weight `[I * F, F]`."""

    def __init__(self, weight: Tensor, inputs: int) -> None:
        self.weight, self.squares = weight, weight.unflatten(0, (inputs, weight.shape[1]))
        self._transposed = self.squares.mT

    def seen(self, x: Tensor) -> Tensor:
        """An array whose last dimensions are a state's, as the other methods take its rows."""
        return x

    def of(self, state: Tensor) -> Tensor:
        """What comes of the state, the inputs' parts side by side as in the projected input."""
        return linear(state.to(self.weight.dtype), self.weight)

    def add(self, projected: Tensor, state: Tensor, out: Tensor) -> None:
        """Write the step's inputs: the projected input and what comes of the state."""
        state = state.to(self.weight.dtype).expand(len(self.squares), *state.shape)
        torch.baddbmm(projected, state, self._transposed, out=out)

    def back(self, d: Tensor, dtype: torch.dtype) -> Tensor:
        """The state's cotangent, of those of the step's inputs."""
        return torch.bmm(d.to(self.weight.dtype), self.squares).sum(0, dtype=dtype)

    def add_back(self, d: Tensor, state: Tensor) -> None:
        """Add what `back` gives to the state's cotangent."""
        if len(d) == 1 and d.dtype == state.dtype == self.weight.dtype:
            state.addmm_(d.squeeze(0), self.squares.squeeze(0))
        else:
            state += self.back(d, state.dtype)

    def of_weight(self, d: Tensor, first: Tensor, course: Tensor) -> Tensor:
        """The weight's cotangent, of those of the projected input, `[T, B, I * F]`, at all steps.

        `first` is the state before the first step, `course` before each other, `[T - 1, B, F]`.
        """
        d, first, course = (x.to(self.weight.dtype) for x in (d, first, course))
        return (d[0].mT @ first).addmm_(d[1:].flatten(0, 1).mT, course.flatten(0, 1))


class Convolution:
    """As `Matrix`, of images whose height and width the convolution keeps, for a weight `[I * C, C, height, width]`.

    An even kernel reaches further down and right than up and left.

    Args:
        weight: the weight.
        inputs: how many inputs the step has.
        channels: where a state has its channels: 1 in `[B, C, H, W]`, 3 in `[B, H, W, C]`.
    """

    def __init__(self, weight: Tensor, inputs: int, channels: int) -> None:
        self.weight, self._inputs, self._last = weight, inputs, channels == 3
        size = weight.shape[2:]
        self._padding, (self._down, self._right) = [k // 2 for k in size], [1 - k % 2 for k in size]

    @functools.cached_property
    def _flipped(self) -> Tensor:
        """What takes cotangents back, as a convolution too."""
        return self.weight.flip(2, 3).transpose(0, 1).contiguous()

    def seen(self, x: Tensor) -> Tensor:
        """See `Matrix`: channels before height and width."""
        return x.movedim(-1, -3) if self._last else x

    def of(self, state: Tensor) -> Tensor:
        """See `Matrix`."""
        fed = conv2d(state.to(self.weight.dtype), self.weight, padding=self._padding)
        return fed[..., self._down :, self._right :]

    def add(self, projected: Tensor, state: Tensor, out: Tensor) -> None:
        """See `Matrix`."""
        torch.add(projected, self.of(state).unflatten(1, (self._inputs, -1)).movedim(1, 0), out=out)

    def back(self, d: Tensor, dtype: torch.dtype) -> Tensor:
        """See `Matrix`."""
        d = d.movedim(0, 1).flatten(1, 2).to(self.weight.dtype)
        height, width = d.shape[2:]
        return conv2d(d, self._flipped, padding=self._padding)[..., :height, :width].to(dtype)

    def add_back(self, d: Tensor, state: Tensor) -> None:
        """See `Matrix`."""
        state += self.back(d, state.dtype)

    def of_weight(self, d: Tensor, first: Tensor, course: Tensor) -> Tensor:
        """See `Matrix`."""
        d, first, course = (self.seen(x).to(self.weight.dtype) for x in (d, first, course))
        if self._down or self._right:  # rows and columns that were cut off
            d = pad(d, (self._right, 0, self._down, 0))
        options: Any = {"weight_size": [*self.weight.shape], "padding": self._padding}
        of = functools.partial(conv2d_weight, **options)
        found = of(first, grad_output=d[0])
        return found + of(course.flatten(0, 1), grad_output=d[1:].flatten(0, 1)) if d.shape[0] > 1 else found


def product(weight: Tensor, inputs: int, channels: int) -> Matrix | Convolution:
    """By the weight's dimensions."""
    return Matrix(weight, inputs) if weight.dim() == 2 else Convolution(weight, inputs, channels)
