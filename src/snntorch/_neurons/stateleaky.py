"""Leaky integrator without reset, for whole sequences."""

from typing import Any

import torch
from torch import Tensor

from .._engine import run
from ..surrogate import SpikeGrad
from .caller import warn
from .lif import LIF
from .pieces import graded, initial_tensor, quantised
from .states import state_dtype


class StateLeaky(LIF):
    """Leaky integrator without reset over a whole sequence.

    `mem[t] = sum over s <= t of exp(-(t-s)/tau) * x[s]` with `tau = 1 / (1 - beta)`, at most
    `kernel_truncation_steps` terms, computed as a recurrence in O(T); `spk = g * S(mem - threshold)`.

    Args:
        beta: gives the time constant, `tau = 1 / (1 - beta)`; a number or `[channels]`.
        channels: size of the last dimension, which a vector beta must fit; with one beta any other runs too.
        learn_beta: make tau a parameter.
        output: return the spikes beside the membrane potential.
        kernel_truncation_steps: how many steps back the sum reaches; None for all.

    The other arguments are those of `LIF`. Input `[T, B, channels]`; returns `(spk, mem)`, or mem with `output=False`.

    Raises:
        ValueError: for an input of another shape, or a vector beta that does not fit the channels.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, mem = snn.StateLeaky(beta=0.5, channels=1)(torch.tensor([1.0, 0, 0]).view(3, 1, 1))
        >>> mem.flatten()
        tensor([1.0000, 0.6065, 0.3679])
    """

    takes_sequence = True
    honours = frozenset({"fire", "_base_state_function"})
    tau: Tensor

    def __init__(
        self,
        beta: float | Tensor,
        channels: int,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        state_quant: Any = False,
        output: bool = True,
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
        kernel_truncation_steps: int | None = None,
    ) -> None:
        if not output and (
            spike_grad is not None or surrogate_disable or learn_threshold or learn_graded_spikes_factor
            or bool((torch.as_tensor(graded_spikes_factor) != 1).any())
        ):  # fmt: skip
            warn("output=False returns no spikes: the spike options have no effect")
        if kernel_truncation_steps is not None and kernel_truncation_steps < 1:
            raise ValueError(f"kernel_truncation_steps must be positive or None, got {kernel_truncation_steps}")
        super().__init__(
            beta, threshold, spike_grad, surrogate_disable, learn_threshold=learn_threshold, state_quant=state_quant,
            output=output, graded_spikes_factor=graded_spikes_factor,
            learn_graded_spikes_factor=learn_graded_spikes_factor,
        )  # fmt: skip
        self.register_value("tau", 1 / (1 - initial_tensor("beta", beta)), learn=learn_beta)
        if self.tau.shape not in ((), (1,), (channels,)):
            raise ValueError(f"beta must be a number or [{channels}], one a channel, got shape {tuple(self.tau.shape)}")
        self.channels, self.kernel_truncation_steps = channels, kernel_truncation_steps

    @property
    def learn_beta(self) -> bool:
        """Whether tau, and with it beta, is a parameter."""
        return "tau" not in self._buffers

    @property
    def beta(self) -> Tensor:  # type: ignore[override]
        """`(tau - 1) / tau`, also while tau trains."""
        return (self.tau - 1) / self.tau

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._buffers["beta"] = self.beta.detach()
        super()._save_to_state_dict(*args, **kwargs)

    @property
    def decay(self) -> Tensor:
        """`exp(-1 / tau)`, what is left of an input one step later."""
        return torch.exp(-1 / self.tau)

    @staticmethod
    def step(x, mem, *, decay, threshold, spike, factor, state_quant):
        """One time step, `x, mem -> spk, quantised mem, mem`; quantisation does not feed back."""
        mem = decay * mem + x
        shown = quantised(mem, state_quant)
        return graded(spike(shown - threshold), factor), shown, mem

    def forward(self, input_: Tensor) -> Any:  # type: ignore[override]
        """Run over `[T, B, channels]`; see the class."""
        if input_.dim() != 3 or self.tau.numel() not in (1, input_.shape[-1]):
            raise ValueError(f"input_ must be [T, B, {self.channels}], got shape {tuple(input_.shape)}")
        if input_.shape[0] == 0:
            raise ValueError(f"input_ must have at least one time step, got shape {tuple(input_.shape)}")
        x = input_.to(state_dtype(input_.dtype))
        if self._by_methods():
            mem = quantised(self._base_state_function(x), self.state_quant)
            return (self.fire(mem).to(input_.dtype), mem) if self.output else mem
        quantises = bool(self.state_quant)
        spk, shown, mem = self._courses_of(x, (self.output, quantises, not quantises))
        mem = shown if quantises else mem
        return (spk.to(input_.dtype), mem) if self.output else mem

    def _base_state_function(self, input_: Tensor) -> Tensor:
        return self._courses_of(input_, (False, False, True))[2]

    def _courses_of(self, x: Tensor, wanted: tuple[bool, ...]) -> list[Any]:
        """Over `[T, B, channels]` what the step returns, where wanted."""
        taps = self.kernel_truncation_steps
        if taps is not None and taps < x.shape[0]:  # an input leaves the sum after `taps` steps
            left = torch.cat((torch.zeros_like(x[:taps]), x[:-taps]))
            x = x - self.decay.to(x.dtype) ** taps * left
        start = x.new_zeros(x.shape[1:])
        return run(self, (x,), (start,), self._arguments(x.dtype, (start,)), steps=x.shape[0], wanted=wanted)[0]

    def mem_reset(self, mem: Tensor) -> Tensor:
        """Raises NotImplementedError: there is no reset."""
        raise NotImplementedError(f"{type(self).__name__} has no reset")

    def fire_inhibition(self, batch_size: int, mem: Tensor) -> Tensor:
        """Raises NotImplementedError: there is no inhibition."""
        raise NotImplementedError(f"{type(self).__name__} has no inhibition")
