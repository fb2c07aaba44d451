"""What PyTorch does not tell its function modes: calls of modules, `autograd.Function`s and TorchScript's functions."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import nn

from .._engine.private import CALL, UNCOMPILED
from .._neurons.neurons import SpikingNeuron
from .._neurons.recorder import recorder_now
from . import sites
from .later import resolved
from .layers import refuse_a_step


class _Detour:
    """A method of PyTorch's that runs other code while anybody records.

    The function's code is exchanged, not the attribute of its class: all subclasses would forget what was looked up in
    them, and from Python 3.13 on those that changed a thousand times look up everything anew. Whoever holds the
    function, as `torch.compile` and `torch.fx` do, sees the same one.

    Args:
        owner: the class.
        name: of its attribute.
        entry: the method with the other code, which runs among the names of PyTorch's module.
        way: what that code calls, and by its own name.

    Attributes:
        original: the attribute as it is while nobody records.
    """

    def __init__(self, owner: type, name: str, entry: Any, way: FunctionType) -> None:
        self.owner, self.name, self.entry = owner, name, entry
        self.original: Any = vars(owner)[name]
        self.function = found = getattr(self.original, "__func__", self.original)
        self.in_python = isinstance(found, FunctionType)  # else, as `apply` from PyTorch 2.14 on, it has no code
        if self.in_python:
            self.code, self.other = found.__code__, getattr(entry, "__func__", entry).__code__
            names = found.__globals__
            names[way.__name__] = way
            copy = FunctionType(self.code, names, found.__name__, found.__defaults__, found.__closure__)
            copy.__kwdefaults__ = found.__kwdefaults__
            self.original = copy if self.original is found else classmethod(copy)

    def turn(self, away: bool) -> None:
        """Let the method run the other code, or its own again."""
        if self.in_python:
            self.function.__code__ = self.other if away else self.code
        else:
            setattr(self.owner, self.name, self.entry if away else self.original)


_lock = threading.Lock()
_patches = 0


@contextmanager
def patched() -> Iterator[None]:
    """Calls of these go through the recorder of their thread, where there is one."""
    global _patches
    with _lock:
        _patches += 1
        if _patches == 1:
            for detour in _DETOURS:
                detour.turn(away=True)
    try:
        yield
    finally:
        with _lock:
            _patches -= 1
            if _patches == 0:
                for detour in _DETOURS:
                    detour.turn(away=False)


@sites.boundary
def snntorch_call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    recorder = recorder_now()
    if recorder is None:
        return _calls.original(module, *args, **kwargs)
    if recorder.stopped:
        recorder.leave()
        args, kwargs = resolved(args), resolved(kwargs)
        if getattr(recorder, "sequences", 0):
            refuse_a_step(module, recorder.stopped)
        if recorder.ends is not None and isinstance(module, SpikingNeuron):
            return recorder.ends.call(_calls.original, module, args, kwargs)
        return _calls.original(module, *args, **kwargs)
    return recorder.module(getattr(type(module), UNCOMPILED), module, args, kwargs)


def snntorch_apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
    recorder = recorder_now()
    apply = _applications.original.__get__(None, cls)
    if recorder is None:
        return apply(*args, **kwargs)
    if recorder.stopped:
        return apply(*resolved(args), **resolved(kwargs))
    return recorder.autograd_function(cls, apply, args, kwargs)


def snntorch_scripted(function: Any, *args: Any, **kwargs: Any) -> Any:
    recorder = recorder_now()
    if recorder is None:
        return _scripted.original(function, *args, **kwargs)
    if recorder.stopped:
        return _scripted.original(function, *resolved(args), **resolved(kwargs))
    return recorder.scripted(function, args, kwargs)


class _Entries:
    def call(self, *args: Any, **kwargs: Any) -> Any:
        return snntorch_call(self, *args, **kwargs)  # type: ignore[arg-type]

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        _ = __class__  # a free variable, which `super()` is to the code that this stands for
        return snntorch_apply(cls, *args, **kwargs)

    def scripted(self, *args: Any, **kwargs: Any) -> Any:
        return snntorch_scripted(self, *args, **kwargs)


_calls = _Detour(nn.Module, CALL, _Entries.call, snntorch_call)
_applications = _Detour(torch.autograd.Function, "apply", vars(_Entries)["apply"], snntorch_apply)
_scripted = _Detour(torch.jit.ScriptFunction, "__call__", _Entries.scripted, snntorch_scripted)
_DETOURS = _calls, _applications, _scripted
