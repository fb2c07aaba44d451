"""The states that a neuron keeps between its calls."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .registry import Registry


def recording(*tensors: Tensor) -> Any:
    """Who records a call on these tensors instead of running it: the recorder of one whose value is not there yet."""
    for tensor in tensors:
        if type(tensor) is not Tensor and (recorder := getattr(tensor, "recorder", None)) is not None:
            return recorder
    return None


class Stateful(nn.Module, metaclass=Registry):
    """A module with named states: plain attributes, in no `state_dict`, that a call goes on from."""

    instances: ClassVar[list]  # a property of the metaclass
    states: ClassVar[tuple[str, ...]] = ()
    init_hidden: bool

    def state_shape(self, input_: Tensor) -> Sequence[int]:
        """Shape of the states for this input; the input's own unless a class says otherwise."""
        return input_.shape

    def _begin(self, input_: Tensor, given: Sequence[Any], named: dict[str, Any]) -> list[Tensor]:
        """The states before the step: the given ones, else the stored ones, else zeros."""
        if not hasattr(type(self), "step"):
            raise NotImplementedError(f"{type(self).__name__} defines no step")
        if not isinstance(input_, Tensor) or not input_.is_floating_point():
            kind = input_.dtype if isinstance(input_, Tensor) else type(input_).__name__
            raise TypeError(f"input_ must be a floating-point tensor, got {kind}")
        if len(given) > len(self.states) or (named and not named.keys() <= set(self.states[len(given) :])):
            raise TypeError(f"{type(self).__name__} takes the states {', '.join(self.states)} once each, "
                            f"got {len(given)} by position and {', '.join(named) or 'none'} by name")  # fmt: skip
        if self.init_hidden and any(s is not None for s in (*given, *named.values())):
            raise TypeError(f"{type(self).__name__} keeps its states itself with init_hidden=True, so pass none")
        passed = {} if self.init_hidden else {**dict(zip(self.states, given, strict=False)), **named}
        shape = self.state_shape(input_)
        return [
            self._given_state(name, passed[name], input_, shape)
            if name in passed
            else self._stored_state(name, input_, shape)
            for name in self.states
        ]

    @staticmethod
    def _given_state(name: str, state: Any, input_: Tensor, shape: Sequence[int]) -> Tensor:
        if state is None or (isinstance(state, Tensor) and state.shape == (0,) and tuple(shape) != (0,)):
            return input_.new_zeros(shape)
        if not isinstance(state, Tensor):
            raise TypeError(f"{name} must be a tensor or None, got {type(state).__name__}")
        if state.device != input_.device:
            raise ValueError(f"{name} is on {state.device}, but the input on {input_.device}")
        if state.shape != shape:
            try:
                state = state.expand(shape)
            except RuntimeError:
                raise ValueError(
                    f"{name} of shape {tuple(state.shape)} does not broadcast to the shape {tuple(shape)} "
                    f"that the input of shape {tuple(input_.shape)} asks for"
                ) from None
        return state.to(input_.dtype)

    def _stored_state(self, name: str, input_: Tensor, shape: Sequence[int]) -> Tensor:
        state = self._kept(name)
        if state.shape != shape or state.device != input_.device:
            return input_.new_zeros(shape)
        return state.to(input_.dtype)

    def _kept(self, name: str) -> Tensor:
        """A stored state; empty where a `torch.func.vmap` that has returned left it behind, and its values are gone."""
        state = getattr(self, name)
        func = torch._C._functorch  # type: ignore[attr-defined]  # no public name
        if torch.compiler.is_compiling() or func.maybe_get_level(state) == -1:  # a plain tensor
            return state
        while func.is_dead_tensor_wrapper(state):
            state = func.unwrap_if_dead(state)
        gone = func.maybe_get_level(state) > (func.maybe_current_level() or 0)
        return torch.zeros(0) if gone else state

    def _store(self, state: Sequence[Tensor]) -> None:
        for name, value in zip(self.states, state, strict=True):
            object.__setattr__(self, name, value)  # a state is a plain attribute; nn.Module's check takes longer

    def reset_mem(self) -> Any:
        """Zero the stored states and return them, one tensor or a tuple."""
        # empty stands for zeros of any shape: an exported program is to hold none of the batch size of today
        fresh = torch.compiler.is_exporting()
        self._store([torch.zeros(0) if fresh else torch.zeros_like(self._kept(name)) for name in self.states])
        values = tuple(getattr(self, name) for name in self.states)
        return values[0] if len(values) == 1 else values

    def detach_mem(self) -> None:
        """Cut the stored states from the graph that made them."""
        self._store([self._kept(name).detach() for name in self.states])

    @classmethod
    def reset_hidden(cls) -> None:
        """Zero the stored states of every live neuron of this class."""
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
        """Zero the given tensors in place."""
        with torch.no_grad():
            for state in states:
                state.zero_()

    def _apply(self, fn: Callable, recurse: bool = True) -> "Stateful":
        super()._apply(fn, recurse)
        self._store([fn(self._kept(name)) for name in self.states])
        return self

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        Registry._live.add(self)  # copies and unpickled neurons are live too

    def __getstate__(self) -> dict:
        """Stored states travel without the graph that made them."""
        state = self.__dict__.copy()
        state["_graded_seen"] = ()
        for name in self.states:
            state[name] = self._kept(name).detach()
        return state
