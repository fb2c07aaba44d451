"""Memory for what kernels write at every step."""

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_LARGE = 4 << 20  # bytes; less than this, the allocator hands out pages that were touched before
_HUGE_PAGES = 14  # MADV_HUGEPAGE
_PAGE = 4096
_NOT_SMALL = 1 << 20  # bytes of one sequence, beside which layers give larger ones
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_KEPT = 1 << 30  # bytes


@functools.cache
def of_system(name: str) -> Callable[..., int] | None:
    """A function of the libraries that this process has loaded, on Linux, where there is one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


@functools.cache
def _keep_pages() -> None:
    """Let glibc keep up to a gigabyte of freed memory for the next request, unless its environment variables say else.

    It gives large tensors' pages back to the system as soon as these are freed, and a step of training touches all of
    them anew: for layers that take all steps at once that took as long as the layers themselves.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    set_option = of_system("mallopt")
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _KEPT)
        set_option(_TRIM_THRESHOLD, _KEPT)


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """`torch.empty`, on the CPU in huge pages where the system has them on request.

    The first touch of a fresh page costs more than computing what is written to it; a huge page is 512 of them.
    """
    tensor = torch.empty(shape, dtype=dtype, device=device)
    size = tensor.numel() * tensor.element_size()
    if size >= _NOT_SMALL and tensor.is_cpu:
        _keep_pages()
    advise = of_system("madvise") if size >= _LARGE and tensor.is_cpu else None
    if advise is not None:
        start = -(-tensor.data_ptr() // _PAGE) * _PAGE
        rest = tensor.data_ptr() + size - start
        advise(ctypes.c_void_p(start), ctypes.c_size_t(rest), _HUGE_PAGES)  # a hint, which need not be taken
    return tensor
