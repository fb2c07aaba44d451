"""A linear layer of which each weight has a learnt delay."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .line import Line
from .taps import check_delays, taps


class SynapticDelay(Line):
    """A linear layer of which each weight has a learnt delay.

    `y[t, o] = bias[o] + sum over i, k of weight[o, i] w[o, i, k] x[t - k, i]`, with the taps w and their `width` as in
    `AxonalDelay`: the dilated convolution with learnable spacings over time.

    It takes part in `unroll`, `utils.reset` and `utils.detach` as a neuron does. State: `past`, the last inputs,
    newest first, `[max_delay, B, ..., in_features]`.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        bias: whether there is a bias.

    The other arguments, and errors, are those of `AxonalDelay`.

    Attributes:
        weight: `[out_features, in_features]`, drawn as that of `nn.Linear`.
        delay: of each weight, in steps; drawn from U(0, max_delay).
        width: as the argument; a training loop lowers it. It is in no `state_dict`.

    Source: Hammouamri, Khalfaoui-Hassani and Masquelier, "Learning delays in spiking neural networks using dilated
    convolutions with learnable spacings", ICLR 2024.

    Example:
        >>> import snntorch as snn, torch
        >>> layer = snn.SynapticDelay(20, 10, max_delay=8, width=4.0, init_hidden=True)
        >>> snn.unroll(layer, torch.rand(5, 2, 20)).shape
        torch.Size([5, 2, 10])
        >>> layer.width = 0.5
    """

    reads = "takes all steps as one convolution"
    weight: Tensor
    delay: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        max_delay: int,
        width: float | None = None,
        bias: bool = True,
        learn_delay: bool = True,
        init_hidden: bool = False,
        output: bool = False,
    ) -> None:
        super().__init__(init_hidden=init_hidden, output=output)
        check_delays(max_delay, width)
        self.in_features, self.out_features = in_features, out_features
        self.longest = self.max_delay = max_delay
        self.width = width
        like = nn.Linear(in_features, out_features, bias)
        self.weight, self.bias = like.weight, like.bias
        self.register_value("delay", max_delay * torch.rand(out_features, in_features), learn=learn_delay)

    @property
    def delays(self) -> Tensor:
        """Those of one output, of each input."""
        return self.delay[0]

    def spike_shape(self, input_: Sequence[int], states: Sequence[Sequence[int]]) -> Sequence[int]:
        """The input's, with as many features as there are outputs."""
        return (*input_[:-1], self.out_features)

    def _kernel(self, dtype: torch.dtype) -> Tensor:
        """`[out_features, in_features, max_delay + 1]`, the newest step first."""
        return self.weight.to(dtype)[..., None] * taps(self.delay.to(dtype), self.longest, self.width)

    def step_arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        """The kernel as it is now, and the bias."""
        return {"kernel": self._kernel(dtype), "bias": None if self.bias is None else self.bias.to(dtype)}

    @staticmethod
    def step(x, past, *, kernel, bias):
        """One time step, `x, past -> y, past`."""
        line = torch.cat([x[None], past])
        return F.linear(line.movedim(0, -1).flatten(-2), kernel.flatten(1), bias), line[:-1]

    def read(self, line: Tensor, steps: int) -> Tensor:
        """All steps; as `Line.read`."""
        sequences = line.movedim(0, -1)
        bias = None if self.bias is None else self.bias.to(line.dtype)
        out = F.conv1d(sequences.flatten(0, -3), self._kernel(line.dtype).flip(-1), bias)
        return out.unflatten(0, sequences.shape[:-2]).movedim(-1, 0)
