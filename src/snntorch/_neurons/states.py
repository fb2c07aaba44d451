"""The states that a neuron keeps between its calls."""

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .._engine import computes as state_dtype  # of states, at least float32: else slow decays would vanish
from .._engine import expands
from .._engine.private import backward_pass, recorded, surviving, transformed
from .caller import warn
from .fresh import is_fresh, marked_fresh
from .pieces import fitted
from .registry import Registry
from .traced import BEFORE, settle

_again: ContextVar[bool] = ContextVar("snntorch.running_again", default=False)
_reset_in: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # the last backward pass that did


@contextlib.contextmanager
def running_again() -> Iterator[None]:
    """A backward pass runs a forward a second time, from the states of the first."""
    token = _again.set(True)
    try:
        yield
    finally:
        _again.reset(token)


def _check_not_in_backward(neuron: Any) -> None:
    """Stop who recomputes a forward in the backward pass, which would go on from the states that the first one left."""
    if not _again.get() and _reset_in.get(neuron) != backward_pass():
        raise RuntimeError(
            f"{type(neuron).__name__} runs in a backward pass, where its stored states are those after the forward "
            "pass: torch.utils.checkpoint would compute other gradients. Pass the states as arguments, reset them "
            "inside the function that is checkpointed, or use snntorch.unroll(..., recompute=K)"
        )


