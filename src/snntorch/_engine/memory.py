"""Memory for what kernels write at every step."""

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_LARGE = 4 << 20  # bytes; less than this, the allocator hands out pages that were touched before
_HUGE_PAGES = 14  # MADV_HUGEPAGE
_PAGE = 4096


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None), "madvise", None)
    if function is not None:
        function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """`torch.empty`, on the CPU in huge pages where the system has them on request.

    The first touch of a fresh page costs more than computing what is written to it; a huge page is 512 of them.
    """
    tensor = torch.empty(shape, dtype=dtype, device=device)
    size = tensor.numel() * tensor.element_size()
    advise = _madvise() if size >= _LARGE and tensor.is_cpu else None
    if advise is not None:
        start = -(-tensor.data_ptr() // _PAGE) * _PAGE
        advise(start, tensor.data_ptr() + size - start, _HUGE_PAGES)  # a hint: whether it is taken does not matter
    return tensor
