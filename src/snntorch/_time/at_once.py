"""A step that is called once for all steps: what it calls takes them all, as it would be folded by hand.

Nothing is recorded. So it is for steps of which a recording has told that one stands for all others, and whose calls
are functions, layers and neurons that take time as it comes. Where anything else comes up in the call, it is given up,
all is as it was before, and the step is recorded.
"""

import weakref
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._engine import listening
from .._engine.private import as_subclass, function_mode, past_torch_function
from .._neurons.neurons import SpikingNeuron
from .._neurons.recorder import recording
from ..surrogate import SurrogateFunction
from . import known, layers
from .arguments import hollow, leaves, mapped
from .courses import as_stacked
from .fold import fold
from .infer import WITHOUT_VALUES
from .later import Meta
from .look import stand_in
from .patches import patched
from .start import Start


def _name(function: Any) -> str:
    return getattr(function, "__name__", "")


def _writes_nothing(function: Any) -> bool:
    return not known.writes_in_place(_name(function), {}) and _name(function) != "batch_norm"  # running statistics


# Functions whose results' shapes depend on no value, and those of them that draw.
_FUNCTIONS: set[Any] = {*filter(_writes_nothing, WITHOUT_VALUES | known.TRANSPOSED), Tensor.__getitem__}
_DRAW = {function for function in _FUNCTIONS if _name(function) in known.RANDOM}

_fits: weakref.WeakKeyDictionary[nn.Module, dict[bool, bool]] = weakref.WeakKeyDictionary()


def tell(module: nn.Module, fits: bool) -> None:
    """What is known of a module, as in training or evaluation: whether it may fit, or was tried and does not."""
    known_of = _fits.setdefault(module, {})
    known_of[module.training] = fits and known_of.get(module.training, True)


def at_once(
    module: nn.Module, x: Tensor, num_steps: int | None, stacked: Callable[[Sequence, Callable], Any]
) -> tuple[Any] | None:
    """What `unroll` returns for a module whose forward is one time step, as the only item; None where it has to record.

    Args:
        module: the module.
        x: as in `unroll`.
        num_steps: likewise.
        stacked: makes outputs of it, given those of a step in a list, and what makes one of a tensor.
    """
    if not _fits.get(module, {}).get(module.training) or listening():
        return None
    if x.is_cuda and torch.cuda.is_current_stream_capturing():  # when the state of its draws can't be kept
        return None
    start = Start(module)
    if not start.fixed():
        return None
    draws = torch.get_rng_state(), torch.cuda.get_rng_state(x.device) if x.is_cuda else None
    calls = _AtOnce(start, len(x) if num_steps is None else num_steps)
    try:
        out = stacked([calls.run(module, x, num_steps is not None)], calls.stacked)
        if calls.over() and start.same(calls.neurons):
            return (out,)
        raise _Unfit
    except BaseException as error:
        start.restore()
        torch.set_rng_state(draws[0])
        if draws[1] is not None:
            torch.cuda.set_rng_state(draws[1], x.device)
        if not isinstance(error, _FAILS):
            raise
    tell(module, fits=False)
    return None


class _Unfit(Exception):
    """What is called does not take all steps at once."""


_FAILS = _Unfit, RuntimeError, TypeError, ValueError, IndexError  # as PyTorch may raise where the loop would not


def _states(neuron: SpikingNeuron) -> list[Any]:
    return [getattr(neuron, name) for name in neuron.states]


def _folds(layer: nn.Module) -> bool:
    """Whether a layer takes all steps alike, and does not write into what it takes."""
    ours = type(layer).__module__.startswith("snntorch.") or layers.declared(layer, "memoryless") is None
    return layers.folds(layer) and ours and not getattr(layer, "inplace", False)


class _EveryStep(Tensor):
    """What a tensor is at each step: it has the shape of one, no memory, and in its `course` all of them."""

    __slots__ = ("course", "meta", "recorder")
    course: Tensor
    meta: Meta
    recorder: Any

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Where nobody sees any more what is called."""
        raise _Unfit

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What has passed by PyTorch's functions."""
        raise _Unfit


