"""Kernels on the CPU: Numba compiles a printed source, a few threads share its blocks of neurons.

The threads are the system's, started for a run and gone with it: cheaper than asking a pool, with nothing to mend in a
forked child and nothing to shut down, and they round as the calling thread does (`torch.set_flush_denormal`).
"""

import contextlib
import ctypes
import hashlib
import os
import threading
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from . import cache
from .memory import empty
from .numba_printer import BLOCK
from .printing import Source

_HEADER = '''\
"""A kernel printed by snntorch from the definition of a neuron."""

import math

from numba import cfunc, float32, float64, int8, int16, int32, int64, types
from numpy import ceil, exp2, floor, fmod, rint, trunc

from snntorch._engine.numba_math import exp, lerp, maximum, minimum, remainder, sigmoid, sign, tanh

real = {real}
ONE, ZERO, BLOCK = real(1), real(0), {block}
'''
_FOOTER = """
row = types.CPointer({real})
compiled = cfunc(types.void(int64, int64, int64, int64, {types}), error_model="numpy")(kernel)
"""
_REAL = {
    getattr(torch, name): name for name in ("float32", "float64", "int8", "int16", "int32", "int64")
}  # what a kernel's arrays hold

_compiling = threading.RLock()
if hasattr(os, "register_at_fork"):  # a fork waits for a compilation: the child would wait for its locks for ever
    os.register_at_fork(
        before=_compiling.acquire, after_in_parent=_compiling.release, after_in_child=_compiling.release
    )


class Kernel:
    """A compiled kernel: call it with its tensors and strides, and it runs over all neurons."""

    name = "snntorch"  # in profiles

    def __init__(self, source: Source, dtype: torch.dtype) -> None:
        self.source, self._dtype, self._scratch = source, dtype, len(source.scratch)
        self._engine, address = _load(source, _REAL[dtype])  # the engine keeps the machine code alive
        arguments = [ctypes.c_int64] * 4 + [ctypes.c_void_p] * len(source.pointers)
        arguments += [ctypes.c_int64] * len(source.distances) + [ctypes.c_void_p] * self._scratch
        self._call: Callable[..., None] = ctypes.CFUNCTYPE(None, *arguments)(address)

    def __call__(self, steps: int, size: int, tensors: Sequence[Tensor], strides: Sequence[int]) -> None:
        """Run over `[steps, size]`."""
        pointers = [tensor.data_ptr() for tensor in tensors]
        if 0 in pointers and steps and size:
            raise ValueError("a tensor has no memory: its storage was freed")
        threads = torch.get_num_threads()
        if threads == 1 or steps * size < _WORTH_A_THREAD:
            scratch = self._own(steps, size) if self._scratch else ()
            self._call(steps, size, 0, size, *pointers, *strides, *[c.data_ptr() for c in scratch])
            return
        piece = max(BLOCK, -(-size // (4 * threads * BLOCK)) * BLOCK) if size > BLOCK else -(-size // (4 * threads))
        starts = list(range(0, size, piece))
        idle = [self._own(steps, piece) if self._scratch else () for _ in range(min(threads, len(starts)))]

        def work(start: int, _tensors: object = tensors) -> None:  # held, so that no thread ever writes to freed memory
            scratch = idle.pop()
            stop = min(start + piece, size)
            self._call(steps, size, start, stop, *pointers, *strides, *[c.data_ptr() for c in scratch])
            idle.append(scratch)

        _share(work, starts, len(idle) - 1)

    def _own(self, steps: int, size: int) -> Sequence[Tensor]:
        """A thread's scratch, for blocks of a piece of that size."""
        return empty((self._scratch, steps + 1, min(BLOCK, size)), self._dtype).unbind()


# Elements of a run below which handing half of it to another thread costs more than it saves.
_WORTH_A_THREAD = 1 << 17


def _share(work: Callable[[int], None], pieces: list[int], helpers: int) -> None:
    """Do the work on every piece, here and in other threads, none of which works any more on return or on an error.

    Whoever is free takes the next piece, so that a slow core delays no one. A thread that can't start, as when Python
    ends, leaves its pieces to the others; nobody waits for one that comes too late to find any.
    """
    left = iter(pieces)
    errors: list[BaseException] = []
    held = [work]  # by the caller alone once all have worked: a thread that ends after Python may free no tensor

    def help_out(busy: LockType) -> None:
        with busy:
            try:
                for piece in left:
                    held[0](piece)
            except BaseException as error:
                errors.append(error)

    threads = [allocate_lock() for _ in range(helpers)]  # each held while its thread may work
    try:
        for busy in threads:
            with contextlib.suppress(RuntimeError):
                start_new_thread(help_out, (busy,))
        for piece in left:
            work(piece)
        _wait(threads)
    except BaseException:  # Ctrl-C, wherever it comes
        del pieces[:]  # no other is begun
        try:
            _wait(threads)
        finally:
            _wait(threads)  # a second may have come in place of the first wait
        raise
    finally:
        held.clear()
    if errors:
        raise errors[0]


def _wait(threads: list[LockType]) -> None:
    """Wait until none is busy; who interrupts has to wait too."""
    try:
        for busy in threads:
            with busy:
                pass
    except BaseException:
        _wait(threads)
        raise


def _load(source: Source, real: str) -> tuple[Any, int]:
    """A kernel's machine code, from the disk where it is known."""
    kinds = ["row"] * len(source.pointers) + ["int64"] * len(source.distances) + ["row"] * len(source.scratch)
    types = ", ".join(kinds)
    text = _HEADER.format(real=real, block=BLOCK) + source.text + _FOOTER.format(real=real, types=types)
    with _compiling:  # which holds back forks from the first import of the compiler on
        from . import machine_code

        key = hashlib.sha256((machine_code.target() + _MATH.read_text() + text).encode()).hexdigest()[:32]
        name = f"{key}.kernel"
        with contextlib.suppress(OSError, ValueError):  # missing, vanished, another's or damaged
            return machine_code.load(key, cache.read(name))
        module = ModuleType("snntorch_kernel")
        exec(text, module.__dict__)
        file = machine_code.pack(key, module.compiled.inspect_llvm(), module.compiled.native_name)
        with contextlib.suppress(OSError):  # a full disk must not stop anyone
            cache.write(name, file)
        return machine_code.load(key, file)


_MATH = Path(__file__).parent / "numba_math.py"
