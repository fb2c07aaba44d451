"""Leaky integrator that spikes on change."""

from typing import Any

from torch import Tensor

from .leaky import Leaky
from .pieces import fraction, graded, initial_tensor, quantised


class DeltaLeaky(Leaky):
    """Leaky integrator that spikes where its membrane potential changed by more than a threshold; no reset.

    `m = beta * mem + x`, `spk = S(|m - mem| - delta_threshold)`.

    Args:
        delta_threshold: smallest change that makes a spike, a number or a tensor; in no `state_dict`.
        *args: as `Leaky`.
        output: return the pair of states, also with `init_hidden`; False returns the spikes alone there, which is what
            the next layer of a Sequential takes.
        **kwargs: as `Leaky`.

    Returns `spk, (mem, mem_prev)`; without `init_hidden` a call takes `mem=(mem, mem_prev)`.

    Raises:
        TypeError: where that pair is missing or something else.

    Example:
        >>> import snntorch as snn, torch
        >>> spk, (mem, mem_prev) = snn.DeltaLeaky(0.5, beta=0.9)(torch.tensor([[0.4, 0.6]]), (None, None))
        >>> spk
        tensor([[0., 1.]])
    """

    honours = frozenset()
    states = ("mem", "mem_prev")
    mem_prev: Tensor

    def __init__(self, delta_threshold: float | Tensor = 1.0, *args: Any, output: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.output = output
        self.register_value("delta_threshold", delta_threshold, persistent=False)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "delta_threshold" and not isinstance(value, Tensor):
            value = initial_tensor(name, value).to(self.threshold)
        super().__setattr__(name, value)

    @staticmethod
    def step(x, mem, mem_prev, *, beta, delta_threshold, spike, factor, state_quant):
        """One time step, `x, mem, mem_prev -> spk, mem, mem_prev`."""
        new = quantised(fraction(beta) * mem + x, state_quant)
        return graded(spike((new - mem).abs() - delta_threshold), factor), new, mem.clone()

    def _begin(self, input_: Tensor, given: Any, named: dict[str, Any]) -> list[Tensor]:
        pair = given[0] if given else named.get("mem")
        if self.init_hidden and pair is None:
            return super()._begin(input_, (), {})
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"mem must be the pair (mem, mem_prev), got {type(pair).__name__}")
        return super()._begin(input_, tuple(pair), {})

    def _returned(self, spk: Tensor, state: Any) -> Any:
        return spk if self.init_hidden and not self.output else (spk, tuple(state))
