"""The methods of snnTorch 1.0.0's neurons: user code calls them, and its subclasses override them.

Here a step is one function, and there it is made of these methods::

    reset = mem_reset(mem)
    mem = state_function(input)  # `_base_sub`, `_base_zero` or `_base_int`, which call `_base_state_function`
    spk = fire(mem)  # or `fire_inhibition`

A neuron that overrides one of them, in its class or as an attribute, runs by them, step by step.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._engine import stepped
from ..surrogate import SpikeGrad
from .emission import Emission, emitted, is_step, unremembered
from .pieces import WinnerTakesAll, graded, quantised, reset
from .states import Stateful

HOOKS = frozenset({
    "fire", "fire_inhibition", "mem_reset", "state_function", "_base_state_function", "_base_sub", "_base_zero",
    "_base_int",
})  # fmt: skip
NEVER_CALLED = frozenset({"_base_state_reset_zero", "_base_state_reset_sub_function"})  # 1.0.0 does in a few classes


class Published(Stateful):
    """A neuron with the methods of snnTorch 1.0.0's, each derived from the step unless it is overridden."""

    honours: ClassVar[frozenset[str]] = HOOKS  # what a subclass of the user's may override
    overrides: tuple[str, ...] = ()  # what this neuron does override
    mem: Tensor  # of neurons that have a membrane potential
    reset: Tensor  # while a step runs by the methods: 1 where the one before spiked
    _reset_mechanism: str
    inhibition: bool
    spike_grad: SpikeGrad
    state_quant: Any
    threshold: Tensor
    reset_delay: bool = True
    _emission: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ours = cls._ours()
        hooks = sorted(HOOKS | NEVER_CALLED)
        cls.overrides = tuple(h for h in hooks if getattr(cls, h, None) is not getattr(ours, h, None))
        if cls.forward is ours.forward:
            cls._refuse_in_vain(cls.overrides)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in HOOKS:
            if type(self).forward is self._ours().forward:
                self._refuse_in_vain([name])
            self.overrides = tuple(sorted({*self.overrides, name}))

    @classmethod
    def _ours(cls) -> type:
        """The class of this package that a class of the user's derives from."""
        package = __name__.partition(".")[0]
        return next(base for base in cls.__mro__ if base.__module__.partition(".")[0] == package)

    @classmethod
    def _refuse_in_vain(cls, names: Iterable[str]) -> None:
        """Raise TypeError for overrides that nothing would call."""
        ours = cls._ours()
        own_step = getattr(cls, "step", None) is not getattr(ours, "step", None)
        vain = [name for name in names if own_step or name not in cls.honours]
        if vain:
            why = "its own step runs" if own_step else f"{ours.__name__} does not call that"
            raise TypeError(f"{cls.__name__} overrides {', '.join(vain)} in vain: {why}; override step or forward")

    def _by_methods(self) -> bool:
        """Whether a step runs by the methods; tells that it does."""
        if self.overrides:
            stepped(self, f"{type(self).__name__} overrides {', '.join(self.overrides)}")
        return bool(self.overrides)

    def _run_by_methods(self: Any, input_: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """One step by the methods: the spikes and the new states."""
        self._refuse_in_vain(self.overrides)  # in a class with a forward of its own, which called this one
        self._store(state)
        self.reset = self.mem_reset(self.mem)
        self._take(self.state_function(input_))
        mem = self.mem
        pool = getattr(self, "pool", None)
        shown = pool(mem) if pool else mem
        spk = self.fire_inhibition(len(shown), shown) if self.inhibition else self.fire(shown)
        if not self.reset_delay:
            now = spk / self.factor - self.reset
            self.mem = reset(mem, now, self.threshold, self._reset_mechanism)
        if "spk" in self.states:
            self.spk = spk
        return spk.to(input_.dtype), [getattr(self, name) for name in self.states]

    def _take(self, new: Any) -> None:
        """Store what `state_function` returned, one tensor or one for each state but the spikes."""
        values = new if isinstance(new, tuple | list) else (new,)
        names = [name for name in self.states if name != "spk"]
        if len(values) != len(names):
            raise TypeError(f"state_function must return {', '.join(names)}, got {len(values)} values")
        for name, value in zip(names, values, strict=True):
            setattr(self, name, quantised(value, self.state_quant))

    def init_states(self) -> Any:
        """As `reset_mem`; published neurons have names of their own for it, such as `init_leaky`."""
        return self.reset_mem()

    def _init_mem(self) -> None:
        self._store([torch.zeros(0) for _ in self.states])

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """As `nn.Module`'s; a state, which there is a buffer, stays a plain attribute."""
        if name in self.states:
            object.__setattr__(self, name, tensor)
        else:
            super().register_buffer(name, tensor, persistent)

    def __getstate__(self) -> dict:
        """A copy has other tensors, and what was emitted at these means nothing to it."""
        return {**super().__getstate__(), "_emission": None}

    # -- the methods

    def fire(self: Any, mem: Tensor) -> Tensor:
        """Spikes of the membrane potential: `graded_spikes_factor * S(mem - threshold)`."""
        spk = self.spike_grad(mem - self.threshold)
        if not (is_step(self.spike_grad) or torch.compiler.is_compiling()):
            self._emission = Emission.of(mem, spk)
        return graded(spk, self.factor)

    def fire_inhibition(self: Any, batch_size: int, mem: Tensor) -> Tensor:
        """As `fire`, of the one neuron per sample that is furthest above its threshold."""
        if mem.shape[0] != batch_size:
            raise ValueError(f"mem must hold batch_size={batch_size} samples, got shape {tuple(mem.shape)}")
        return graded(WinnerTakesAll(self.spike_grad)(mem - self.threshold), self.factor)

    def mem_reset(self, mem: Tensor) -> Tensor:
        """What is left to reset at this membrane potential: 1 where it is above the threshold; carries no gradient."""
        if not self.reset_delay:
            return torch.zeros_like(mem)
        if is_step(self.spike_grad):
            return (mem > self.threshold).to(mem.dtype)
        spk = emitted(self, mem)
        return unremembered(self.spike_grad, mem - self.threshold) if spk is None else spk.to(mem.dtype)

    def state_function(self, input_: Tensor) -> Any:
        """The new states without the spikes, after the reset that the step before left to do."""
        by_mechanism = {"subtract": self._base_sub, "zero": self._base_zero, "none": self._base_int}
        return by_mechanism[self._reset_mechanism](input_)

    def _base_state_function(self: Any, input_: Tensor) -> Any:
        """The new states without the spikes, without a reset."""
        state = [getattr(self, name) for name in self.states]
        settings = {"reset_mechanism": "none", "state_quant": False, "spike": torch.zeros_like}
        arguments = self._arguments(input_.dtype, state)
        arguments |= {name: value for name, value in settings.items() if name in arguments}
        _, *new = self.step(*self.drive(self.project(input_), *state), *state, **arguments)
        kept = [value for name, value in zip(self.states, new, strict=True) if name != "spk"]
        return kept[0] if len(kept) == 1 else tuple(kept)

    def _base_sub(self, input_: Tensor) -> Any:
        return self._after_reset(self._base_state_function(input_), "subtract")

    def _base_zero(self, input_: Tensor) -> Any:
        return self._after_reset(self._base_state_function(input_), "zero")

    def _base_int(self, input_: Tensor) -> Any:
        return self._base_state_function(input_)

    def _after_reset(self, new: Any, mechanism: str) -> Any:
        if isinstance(new, Tensor):
            return reset(new, self.reset, self.threshold, mechanism)
        *currents, mem = new
        return (*currents, reset(mem, self.reset, self.threshold, mechanism))
