"""Tensors that stand for every step, and how what is called with them takes all steps there and then."""

import functools
import weakref
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._engine.private import as_subclass, function_mode, past_torch_function
from .._neurons.neurons import SpikingNeuron
from .._neurons.recorder import recording
from ..surrogate import SurrogateFunction
from . import known, layers
from .arguments import ATOMS, hollow, leaves, mapped
from .courses import as_stacked
from .fold import fold
from .infer import WITHOUT_VALUES
from .later import Meta
from .look import stand_in
from .patches import patched
from .start import Start
from .writes import memory_of


def _name(function: Any) -> str:
    return getattr(function, "__name__", "")


def _writes_nothing(function: Any) -> bool:
    return not known.writes_in_place(_name(function), {}) and _name(function) != "batch_norm"  # running statistics


# Functions whose results' shapes depend on no value, and those of them that draw.
_FUNCTIONS: set[Any] = {*filter(_writes_nothing, WITHOUT_VALUES | known.TRANSPOSED), Tensor.__getitem__}
_DRAW = {function for function in _FUNCTIONS if _name(function) in known.RANDOM}


class Unfit(Exception):
    """What is called does not take all steps at once."""


FAILS = Unfit, RuntimeError, TypeError, ValueError, IndexError  # as PyTorch may raise where the loop would not


def _states(neuron: SpikingNeuron) -> list[Any]:
    return [getattr(neuron, name) for name in neuron.states]


