"""Spiking convolutional long short-term memory."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._engine import run_feedback
from ..surrogate import SpikeGrad
from .base import SpikingNeuron
from .emission import spiked
from .pieces import graded, quantised, reset
from .recurrent import SameConv2d, is_same
from .weights import is_plain


class SConv2dLSTM(SpikingNeuron):
    """Spiking convolutional LSTM cell.

    One convolution of `cat(x, mem)` gives the gates i, f, o, g; `syn = s(f) * syn + s(i) * tanh(g)`,
    `mem = s(o) * tanh(syn)` with the logistic function s; resets as in `SLSTM`. The spike is of the pooled membrane
    potential where a pooling is asked for.

    Args:
        in_channels: channels of the input `[B, in_channels, H, W]`.
        out_channels: channels of the states `[B, out_channels, H, W]`.
        kernel_size: of the convolution, which keeps the shape.
        bias: whether the convolution has a bias.
        max_pool: kernel of a max pooling before the spike, 0 for none.
        avg_pool: kernel of an average pooling before the spike, 0 for none.

    The other arguments are those of `SpikingNeuron`. States: `syn, mem`.

    Raises:
        ValueError: where both poolings are asked for.

    Source: Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation nowcasting",
    NeurIPS 2015.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, syn, mem = snn.SConv2dLSTM(1, 2, 3, max_pool=2)(torch.rand(1, 1, 8, 8))
        >>> spk.shape, mem.shape
        (torch.Size([1, 2, 4, 4]), torch.Size([1, 2, 8, 8]))
    """

    states = ("syn", "mem")
    init_sconv2dlstm = SpikingNeuron.init_states
    syn: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        bias: bool = True,
        max_pool: int | tuple[int, int] = 0,
        avg_pool: int | tuple[int, int] = 0,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "none",
        state_quant: Any = False,
        output: bool = False,
    ) -> None:
        super().__init__(
            threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_threshold, reset_mechanism,
            state_quant, output,
        )  # fmt: skip
        if max_pool and avg_pool:
            raise ValueError(f"give max_pool or avg_pool, not both; got {max_pool} and {avg_pool}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.bias = bias
        self.max_pool = max_pool
        self.avg_pool = avg_pool
        self.conv = SameConv2d(in_channels + out_channels, 4 * out_channels, kernel_size, bias=bias)
        self.kernel_size = self.conv.kernel_size

    @property
    def pool(self) -> nn.Module | None:
        """What is done to the membrane potential before it may spike, if anything."""
        if self.max_pool:
            return nn.MaxPool2d(self.max_pool)
        return nn.AvgPool2d(self.avg_pool) if self.avg_pool else None

    def state_shape(self, input_: Tensor) -> tuple[int, ...]:
        """`[B, out_channels, H, W]`."""
        return (*input_.shape[:-3], self.out_channels, *input_.shape[-2:])

    def spike_shape(self, input_: Sequence[int], states: Sequence[Sequence[int]]) -> Sequence[int]:
        """The membrane potential's, pooled where that is."""
        pool = self.pool
        return pool(torch.empty(tuple(states[-1]), device="meta")).shape if pool else states[-1]

    def project(self, input_: Tensor) -> Tensor:
        """The input's part of the four gates, `[..., B, 4 * out_channels, H, W]`, or the input where conv is called."""
        if not is_plain(self.conv, SameConv2d):
            return input_
        weight = self.conv.weight[:, : self.in_channels]
        images = input_.flatten(0, -4) if input_.dim() > 4 else input_
        projected = self.conv.convolve(images, weight, self.conv.bias).to(input_.dtype)
        return projected.unflatten(0, input_.shape[:-3]) if input_.dim() > 4 else projected

    def drive(self, projected: Tensor, syn: Tensor, mem: Tensor) -> tuple[Tensor, ...]:
        """The four gates before their nonlinearities."""
        if not is_plain(self.conv, SameConv2d):
            both = torch.cat((projected.expand(*mem.shape[:-3], *projected.shape[-3:]), mem.to(projected.dtype)), -3)
            return self.conv(both).to(projected.dtype).chunk(4, -3)
        weight = self.conv.weight[:, self.in_channels :]
        recurrent = self.conv.convolve(mem.to(weight.dtype), weight)
        return (projected + recurrent.to(projected.dtype)).chunk(4, -3)

    @property
    def linear_feedback(self) -> tuple[int, Tensor, Tensor | None] | None:
        """The membrane potential's part of the gates."""
        return (1, self.conv.weight[:, self.in_channels :], None) if is_same(self.conv) else None

    def _courses(
        self, projected: Tensor, state: list[Tensor], arguments: dict[str, Any], steps: int, static: bool,
        wanted: Sequence[bool],
    ) -> tuple[list[Any], list[Tensor]]:  # fmt: skip
        """As of every neuron; no state depends on what is pooled, so spikes follow from the course of `mem` at once."""
        pool: Any = arguments.get("pool")
        feedback = self.linear_feedback
        plain = type(pool) in (nn.MaxPool2d, nn.AvgPool2d) and is_plain(pool, type(pool))
        if feedback and plain and self.step is SConv2dLSTM.step:
            asked = (False, wanted[1], wanted[2] or wanted[0])
            if whole := run_feedback(self, projected, feedback, state, arguments, steps, asked, pool=None):
                (spk, syn, mem), state = whole
                if wanted[0]:
                    pooled = pool(mem.flatten(0, 1)).unflatten(0, mem.shape[:2])
                    spk = graded(self.spike(pooled - arguments["threshold"]), arguments["factor"]).to(projected.dtype)
                return [spk, syn, mem if wanted[2] else None], state
        return super()._courses(projected, state, arguments, steps, static, wanted)

    @staticmethod
    def step(i, f, o, g, syn, mem, *, threshold, spike, factor, reset_mechanism, state_quant, pool):
        """One time step from the gates, `i, f, o, g, syn, mem -> spk, syn, mem`."""
        fired = spiked(mem, threshold, spike, reset_mechanism)
        syn = torch.sigmoid(f) * syn + torch.sigmoid(i) * torch.tanh(g)
        mem = reset(torch.sigmoid(o) * torch.tanh(syn), fired, threshold, reset_mechanism)
        syn, mem = quantised(syn, state_quant), quantised(mem, state_quant)
        return graded(spike((pool(mem) if pool else mem) - threshold), factor), syn, mem
