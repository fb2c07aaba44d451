"""Kernels on the CPU: Numba compiles a printed source, a few threads share its blocks of neurons."""

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import sys
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
"""A kernel printed by snntorch from the definition of a neuron ({version})."""

import math

from numba import cfunc, float32, float64, int64, types
from numpy import ceil, floor, rint

from snntorch._engine.numba_math import exp, maximum, minimum, sigmoid, sign, tanh

real = {real}
ONE, ZERO, BLOCK = real(1), real(0), {block}
'''
_FOOTER = """
row = types.CPointer({real})
signature = types.void(int64, int64, int64, int64, {types})
compiled = cfunc(signature, error_model="numpy", cache={cache})(kernel)
"""
_REAL = {torch.float32: "float32", torch.float64: "float64"}

_compiling = threading.Lock()


@functools.cache
def _version() -> str:
    """Changes with everything but the printed text that decides what is compiled."""
    return hashlib.sha256((Path(__file__).parent / "numba_math.py").read_bytes()).hexdigest()[:8]


class Kernel:
    """A compiled kernel: call it with its tensors and strides, and it runs over all neurons."""

    def __init__(self, source: Source, dtype: torch.dtype) -> None:
        self.source = source
        self._compiled = _compile(source, _REAL[dtype])  # keeps the machine code alive
        strides = sum(map(len, source.strides.values()))
        arguments = [ctypes.c_int64] * 4 + [ctypes.c_void_p] * len(source.pointers) + [ctypes.c_int64] * strides
        self._call: Callable[..., None] = ctypes.CFUNCTYPE(None, *arguments)(self._compiled.address)

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


def _compile(source: Source, real: str) -> Any:
    strides = sum(map(len, source.strides.values()))
    types = ", ".join(["row"] * len(source.pointers) + ["int64"] * strides)
    header = _HEADER.format(version=_version(), real=real, block=BLOCK)
    directory = cache.directory()
    with _compiling:
        if directory is not None:
            text = header + source.text + _FOOTER.format(real=real, types=types, cache=True)
            path = directory / f"kernel_{hashlib.sha256(text.encode()).hexdigest()[:32]}.py"
            with contextlib.suppress(Exception):  # a damaged or vanished cache must not stop anyone
                cache.keep(path, text)
                return _load(path).compiled
        module = ModuleType("snntorch_kernel")
        exec(header + source.text + _FOOTER.format(real=real, types=types, cache=False), module.__dict__)
        return module.compiled


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Numba finds what it cached by the module's name
    spec.loader.exec_module(module)
    return module
