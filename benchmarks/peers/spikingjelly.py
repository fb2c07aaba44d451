"""SpikingJelly in its multi-step mode."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .base import BETA, Multistep, OverTime, Recurrent, Run


def lif(step_mode: str = "m", **options: Any) -> nn.Module:
    """Its LIF with our constants; its soft reset precedes the decay, else the same work."""
    from spikingjelly.activation_based import neuron, surrogate

    constants = dict(tau=1 / (1 - BETA), v_threshold=1.0, decay_input=False, v_reset=None, detach_reset=True)
    return neuron.LIFNode(surrogate_function=surrogate.ATan(alpha=2.0), step_mode=step_mode, **constants | options)


def neurons(steps: int) -> dict[str, Callable[[], nn.Module]]:
    """Its neurons by our names, near our constants; the loop over time is theirs."""
    from spikingjelly.activation_based import neuron, surrogate

    atan, over_time = surrogate.ATan(alpha=2.0), {"step_mode": "m", "detach_reset": True}
    g_L = 30.0  # its EIF counts potentials in the input's unit
    eif = {"tau": 281 / g_L, "delta_T": 2 * g_L, "theta_rh": -50.4 * g_L, "v_threshold": -40.4 * g_L}
    rest = {"v_rest": -70.6 * g_L, "v_reset": -70.6 * g_L}
    izhikevich = {"tau": 2.0, "a0": 0.08, "v_rest": -82.7, "v_c": -42.3, "v_reset": -65.0, "v_threshold": 30.0}
    recovery = {"tau_w": 50.0, "a": 0.2, "b": 8.0}
    return {
        "PLIF": lambda: neuron.ParametricLIFNode(2.0, v_reset=None, surrogate_function=atan, **over_time),
        "QIF": lambda: neuron.QIFNode(10.0, v_c=0.5, surrogate_function=atan, **over_time),
        "EIF": lambda: neuron.EIFNode(**eif, **rest, surrogate_function=atan, **over_time),
        "Izhikevich": lambda: neuron.IzhikevichNode(**izhikevich, **recovery, surrogate_function=atan, **over_time),
        "GLIF": lambda: neuron.GatedLIFNode(steps, surrogate_function=atan),
        "IntegerLeaky": lambda: neuron.ILIFNode(1 / (1 - BETA), **over_time),
        "PSN": lambda: neuron.PSN(steps, atan),
        "MaskedPSN": lambda: neuron.MaskedPSN(8, steps, 1.0, atan, step_mode="m"),
        "SlidingPSN": lambda: neuron.SlidingPSN(8, True, atan, step_mode="m"),
    }


class Recorded(nn.Module):
    """A neuron that returns its membranes too."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.node = lif(store_v_seq=True, **options)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """All steps."""
        return self.node(x), self.node.v_seq


class OfVectors(nn.Sequential):
    """Its norms of one dimension on `[T, B, C]`: they ask for `[T, B, C, L]`."""

    def forward(self, x: Tensor) -> Tensor:
        """All steps."""
        return super().forward(x.unsqueeze(-1)).squeeze(-1)


class Looped(nn.Module):
    """A net of single steps on `[T, B, ...]`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """The loop."""
        return torch.stack([self.net(x_t) for x_t in x.unbind()])


class SpikingJelly(Multistep):
    """Stateless layers fold time into the batch."""

    environment = "spikingjelly"
    package = "spikingjelly==2.0.0"
    needs = ("numpy", "loguru", "tqdm", "requests")

    def alone(self, neuron: str, n: int, steps: int, indexed: bool) -> tuple[nn.Module, Run]:
        """What has no state has no reset."""
        module = lif() if neuron == "Leaky" else neurons(steps)[neuron]()
        return module, lambda x: (self.reset(module), module(x))[1]

    def norm_over_time(self, kind: str, features: int, steps: int) -> nn.Module:
        """On whole sequences."""
        from spikingjelly.activation_based import layer

        made = {
            "SequenceBatchNorm": lambda: layer.BatchNorm1d(features, step_mode="m"),
            "tdBN": lambda: layer.ThresholdDependentBatchNorm1d(1.0, 1.0, features),
            "TEBN": lambda: layer.TemporalEffectiveBatchNorm1d(steps, features),
            "BNTT": lambda: layer.BatchNormThroughTime1d(steps, features, step_mode="m"),
        }
        return OfVectors(made[kind]())

    def converted(self, net: nn.Module, data: Tensor) -> nn.Module:
        """By the same percentile; a loop runs it, as its examples do."""
        from spikingjelly.activation_based import ann2snn

        recipe = ann2snn.RateCodingRecipe([(data, None)], mode="99.9%")
        return nn.Sequential(nn.Identity(), Looped(ann2snn.FXConverter(recipe).convert(net.eval())))

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

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """Prepared at the first call. Its levels beyond the first search with CUDA."""
        from spikingjelly.activation_based import memopt, neuron

        if not hasattr(net, "optimised"):
            layers = OverTime, neuron.LIFNode
            memopt.optimize_memory(net, layers, lambda module: module(x), level=1)
            net.optimised = True  # type: ignore[assignment]
        return super().run(net, x, T)
