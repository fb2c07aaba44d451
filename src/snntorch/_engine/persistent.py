"""Layers that feed back through a matrix: all steps in one kernel on a GPU.

A program instance takes a few samples, and keeps the matrix where it fits fast memory: nothing but the layer's own
sequences is moved then. Of a larger one it reads some rows after the other at every step. Nothing is launched between.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import gpu, persistent_printer
from .kernels import call, made, spread
from .memory import empty
from .printing import Source
from .program import Program
from .tape import Some, step_gradient
from .target import PACKAGES

_PROGRAMS = 128  # about as many as there are multiprocessors, of which each has room for one
_TILE = 16  # samples of a program in half precision, whose products tensor cores compute
_THREADS = 512  # of a program at most
_ROOM = 227 << 10  # bytes of fast memory that an H100 gives a program

# A weight that is too large is read from the GPU's cache (L2) at every step, by each program. An H100's moves some
# 5 TB/s in all, and 64 bytes a cycle to a multiprocessor: some 50 programs ask for all of it, and more samples of fewer
# are better than more programs. A quarter of a gigabyte a step takes 50 us, about half of what the host needs to launch
# a step's product and kernel (estimated, but for the host). Of more, these are the better way.
_READERS = 64  # programs, if a thread's values are not too many
_READ = 256 << 20  # bytes of all programs at a step
_VALUES = 4  # of all products of a step that a thread computes at most; of more, some would spill
_WIDEST = 4  # bytes of a weight's value
_CHUNK = 64 << 10  # bytes of fast memory for some of the weight's rows, which are at least as many as a product takes
_WAITING = 8  # bytes of it for a value: two of single precision, or two of half and what they are converted to


def persists(inputs: int, dtype: torch.dtype, state: Tensor) -> bool:
    """Whether all steps are one kernel; else a matrix product and a kernel each are the better way, or the only one.

    All programs are to run at once, as others would wait for their whole sequence, and fast memory is to hold the
    matrix beside a value for each neuron, through which products are arranged; or the cache moves it fast enough.

    Args:
        inputs: how many of the layer's squares the matrix is of.
        dtype: its dtype.
        state: one of the step's.
    """
    if PACKAGES[state.device.type] != "triton" or state.dim() != 2:
        return False
    batch, width = state.shape
    return shares(inputs, width, batch, dtype, _room(state.device), state.element_size())[0] > 0


def shares(inputs: int, width: int, batch: int, dtype: torch.dtype, room: int, kept: int = 4) -> tuple[int, int]:
    """The samples of a program, and how many of the weight's rows it holds at once; 0 and 0 where it does not persist.

    Args:
        inputs: how many squares the weight is of.
        width: of a square.
        batch: number of samples.
        dtype: the weight's.
        room: bytes of fast memory that a program may have.
        kept: bytes of a state's value.
    """
    features, size = _features(width), dtype.itemsize
    if memory(inputs, width, batch, dtype, kept) <= room:
        return _rows(batch, features, size), features
    rows = min(_power_of_two_from(batch / _READERS), _VALUES * _THREADS // (features * inputs))
    programs = math.ceil(batch / rows) if rows else math.inf
    read = programs * inputs * width**2 * size
    chunk = max(_TILE, _CHUNK // (features * _WAITING))
    fast = (chunk * features + rows * features + 2 * rows * chunk) * _WAITING
    fits = programs <= _PROGRAMS and read <= _READ and size <= _WIDEST and fast <= room
    waits = torch.version.hip is None  # for what is stored, at a barrier; Triton's for AMD does not
    return (rows, chunk) if fits and waits else (0, 0)


def memory(inputs: int, width: int, batch: int, dtype: torch.dtype, kept: int = 4) -> float:
    """Bytes of fast memory for a program that holds the matrix; infinite where its samples would be too many."""
    features, size = _features(width), dtype.itemsize
    rows = _rows(batch, features, size)
    return inputs * features**2 * size + rows * features * kept if rows else math.inf


def _features(width: int) -> int:
    """The width in which products of a layer are computed."""
    return max(16, _power_of_two_from(width))


def _power_of_two_from(number: float) -> int:
    """The least that is no less."""
    return 1 << (math.ceil(number) - 1).bit_length()


def _rows(batch: int, features: int, size: int) -> int:
    """Samples of a program, for weights of `size` bytes; 0 where they would be too many.

    Products without tensor cores are of one value a thread: of more, the threads' shares of the matrix would spill.
    """
    least, most = (_TILE, _TILE) if size == 2 else (1, min(_TILE, _THREADS // features))
    rows = max(least, _power_of_two_from(batch / _PROGRAMS))
    return rows if rows <= most else 0


@functools.cache
def _room(device: torch.device) -> int:
    """Bytes of fast memory that a program may have; none on GPUs that lack tensor cores for bfloat16."""
    if device.type != "cuda":
        return _ROOM
    found = torch.cuda.get_device_properties(device)
    if torch.version.hip is None and found.major < 8:
        return 0
    names = ("shared_memory_per_block_optin", "shared_memory_per_block")  # which older versions of PyTorch lack
    return max(getattr(found, name, 48 << 10) for name in names)


class Kernel(gpu.Kernel):
    """A kernel of which each program takes whole samples of a layer."""

    def __init__(self, source: Source, dtype: torch.dtype) -> None:
        super().__init__(source, dtype)
        self._kept = dtype.itemsize
        self._refused: set[tuple] = set()  # layers that a device had no room for after all

    def sizes(self, size: int, strides: Sequence[int], weight: Tensor, room: int, warp: int = 32) -> dict[str, int]:
        """As `options`, for a layer with this square of a weight; see `shares`."""
        width, inputs = weight.shape[1], len(self.source.arrays["W"])
        features = _features(width)
        rows, chunk = shares(inputs, width, size // width, weight.dtype, room, self._kept)
        threads = min(_THREADS, features * (4 if rows == _TILE else rows))
        if chunk < features and inputs > 1:  # whose pointers are many
            threads = min(threads, _THREADS // 2)
        return {"ROWS": rows, "FEATURES": features, "WIDTH": width, "CHUNK": chunk,
                "ALIGN": math.gcd(16, size, *strides),
                "num_warps": max(1, threads // warp), "enable_fp_fusion": False}  # fmt: skip

    def __call__(self, steps: int, size: int, tensors: Sequence[Tensor], strides: Sequence[int]) -> None:
        """Run over `[steps, size]`."""
        weight = tensors[self.source.pointers.index("W0")]
        options = self.sizes(size, strides, weight, _room(weight.device), gpu.warp_of(weight.device))
        rows, features = options["ROWS"], options["FEATURES"]
        programs = -(-size // (rows * options["WIDTH"]))
        spare = weight  # which is not written where the weight is held
        if options["CHUNK"] < features:
            spare = weight.new_empty(programs, 2, len(self.source.arrays["W"]), rows, features)
        self.launch(programs, options, steps, [size, *strides], [*tensors, spare])

    def run(self, steps: int, size: int, arrays: Mapping[str, Any], strides: Mapping[str, int]) -> bool:
        """Run over `[steps, size]`, given arrays and strides by kind; whether the device had room for it."""
        from triton.runtime.errors import OutOfResources

        tensors = [arrays[kind][k] for kind, k in self.source.slots if kind != "R"]
        layer = size, tensors[-1].shape, tensors[-1].dtype, tensors[-1].device
        if layer in self._refused:
            return False
        try:
            call(self, steps, size, tensors, [strides[kind] for kind, _ in self.source.stride_slots])
        except OutOfResources:
            self._refused.add(layer)
            return False
        return True


_MAKER = (persistent_printer, Kernel)


def run(
    program: Program, steps: int, index: int, written: Sequence[bool], drives: bool, x: Tensor, weight: Tensor,
    states: Sequence[Tensor], params: Sequence[Tensor],
) -> list[Tensor] | None:  # fmt: skip
    """As `feedback.run_kernels` of states `[B, F]`; None where that goes its other way."""
    if x.dtype != weight.dtype or not persists(program.inputs, weight.dtype, states[0]):
        return None
    shape, dtype, device, count = states[0].shape, states[0].dtype, states[0].device, program.inputs
    x = x.unflatten(-1, (count, shape[1])).movedim(-2, 1).contiguous()  # [T, I, B, F]
    drive = torch.empty((steps if drives else 0, count, *shape), dtype=x.dtype, device=device)
    kinds = [x.dtype] * program.free + [dtype] * len(states)
    courses = {k: empty((steps, *shape), kinds[k], device) for k, w in enumerate(written) if w}
    finals = [s.clone(memory_format=torch.contiguous_format) for s in states]
    arrays = {"X": x.unbind(1), "P": spread(params, shape), "S": finals, "Y": courses, "D": drive.unbind(1),
              "W": weight.unflatten(0, (count, shape[1])).mT.contiguous()}  # fmt: skip
    dense = tuple([p.numel() != 1 for p in params])
    kernel = made("forward", (program, dense, tuple(written), index, drives), dtype, device.type, _MAKER)
    side_by_side = count * shape.numel()
    if not kernel.run(steps, shape.numel(), arrays, {"X": side_by_side if len(x) > 1 else 0, "D": side_by_side}):
        return None
    return [*courses.values(), *finals, *[drive] * drives]


def run_back(
    program: Program, steps: int, index: int, needs: Sequence[bool], cotangents: Some, courses: Some, weight: Tensor,
    drive: Tensor | None, states: Sequence[Tensor], params: Sequence[Tensor],
) -> list[Tensor] | None:  # fmt: skip
    """As `feedback.run_kernels_back`; None where that goes its other way."""
    if not persists(program.inputs, weight.dtype, states[0]):
        return None
    shape, dtype, device = states[0].shape, states[0].dtype, states[0].device
    count, outputs = program.inputs, len(program.outputs)
    given, later = cotangents[:outputs], cotangents[outputs:]
    arrives = (*(g is not None for g in given), *[True] * len(states))
    step = step_gradient(program, tuple(needs), arrives, tuple([c is not None for c in courses]))
    make = torch.zeros if None in step.inputs else empty  # what a kernel does not write is zero
    dx = make((steps, count, *shape), dtype=weight.dtype if drive is None else drive.dtype, device=device)
    adjoints = [
        torch.zeros(shape, dtype=dtype, device=device) if g is None else g.clone(memory_format=torch.contiguous_format)
        for g in later
    ]
    sums = {k: torch.zeros(shape, dtype=dtype, device=device) for k in range(len(params)) if needs[count + k]}
    arrays = {
        "X": () if drive is None else drive.contiguous().unbind(1), "P": spread(params, shape),
        "N": [c if c is None else c.contiguous() for c in courses], "S": [s.contiguous() for s in states],
        "G": [g if g is None else g.contiguous() for g in given], "A": adjoints, "DX": dx.unbind(1), "DP": sums,
        "W": weight.contiguous().unflatten(0, (count, shape[1])),
    }  # fmt: skip
    dense = tuple([p.numel() != 1 for p in params])
    kernel = made("backward", (step, dense, outputs, index), dtype, device.type, _MAKER)
    side_by_side = count * shape.numel()
    if not kernel.run(steps, shape.numel(), arrays, {"X": side_by_side, "G": shape.numel(), "DX": side_by_side}):
        return None
    return [dx, *adjoints, *(s.sum_to_size(params[k].shape) for k, s in sums.items())]
