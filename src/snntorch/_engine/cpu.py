"""Kernels on the CPU: Numba compiles a printed source, a few threads share its blocks of neurons.

The threads are those of PyTorch's own operations where these are OpenMP's: for milliseconds after an operation they
look for the next one, and other threads would have to share their cores with them. Elsewhere, and in a forked child,
which has no thread of its parent's, they are the system's, started for a run and gone with it.
"""

import contextlib
import ctypes
import hashlib
import os
import re
import threading
from _thread import LockType, allocate_lock, start_new_thread
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from . import cache
from .memory import empty, of_system
from .numba_printer import BLOCK
from .printing import Source, indented

_HEADER = '''\
"""A kernel printed by snntorch from the definition of a neuron."""

import math

from numba import cfunc, float32, float64, int8, int16, int32, int64, types
from numpy import ceil, exp2, floor, fmod, rint, trunc

from snntorch._engine.numba_math import exp, lerp, maximum, minimum, pointers, remainder, sigmoid, sign, taken, tanh

real = {real}
ONE, ZERO, BLOCK = real(1), real(0), {block}
'''
_SHARED = """
def kernel(numbers):
    if (numbers[2] * {least} == 0) != numbers[3]:
        return
    piece, steps, size = numbers[2], numbers[4], numbers[5]
    arrays = pointers(numbers, real)
{given}
    start = taken(numbers, 0, piece)
    while start < size:
        stop = min(start + piece, size)
{body}
        start = taken(numbers, 0, piece)

compiled = cfunc(types.void(types.CPointer(int64)), error_model="numpy")(kernel)
"""
_LEAST = 5e-324  # of which a small multiple is zero where a thread flushes denormal numbers
_REAL = {
    getattr(torch, name): name for name in ("float32", "float64", "int8", "int16", "int32", "int64")
}  # what a kernel's arrays hold

_compiling = threading.RLock()
# OpenMP's way to have a function called in each of so many threads, as GCC's compiled code does; LLVM's has it as well
_in_all_threads = of_system("GOMP_parallel")


def _after_fork() -> None:
    global _in_all_threads
    _in_all_threads = None  # it would wait for the parent's threads for ever
    _compiling.release()


if hasattr(os, "register_at_fork"):  # a fork waits for a compilation: the child would wait for its locks for ever
    os.register_at_fork(before=_compiling.acquire, after_in_parent=_compiling.release, after_in_child=_after_fork)


class Kernel:
    """A compiled kernel: call it with its tensors and strides, and it runs over all neurons.

    Its machine code takes numbers: the first element that no thread has taken, how many threads came, how many elements
    one takes at once, whether the caller flushes denormal numbers, which a thread that takes some must do as well,
    steps, size, pointers, strides, and pointers to each thread's scratch.
    """

    name = "snntorch"  # in profiles

    def __init__(self, source: Source, dtype: torch.dtype) -> None:
        self.source, self._dtype, self._scratch = source, dtype, len(source.scratch)
        self._engine, address = _load(source, _REAL[dtype])  # the engine keeps the machine code alive
        self._address = ctypes.c_void_p(address)
        self._share = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)

    def __call__(self, steps: int, size: int, tensors: Sequence[Tensor], strides: Sequence[int]) -> None:
        """Run over `[steps, size]`."""
        pointers = [tensor.data_ptr() for tensor in tensors]
        if 0 in pointers and steps and size:
            raise ValueError("a tensor has no memory: its storage was freed")
        threads = torch.get_num_threads() if steps * size >= _WORTH_A_THREAD else 1
        piece = size
        if threads > 1:
            piece = max(BLOCK, -(-size // (4 * threads * BLOCK)) * BLOCK) if size > BLOCK else -(-size // (4 * threads))
        scratch: Sequence[Tensor] = ()
        if self._scratch:
            scratch = empty((threads * self._scratch, steps + 1, min(BLOCK, piece)), self._dtype).unbind()
            strides = [*strides, *[own.data_ptr() for own in scratch]]
        flushes = piece * _LEAST == 0
        numbers = array("q", [0, 0, piece, flushes, steps, size, *pointers, *strides])
        place = numbers.buffer_info()[0]
        if threads == 1:
            self._share(place)
        elif _in_all_threads is not None:
            _in_all_threads(self._address, ctypes.c_void_p(place), threads, 0)
        else:
            held = numbers, tensors, scratch  # so that no thread ever writes to freed memory
            _share(lambda _, _held=held: self._share(place), [*range(threads)], threads - 1)


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
    names = [*source.pointers, *source.distances]
    kinds = ["arrays"] * len(source.pointers) + ["numbers"] * len(source.distances)
    given = [f"{name} = {kind}[{6 + k}]" for k, (name, kind) in enumerate(zip(names, kinds, strict=True))]
    if source.scratch:
        given += [f"own = {6 + len(names)} + {len(source.scratch)} * taken(numbers, 1, 1)"]
        given += [f"{name} = arrays[own + {k}]" for k, name in enumerate(source.scratch)]
    constants, _, body = re.split(r"(?m)^def kernel(.*):\n", source.text)
    shared = _SHARED.format(least=_LEAST, given=indented(given, 1), body=indented(body.splitlines(), 1))
    text = _HEADER.format(real=real, block=BLOCK) + constants + shared
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
