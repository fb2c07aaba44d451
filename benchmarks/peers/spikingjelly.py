"""SpikingJelly in its multi-step mode."""

from typing import Any

from torch import Tensor, nn

from .base import BETA, Multistep, OverTime, Recurrent, Run


def lif(step_mode: str = "m", **options: Any) -> nn.Module:
    """Its LIF with our constants; its soft reset precedes the decay, else the same work."""
    from spikingjelly.activation_based import neuron, surrogate

    constants = dict(tau=1 / (1 - BETA), v_threshold=1.0, decay_input=False, v_reset=None, detach_reset=True)
    return neuron.LIFNode(surrogate_function=surrogate.ATan(alpha=2.0), step_mode=step_mode, **constants | options)


class Recorded(nn.Module):
    """A neuron that returns its membranes too."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.node = lif(store_v_seq=True, **options)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """All steps."""
        return self.node(x), self.node.v_seq


class SpikingJelly(Multistep):
    """Stateless layers fold time into the batch."""

    environment = "spikingjelly"
    package = "spikingjelly==2.0.0"
    needs = ("numpy", "loguru")

    def alone(self, neuron: str, n: int, indexed: bool) -> tuple[nn.Module, Run]:
        """Its LIF, whatever the name."""
        module = lif()
        return module, lambda x: (module.reset(), module(x))[1]

    def lif(self, last: bool = False, membranes: bool = False) -> nn.Module:
        """Membranes have a price."""
        return Recorded() if membranes else lif()

    def readout(self) -> nn.Module:
        """A neuron whose threshold is out of reach, as in its examples."""
        return Recorded(v_threshold=1e9)

    def recurrent(self, n: int) -> nn.Module:
        """Stepped."""
        return Recurrent(n, lif("s"))

    def reset(self, net: nn.Module) -> None:
        """Forget the states."""
        from spikingjelly.activation_based import functional

        functional.reset_net(net)


class Memopt(SpikingJelly):
    """Its memory optimisation: every layer is a checkpoint, whose input is kept as bits where it is spikes."""

    hooks = True

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """Prepared at the first call. Its levels beyond the first search with CUDA."""
        from spikingjelly.activation_based import memopt, neuron

        if not hasattr(net, "optimised"):
            layers = OverTime, neuron.LIFNode
            memopt.optimize_memory(net, layers, lambda module: module(x), level=1)
            net.optimised = True  # type: ignore[assignment]
        return super().run(net, x, T)
