"""The feedback of recurrent neurons: from all neurons of a layer, or from each to itself."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .neurons import SpikingNeuron
from .weights import in_dtype_of, is_plain


class SameConv2d(nn.Conv2d):
    """A convolution that keeps height and width, also for kernels of even size.

    Args:
        in_channels: of the input `[B, in_channels, H, W]`.
        out_channels: of the output `[B, out_channels, H, W]`.
        kernel_size: a positive int or a pair of them; an even kernel reaches further down and right than up and left.
        bias: whether there is a bias.

    Raises:
        ValueError: for another kernel size.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int | Sequence[int], bias: bool = True
    ) -> None:
        pair = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(pair) != 2 or any(not isinstance(k, int) or k < 1 for k in pair):
            raise ValueError(f"kernel_size must be a positive int or a pair of them, got {kernel_size!r}")
        super().__init__(in_channels, out_channels, pair, padding=(pair[0] // 2, pair[1] // 2), bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `[B, in_channels, H, W]`; an even kernel's padding makes one row or column too many, the first."""
        return self.convolve(input, self.weight, self.bias)

    def convolve(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As `forward`, with another weight of the same kernel size."""
        down, right = (1 - k % 2 for k in self.kernel_size)
        return self._conv_forward(input, weight, bias)[..., down:, right:]


def is_same(layer: Any) -> bool:
    """Whether a layer is a plain `SameConv2d`, of which nothing but its weights was changed."""
    if not is_plain(layer, SameConv2d):
        return False
    geometry = layer.padding, layer.stride, layer.dilation, layer.groups, layer.padding_mode
    return geometry == (tuple([k // 2 for k in layer.kernel_size]), (1, 1), (1, 1), 1, "zeros")


class RecurrentOneToOne(nn.Module):
    """`V * spk`: each neuron feeds back to itself.

    Args:
        V: the weight, a scalar or one per neuron; a parameter, or else a buffer that is in no `state_dict`.
    """

    V: Tensor

    def __init__(self, V: Tensor) -> None:
        super().__init__()
        self.take(V)

    def take(self, V: Tensor) -> None:
        """Take another weight, whatever kind the last one was."""
        for kept in (self._parameters, self._buffers, self.__dict__):
            kept.pop("V", None)
        if isinstance(V, nn.Parameter):
            self.V = V
        else:
            self.register_buffer("V", V, persistent=False)

    def forward(self, spk: Tensor) -> Tensor:
        """Feedback current for the previous spikes."""
        return self.V * spk


class Recurrent(SpikingNeuron):
    """A neuron whose first state, its spikes, feeds back into the input."""

    all_to_all: bool
    recurrent: nn.Module
    V: Tensor

    def add_recurrence(
        self, V: float | Tensor, all_to_all: bool, linear_features: int | None, conv2d_channels: int | None,
        kernel_size: int | tuple[int, int] | None, learn_recurrent: bool,
    ) -> None:  # fmt: skip
        """Make the module `recurrent`.

        Raises:
            TypeError: for a wrong combination of the arguments.
        """
        name = type(self).__name__
        if all_to_all:
            if (linear_features is None) == (conv2d_channels is None):
                raise TypeError(f"{name} with all_to_all=True takes linear_features or conv2d_channels, one of them")
            if (kernel_size is None) != (conv2d_channels is None):
                raise TypeError(
                    f"{name}'s kernel_size goes with conv2d_channels, got {kernel_size} and {conv2d_channels}"
                )
        elif not (linear_features is None and conv2d_channels is None and kernel_size is None):
            raise TypeError(
                f"{name} with all_to_all=False takes V, and no linear_features, conv2d_channels, kernel_size"
            )
        self.all_to_all, self.learn_recurrent = all_to_all, learn_recurrent
        self.linear_features, self.conv2d_channels, self.kernel_size = linear_features, conv2d_channels, kernel_size
        if linear_features is not None:
            self.recurrent = nn.Linear(linear_features, linear_features)
        elif conv2d_channels is not None and kernel_size is not None:
            self.recurrent = SameConv2d(conv2d_channels, conv2d_channels, kernel_size)
        else:
            self.register_value("V", V, learn=learn_recurrent)
            self.recurrent = RecurrentOneToOne(self.V)
        if all_to_all:
            self.V = None  # type: ignore[assignment]  # the step takes it for feedback from each neuron to itself
        if not learn_recurrent:
            self.recurrent.requires_grad_(False)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "V":
            self._hand_on()

    def _apply(self, fn: Callable, recurse: bool = True) -> "Recurrent":
        super()._apply(fn, recurse)
        self._hand_on()
        return self

    def _hand_on(self) -> None:
        """Let the one-to-one feedback have the neuron's own V, one tensor for both."""
        recurrent = self._modules.get("recurrent")
        V = _own(self)
        if isinstance(recurrent, RecurrentOneToOne) and V is not None:
            recurrent.take(V)

    @property
    def recurs(self) -> bool:
        """Whether `drive` adds the feedback; else the step does, from each neuron to itself."""
        recurrent = self._modules["recurrent"]  # where nn.Module looks last
        if self.all_to_all or recurrent is None or not is_plain(recurrent, RecurrentOneToOne):
            return True
        V = _own(self)
        return V is not None and V is not _own(recurrent)

    def step_arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        """As of every neuron; V is None where `drive` adds the feedback."""
        arguments = super().step_arguments(dtype)
        if "V" in arguments and self.recurs:
            arguments["V"] = None
        return arguments

    def _arguments(self, dtype: torch.dtype, state: Sequence[Tensor]) -> dict[str, Any]:
        """The spikes that feed back are those that are returned, in the dtype of the input."""
        arguments = super()._arguments(dtype, state)
        factor = arguments.get("factor")
        if isinstance(factor, Tensor) and factor.dtype != dtype:
            arguments["factor"] = factor.to(dtype).to(factor.dtype)
        return arguments

    def drive(self, projected: Tensor, spk: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The input plus the feedback of the previous spikes, where the step itself does not add it."""
        if not self.recurs:
            return (projected,)
        return (projected + self.recurrent(in_dtype_of(self.recurrent, spk)).to(projected.dtype),)

    @property
    def linear_feedback(self) -> tuple[int, Tensor, Tensor | None] | None:
        """Weight and bias of the feedback from all neurons, or from their neighbourhood."""
        layer: Any = self.recurrent
        return (0, layer.weight, layer.bias) if is_plain(layer, nn.Linear) or is_same(layer) else None


def _own(module: nn.Module) -> Tensor | None:
    """The parameter or buffer V, where a module has one."""
    V = module._parameters.get("V")
    return module._buffers.get("V") if V is None else V
