"""Kernels on the CPU: Numba compiles a printed source, a few threads share its blocks of neurons."""

import contextlib
import ctypes
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from . import cache
from .numba_printer import BLOCK
from .printing import Source

_HEADER = '''\
"""A kernel printed by snntorch from the definition of a neuron."""

import math

from numba import cfunc, float32, float64, int64, types
from numpy import ceil, floor, rint

from snntorch._engine.numba_math import exp, maximum, minimum, sigmoid, sign, tanh

real = {real}
ONE, ZERO, BLOCK = real(1), real(0), {block}
'''
_FOOTER = """
row = types.CPointer({real})
compiled = cfunc(types.void(int64, int64, int64, int64, {types}), error_model="numpy")(kernel)
"""
_REAL = {torch.float32: "float32", torch.float64: "float64"}

_compiling = threading.Lock()


class Kernel:
    """A compiled kernel: call it with its tensors and strides, and it runs over all neurons."""

    def __init__(self, source: Source, dtype: torch.dtype) -> None:
        self.source = source
        self._engine, address = _load(source, _REAL[dtype])  # the engine keeps the machine code alive
        strides = sum(map(len, source.strides.values()))
        arguments = [ctypes.c_int64] * 4 + [ctypes.c_void_p] * len(source.pointers) + [ctypes.c_int64] * strides
        self._call: Callable[..., None] = ctypes.CFUNCTYPE(None, *arguments)(address)

    def __call__(self, steps: int, size: int, tensors: Sequence[Tensor], strides: Sequence[int]) -> None:
        """Run over `[steps, size]`."""
        pointers = [tensor.data_ptr() for tensor in tensors]
        threads = torch.get_num_threads()
        if threads == 1 or steps * size < _WORTH_A_THREAD:
            self._call(steps, size, 0, size, *pointers, *strides)
            return
        # Whoever is free takes the next piece, so that a slow core delays no one.
        piece = max(BLOCK, -(-size // (4 * threads * BLOCK)) * BLOCK) if size > BLOCK else -(-size // (4 * threads))
        pieces = iter(range(0, size, piece))

        def work() -> None:
            for start in pieces:
                self._call(steps, size, start, min(start + piece, size), *pointers, *strides)

        helpers = [_pool(threads - 1).submit(work) for _ in range(min(threads, -(-size // piece)) - 1)]
        work()
        for helper in helpers:
            helper.result()


# Elements of a run below which handing half of it to another thread costs more than it saves.
_WORTH_A_THREAD = 1 << 17


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="snntorch")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def _load(source: Source, real: str) -> tuple[Any, int]:
    """A kernel's machine code, from the disk where it is known."""
    from . import machine_code

    strides = sum(map(len, source.strides.values()))
    types = ", ".join(["row"] * len(source.pointers) + ["int64"] * strides)
    text = _HEADER.format(real=real, block=BLOCK) + source.text + _FOOTER.format(real=real, types=types)
    key = hashlib.sha256((machine_code.target() + _MATH.read_text() + text).encode()).hexdigest()[:32]
    directory = cache.directory()
    path = directory / f"{key}.kernel" if directory is not None else None
    with _compiling:
        if path is not None:
            with contextlib.suppress(OSError, ValueError):  # missing, vanished or damaged
                return machine_code.load(path.read_bytes())
        file = _compile(text)
        if path is not None:
            with contextlib.suppress(OSError):  # a full disk must not stop anyone
                cache.write(path, file)
        return machine_code.load(file)


_MATH = Path(__file__).parent / "numba_math.py"


def _compile(text: str) -> bytes:
    from . import machine_code

    module = ModuleType("snntorch_kernel")
    exec(text, module.__dict__)
    compiled = module.compiled
    return machine_code.pack(compiled.inspect_llvm(), compiled.native_name)
