"""Alpha-function neuron: the membrane is the difference of two exponentials."""

from typing import Any

from torch import Tensor

from ..surrogate import SpikeGrad
from .emission import spiked
from .lif import LIF
from .pieces import fraction, graded, quantised


class Alpha(LIF):
    """Neuron whose membrane response to a spike is an alpha function.

    With `r = 1` where the previous `mem > threshold`, else 0, and `tau = ln(alpha) / (ln(beta) - ln(alpha)) + 1`::

        e = alpha * syn_exc + x
        i = beta * syn_inh - x
        m = tau * (e + i)
        subtract: e - r * threshold,  i - r * i,  m + r * syn_inh
        zero:     all three times (1 - r)
        spk = S(mem - threshold)

    Args:
        alpha: decay of the excitatory current per step.
        beta: decay of the inhibitory current per step, smaller than alpha and not 1.
        learn_alpha: make alpha a parameter.

    The other arguments are those of `LIF`. States: `syn_exc, syn_inh, mem`.

    Raises:
        ValueError: unless `alpha > beta` and `beta != 1`.

    Source: Rall, "Distinguishing theoretical synaptic potentials computed for different soma-dendritic distributions
    of synaptic input", Journal of Neurophysiology 30(5), 1967.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, syn_exc, syn_inh, mem = snn.Alpha(alpha=0.9, beta=0.8)(torch.ones(1, 2))
        >>> syn_exc
        tensor([[1., 1.]])
    """

    states = ("syn_exc", "syn_inh", "mem")
    init_alpha = LIF.init_states
    held_while_refractory = states  # since its reset is of all of them
    syn_exc: Tensor
    syn_inh: Tensor
    alpha: Tensor

    def __init__(
        self,
        alpha: float | Tensor,
        beta: float | Tensor,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_alpha: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "zero",
        state_quant: Any = False,
        output: bool = False,
    ) -> None:
        super().__init__(
            beta, threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_beta, learn_threshold,
            reset_mechanism, state_quant, output,
        )  # fmt: skip
        self.register_value("alpha", alpha, learn=learn_alpha)
        if not bool((self.alpha > self.beta).all()) or bool((self.beta == 1).any()):
            raise ValueError(f"alpha must be larger than beta, and beta not 1, got alpha={alpha}, beta={beta}")

    @staticmethod
    def step(x, syn_exc, syn_inh, mem, *, alpha, beta, threshold, spike, factor, reset_mechanism, state_quant):
        """One time step, `x, syn_exc, syn_inh, mem -> spk, syn_exc, syn_inh, mem`."""
        fired = spiked(mem, threshold, spike, reset_mechanism)
        alpha, beta = fraction(alpha), fraction(beta)
        tau = alpha.log() / (beta.log() - alpha.log()) + 1
        exc, inh = alpha * syn_exc, beta * syn_inh
        mem = tau * (exc + inh) + 0 * x  # the input enters both currents with opposite signs and cancels here
        exc, inh = exc + x, inh - x
        exc, inh, mem = _reset_all(exc, inh, mem, syn_inh, fired, threshold, reset_mechanism)
        exc, inh, mem = (quantised(state, state_quant) for state in (exc, inh, mem))
        return graded(spike(mem - threshold), factor), exc, inh, mem

    def _after_reset(self, new: Any, mechanism: str) -> Any:
        exc, inh, mem = new
        return _reset_all(exc, inh, mem, self.syn_inh, self.reset, self.threshold, mechanism)


def _reset_all(exc, inh, mem, syn_inh, fired, threshold, reset_mechanism):
    if reset_mechanism == "subtract":
        return exc - fired * threshold, inh - fired * inh, mem + fired * syn_inh
    if reset_mechanism == "zero":
        return exc - fired * exc, inh - fired * inh, mem - fired * mem
    return exc, inh, mem