class _AtOnce(TorchFunctionMode):
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

    def run(self, module: nn.Module, x: Tensor, static: bool) -> Any:
        """What the step gives."""
        x = x if static else self._each(x)
        with patched(), recording(self), self:
            return module(x)

    def stacked(self, of_step: Sequence[Tensor]) -> Tensor:
        """A tensor that a step gives, of all steps."""
        (tensor,) = of_step
        return as_stacked(tensor.course) if type(tensor) is _EveryStep else torch.stack([tensor] * self.steps)

    def over(self) -> bool:
        """Whether nobody keeps what stands for a step's tensor, and neurons hold the states that they left."""
        left = all([all(map(is_, _states(neuron), states)) for neuron, states in self.left.items()])
        return left and all([reference() is None for reference in self.made])

    def _each(self, given: Any) -> Any:
        """What stands for each step's, of nested courses."""
        return mapped(self._of_course, given)

    def _of_course(self, course: Tensor) -> Tensor:
        meta = Meta(course.shape[1:], course.stride()[1:], course.dtype, course.device)
        every: Any = as_subclass(_EveryStep, meta.hollow)
        every.course, every.meta, every.recorder = course, meta, self
        self.made.append(weakref.ref(every))
        return every

    # -- functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _EveryStep not in types:  # as far as PyTorch has looked
            alike = func in _FUNCTIONS and func not in _DRAW and _EveryStep not in map(type, leaves((args, kwargs)))
            if func in known.AT_ONCE or (alike and not known.writes_in_place("", kwargs)):
                return func(*args, **kwargs)
        elif func in known.KNOWN:
            with past_torch_function():
                return func(*args, **kwargs)
        elif func in known.CONSTANT:
            return func(*mapped(stand_in, args), **mapped(stand_in, kwargs))
        elif func in _FUNCTIONS and not (known.writes_in_place("", kwargs) or known.finds(func, args, kwargs)):
            return self._folded(func, args, kwargs)
        elif func == known.REQUIRES_GRAD:
            return args[0].course.requires_grad
        raise _Unfit

    def _folded(self, function: Callable, args: Any, kwargs: Any, applied: Any = None) -> Any:
        every: list[Any] = []
        args, kwargs = hollow((args, kwargs), every, _EveryStep)
        return self._each(fold(function, args, kwargs, [e.course for e in every], [True] * len(every), applied))

    # -- modules, as they reach a recorder

    def module(self, call: Callable, module: Any, args: tuple, kwargs: dict) -> Any:
        """A module that is called."""
        if module not in self.start.held:
            raise _Unfit
        way = layers.way(module, self.steps)
        if way == "look through" and not isinstance(module, SpikingNeuron):
            return call(module, *args, **kwargs)
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
            raise _Unfit
        (x,) = args
        every = type(x) is _EveryStep
        if way == "neuron" and module.init_hidden and module not in self.neurons:
            self.neurons[module] = _states(module)
            out = self._aside(module.sequence, *(x.course,) if every else (x, (), self.steps))
            self.left[module] = _states(module)
            return out
        if way in ("layer", "fold") and _folds(module) and (every or not layers.is_random(module)):
            return self._aside(layers.fold, module, x.course) if every else self._aside(module, x, alike=True)
        raise _Unfit

    def _aside(self, function: Callable, *args: Any, alike: bool = False) -> Any:
        """A call that nobody looks at, which gives courses, or what is alike at every step."""
        if function_mode() is not self:
            raise _Unfit
        self.__exit__(None, None, None)
        try:
            with recording(None):
                out = function(*args)
            return out if alike else self._each(out)
        finally:
            self.__enter__()

    def autograd_function(self, cls: Any, apply: Callable, args: tuple, kwargs: dict) -> Any:
        """A call of an `autograd.Function`."""
        if issubclass(cls, SurrogateFunction) and _EveryStep in map(type, args):
            return self._folded(apply, args, kwargs, cls)
        if not cls.__module__.startswith("snntorch."):
            raise _Unfit
        return apply(*args, **kwargs)  # of a course, as `fold` does

    def neuron(self, *_: Any) -> Any:
        """A step of a neuron whose forward is called past the module."""
        raise _Unfit

    about_to_set = scripted = neuron  # an attribute of a neuron; a function of TorchScript
