"""Sigma-delta neuron."""

from typing import Any

import torch
from torch import Tensor

from .base import SpikingNeuron
from .pieces import graded, quantised


class SigmaDelta(SpikingNeuron):
    """Sigma-delta neuron: it sums up the changes that come, and sends on changes of what it makes of the sum.

    ::

        sigma = sigma + x
        change = relu(sigma) - sent
        spk = change * S(|change| - threshold)
        sent = sent + spk

    A network of these computes, change by change, what the network of `relu` does: what a neuron has sent is never
    further than the threshold from `relu(sigma)`. An input that does not change costs nothing.

    Args:
        threshold: changes up to this size are held back; with 0 all are sent.
        rectify: whether the activation is `relu`; False for the identity, as in a first or last layer.
        reset_mechanism: may only be `"none"`, as there is no reset.
        **kwargs: as `SpikingNeuron`.

    Spikes are graded and signed: let the first layer's input be the changes of the signal, such as
    `torch.diff(signal, dim=0, prepend=torch.zeros_like(signal[:1]))`, and give the linear layers between no bias, which
    they would add at every step. States: `sigma, sent`.

    Raises:
        ValueError: for a negative threshold, or a reset mechanism.

    Source: O'Connor and Welling, "Sigma delta quantized networks", ICLR 2017.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, sigma, sent = snn.unroll(snn.SigmaDelta(threshold=0.3), torch.tensor([[1.0], [0.2], [0.2], [-2.0]]))
        >>> spk.flatten()
        tensor([ 1.0000,  0.0000,  0.4000, -1.4000])
    """

    honours = frozenset()
    states = ("sigma", "sent")
    sigma: Tensor
    sent: Tensor

    def __init__(
        self, threshold: float | Tensor = 0.1, rectify: bool = True, reset_mechanism: str = "none", **kwargs: Any
    ) -> None:
        super().__init__(threshold, reset_mechanism=reset_mechanism, **kwargs)
        if self.reset_mechanism != "none":
            raise ValueError(f"reset_mechanism must be none, as SigmaDelta has no reset, got {self.reset_mechanism!r}")
        if self.threshold.device.type != "meta" and bool((self.threshold < 0).any()):
            raise ValueError(f"threshold must not be negative, got {threshold}")
        self.rectify = rectify

    @staticmethod
    def step(x, sigma, sent, *, rectify, threshold, spike, factor, state_quant):
        """One time step, `x, sigma, sent -> spk, sigma, sent`."""
        sigma = quantised(sigma + x, state_quant)
        change = (torch.relu(sigma) if rectify else sigma) - sent
        spk = change * spike(change.abs() - threshold)
        return graded(spk, factor), sigma, sent + spk
