"""Compiled kernels by what they compute, and how they are given their arrays."""

import functools
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import record_function

from . import cpu, gpu, numba_printer, triton_printer
from .printing import Source
from .private import profiled
from .program import Gradient, Program
from .recent import KERNELS
from .target import PACKAGES

_MAKERS = {"numba": (numba_printer, cpu.Kernel), "triton": (triton_printer, gpu.Kernel)}  # package -> printer, compiler
Kernel = cpu.Kernel | gpu.Kernel


def forward_kernel(
    program: Program, dense: tuple, written: tuple, single: bool, dtype: torch.dtype, device: str, chunks: bool = False
) -> Kernel:
    """The compiled kernel for a type of device; see `print_forward`."""
    return made("forward", (program, dense, written, single, *[True] * chunks), dtype, device)


def backward_kernel(
    step: Gradient, dense: tuple, outputs: int, single: bool, dtype: torch.dtype, device: str, chunks: bool = False
) -> Kernel:
    """The compiled kernel for a type of device; see `print_backward`, with `chunks` `print_backward_by_chunks`."""
    if chunks:
        return made("backward_by_chunks", (step, dense, outputs), dtype, device)
    return made("backward", (step, dense, outputs, single), dtype, device)


@functools.lru_cache(KERNELS)
def made(direction: str, printed: tuple, dtype: torch.dtype, device: str, maker: Any = None) -> Any:
    """A compiled kernel of what a printer is given; a `maker` is a printer and a compiler in place of the package's."""
    printer, compiler = maker or _MAKERS[PACKAGES[device]]
    source = getattr(printer, f"print_{direction}")(*printed)
    program: Program = getattr(printed[0], "program", printed[0])  # of a gradient, or the program itself
    origins = sorted(program.origins) or ["an exported program"]
    if os.environ.get("SNNTORCH_PRINT", "0") not in ("", "0"):  # each kernel as it is compiled, or loaded
        print(f"# {direction} of {', '.join(origins)}, {device}, {dtype}\n{source.text}", file=sys.stderr, flush=True)
    kernel = compiler(source, dtype)
    neurons = sorted({origin.partition(" (")[0] for origin in origins})
    kernel.name = f"snntorch: {direction.replace('_', ' ')} of {', '.join(neurons)}"
    return kernel


def spread(params: Sequence[Tensor], shape: torch.Size) -> list[Tensor]:
    """Each parameter as one value, or one per neuron."""
    return [p if p.numel() == 1 else p.expand(shape).contiguous() for p in params]


def pointers(source: Source, first: Mapping[str, int]) -> list[int]:
    """Where each pointer of a kernel stands in one list of all arrays, in which those of a kind follow its first."""
    return [first[kind] + k for kind, k in source.slots]


def rows(x: Tensor, steps: int) -> list[Tensor]:
    """The rows of an array, one after the other and again from the first."""
    found = x.unbind()
    return [found[t % len(found)] for t in range(steps)]


def arguments(kernel: Kernel, each: Mapping[str, Any]) -> list[list[Tensor]]:
    """What a single step's kernel takes at every step, from the rows of each array, by kind and number."""
    return [[*step] for step in zip(*(each[kind][k] for kind, k in kernel.source.slots), strict=True)]


def call(kernel: Kernel, steps: int, size: int, tensors: list[Tensor], strides: Sequence[int] = ()) -> None:
    """Run a kernel on its arrays and strides, with its name in a profile."""
    if profiled():
        with record_function(kernel.name):
            kernel(steps, size, tensors, strides)
    else:
        kernel(steps, size, tensors, strides)