class Stateful(nn.Module, metaclass=Registry):
    """A module with named states: plain attributes, in no `state_dict`, that a call goes on from."""

    instances: ClassVar[list]  # a property of the metaclass
    states: ClassVar[tuple[str, ...]] = ()
    resting: Mapping[str, str | float] = {}  # what a state starts from, a number or an attribute's name; else 0
    batch_dim: int = 0  # which dimension of a state counts the samples
    init_hidden: bool
    _warned: bool = False
    _prepared: Any = None  # how the engine found its step to run

    def state_shape(self, input_: Tensor) -> Sequence[int]:
        """Shape of the states for this input; the input's own unless a class says otherwise."""
        return input_.shape

    def floating(self: Any, input_: Tensor) -> Tensor:
        """The input; whole numbers and truth values, as frames of events may be, in the threshold's dtype."""
        if isinstance(input_, Tensor) and input_.is_floating_point():
            return input_
        if not isinstance(input_, Tensor) or input_.is_complex():
            kind = input_.dtype if isinstance(input_, Tensor) else type(input_).__name__
            raise TypeError(f"input_ must be a tensor of real numbers, got {kind}")
        return input_.to(self.threshold.dtype)

    # -- the states before a step

    def _begin(self, input_: Tensor, given: Sequence[Any], named: dict[str, Any]) -> list[Tensor]:
        """The states before the step: the given ones, else the stored ones, else what the neuron starts from."""
        if not hasattr(type(self), "step"):
            raise NotImplementedError(
                f"{type(self).__name__} defines no step: take a class that does, such as snntorch.Leaky, or write one"
            )
        if not torch.compiler.is_compiling():
            if BEFORE or recorded():
                settle(self)
            if not named and (states := self._as_they_are(input_, given)):
                return states
        if len(given) > len(self.states) or (named and not named.keys() <= set(self.states[len(given) :])):
            raise TypeError(f"{type(self).__name__} takes the states {', '.join(self.states)} once each, "
                            f"got {len(given)} by position and {', '.join(named) or 'none'} by name")  # fmt: skip
        shape = self.state_shape(input_)
        passed = dict(zip(self.states, given, strict=False))
        passed.update(named)
        if not any([state is not None for state in passed.values()]):
            return [self._stored_state(name, input_, shape) for name in self.states]
        if self.init_hidden:
            raise TypeError(f"{type(self).__name__} keeps its states itself with init_hidden=True, so pass none")
        states = [
            self._stored_state(name, input_, shape)
            if passed.get(name) is None
            else self._given_state(name, passed[name], input_, shape)
            for name in self.states
        ]
        return states if all([s.shape == shape for s in states]) else self._broadcast(states, input_, shape)

    def _as_they_are(self, input_: Any, given: Sequence[Any]) -> list[Tensor] | None:
        """The states of most steps, where nothing is to be done to them: all given or all stored, as the input asks."""
        if type(input_) is not Tensor:
            return None
        if given:
            states = list(given)
            if self.init_hidden or len(states) != len(self.states):
                return None
        else:
            states = [getattr(self, name) for name in self.states]
            if backward_pass() != -1:  # see `_stored_state`
                return None
        shape, dtype, device = self.state_shape(input_), state_dtype(input_.dtype), input_.device
        for state in states:
            if type(state) is not Tensor or state.dtype is not dtype or state.shape != shape or state.device != device:
                return None
            if transformed(state):
                return None
        return states

    def _given_state(self, name: str, state: Any, input_: Tensor, shape: Sequence[int]) -> Tensor:
        if not isinstance(state, Tensor):
            raise TypeError(f"{name} must be a tensor or None, got {type(state).__name__}")
        if state.shape != shape and is_fresh(state):
            return self._start(name, shape, input_)
        if state.device != input_.device:
            raise ValueError(f"{name} is on {state.device}, but the input on {input_.device}")
        return state.to(state_dtype(input_.dtype))

    def _broadcast(self, states: Sequence[Tensor], input_: Tensor, shape: Sequence[int]) -> list[Tensor]:
        """The given states and what the input asks for, in the one shape that all of them broadcast to."""
        for name, state in zip(self.states, states, strict=True):
            try:
                shape = torch.broadcast_shapes(shape, state.shape)
            except RuntimeError:
                raise ValueError(
                    f"{name} of shape {tuple(state.shape)} does not broadcast with the shape {tuple(shape)} "
                    f"that the input of shape {tuple(input_.shape)} and the other states ask for"
                ) from None
        return [state.expand(shape) for state in states]

    def _stored_state(self, name: str, input_: Tensor, shape: Sequence[int]) -> Tensor:
        state = self._kept(name)
        if state.device != input_.device:
            return self._start(name, shape, input_)
        if not torch.compiler.is_compiling() and backward_pass() != -1 and not is_fresh(state):
            _check_not_in_backward(self)
        if state.shape != shape:
            if is_fresh(state):
                return self._start(name, shape, input_)
            if not expands(state.shape, shape):
                self._warn_of_dropping(name, state, shape)
                return self._start(name, shape, input_)
            state = state.expand(shape)
        dtype = state_dtype(input_.dtype)
        return state if state.dtype is dtype else state.to(dtype)

    def _warn_of_dropping(self, name: str, state: Tensor, shape: Sequence[int]) -> None:
        if torch.compiler.is_compiling():
            warn(f"{type(self).__name__} drops its stored {name}, of another shape than the input asks for")
        elif not self._warned:
            self._warned = True
            warn(
                f"{type(self).__name__} starts anew: its stored {name} of shape {tuple(state.shape)} does not fit the "
                f"shape {tuple(shape)} that the input asks for. Reset the states between batches "
                "(snntorch.utils.reset), and let no two layers share a neuron"
            )

    def _start(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """The state that a neuron starts from."""
        dtype, value = state_dtype(like.dtype), self.resting.get(name, 0.0)
        if isinstance(value, str):
            value = getattr(self, value)
        if not isinstance(value, Tensor):
            return like.new_full(shape, value, dtype=dtype) if value else like.new_zeros(shape, dtype=dtype)
        return fitted(str(self.resting[name]), value, shape).to(dtype).expand(shape)

    # -- the states after it

    def _kept(self, name: str) -> Tensor:
        """A stored state; empty where a `torch.func.vmap` that has returned left it behind, and its values are gone."""
        state = getattr(self, name)
        if state is None:
            return torch.zeros(0)
        state = surviving(state)
        return torch.zeros(0) if state is None else state

    def _store(self, state: Sequence[Tensor]) -> None:
        for name, value in zip(self.states, state, strict=True):
            object.__setattr__(self, name, value)  # a state is a plain attribute; nn.Module's check takes longer

    def _change(self, change: Callable[[Tensor], Tensor]) -> None:
        """Change every stored state; fresh ones stay so."""
        compiling, changed = torch.compiler.is_compiling(), []
        if not compiling:
            settle(self)
        for name in self.states:
            state = self._kept(name)
            if compiling:
                changed.append(torch.zeros(0) if is_fresh(state) else change(state))
                continue
            with _no_inference():
                changed.append(marked_fresh(change(state)) if is_fresh(state) else change(state))
        self._store(changed)

    def reset_mem(self) -> Any:
        """Set the stored states to what the neuron starts from, mostly zero; return them, one tensor or a tuple."""
        if torch.compiler.is_compiling():  # empty stands for any shape: a program is to hold none of today's batch size
            states = [torch.zeros(0) for _ in self.states]
        else:
            settle(self)
            if (now := backward_pass()) != -1:
                _reset_in[self] = now
            with _no_inference():
                states = [self._reset_state(name, self._kept(name)) for name in self.states]
        self._store(states)
        return states[0] if len(states) == 1 else tuple(states)

    def _reset_state(self, name: str, kept: Tensor) -> Tensor:
        if kept.shape == (0,):
            return torch.zeros_like(kept)
        state = self._start(name, kept.shape, kept)
        return marked_fresh(state.clone() if name in self.resting else state)

    def detach_mem(self) -> None:
        """Cut the stored states from the graph that made them, or from the inference mode that made them."""
        self._change(_detached)

    @classmethod
    def reset_hidden(cls) -> None:
        """Reset the stored states of every live neuron of this class."""
        for neuron in cls.instances:
            if isinstance(neuron, cls):
                neuron.reset_mem()

    @classmethod
    def detach_hidden(cls) -> None:
        """Detach the stored states of every live neuron of this class."""
        for neuron in cls.instances:
            if isinstance(neuron, cls):
                neuron.detach_mem()

    @classmethod
    def init(cls) -> None:
        """Forget every live instance."""
        cls.instances = []

    @staticmethod
    def detach(*states: Tensor) -> None:
        """Detach the given tensors in place."""
        for state in states:
            state.detach_()

    @staticmethod
    def zeros(*states: Tensor) -> None:
        """Zero the given tensors in place, and cut them from the graph that made them."""
        for state in states:
            marked_fresh(state.detach_().zero_())

    # -- copies

    def _apply(self, fn: Callable, recurse: bool = True) -> "Stateful":
        super()._apply(fn, recurse)
        self._change(fn)
        return self

    def __getstate__(self) -> dict:
        """Stored states travel without the graph that made them."""
        settle(self)
        state = self.__dict__.copy()
        kept = {name: self._kept(name) for name in self.states}
        state.update({name: value.detach() for name, value in kept.items()})
        state.pop("_prepared", None)
        state["_fresh"] = [name for name, value in kept.items() if is_fresh(value)]
        return state

    def __setstate__(self, state: dict) -> None:
        fresh = state.pop("_fresh", ())
        super().__setstate__(state)
        for name in fresh:
            marked_fresh(getattr(self, name))
        Registry._live.add(self)  # copies and unpickled neurons are live too


def _no_inference() -> contextlib.AbstractContextManager:
    """Tensors made here may take part in training later, also where inference mode is on."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else contextlib.nullcontext()


def _detached(state: Tensor) -> Tensor:
    if torch.compiler.is_compiling() or not state.is_inference():
        return state.detach()
    return state.clone()
