"""Norse's box neuron."""

import torch
from torch import nn

from .base import BETA, Peer, Run


class Norse(Peer):
    """Lifted over time."""

    environment = "norse"
    package = "norse==1.1.0"
    needs = ("numpy", "nir==1.0.4", "nirtorch==2.0.2")

    def alone(self, neuron: str, n: int, steps: int, indexed: bool) -> tuple[nn.Module, Run]:
        """Its LIF without synapse; it scales its input by the leak, and here the threshold instead."""
        import norse.torch as norse
        from norse.torch.functional.reset import reset_subtract

        leak = torch.tensor(1 - BETA)
        constants = norse.LIFBoxParameters(tau_mem_inv=leak, v_th=leak, reset_method=reset_subtract)
        module = norse.Lift(norse.LIFBoxCell(constants, dt=1.0))
        return module, lambda x: module(x)[0]
