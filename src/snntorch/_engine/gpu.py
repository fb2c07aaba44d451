"""Kernels on GPUs, NVIDIA's and AMD's: Triton compiles a printed source."""

import contextlib
import functools
import hashlib
import linecache
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .printing import Source

_HEADER = '''\
"""A kernel printed by snntorch from the definition of a neuron."""

import triton
import triton.language as tl

from snntorch._engine.triton_math import (
    acos, acosh, asin, asinh, atan, atan2, atanh, cos, cosh, div, driven, erf, exp, exp2, expm1, fmod, lerp, log, log10,
    log1p, log2, maximum, minimum, part, power, read, remainder, rint, sigmoid, sign, sin, sinh, sqrt, tan, tanh, times,
    trunc,
)

REAL = tl.constexpr(tl.{real})


'''
_REAL = {torch.float32: "float32", torch.float64: "float64"}

# Blocks as large as leave this many of them, some for each multiprocessor; from one warp up to the greatest. As counted
# by `benchmarks/gpu_code.py`, so many ask for what an H100's memory can move from 131,072 neurons on; four times as
# many ask for no more, and those that registers and shared memory have no place for wait.
_PROGRAMS, _GREATEST = 512, 1024
_UNROLL = 4  # steps a round in the least blocks, where few run and waiting is what takes time
_LEAST, _MOST = 2, 8  # values of a thread: two halves, 32 bits, are the least that is loaded ahead of its use
CHUNK = 8  # steps whose states are computed again on the way back, and wait in registers
_SHARED = 48 << 10  # bytes of fast memory that every GPU gives a block, where the values of steps to come arrive


class Kernel:
    """A kernel: call it with its tensors and strides, and it runs over all neurons."""

    name = "snntorch"  # in profiles

    def __init__(self, source: Source, dtype: torch.dtype) -> None:
        self.source = source
        self._jit = _load(_HEADER.format(real=_REAL[dtype]) + source.text)
        moving = sum(len(source.arrays.get(kind, ())) for kind in "XGNS")
        self._given = [i for i, (kind, _) in enumerate(source.slots) if kind in source.strides]  # by whoever calls
        self._rounds, self._chunks = (f"{name}: tl.constexpr" in source.text for name in ("UNROLL", "CHUNK"))
        self._bytes = max(moving, 1) * dtype.itemsize  # at most, for each neuron and step
        self._compiled: dict[tuple, Any] = {}  # by what Triton compiles a kernel for
        self._constants: list[str] = []  # the names of its compiled arguments, in order

    def options(self, size: int, strides: Sequence[int], warp: int = 32, apart: bool = False) -> dict[str, int]:
        """How it is compiled for `size` neurons: its constants, and what Triton is told beside them.

        Args:
            size: number of neurons.
            strides: its strides.
            warp: see `warp_of`.
            apart: whether an array that has strides begins elsewhere than at a multiple of 16 bytes.
        """
        least = warp * _LEAST
        again = self._chunks and not self._rounds
        block = least if again else min(max(_power_of_two_within(size // _PROGRAMS), least), _GREATEST)
        # Products and sums are not contracted: every operation rounds, as PyTorch's do.
        options = {"BLOCK": block, "ALIGN": math.gcd(16, size, *strides),
                   "num_warps": max(1, block // (warp * _MOST)), "enable_fp_fusion": False}  # fmt: skip
        if self._rounds:
            ahead = min(max(_power_of_two_within(_SHARED // (block * self._bytes)), 2), 16)
            unroll = min(_UNROLL, ahead) if block == least else 1
            options |= {"UNROLL": unroll, "STAGES": ahead if unroll == 1 else ahead // unroll + 1}
        if self._chunks:
            options["CHUNK"] = CHUNK
        if again:
            options["STAGES"] = 3
        if self._rounds or self._chunks:
            options["WORDS"] = options["ALIGN"] % 2 == 1 or apart
        return options

    def __call__(self, steps: int, size: int, tensors: Sequence[Tensor], strides: Sequence[int]) -> None:
        """Run over `[steps, size]`."""
        apart = any([tensors[i].data_ptr() % 16 for i in self._given])
        options = self.options(size, strides, warp_of(tensors[0].device), apart)
        self.launch(-(-size // options["BLOCK"]), options, steps, [size, *strides], tensors)

    def launch(
        self, programs: int, options: dict[str, int], steps: int, numbers: Sequence[int], tensors: Sequence[Tensor]
    ) -> None:
        """Run so many programs, given the options, and the size and strides as numbers.

        What Triton finds out of the arguments at every launch takes longer than many a kernel, so that is done once for
        those alike to it: dtypes, pointers that are multiples of 16 bytes, and integers of 32 bits.
        """
        align, device = options["ALIGN"], tensors[0].device
        given = [steps, *[number // align for number in numbers]]
        kind = (device, *options.values(), *[t.dtype for t in tensors], *[t.data_ptr() % 16 == 0 for t in tensors],
                *[number >> 31 for number in given])  # fmt: skip
        compiled = self._compiled.get(kind)
        with contextlib.nullcontext() if _is_current(device) else torch.cuda.device_of(tensors[0]):
            if compiled is not None:
                compiled[(programs, 1, 1)](*tensors, *given, *[options[name] for name in self._constants])
                return
            compiled = self._jit[(programs,)](*tensors, *given, **options)
        if torch.version.hip is None and hasattr(compiled, "asm"):  # not interpreted; on AMD's sizes count too
            self._constants = [name for name in self._jit.arg_names if name in options]
            self._compiled[kind] = compiled


def _is_current(device: torch.device) -> bool:
    """Whether Triton launches there, which it does on the current device."""
    return device.type != "cuda" or device.index == torch.cuda.current_device()


@functools.cache
def warp_of(device: torch.device) -> int:
    """Threads that run in step: 64 on AMD's GPUs for computing, 32 elsewhere."""
    return getattr(torch.cuda.get_device_properties(device), "warp_size", 32) if device.type == "cuda" else 32


def failure(device: torch.device) -> str:
    """Why no kernel can be compiled or launched on a device, or nothing: Triton needs a C compiler at its first use."""
    try:
        kernel = _load(_HEADER.format(real="float32") + _PROBE)
        with torch.inference_mode(False), torch.cuda.device_of(there := torch.zeros(1, device=device)):
            kernel[(1,)](there)
    except Exception as error:  # whatever a compiler, a driver or a missing one raises
        reason = next(iter(str(error).strip().splitlines()), "")
        return f"Triton can't compile a kernel here ({type(error).__name__}: {reason})"
    return ""


_PROBE = """\
@triton.jit
def kernel(P):
    tl.store(P, tl.load(P) + 1)
"""


def _power_of_two_within(number: int) -> int:
    """The greatest power of two that is no greater, or 1."""
    return 1 << max(number.bit_length() - 1, 0)


def _load(text: str) -> Any:
    """The kernel of a source, which Triton asks Python for: kept where Python keeps the lines of its files."""
    name = f"<snntorch {hashlib.sha256(text.encode()).hexdigest()[:32]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    module = ModuleType("snntorch_kernel")
    exec(compile(text, name, "exec"), module.__dict__)
    return module.kernel
