"""Neuron of a dendrite and a soma."""

from typing import Any

from torch import Tensor

from .base import SpikingNeuron
from .pieces import graded, quantised, reset


class TwoCompartment(SpikingNeuron):
    """Two-compartment neuron: the dendrite takes the input, the soma fires, and each drives the other.

    ::

        dendrite = beta_dendrite * dendrite + to_dendrite * mem + x
        mem = beta * mem + to_soma * dendrite
        spk = S(mem - threshold)
        mem = reset(mem), dendrite = dendrite - feedback where spk

    With both decays 1 and `to_dendrite < 0 < to_soma` it is TC-LIF, whose dendrite keeps what came long ago.

    Args:
        to_soma: what the soma takes of the dendrite.
        to_dendrite: what the dendrite takes of the soma.
        feedback: what a spike takes from the dendrite.
        beta: decay of the soma per step.
        beta_dendrite: decay of the dendrite per step.
        learn_coupling: make `to_soma` and `to_dendrite` parameters, which `snntorch.bounded` may bound.
        learn_beta: make the two decays parameters.
        **kwargs: as `SpikingNeuron`.

    States: `dendrite, mem`.

    Source: Zhang et al., "TC-LIF: a two-compartment spiking neuron model for long-term sequential modelling",
    AAAI 2024.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, dendrite, mem = snn.TwoCompartment()(torch.tensor([[1.0, 3.0]]))
        >>> spk, dendrite, mem
        (tensor([[0., 1.]]), tensor([[1.0000, 2.5000]]), tensor([[0.5000, 0.5000]]))
    """

    honours = frozenset()
    states = ("dendrite", "mem")
    dendrite: Tensor

    def __init__(
        self,
        to_soma: float | Tensor = 0.5,
        to_dendrite: float | Tensor = -0.5,
        feedback: float | Tensor = 0.5,
        beta: float | Tensor = 1.0,
        beta_dendrite: float | Tensor = 1.0,
        learn_coupling: bool = False,
        learn_beta: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.register_value("to_soma", to_soma, learn=learn_coupling)
        self.register_value("to_dendrite", to_dendrite, learn=learn_coupling)
        self.register_value("feedback", feedback)
        self.register_value("beta", beta, learn=learn_beta)
        self.register_value("beta_dendrite", beta_dendrite, learn=learn_beta)

    @staticmethod
    def step(
        x, dendrite, mem, *, to_soma, to_dendrite, feedback, beta, beta_dendrite, threshold, spike, factor,
        reset_mechanism, state_quant,
    ):  # fmt: skip
        """One time step, `x, dendrite, mem -> spk, dendrite, mem`."""
        dendrite = quantised(beta_dendrite * dendrite + to_dendrite * mem + x, state_quant)
        mem = quantised(beta * mem + to_soma * dendrite, state_quant)
        spk = spike(mem - threshold)
        return graded(spk, factor), dendrite - feedback * spk, reset(mem, spk, threshold, reset_mechanism)
