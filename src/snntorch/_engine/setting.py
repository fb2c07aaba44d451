"""Which backend is asked for."""

import functools
import inspect
import os
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

BACKENDS = ("auto", "fused", "eager")
Function = TypeVar("Function", bound=Callable)


class backend:
    """Choose how neurons run: `snntorch.backend("eager")`, for good, as a context manager or as a decorator.

    A bare call holds from then on, in every thread; inside a `with` block, until the block ends. A `with` block and a
    decorated function hold for the thread or asynchronous task that they run in.

    Args:
        name: `"auto"` fuses what can be fused, where it pays; `"eager"` runs every step as PyTorch operations;
            `"fused"` fuses whatever can be and raises where something can't. The environment variable
            `SNNTORCH_BACKEND` sets the first choice.

    Raises:
        ValueError: for another name.

    Example:
        >>> import snntorch as snn, torch
        >>> with snn.backend("eager"):
        ...     spk, mem = snn.unroll(snn.Leaky(beta=0.9), torch.rand(5, 2, 3))
        >>> @snn.backend("eager")
        ... def reference(x):
        ...     return snn.unroll(snn.Leaky(beta=0.9), x)
    """

    def __init__(self, name: str) -> None:
        if name not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}")
        self.name = name
        if _blocks.get():
            _enter(self, False)
        else:
            _call(self)

    def __enter__(self) -> "backend":
        blocks = _blocks.get()
        if blocks and blocks[-1] == (self, False):  # what looked like a bare call was none
            _blocks.set(blocks[:-1])
        else:
            _withdraw(self)
        _enter(self, True)
        return self

    def __exit__(self, *error: object) -> None:
        """Let this choice, and what was chosen inside it, no longer hold."""
        blocks = _blocks.get()
        places = [k for k, (choice, entered) in enumerate(blocks) if choice is self and entered]
        if places:
            _blocks.set(blocks[: places[-1]])
            _tell_compilers()
        else:
            _withdraw(self)

    def __call__(self, function: Function) -> Function:
        """The function, which runs with this choice."""
        _blocks.set(tuple(block for block in _blocks.get() if block != (self, False)))
        _withdraw(self)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def chosen_later(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return chosen_later  # type: ignore[return-value]

        @functools.wraps(function)
        def chosen(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return chosen  # type: ignore[return-value]


# The `with` blocks around us and the bare calls (False) inside them, the innermost last.
_blocks: ContextVar[tuple[tuple[backend, bool], ...]] = ContextVar("snntorch.backend", default=())


_FIRST = os.environ.get("SNNTORCH_BACKEND", "auto")
# The bare calls that may still turn out to begin a `with` block, the last one last.
_calls: list[tuple[str, weakref.ref]] = []
_lock = threading.Lock()


def _call(choice: backend) -> None:
    global _calls
    with _lock:
        gone = [k for k, (_, object) in enumerate(_calls) if object() is None]  # those hold for good
        _calls = [*_calls[gone[-1] if gone else 0 :], (choice.name, weakref.ref(choice))]
        _tell_compilers()


def _withdraw(choice: backend) -> None:
    global _calls
    with _lock:
        _calls = [call for call in _calls if call[1]() is not choice]
        _tell_compilers()


def _enter(choice: backend, entered: bool) -> None:
    _blocks.set((*_blocks.get(), (choice, entered)))
    _tell_compilers()


_compiling = _FIRST  # what torch.compile reads, which knows no context variables, and guards globals alone (2.11)


def _tell_compilers() -> None:
    global _compiling
    _compiling = asked()


def asked() -> str:
    """The backend that is asked for here and now."""
    if torch.compiler.is_compiling():
        return _compiling
    blocks = _blocks.get()
    return blocks[-1][0].name if blocks else _calls[-1][0] if _calls else _FIRST


if _FIRST not in BACKENDS:
    raise ValueError(f"SNNTORCH_BACKEND must be one of {', '.join(BACKENDS)}, got {_FIRST!r}")
