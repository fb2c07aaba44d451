"""What PyTorch does not tell its function modes: calls of modules and `autograd.Function`s, settings of neurons."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .._engine.private import CALL
from .._neurons.neurons import SpikingNeuron
from . import sites
from .later import resolved
from .layers import refuse_a_step
from .settings import about_to_set

_active = threading.local()


def recorder_now() -> Any:
    """Who records in this thread."""
    return getattr(_active, "recorder", None)


@contextmanager
def recording(recorder: Any) -> Iterator[None]:
    before, _active.recorder = recorder_now(), recorder
    try:
        yield
    finally:
        _active.recorder = before


_lock = threading.Lock()
_patches = 0


@contextmanager
def patched() -> Iterator[None]:
    """Calls of modules and of `autograd.Function`s go through the recorder of their thread, where there is one."""
    global _patches
    with _lock:
        _patches += 1
        if _patches == 1:
            setattr(nn.Module, CALL, _call)
            SpikingNeuron.__setattr__ = _set  # type: ignore[method-assign]
            torch.autograd.Function.apply = _apply  # type: ignore[method-assign]
    try:
        yield
    finally:
        with _lock:
            _patches -= 1
            if _patches == 0:
                setattr(nn.Module, CALL, _MODULE_CALL)
                del SpikingNeuron.__setattr__
                torch.autograd.Function.apply = _FUNCTION_APPLY  # type: ignore[method-assign]


_MODULE_CALL = getattr(nn.Module, CALL)
_FUNCTION_APPLY = torch.autograd.Function.__dict__["apply"]


@sites.boundary
def _call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    recorder = getattr(_active, "recorder", None)
    if recorder is None:
        return _MODULE_CALL(module, *args, **kwargs)
    if recorder.stopped:
        recorder.leave()
        args, kwargs = resolved(args), resolved(kwargs)
        if getattr(recorder, "sequences", 0):
            refuse_a_step(module, recorder.stopped)
        if recorder.ends is not None and isinstance(module, SpikingNeuron):
            return recorder.ends.call(_MODULE_CALL, module, args, kwargs)
        return _MODULE_CALL(module, *args, **kwargs)
    return recorder.module(_MODULE_CALL, module, args, kwargs)


def _set(neuron: SpikingNeuron, name: str, value: Any) -> None:
    recorder = recorder_now()
    if recorder is not None and not recorder.stopped and name not in neuron.states:
        value = about_to_set(recorder, neuron, name, value)
    nn.Module.__setattr__(neuron, name, value)


@classmethod
def _apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
    recorder = recorder_now()
    apply = _FUNCTION_APPLY.__get__(None, cls)
    if recorder is None:
        return apply(*args, **kwargs)
    if recorder.stopped:
        return apply(*resolved(args), **resolved(kwargs))
    return recorder.autograd_function(cls, apply, args, kwargs)
