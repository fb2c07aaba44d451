"""A recurrent network with learnt delays, for spike trains such as those of the Spiking Heidelberg Digits."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

import snntorch as snn

from .parts import Norm


def recurrent(size: int) -> nn.Module:
    """The neurons where none are given: leaky, each fed by all of its layer."""
    return snn.RLeaky(beta=0.9, linear_features=size, init_hidden=True)


class DelayNet(nn.Module):
    """Layers of recurrent neurons between synapses with learnt delays, one time step `[B, inputs] -> [B, outputs]`.

    Each layer is `SynapticDelay`, norm, neurons and dropout; the readout is a leaky integrator behind synapses with
    delays. A training loop lowers the Gaussians' width by `net.set_width`.

    Args:
        inputs: number of inputs, 700 in the Spiking Heidelberg Digits.
        hidden: number of neurons of each layer.
        outputs: number of classes.
        max_delay: the longest delay in steps; 25 are 250 ms at 10 ms a step.
        width: standard deviation of the delays' Gaussians, see `AxonalDelay`; the paper starts from half of max_delay.
        neuron: makes so many neurons that keep their states, `init_hidden=True`.
        norm: makes a norm of so many features.
        dropout: probability, one mask a sequence.
        beta: decay of the readout.

    Source: Hammouamri, Khalfaoui-Hassani and Masquelier, "Learning delays in spiking neural networks using dilated
    convolutions with learnable spacings", ICLR 2024, whose layers have no recurrent weights; data of Cramer et al.,
    "The Heidelberg spiking data sets", IEEE TNNLS 33(7), 2022.

    Example:
        >>> import snntorch as snn, torch
        >>> net = snn.models.DelayNet(inputs=20, hidden=(16,), outputs=4, max_delay=6)
        >>> snn.unroll(net, torch.rand(10, 2, 20).round()).shape
        torch.Size([10, 2, 4])
        >>> net.set_width(0.5)
    """

    def __init__(
        self,
        inputs: int = 700,
        hidden: Sequence[int] = (256, 256),
        outputs: int = 20,
        max_delay: int = 25,
        width: float | None = 12.5,
        neuron: Callable[[int], nn.Module] = recurrent,
        norm: Norm = snn.SequenceBatchNorm1d,
        dropout: float = 0.4,
        beta: float = 0.95,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size in hidden:
            synapses = snn.SynapticDelay(inputs, size, max_delay, width, bias=False, init_hidden=True)
            layers += [synapses, norm(size), neuron(size), snn.SequenceDropout(dropout)]
            inputs = size
        self.layers = nn.Sequential(*layers)
        self.synapses = snn.SynapticDelay(inputs, outputs, max_delay, width, init_hidden=True)
        self.readout = snn.LeakyIntegrator(beta, init_hidden=True)

    def set_width(self, width: float | None) -> None:
        """Give every delay this width."""
        for module in self.modules():
            if isinstance(module, snn.SynapticDelay):
                module.width = width

    def forward(self, x: Tensor) -> Tensor:
        """One time step: the readout's potentials."""
        return self.readout(self.synapses(self.layers(x)))
