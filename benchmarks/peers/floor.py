"""What the work costs at least: the same nets with ReLU for neurons."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .base import Multistep, OverTime, Peer, Recurrent, linear


class Floor(Multistep):
    """The whole sequence layer by layer, ReLU for neurons, time folded into the batch."""

    def lif(self, last: bool = False, membranes: bool = False) -> nn.Module:
        """No state."""
        return nn.ReLU()

    def readout(self) -> nn.Module:
        """Nothing at all."""
        return nn.Identity()

    def imported(self, weights: Sequence[Tensor]) -> nn.Module:
        """ReLU for its neurons."""
        return nn.Sequential(*[part for w in weights for part in (OverTime(linear(w)), nn.ReLU())])

    def recurrent(self, n: int) -> nn.Module:
        """The recurrence must be stepped."""
        return Recurrent(n, nn.ReLU())


class FloorStepped(Peer):
    """The stateless layers alone, called once a step."""

    def layers(self, *stateless: nn.Module) -> nn.Module:
        """As they are."""
        return nn.Sequential(*stateless)

    def lif(self, last: bool = False, membranes: bool = False) -> nn.Module:
        """No state, and nothing behind the last layer."""
        return nn.Identity() if last else nn.ReLU()

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """The loop."""
        return (torch.stack([net(x_t) for x_t in ([x] * T if T else x)]),)
