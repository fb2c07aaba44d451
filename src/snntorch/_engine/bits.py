"""Words that are all zero or one other word, as bits: kernels, and the same in PyTorch's operations.

Element `k * size + i` of the words is bit k of packed word i, where `size` is the number of packed words: neighbours
stay neighbours, so that loops over them vectorise.
"""

import functools

import torch
from torch import Tensor

from .choose import lacking
from .cpu import Kernel
from .memory import empty
from .printing import Source
from .setting import asked

WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes -> as what elements are compared

_PACK = """\
def kernel(steps, size, start, stop, W0, B0, D0, W0_stride, V0_stride):
    value, other = real(V0_stride), real(0)
    for low in range(start, stop, BLOCK):
        high = min(low + BLOCK, stop)
        for i in range(low, high):
            B0[i] = 0
        for k in range(steps):
            row, bit = k * size, real(1 << k)
            for i in range(low, min(high, W0_stride - row)):
                word = W0[row + i]
                B0[i] |= bit if word == value else real(0)
                other |= real(0) if word == value else word
        if other != 0:
            D0[0] = 1
            return
"""
_UNPACK = """\
def kernel(steps, size, start, stop, W0, B0, W0_stride, V0_stride):
    value = real(V0_stride)
    for low in range(start, stop, BLOCK):
        high = min(low + BLOCK, stop)
        for k in range(steps):
            row, bit = k * size, real(1 << k)
            for i in range(low, min(high, W0_stride - row)):
                W0[row + i] = value if B0[i] & bit else real(0)
"""


@functools.cache
def _kernel(text: str, pointers: str, dtype: torch.dtype) -> Kernel:
    return Kernel(Source(text, dict.fromkeys(pointers, (0,)), {"W": (0,), "V": (0,)}), dtype)


def _compiled(words: Tensor) -> bool:
    return words.is_cpu and asked() != "eager" and not lacking(words.device)


def to_bits(words: Tensor, value: int) -> Tensor | None:
    """One bit a word, where all are 0 or that value.

    Args:
        words: `[N]`, of one of the dtypes in `WORDS`.
        value: the other word.

    Returns:
        Words of the same dtype, as few as hold N bits; None where there is a third value.
    """
    width = 8 * words.itemsize
    packed = words.new_empty(-(-len(words) // width))
    if _compiled(words):
        third = words.new_zeros(1)
        _kernel(_PACK, "WBD", words.dtype)(width, len(packed), [words, packed, third], [len(words), value])
        return None if third.item() else packed
    packed.zero_()
    others = torch.zeros((), dtype=torch.bool, device=words.device)
    for k, plane in enumerate(words.split(len(packed))):
        ones = plane == value
        others |= (ones | (plane == 0)).logical_not_().any()
        packed[: len(plane)] |= ones.to(words.dtype) << k
    return None if others else packed  # one look, for which a GPU is waited for


def from_bits(packed: Tensor, count: int, value: int) -> Tensor:
    """The first `count` words that `to_bits` packed."""
    width = 8 * packed.itemsize
    words = empty((count,), packed.dtype, packed.device)
    if _compiled(packed):
        _kernel(_UNPACK, "WB", packed.dtype)(width, len(packed), [words, packed], [count, value])
        return words
    for k, plane in enumerate(words.split(len(packed))):
        torch.mul((packed[: len(plane)] >> k) & 1, value, out=plane)
    return words
