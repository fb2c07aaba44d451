"""Dropout that drops the same neurons at every step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .._neurons.neurons import SpikingNeuron
from .._neurons.states import state_dtype


class SequenceDropout(SpikingNeuron):
    """Dropout with one mask for a whole sequence: what is dropped is silent from its first step to its last.

    `y[t] = mask x[t]`, where `mask = 0` with probability p and `1 / (1 - p)` else, drawn once for each sample and
    neuron; in evaluation 1. A mask that changed at every step would average out over a membrane's memory.

    State: `mask`, of the input's shape. It is drawn when it is first needed, and anew by `snntorch.utils.reset`, as
    neurons start anew, or where training turns into evaluation and back.

    Args:
        p: probability of a zero.

    Raises:
        ValueError: unless p is a probability.

    Source: Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", NeurIPS
    2016; of spiking networks Lee et al., "Enabling spike-based backpropagation for training deep neural network
    architectures", Frontiers in Neuroscience 14, 2020.

    Example:
        >>> import snntorch as snn, torch
        >>> _ = torch.manual_seed(1)
        >>> snn.unroll(snn.SequenceDropout(0.5), torch.ones(3, 1, 4))[:, 0]
        tensor([[..., ..., ..., ...],
                [..., ..., ..., ...],
                [..., ..., ..., ...]])
    """

    honours = frozenset()
    states = ("mask",)
    mask: Tensor

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p must be a probability, got {p!r}")
        super().__init__(init_hidden=True)
        self.p = p

    @staticmethod
    def step(x, mask):
        """One time step, `x, mask -> y, mask`."""
        return x * mask, mask

    def _alike(self, shape: Sequence[int]) -> Sequence[int]:
        """The shape of what is drawn, which broadcasts to the input's."""
        return shape

    def _start(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """The mask that a sequence starts with, and keeps."""
        ones = torch.ones(self._alike(shape), dtype=state_dtype(like.dtype), device=like.device)
        return (F.dropout(ones, self.p) if self.training else ones).expand(shape)

    def train(self, mode: bool = True) -> SequenceDropout:
        """As `nn.Module.train`; a mask of the other mode is forgotten."""
        if mode != self.training:
            self._init_mem()
        return super().train(mode)


class _OfChannels(SequenceDropout):
    """One mask for all of a channel, `[B, C, ...]`; the subclass names the number of dimensions."""

    _dims: tuple[int, ...]
    _shape: str

    def _alike(self, shape: Sequence[int]) -> Sequence[int]:
        if len(shape) not in self._dims:
            raise ValueError(f"{type(self).__name__} takes {self._shape} at each step, got shape {tuple(shape)}")
        return (*shape[:2], *(1,) * (len(shape) - 2))


class SequenceDropout1d(_OfChannels):
    """`SequenceDropout` of whole channels of `[B, C]` or `[B, C, L]`, as `torch.nn.Dropout1d` drops them.

    Args:
        p: probability that a channel is zero for a whole sequence.

    Raises:
        ValueError: unless p is a probability, or for an input of another shape.

    Source: Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.

    Example:
        >>> out = SequenceDropout1d(0.5)(torch.ones(2, 8, 5))
        >>> torch.equal(out, out[..., :1].expand(2, 8, 5))
        True
    """

    _dims, _shape = (2, 3), "[B, C] or [B, C, L]"


class SequenceDropout2d(_OfChannels):
    """`SequenceDropout` of whole channels of `[B, C, H, W]`, as `torch.nn.Dropout2d` drops them.

    Neighbouring pixels are alike, so that to drop each by itself drops little; a channel is dropped for all of them,
    from its first step to its last. The argument, errors and source are those of `SequenceDropout1d`.

    Example:
        >>> import snntorch as snn
        >>> out = snn.unroll(SequenceDropout2d(0.5), torch.ones(3, 2, 8, 5, 5))
        >>> torch.equal(out, out[:1, ..., :1, :1].expand(3, 2, 8, 5, 5))
        True
    """

    _dims, _shape = (4,), "[B, C, H, W]"
