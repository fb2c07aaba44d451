"""The published snnTorch: the loop over time steps that its users write."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .base import ALPHA, BETA, Peer, Run, stacked

STEPPED = ("Leaky", "Lapicque", "Synaptic", "Alpha", "DeltaLeaky", "RLeaky", "RLeaky one-to-one")
STEPPED += ("RSynaptic", "RSynaptic one-to-one", "SLSTM", "SConv2dLSTM")
WHOLE = ("StateLeaky", "LinearLeaky", "LeakyParallel", "AssociativeLeaky")  # called with the whole sequence
PARALLEL = ("PSN", "MaskedPSN", "SlidingPSN")  # so too; not in the published package


def neurons(steps: int = 0) -> dict[str, Callable[..., nn.Module]]:
    """Neurons by name; each takes a number of features and the constructor's other arguments."""
    import snntorch as snn

    return {
        "Leaky": lambda n, **k: snn.Leaky(BETA, **k),
        "Leaky reset at once": lambda n, **k: snn.Leaky(BETA, reset_delay=False, **k),
        "Lapicque": lambda n, **k: snn.Lapicque(BETA, R=10, **k),
        "Synaptic": lambda n, **k: snn.Synaptic(ALPHA, BETA, **k),
        "Alpha": lambda n, **k: snn.Alpha(BETA, ALPHA, **k),
        "DeltaLeaky": lambda n, **k: snn.DeltaLeaky(0.2, BETA, **k),
        "RLeaky": lambda n, **k: snn.RLeaky(BETA, linear_features=n, **k),
        "RLeaky one-to-one": lambda n, **k: snn.RLeaky(BETA, V=-0.5, all_to_all=False, **k),
        "RSynaptic": lambda n, **k: snn.RSynaptic(ALPHA, BETA, linear_features=n, **k),
        "RSynaptic one-to-one": lambda n, **k: snn.RSynaptic(ALPHA, BETA, V=-0.5, all_to_all=False, **k),
        "SLSTM": lambda n, **k: snn.SLSTM(n, n, threshold=0.1, **k),
        "SConv2dLSTM": lambda n, **k: snn.SConv2dLSTM(2, 2, 3, threshold=0.1, **k),
        "StateLeaky": lambda n: snn.StateLeaky(BETA, n),
        "LinearLeaky": lambda n: snn.LinearLeaky(BETA, n, n),
        "LeakyParallel": lambda n: snn.LeakyParallel(n, n, beta=BETA),
        "own": own,
        "ALIF": lambda n, **k: snn.ALIF(BETA, ALPHA, **k),
        **{
            name: _by_default(name)
            for name in ("PLIF", "QIF", "EIF", "AdEx", "Izhikevich", "BRF", "GLIF", "SigmaDelta", "TwoCompartment")
        },
        "NoisyLeaky": lambda n, **k: snn.NoisyLeaky(BETA, **k),
        "IntegerLeaky": lambda n, **k: snn.IntegerLeaky(BETA, **k),
        "Leaky, refractory": lambda n, **k: snn.refractory(snn.Leaky(BETA, **k), steps=3),
        "SynapticIntegrator": lambda n, **k: snn.SynapticIntegrator(ALPHA, BETA, **k),
        "PSN": lambda n: snn.PSN(steps),
        "MaskedPSN": lambda n: snn.MaskedPSN(steps, order=8),
        "SlidingPSN": lambda n: snn.SlidingPSN(order=8),
        "AssociativeLeaky": lambda n: snn.AssociativeLeaky(n, n // 16, 16, n, use_q_projection=False),
    }


def _by_default(name: str) -> Callable[..., nn.Module]:
    """A neuron of ours with the numbers that it has by itself."""
    import snntorch as snn

    return lambda n, **options: getattr(snn, name)(**options)


def own(n: int, **options: Any) -> nn.Module:
    """A neuron as a user of ours writes it: two states, an adaptive threshold, a learnable decay per channel."""
    import snntorch as snn

    class Own(snn.SpikingNeuron):
        states = ("mem", "adaptation")

        def __init__(self, n: int, **options: Any) -> None:
            super().__init__(**options)
            self.register_value("beta", torch.full((n,), BETA), learn=True)
            self.register_value("rho", ALPHA)

        @staticmethod
        def step(x, mem, adaptation, *, beta, rho, threshold, spike):
            mem = beta * mem + x
            spk = spike(mem - threshold - adaptation)
            return spk, mem - spk * threshold, rho * adaptation + 0.1 * spk

    return Own(n, **options)


def loop(neuron: nn.Module, steps: Iterable[Tensor]) -> tuple[Tensor, list[Any]]:
    """Step a neuron with explicit states, as snnTorch's users do."""
    states: Any = ((None, None),) if type(neuron).__name__ == "DeltaLeaky" else neuron.reset_mem()
    states = states if isinstance(states, tuple) else (states,)
    recurrent = type(neuron).__name__ in ("RLeaky", "RSynaptic", "GLIF")  # whose spikes are a state
    outs = []
    for x in steps:
        outs.append(neuron(x, *states))
        states = outs[-1] if recurrent else outs[-1][1:]
    return stacked(outs)


class SnnTorch(Peer):
    """The published package."""

    environment = "snntorch"
    package = "snntorch==1.0.0"
    needs = ("numpy", "nir==1.0.8", "nirtorch==2.0.2", "matplotlib", "pandas", "scikit-learn", "tqdm")

    def alone(self, neuron: str, n: int, steps: int, indexed: bool) -> tuple[nn.Module, Run]:
        """Explicit states; some neurons take the sequence."""
        module = neurons(steps)[neuron](n)
        if neuron in (*WHOLE, *PARALLEL):
            return module, module
        return module, lambda x: loop(module, (x[t] for t in range(len(x))) if indexed else x.unbind())

    def layers(self, *stateless: nn.Module) -> nn.Module:
        """As they are."""
        return stateless[0] if len(stateless) == 1 else nn.Sequential(*stateless)

    def lif(self, last: bool = False, membranes: bool = False) -> nn.Module:
        """States inside."""
        import snntorch as snn

        return snn.Leaky(BETA, init_hidden=True, output=last)

    def readout(self) -> nn.Module:
        """No reset, and its membrane is used."""
        import snntorch as snn

        return snn.Leaky(BETA, init_hidden=True, output=True, reset_mechanism="none")

    def imported(self, weights: Sequence[Tensor]) -> nn.Module:
        """A graph's own module."""
        import nir
        import numpy as np

        from snntorch.import_nir import import_from_nir

        dt = 1e-4
        nodes: dict[str, Any] = {"input": nir.Input(np.array([weights[0].shape[1]]))}
        for i, weight in enumerate(weights):
            tau = np.full(len(weight), dt / (1 - BETA))
            nodes[f"fc{i}"] = nir.Linear(weight.numpy())
            nodes[f"lif{i}"] = nir.LIF(tau=tau, r=tau / dt, v_leak=0 * tau, v_threshold=1 + 0 * tau, v_reset=0 * tau)
        nodes["output"] = nir.Output(np.array([len(weights[-1])]))
        return import_from_nir(nir.NIRGraph(nodes, list(pairwise(nodes))))

    def recurrent(self, n: int) -> nn.Module:
        """All to all."""
        import snntorch as snn

        return snn.RLeaky(BETA, linear_features=n, init_hidden=True)

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """The loop."""
        from snntorch import utils

        utils.reset(net)
        return stacked([net(x_t) for x_t in ([x] * T if T else x)])
