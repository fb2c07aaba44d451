"""Spikes that are kept for the backward pass as bits."""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from .._engine.private import transforming

_SMALL = 1024  # elements: fewer are not worth a look
_HEAD = 256  # elements that tell most tensors which are not spikes
_CHUNK = 1 << 16  # elements that stay in cache between the operations of a pass; a multiple of 8
_WORDS = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}
_DIAGONAL = 0x8040201008040201 - (1 << 64)  # moves the lowest bit of each of 8 bytes into one byte, and back
_LOWEST = 0x0101010101010101


def packed_spikes() -> contextlib.AbstractContextManager:
    """Keep what is saved for the backward pass in as few bytes as are exact, while the block's forward runs.

    Linear and convolutional layers keep the spikes that they read. Here a tensor of zeros and one other value takes one
    bit an element, one of small integers or of values that bfloat16 holds one or two bytes, and integers such as a
    pooling's indices as many as the largest needs. Every element is looked at, so that the gradients are exactly those
    without; all other tensors are kept as they are, and so are those on other devices than the CPU, as the look would
    make the device wait. Inside `torch.compile` and `torch.func` nothing changes; a compiled function may be called in
    the block.

    Returns:
        A context manager.

    Example:
        >>> import snntorch as snn, torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(100, 10), snn.Leaky(beta=0.9, init_hidden=True))
        >>> with snn.packed_spikes():
        ...     spk = snn.unroll(net, torch.rand(20, 2, 100).round())  # keeps 500 bytes of the input for 16,000
        >>> spk.sum().backward()
    """
    if torch.compiler.is_compiling() or transforming():
        return contextlib.nullcontext()
    return saved_tensors_hooks(_pack, _unpack)


class _Kept(NamedTuple):
    """A tensor as it is, or what makes it again."""

    tensor: Tensor
    version: int = 0
    again: Callable[[Tensor], Tensor] | None = None


def _pack(tensor: Tensor) -> _Kept:
    if tensor.numel() >= _SMALL and tensor.device.type == "cpu" and type(tensor) is Tensor and not tensor.is_neg():
        order = sorted(range(tensor.dim()), key=lambda d: (-tensor.stride(d), d))
        dense = tensor.permute(order)
        if dense.is_contiguous():
            small, make = _smaller(dense.flatten())
            if small is not None:
                shape, back = dense.shape, sorted(range(tensor.dim()), key=order.__getitem__)
                return _Kept(small, 0, lambda small: make(small).view(shape).permute(back))
    return _Kept(tensor, 0 if tensor.is_inference() else tensor._version)


def _unpack(kept: _Kept) -> Tensor:
    if kept.again is not None:
        return kept.again(kept.tensor)
    if not kept.tensor.is_inference() and kept.tensor._version != kept.version:  # which autograd leaves to hooks
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"a tensor of shape {tuple(kept.tensor.shape)} is at version {kept.tensor._version}, "
            f"expected version {kept.version}"
        )
    return kept.tensor


def _smaller(flat: Tensor) -> tuple[Tensor | None, Callable[[Tensor], Tensor]]:
    """The same values in fewer bytes, and how to make them again; None where there is no such way."""
    dtype, count = flat.dtype, flat.numel()
    if dtype in (torch.int64, torch.int32, torch.int16):
        return _narrower(flat), lambda small: small.to(dtype)
    if dtype not in _WORDS:
        return None, _same
    for unit in (1.0, None):
        value = _one_value(flat) if unit is None else unit
        bits = _to_bits(flat, value) if value else None
        if bits is not None:
            return bits, lambda bits, value=value: _from_bits(bits, count, value, dtype)
    for smaller in (torch.int8, torch.bfloat16):
        if smaller.itemsize < dtype.itemsize and _holds(smaller, flat):
            return flat.to(smaller), lambda small: small.to(dtype)
    return None, _same


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _narrower(flat: Tensor) -> Tensor | None:
    low, high = (int(end) for end in flat.aminmax())
    for dtype in (torch.int8, torch.int16, torch.int32):
        if dtype.itemsize < flat.dtype.itemsize and torch.iinfo(dtype).min <= low <= high <= torch.iinfo(dtype).max:
            return flat.to(dtype)
    return None


def _to_bits(flat: Tensor, value: float) -> Tensor | None:
    """Eight elements a byte, where all are 0 or that value to the last bit."""
    packed = torch.empty((len(flat) + 7) // 8, dtype=torch.uint8)
    ones, scratch = torch.empty(_CHUNK, dtype=torch.int8), torch.empty(_CHUNK, dtype=flat.dtype)
    start = 0
    for chunk in _chunks(flat):
        whole, again = ones[: len(chunk)], scratch[: len(chunk)]
        whole.copy_(chunk if value == 1 else torch.div(chunk, value, out=again))
        again.copy_(whole)
        same = _equal(again if value == 1 else again.mul_(value), chunk)
        if not same or int(whole.view(torch.uint8).max()) > 1:
            return None
        if len(whole) % 8:
            whole = torch.nn.functional.pad(whole, (0, -len(whole) % 8))
        bits = whole.view(torch.int64).mul_(_DIAGONAL).view(torch.uint8)[_HIGHEST::8]
        packed[start : start + len(bits)] = bits
        start += len(bits)
    return packed


def _holds(dtype: torch.dtype, flat: Tensor) -> bool:
    """Whether all elements are the same to the last bit after a way through another dtype."""
    return all(_equal(chunk.to(dtype).to(chunk.dtype), chunk) for chunk in _chunks(flat))


def _one_value(flat: Tensor) -> float:
    """What all elements are that are not zero, if the first ones tell; 0 where they differ."""
    head = flat[:_HEAD]
    values = head if bool(head.any()) else flat
    value = float(values.max())
    return value if bool(((head == 0) | (head == value)).all()) else 0.0


def _chunks(flat: Tensor) -> Iterator[Tensor]:
    """The first few elements, which tell most tensors that are no spikes, and then the rest."""
    yield flat[:_HEAD]
    for start in range(_HEAD, len(flat), _CHUNK):
        yield flat[start : start + _CHUNK]


def _equal(scratch: Tensor, tensor: Tensor) -> bool:
    """To the last bit; leaves the first one undefined."""
    words = scratch.view(_WORDS[tensor.dtype])
    return not int(torch.bitwise_xor(words, tensor.view(words.dtype), out=words).view(torch.uint8).max())


def _from_bits(packed: Tensor, count: int, value: float, dtype: torch.dtype) -> Tensor:
    flat = torch.empty(len(packed) * 8, dtype=dtype)
    for bits, out in zip(packed.split(_CHUNK // 8), flat.split(_CHUNK), strict=True):
        spread = bits.to(torch.int64).mul_(_DIAGONAL).bitwise_right_shift_(7).bitwise_and_(_LOWEST)
        out.copy_(spread.view(torch.uint8))
        if value != 1:
            out.mul_(value)
    return flat[:count]


_HIGHEST = 7 if torch.tensor([1]).view(torch.uint8)[0] == 1 else 0  # where a word's highest byte lies in memory
