"""Ours: the published package's code as it is, and the ways to have it run layer by layer."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .base import BETA, Multistep, OverTime, Peer, Run, linear
from .snntorch import PARALLEL, WHOLE, SnnTorch, neurons


class Unmodified(SnnTorch):
    """The code written for the published package."""

    environment, package, needs = Peer.environment, Peer.package, Peer.needs

    def norm_over_time(self, kind: str, features: int, steps: int) -> nn.Module:
        """One of ours; BNTT is called with a step's number in loops, and here with a whole sequence."""
        import snntorch as snn

        made = {
            "SequenceBatchNorm": lambda: snn.SequenceBatchNorm1d(features),
            "tdBN": lambda: snn.ThresholdDependentBatchNorm1d(features),
            "TEBN": lambda: snn.TemporalEffectiveBatchNorm1d(features, steps),
            "BNTT": lambda: snn.BatchNormTT1d(features, steps),
            "SequenceDropout": lambda: snn.SequenceDropout(0.5),
        }
        return made[kind]()

    def converted(self, net: nn.Module, data: Tensor) -> nn.Module:
        """By data-based threshold balancing."""
        from snntorch.conversion import ann_to_snn

        return ann_to_snn(net, data)


class Unroll(Unmodified):
    """The whole sequence in one call."""

    def alone(self, neuron: str, n: int, steps: int, indexed: bool) -> tuple[nn.Module, Run]:
        """States inside."""
        import snntorch as snn

        if neuron in (*WHOLE, *PARALLEL):
            return super().alone(neuron, n, steps, indexed)
        module = neurons()[neuron](n, init_hidden=True)
        return module, lambda x: (module.reset_mem(), snn.unroll(module, x))[1]

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """One call."""
        import snntorch as snn

        snn.utils.reset(net)
        out = snn.unroll(net, x, num_steps=T)
        return out if isinstance(out, tuple) else (out,)


class Packed(Unroll):
    """What is kept for the backward pass as bits where it is spikes."""

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """One call."""
        import snntorch as snn

        with snn.packed_spikes():
            return super().run(net, x, T)


class Recompute(Unroll):
    """The states kept every ten steps."""

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """One call."""
        import snntorch as snn

        snn.utils.reset(net)
        out = snn.unroll(net, x, num_steps=T, recompute=10)
        return out if isinstance(out, tuple) else (out,)


class Lengths(Unroll):
    """Samples that end one by one, from half of the steps on."""

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """One call."""
        import snntorch as snn

        snn.utils.reset(net)
        steps, samples = T or len(x), x.shape[0 if T else 1]
        lengths = torch.linspace(steps / 2, steps, samples).ceil().long()
        out = snn.unroll(net, x, num_steps=T, lengths=lengths)
        return out if isinstance(out, tuple) else (out,)


class Layerwise(Unmodified):
    """The loop, recorded and run layer by layer."""

    def loop(self, forward: Any) -> Any:
        """One line more."""
        import snntorch as snn

        return snn.layerwise(forward)

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """The loop of the published package in `layerwise`."""
        return self.loop(super().run)(net, x, T)


class Unrolled(nn.Module):
    """A neuron that takes `[T, B, ...]`."""

    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor) -> Any:
        """All steps."""
        import snntorch as snn

        return snn.unroll(self.neuron, x)


class Folded(Multistep):
    """What an expert writes: time in the batch for what has no state, `unroll` for neurons."""

    def norm(self, norm: nn.Module) -> nn.Module:
        """Its statistics are those of a step."""
        return Unrolled(norm)

    def lif(self, last: bool = False, membranes: bool = False) -> nn.Module:
        """In one kernel."""
        return Unrolled(Unmodified().lif(last))

    def readout(self) -> nn.Module:
        """In one kernel."""
        return Unrolled(Unmodified().readout())

    def recurrent(self, n: int) -> nn.Module:
        """All to all."""
        return Unrolled(Unmodified().recurrent(n))

    def imported(self, weights: Sequence[Tensor]) -> nn.Module:
        """What the graph says, by hand."""
        import snntorch as snn

        kind = partial(snn.Leaky, BETA, init_hidden=True, reset_mechanism="zero", reset_delay=False)
        return nn.Sequential(*[part for w in weights for part in (OverTime(linear(w)), Unrolled(kind()))])

    def reset(self, net: nn.Module) -> None:
        """Forget the states."""
        from snntorch import utils

        utils.reset(net)
