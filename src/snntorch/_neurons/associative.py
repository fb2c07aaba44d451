"""Neurons whose state is an associative memory."""

import torch
from torch import Tensor, nn

from .._engine import run
from .neurons import SpikingNeuron, graded
from .states import state_dtype


class AssociativeLeaky(SpikingNeuron):
    """A `d_value` x `d_key` matrix of leaky integrators, written by outer products, over `[T, B, in_dim]`.

    `S = S * diag(a) + v k^T` with `v = Wv x`, `k = Wk x`, `a = sigmoid(Wa x)`; `y = spike(S - 1)`, or
    `y = spike(S - 1) Q` with `Q = Wq x`. Computed step by step, so stable for any T.

    Args:
        in_dim: features of the input.
        d_value: rows of the state.
        d_key: columns of the state.
        num_spiking_neurons: `d_value * d_key`.
        use_q_projection: read the spikes through Q.

    Returns `[T, B, d_value * d_key]`, or `[T, B, d_value * d_value]` with the projection.

    Raises:
        ValueError: where `num_spiking_neurons` is not `d_value * d_key`, or the input has another shape.

    Example:
        >>> import snntorch as snn, torch
        >>> snn.AssociativeLeaky.from_num_spiking_neurons(4, 9)(torch.rand(5, 2, 4)).shape
        torch.Size([5, 2, 9])
    """

    takes_sequence = True
    honours = frozenset({"fire"})

    def __init__(
        self, in_dim: int, d_value: int, d_key: int, num_spiking_neurons: int, use_q_projection: bool = True
    ) -> None:
        super().__init__()
        if num_spiking_neurons != d_value * d_key:
            raise ValueError(
                f"num_spiking_neurons must be d_value * d_key = {d_value * d_key}, got {num_spiking_neurons}"
            )
        self.in_dim, self.d_value, self.d_key = in_dim, d_value, d_key
        self.num_spiking_neurons = num_spiking_neurons
        self.use_q_projection = use_q_projection
        self.to_v = nn.Linear(in_dim, d_value)
        self.to_k = nn.Linear(in_dim, d_key)
        self.to_alpha = nn.Linear(in_dim, d_key)
        if use_q_projection:
            self.to_q = nn.Linear(in_dim, d_value * d_key)

    @classmethod
    def from_num_spiking_neurons(
        cls, in_dim: int, num_spiking_neurons: int, use_q_projection: bool = True
    ) -> "AssociativeLeaky":
        """The square layer of that many neurons.

        Raises:
            ValueError: where the number is no square.
        """
        side = round(num_spiking_neurons**0.5)
        if side * side != num_spiking_neurons:
            raise ValueError(f"num_spiking_neurons must be a square number, got {num_spiking_neurons}")
        return cls(in_dim, side, side, num_spiking_neurons, use_q_projection)

    @staticmethod
    def step(write, decay, state, *, threshold, spike, factor):
        """One time step, `v k^T, a, S -> spk, S`."""
        state = state * decay + write
        return graded(spike(state - threshold), factor), state

    def forward(self, input_: Tensor) -> Tensor:  # type: ignore[override]
        """Run over `[T, B, in_dim]`; see the class."""
        if input_.dim() != 3 or input_.shape[-1] != self.in_dim:
            raise ValueError(f"input_ must be [T, B, {self.in_dim}], got shape {tuple(input_.shape)}")
        if input_.shape[0] == 0:
            raise ValueError(f"input_ must have at least one time step, got shape {tuple(input_.shape)}")
        v, k, a = (layer(input_).to(input_.dtype) for layer in (self.to_v, self.to_k, self.to_alpha))
        write = v.unsqueeze(-1) * k.unsqueeze(-2)
        decay = torch.sigmoid(a).unsqueeze(-2)
        by_step = not self._by_methods()
        (spk, state), _ = run(
            self,
            (write, decay.expand_as(write)),
            (torch.zeros_like(write[0], dtype=state_dtype(input_.dtype)),),
            self.step_arguments(state_dtype(input_.dtype)),
            steps=write.shape[0],
            wanted=(by_step, not by_step),
        )
        spk = spk if by_step else self.fire(state)
        if self.use_q_projection:
            spk = spk @ self.to_q(input_).unflatten(-1, (self.d_key, self.d_value))
        return spk.flatten(-2).to(input_.dtype)
