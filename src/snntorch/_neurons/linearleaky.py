"""A linear layer followed by StateLeaky."""

from typing import Any

import torch
from torch import Tensor, nn

from ..surrogate import SpikeGrad
from .stateleaky import StateLeaky


class LinearLeaky(StateLeaky):
    """`StateLeaky` after `nn.Linear(in_features, out_features)`, over a whole sequence `[T, B, in_features]`.

    Args:
        in_features: size of the input's last dimension.
        out_features: size of the output's last dimension.
        bias: whether the linear layer has a bias.
        device: of the linear layer.
        dtype: of the linear layer.

    The other arguments are those of `StateLeaky`.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, mem = snn.LinearLeaky(beta=0.9, in_features=4, out_features=3)(torch.rand(5, 2, 4))
        >>> mem.shape
        torch.Size([5, 2, 3])
    """

    def __init__(
        self,
        beta: float | Tensor,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        state_quant: Any = False,
        output: bool = True,
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
        kernel_truncation_steps: int | None = None,
    ) -> None:
        super().__init__(
            beta, out_features, threshold, spike_grad, surrogate_disable, learn_beta, learn_threshold, state_quant,
            output, graded_spikes_factor, learn_graded_spikes_factor, kernel_truncation_steps,
        )  # fmt: skip
        self.linear = nn.Linear(in_features, out_features, bias=bias, device=device, dtype=dtype)
        self.to(device)

    def forward(self, input_: Tensor) -> Any:  # type: ignore[override]
        """Run over `[T, B, in_features]`; see the class."""
        if input_.dim() != 3 or input_.shape[-1] != self.linear.in_features:
            raise ValueError(f"input_ must be [T, B, {self.linear.in_features}], got shape {tuple(input_.shape)}")
        return super().forward(self.linear(input_).to(input_.dtype))
