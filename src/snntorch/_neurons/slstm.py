"""Spiking long short-term memory."""

from typing import Any

import torch
from torch import Tensor, nn

from ..surrogate import SpikeGrad
from .base import SpikingNeuron
from .emission import spiked
from .pieces import graded, quantised, reset
from .weights import in_dtype_of, is_plain


class SLSTM(SpikingNeuron):
    """Spiking LSTM cell: the hidden state is a membrane potential with a threshold.

    `mem, syn = LSTMCell(x, (mem, syn))`, then with `r = 1` where the previous `mem > threshold`: subtract
    `mem - r * threshold`, zero `mem * (1 - r)`; `spk = S(mem - threshold)`.

    Args:
        input_size: features of the input `[B, input_size]`.
        hidden_size: features of the states `[B, hidden_size]`.
        bias: whether the cell has biases.

    The other arguments are those of `SpikingNeuron`. States: `syn, mem`.

    Source: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, syn, mem = snn.SLSTM(input_size=4, hidden_size=3)(torch.rand(2, 4))
        >>> mem.shape
        torch.Size([2, 3])
    """

    states = ("syn", "mem")
    init_slstm = SpikingNeuron.init_states
    syn: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
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
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.lstm_cell = nn.LSTMCell(input_size, hidden_size, bias=bias)

    def state_shape(self, input_: Tensor) -> tuple[int, ...]:
        """`[B, hidden_size]`."""
        return (*input_.shape[:-1], self.hidden_size)

    @property
    def gates(self) -> bool:
        """Whether the step computes the cell from its gates; else the cell, which is not a plain one, is called."""
        return is_plain(self.lstm_cell, nn.LSTMCell)

    def project(self, input_: Tensor) -> Tensor:
        """The input's part of the four gates, `[..., B, 4 * hidden_size]`, or the input where the cell is called."""
        if not self.gates:
            return input_
        return nn.functional.linear(input_, self.lstm_cell.weight_ih, self.lstm_cell.bias_ih).to(input_.dtype)

    def drive(self, projected: Tensor, syn: Tensor, mem: Tensor) -> tuple[Tensor, ...]:
        """The four gates before their nonlinearities, or the cell's two results."""
        if not self.gates:
            return self._called(projected, syn, mem)
        weight = self.lstm_cell.weight_hh
        recurrent = nn.functional.linear(mem.to(weight.dtype), weight, self.lstm_cell.bias_hh)
        return (projected + recurrent.to(projected.dtype)).chunk(4, -1)

    def _called(self, x: Tensor, syn: Tensor, mem: Tensor) -> tuple[Tensor, ...]:
        """What a call of the cell gives as membrane potential and as current, in the states' dtype."""
        before = tuple([in_dtype_of(self.lstm_cell, state).reshape(-1, self.hidden_size) for state in (mem, syn)])
        after = self.lstm_cell(x.expand(*mem.shape[:-1], -1).reshape(-1, self.input_size), before)
        return tuple([new.to(x.dtype).view(mem.shape) for new in after])

    @property
    def linear_feedback(self) -> tuple[int, Tensor, Tensor | None] | None:
        """The membrane potential's part of the gates."""
        cell = self.lstm_cell
        return (1, cell.weight_hh, cell.bias_hh if cell.bias else None) if self.gates else None

    @staticmethod
    def step(*driven_and_states, threshold, spike, factor, reset_mechanism, state_quant, gates):
        """One time step, `i, f, g, o, syn, mem -> spk, syn, mem`, or from the cell's `new mem, new syn, syn, mem`."""
        *driven, syn, mem = driven_and_states
        fired = spiked(mem, threshold, spike, reset_mechanism)
        if gates:
            i, f, g, o = driven
            syn = torch.sigmoid(f) * syn + torch.sigmoid(i) * torch.tanh(g)
            mem = torch.sigmoid(o) * torch.tanh(syn)
        else:
            mem, syn = driven
        mem = reset(mem, fired, threshold, reset_mechanism)
        syn, mem = quantised(syn, state_quant), quantised(mem, state_quant)
        return graded(spike(mem - threshold), factor), syn, mem
