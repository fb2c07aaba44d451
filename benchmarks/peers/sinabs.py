"""Sinabs' LIF."""

import math

from torch import nn

from .base import BETA, Peer, Run


class Sinabs(Peer):
    """On `[B, T, ...]`."""

    environment = "sinabs"
    package = "sinabs==3.1.3"
    needs = ("numpy", "matplotlib", "pbr", "setuptools", "nir==1.0.4", "nirtorch==2.0.2")
    batch_first = True

    def alone(self, neuron: str, n: int, steps: int, indexed: bool) -> tuple[nn.Module, Run]:
        """Our constants."""
        from sinabs.activation import SingleSpike
        from sinabs.layers import LIF

        module = LIF(tau_mem=-1 / math.log(BETA), norm_input=False, spike_fn=SingleSpike)
        return module, lambda x: (module.reset_states(), module(x))[1]