def _noting(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that notes whatever it raises, as the module's code may catch that."""

    @functools.wraps(method)
    def noting(calls: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(calls, *args, **kwargs)
        except BaseException:
            calls.fails = True
            raise

    return noting


def _folds(layer: nn.Module) -> bool:
    """Whether a layer takes all steps alike, and does not write into what it takes."""
    ours = type(layer).__module__.startswith("snntorch.") or layers.declared(layer, "memoryless") is None
    return layers.folds(layer) and ours and not getattr(layer, "inplace", False)


def _patched(layer: nn.Module) -> bool:
    """Whether somebody gave one of PyTorch's layers, or its class, another forward."""
    return "forward" in vars(layer) or not type(layer).forward.__module__.startswith("torch.")


class EveryStep(Tensor):
    """What a tensor is at each step: it has the shape of one, no memory, and in its `course` all of them."""

    __slots__ = ("course", "meta", "recorder")
    course: Tensor
    meta: Meta
    recorder: Any

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Where nobody sees any more what is called."""
        raise cls.refused(args, kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What has passed by PyTorch's functions."""
        raise cls.refused(args, kwargs)

    @classmethod
    def refused(cls, *values: Any) -> Exception:
        """Give up what these stand in."""
        for every in leaves(values, cls):
            every.recorder.fails = True
        return Unfit()


class AllSteps(TorchFunctionMode):
    """Runs what a step calls, for all steps.

    Args:
        start: what the module holds before it.
        steps: the number of steps.
    """

    stopped, ends = "", None  # as a recorder's, which this stands for meanwhile

    def __init__(self, start: Start, steps: int) -> None:
        super().__init__()
        self.start, self.steps = start, steps
        self.neurons: dict[SpikingNeuron, list[Any]] = {}  # those that ran, with their states before
        self.left: dict[SpikingNeuron, list[Any]] = {}  # and after
        self.made: list[weakref.ref] = []
        self.fails = False  # whether anything was raised

    def run(self, module: nn.Module, x: Tensor, static: bool) -> Any:
        """What the step gives."""
        x = x if static else self._each(x)
        with patched(), recording(self), self:
            return module(x)

    def stacked(self, of_step: Sequence[Tensor]) -> Tensor:
        """A tensor that a step gives, of all steps."""
        (tensor,) = of_step
        return torch.stack([tensor] * self.steps) if self._alike(of_step) else as_stacked(tensor.course)  # type: ignore[attr-defined]

    def over(self) -> bool:
        """Whether nobody keeps what stands for a step's tensor, and neurons hold the states that they left."""
        left = all([all(map(is_, _states(neuron), states)) for neuron, states in self.left.items()])
        return left and not self.fails and all([reference() is None for reference in self.made])

    def _alike(self, tensors: Sequence[Any]) -> bool:
        """Whether these are no `EveryStep`, none of them a neuron's state."""
        alike = [t for t in tensors if type(t) is not EveryStep]
        if alike:
            neurons = [m for m in self.start.held if isinstance(m, SpikingNeuron)]
            states = leaves([[*self.neurons.get(n, ()), *_states(n)] for n in neurons])
            if not {*map(memory_of, states)}.isdisjoint(map(memory_of, alike)):
                raise Unfit
        return len(alike) == len(tensors)

    def _each(self, given: Any, taken: Sequence[Any] = ()) -> Any:
        """What stands for each step's, of nested courses; `taken` are those that they were made of, or are."""
        same = {id(every.course): every for every in taken}
        return mapped(lambda course: same[id(course)] if id(course) in same else self._of_course(course), given)

    def _of_course(self, course: Tensor) -> Tensor:
        meta = Meta(course.shape[1:], course.stride()[1:], course.dtype, course.device)
        every: Any = as_subclass(EveryStep, meta.hollow)
        every.course, every.meta, every.recorder = course, meta, self
        self.made.append(weakref.ref(every))
        return every

    # -- functions

    @_noting
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        every = EveryStep in types  # as far as PyTorch has looked
        if func in known.KNOWN:
            with past_torch_function():
                return func(*args, **kwargs)
        if func in known.AT_ONCE and not every:
            return func(*args, **kwargs)
        if func in known.CONSTANT and every:
            return func(*mapped(stand_in, args), **mapped(stand_in, kwargs))
        if func in _FUNCTIONS and not (known.writes_in_place("", kwargs) or known.finds(func, args, kwargs)):
            alone = args and type(args[0]) is EveryStep and not kwargs and ATOMS.issuperset(map(type, args[1:]))
            if alone or not self._alike(leaves((*args, *kwargs.values()))):
                return self._folded(func, args, kwargs)
            if func not in _DRAW:
                return func(*args, **kwargs)
        elif func == known.REQUIRES_GRAD:
            return (args[0].course if every else args[0]).requires_grad
        raise Unfit

    def _folded(self, function: Callable, args: Any, kwargs: Any, applied: Any = None) -> Any:
        every: list[Any] = []
        args, kwargs = hollow((args, kwargs), every, EveryStep)
        if any([not e.meta.shape for e in every]):  # single numbers count less for the dtype than what has dimensions
            dtypes = {*[e.meta.dtype for e in every], *[t.dtype for t in leaves((args, kwargs))]}
            if len(dtypes) > 1:
                raise Unfit
        out = fold(function, args, kwargs, [e.course for e in every], [True] * len(every), applied)
        if function is Tensor.view and memory_of(out) != memory_of(every[0].course):
            raise Unfit  # a view that had to be a copy, which it must not be in a loop
        return self._each(out, every)

    # -- modules, as they reach a recorder

    @_noting
    def module(self, call: Callable, module: Any, args: tuple, kwargs: dict) -> Any:
        """A module that is called."""
        if module not in self.start.held:
            raise Unfit
        way = layers.way(module, self.steps)
        if way == "layer" and _patched(module):
            way = "look through"
        if way == "look through" and not isinstance(module, SpikingNeuron):
            return call(module, *args, **kwargs)
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
            raise Unfit
        (x,) = args
        every = not self._alike(args)
        if way == "neuron" and module.init_hidden and module not in self.neurons:
            self.neurons[module] = _states(module)
            out = self._aside(module.sequence, *(x.course,) if every else (x, (), self.steps))
            self.left[module] = _states(module)
            return out
        if way in ("layer", "fold") and _folds(module) and (every or not layers.is_random(module)):
            return self._aside(layers.fold, module, x.course, of=(x,)) if every else self._aside(module, x, alike=True)
        raise Unfit

    def _aside(self, function: Callable, *args: Any, of: Sequence[Any] = (), alike: bool = False) -> Any:
        """A call that nobody looks at, which gives courses, made `of` some, or what is alike at every step."""
        if function_mode() is not self:
            raise Unfit
        self.__exit__(None, None, None)
        try:
            with recording(None):
                out = function(*args)
            return out if alike else self._each(out, of)
        finally:
            self.__enter__()

    @_noting
    def autograd_function(self, cls: Any, apply: Callable, args: tuple, kwargs: dict) -> Any:
        """A call of an `autograd.Function`."""
        if issubclass(cls, SurrogateFunction) and EveryStep in map(type, args):
            return self._folded(apply, args, kwargs, cls)
        if not cls.__module__.startswith("snntorch."):
            raise Unfit
        return apply(*args, **kwargs)  # of a course, as `fold` does

    @_noting
    def neuron(self, *_: Any) -> Any:
        """A step of a neuron whose forward is called past the module."""
        raise Unfit

    about_to_set = scripted = neuron  # an attribute of a neuron; a function of TorchScript
