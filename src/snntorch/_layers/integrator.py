"""Neurons that integrate and do not spike: readouts, and NIR's LI, I and CubaLI."""

from torch import Tensor

from .._neurons.lif import LIF
from .._neurons.pieces import fraction


class LeakyIntegrator(LIF):
    """Leaky integrator; with `beta=1` an integrator.

    `u = beta * u + x`, and the output is `gain * u + rest`. State: `mem`, which is u.

    Args:
        gain: what the potential is multiplied by; a number or a tensor, as beta.
        rest: output of the neuron at rest.

    The other arguments are those of `LIF`.

    Example:
        >>> import snntorch as snn, torch
        >>> out, mem = snn.unroll(snn.LeakyIntegrator(beta=0.5, gain=2.0), torch.ones(3, 1))
        >>> out.flatten()
        tensor([2.0000, 3.0000, 3.5000])
    """

    honours = frozenset()
    states = ("mem",)
    gain: Tensor
    rest: Tensor

    def __init__(
        self,
        beta: float | Tensor,
        gain: float | Tensor = 1.0,
        rest: float | Tensor = 0.0,
        learn_beta: bool = False,
        init_hidden: bool = False,
        output: bool = False,
    ) -> None:
        super().__init__(
            beta=beta, learn_beta=learn_beta, reset_mechanism="none", init_hidden=init_hidden, output=output
        )
        self.register_value("gain", gain)
        self.register_value("rest", rest)

    @staticmethod
    def step(x, mem, *, beta, gain, rest):
        """One time step, `x, mem -> output, mem`."""
        mem = fraction(beta) * mem + x
        return gain * mem + rest, mem


class SynapticIntegrator(LeakyIntegrator):
    """Leaky integrator behind a synapse.

    `i = alpha * i + x`, `u = beta * u + i`, and the output is `gain * u + rest`. States: `syn, mem`, which are i and u.

    Args:
        alpha: decay of the synaptic current per step, clamped to [0, 1].
        learn_alpha: make alpha a parameter.

    The other arguments are those of `LeakyIntegrator`.

    Example:
        >>> import snntorch as snn, torch
        >>> out, syn, mem = snn.unroll(snn.SynapticIntegrator(alpha=0.5, beta=0.5), torch.eye(3)[:, :1])
        >>> out.flatten()
        tensor([1.0000, 1.0000, 0.7500])
    """

    states = ("syn", "mem")
    syn: Tensor
    alpha: Tensor

    def __init__(
        self,
        alpha: float | Tensor,
        beta: float | Tensor,
        gain: float | Tensor = 1.0,
        rest: float | Tensor = 0.0,
        learn_alpha: bool = False,
        learn_beta: bool = False,
        init_hidden: bool = False,
        output: bool = False,
    ) -> None:
        super().__init__(beta=beta, gain=gain, rest=rest, learn_beta=learn_beta, init_hidden=init_hidden, output=output)
        self.register_value("alpha", alpha, learn=learn_alpha)

    @staticmethod
    def step(x, syn, mem, *, alpha, beta, gain, rest):
        """One time step, `x, syn, mem -> output, syn, mem`."""
        syn = fraction(alpha) * syn + x
        mem = fraction(beta) * mem + syn
        return gain * mem + rest, syn, mem
