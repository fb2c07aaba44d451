"""Batch normalisation through time: one batch norm per time step."""

import torch
from torch import Tensor, nn


class _BatchNormTT(nn.ModuleList):
    """A list of batch norms, one a time step; the subclass names the kind."""

    takes_sequence = True
    _norm: type[nn.BatchNorm1d] | type[nn.BatchNorm2d]

    def __init__(
        self, input_features: int, time_steps: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
    ):
        norms = [self._norm(input_features, eps, momentum, affine) for _ in range(time_steps)]
        for norm in norms:
            norm.register_parameter("bias", None)
        super().__init__(norms)

    def forward(self, input: Tensor, step: int | None = None) -> Tensor:
        """Normalise a whole sequence, or one of its steps.

        Args:
            input: `[T, B, ...]` with T at most `time_steps`; or `[B, ...]` when `step` is given.
            step: the time step that `input` belongs to; `None` for a whole sequence.

        Returns:
            A tensor of the input's shape.

        Raises:
            ValueError: the sequence is longer than `time_steps`, or `step` lies outside it.
        """
        if step is not None:
            if not 0 <= step < len(self):
                raise ValueError(f"step must lie in [0, {len(self)}), the layer's time steps, got {step}")
            return self[step](input)
        if len(input) > len(self):
            raise ValueError(f"input has {len(input)} time steps, but the layer was made for {len(self)}")
        if len(input) == 0:
            return torch.empty_like(input)
        return torch.stack([norm(x) for norm, x in zip(self, input, strict=False)])


class BatchNormTT1d(_BatchNormTT):
    r"""Batch normalisation through time (BNTT) of feature vectors or feature sequences.

    Each time step t has its own statistics and scale, and no shift:

    .. math:: y[t] = γ[t] \frac{x[t] - E[x[t]]}{\sqrt{Var[x[t]] + ε}}

    It is an `nn.ModuleList` of `nn.BatchNorm1d`: call `bn[t](x)` inside a time loop,
    or `bn(x)` on a whole sequence.

    Source: Y. Kim and P. Panda, "Revisiting batch normalization for training low-latency deep spiking neural
    networks from scratch", Frontiers in Neuroscience 15, 2021.

    Args:
        input_features: number of features F of `[B, F]` or `[B, F, L]`.
        time_steps: number of time steps T.
        eps: ε, added to the variance.
        momentum: weight of the newest batch in the running statistics.
        affine: whether γ is learned; otherwise it is 1.

    Example:
        >>> bn = BatchNormTT1d(10, time_steps=4)
        >>> bn(torch.rand(4, 8, 10)).shape
        torch.Size([4, 8, 10])
        >>> bn[2](torch.rand(8, 10)).shape
        torch.Size([8, 10])
    """

    _norm = nn.BatchNorm1d


class BatchNormTT2d(_BatchNormTT):
    """Batch normalisation through time of images: `BatchNormTT1d` of `[B, C, H, W]`, with `nn.BatchNorm2d`.

    Example:
        >>> BatchNormTT2d(3, time_steps=4)(torch.rand(4, 8, 3, 5, 5)).shape
        torch.Size([4, 8, 3, 5, 5])
    """

    _norm = nn.BatchNorm2d
