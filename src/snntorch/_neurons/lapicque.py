"""Lapicque's resistor-capacitor neuron."""

from typing import Any

import torch
from torch import Tensor

from ..surrogate import SpikeGrad
from .caller import warn
from .emission import spiked
from .lif import LIF
from .pieces import graded, initial_tensor, quantised, reset


class Lapicque(LIF):
    """Integrate-and-fire neuron in terms of its resistance and capacitance.

    With `k = time_step / (R * C)`, which is `ln(1/beta)`, and `r = 1` where the previous `mem > threshold`::

        f = x * R * k + (1 - k) * mem
        subtract: mem = f - r * threshold     zero: mem = f - r * f     none: mem = f
        spk = S(mem - threshold)

    Args:
        beta: decay `exp(-time_step / (R * C))`, or False to derive it from R and C.
        R: resistance, or False: 1 where only beta is given, else derived from beta and C.
        C: capacitance, or False to derive it from beta and R.
        time_step: length of a step, in the unit of R * C.
        learn_beta: make beta a parameter; the derived constants follow it.

    The other arguments are those of `LIF`. States: `mem`.

    Raises:
        ValueError: unless beta, or two of beta, R and C, are given.

    Source: Lapicque, "Recherches quantitatives sur l'excitation electrique des nerfs traitee comme une polarisation",
    Journal de Physiologie et de Pathologie Generale 9, 1907.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, mem = snn.Lapicque(R=5.0, C=2.0, time_step=1.0)(torch.full((1, 1), 0.1))
        >>> mem
        tensor([[0.0500]])
    """

    states = ("mem",)
    init_lapicque = LIF.init_states
    R: Tensor
    C: Tensor
    time_step: Tensor

    def __init__(
        self,
        beta: float | Tensor = False,
        R: float | Tensor = False,
        C: float | Tensor = False,
        time_step: float = 1,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
    ) -> None:
        given = {k: initial_tensor(k, v) for k, v in (("beta", beta), ("R", R), ("C", C)) if v is not False}
        if "beta" not in given and len(given) < 2:
            raise ValueError(f"give beta, or two of beta, R and C; got {', '.join(given) or 'none of them'}")
        step = torch.as_tensor(float(time_step))
        if "beta" not in given:
            given["beta"] = torch.atleast_1d(torch.exp(-step / (given["R"] * given["C"])))
        leak = -given["beta"].log()
        if "R" not in given:
            given["R"] = step / (given["C"] * leak) if "C" in given else torch.ones_like(step)
        if "C" not in given:
            given["C"] = step / (given["R"] * leak)
        if bool((step > given["R"] * given["C"]).any()):
            warn("time_step > R * C: the membrane potential is unstable")
        self.resistance_follows = R is False and C is not False
        super().__init__(
            beta if isinstance(beta, torch.nn.Parameter) else given["beta"], threshold, spike_grad, surrogate_disable,
            init_hidden, inhibition, learn_beta, learn_threshold, reset_mechanism, state_quant, output,
        )  # fmt: skip
        self.register_value("time_step", time_step)
        self.register_value("R", given["R"])
        self.register_value("C", given["C"])

    def _begin(self, input_: Tensor, given: Any, named: dict[str, Any]) -> list[Tensor]:
        if isinstance(self.beta, torch.nn.Parameter):  # the buffers show what the step derives from beta, and reads not
            with torch.no_grad():
                leak = -self.beta.log()
                if self.resistance_follows:
                    self._buffers["R"] = self.time_step / (self.C * leak)
                else:
                    self._buffers["C"] = self.time_step / (self.R * leak)
        return super()._begin(input_, given, named)

    @property
    def learn_beta(self) -> bool:
        """Whether beta is a parameter, so that the constants derive from it."""
        return "beta" not in self._buffers  # in a replica or a functional call it is no nn.Parameter

    @staticmethod
    def step(
        x, mem, *, beta, R, C, time_step, threshold, spike, factor, reset_mechanism, state_quant, learn_beta,
        resistance_follows,
    ):  # fmt: skip
        """One time step, `x, mem -> spk, mem`."""
        fired = spiked(mem, threshold, spike, reset_mechanism)
        leak = -beta.log() if learn_beta else time_step / (R * C)
        if learn_beta and resistance_follows:
            R = time_step / (C * leak)
        mem = reset(x * R * leak + (1 - leak) * mem, fired, threshold, reset_mechanism)
        mem = quantised(mem, state_quant)
        return graded(spike(mem - threshold), factor), mem
