"""Rectified leaky units over a whole sequence through PyTorch's RNN kernels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._engine import program_text, run, run_feedback
from ..surrogate import SpikeGrad, no_gradient, resolve
from .neurons import SpikingNeuron, graded, initial_tensor
from .states import state_dtype


class Rectified(nn.Module):
    """A one-layer `nn.RNN` with ReLU, by its names and its initialisation; unlike it, it compiles.

    Args:
        input_size: features of the input `[T, B, input_size]`.
        hidden_size: features of the result `[T, B, hidden_size]`.
        bias: whether there are biases.
        diagonal: let each unit feed back to itself alone.
        device: of the weights.
        dtype: of the weights.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, diagonal: bool, device: Any, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias, self.diagonal = input_size, hidden_size, bias, diagonal
        model = nn.RNN(input_size, hidden_size, bias=bias, device=device, dtype=dtype)
        self.names = [name for name, _ in model.named_parameters()]
        for name, parameter in model.named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """The hidden states over time, from zero, and the last ones."""
        weights: list[Tensor] = [getattr(self, name) for name in self.names]  # pruned ones are no parameters
        if self.diagonal:
            weights[1] = weights[1].diagonal().diag_embed()  # off the diagonal neither weight nor gradient
        if torch.compiler.is_compiling() and input.shape[0] and (hidden := self._over_time(input, weights)) is not None:
            return hidden, hidden[-1:]
        start = input.new_zeros(1, input.shape[1], self.hidden_size)
        return torch.rnn_relu(input, start, weights, self.bias, 1, 0.0, self.training, False, False)

    program_text = program_text

    @staticmethod
    def step(x: Tensor, h: Tensor, *, decay: Tensor | None) -> tuple[Tensor, Tensor]:
        """One time step, `x, h -> h, h`; `decay` is the feedback of each unit to itself."""
        h = torch.relu(x if decay is None else x + decay * h)
        return h, h

    def step_arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        """The step's keyword arguments."""
        hidden: Tensor = getattr(self, self.names[1])
        return {"decay": hidden.diagonal().to(dtype) if self.diagonal else None}

    def _over_time(self, input: Tensor, weights: Sequence[Tensor]) -> Tensor | None:
        """The hidden states over time as one node of a compiled program, where PyTorch's kernel is one a step."""
        x = nn.functional.linear(input, weights[0], weights[2] if self.bias else None)
        dtype, bias, wanted = state_dtype(x.dtype), weights[3] if self.bias else None, (False, True)
        state = [x.new_zeros(x.shape[1:], dtype=dtype)]
        if self.diagonal:
            x = x if bias is None else x + bias
            (_, hidden), _ = run(self, (x,), state, self.step_arguments(dtype), steps=x.shape[0], wanted=wanted)
            return hidden
        whole = run_feedback(self, x, (0, weights[1], bias), state, self.step_arguments(dtype), x.shape[0], wanted)
        return None if whole is None else whole[0][1]


class LeakyParallel(nn.Module):
    """Rectified leaky units on `[T, B, input_size]`, spiking where they exceed the threshold.

    `h = relu(W x + b + W_h h)` with diagonal `W_h` (unless `weight_hh_enable`), `spk = g * S(h - threshold)`.

    Args:
        input_size: features of the input.
        hidden_size: number of neurons.
        beta: the diagonal of the hidden weights, a number or one per neuron, clamped to [0, 1]; None for random.
        bias: whether there are biases.
        dropout: share of the hidden states that is dropped in training.
        learn_beta: train the hidden weights.
        weight_hh_enable: let every neuron feed back to every other.
        device: of the weights.
        dtype: of the weights.

    The other arguments are those of `SpikingNeuron`. Returns the spikes, `[T, B, hidden_size]`.

    Example:
        >>> import snntorch as snn, torch
        >>> snn.LeakyParallel(input_size=4, hidden_size=3, beta=0.9)(torch.rand(5, 2, 4)).shape
        torch.Size([5, 2, 3])
    """

    takes_sequence = True
    threshold: Tensor
    graded_spikes_factor: Tensor
    beta: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        beta: float | Tensor | None = None,
        bias: bool = True,
        threshold: float | Tensor = 1.0,
        dropout: float = 0.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
        weight_hh_enable: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.rnn = Rectified(input_size, hidden_size, bias, not weight_hh_enable, device, dtype)
        self.input_size, self.hidden_size, self.bias, self.dropout = input_size, hidden_size, bias, dropout
        self.weight_hh_enable = weight_hh_enable
        self.spike_grad = no_gradient if surrogate_disable else resolve(spike_grad)
        if beta is not None:
            self._register("beta", torch.atleast_1d(initial_tensor("beta", beta)).clamp(0, 1))
        self._register("threshold", threshold, learn_threshold)
        self._register("graded_spikes_factor", graded_spikes_factor, learn_graded_spikes_factor)
        hidden: Tensor = self.rnn.weight_hh_l0  # type: ignore[assignment]
        with torch.no_grad():
            if beta is not None:
                hidden.copy_(torch.diag(self.beta.to(hidden).expand(hidden_size)))
            elif not weight_hh_enable:
                hidden.mul_(torch.eye(hidden_size).to(hidden))
        hidden.requires_grad_(learn_beta)
        self.to(device)

    _register: Any = SpikingNeuron.register_value
    extra_repr: Any = SpikingNeuron.extra_repr

    def forward(self, input_: Tensor) -> Tensor:
        """Run over `[T, B, input_size]`, or one sample's `[T, input_size]`; see the class."""
        if input_.dim() == 2:
            return self.forward(input_.unsqueeze(1)).squeeze(1)
        if input_.dim() != 3 or input_.shape[-1] != self.rnn.input_size:
            raise ValueError(f"input_ must be [T, B, {self.rnn.input_size}], got shape {tuple(input_.shape)}")
        h, _ = self.rnn(input_)
        h = nn.functional.dropout(h.to(state_dtype(input_.dtype)), self.dropout, self.training)
        spk = graded(self.spike_grad(h - self.threshold.to(h.dtype)), self.graded_spikes_factor.to(h.dtype))
        return spk.to(input_.dtype)
