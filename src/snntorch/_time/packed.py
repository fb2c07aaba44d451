"""Spikes that are kept for the backward pass as bits."""

import contextlib
import weakref
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from .._engine import bits
from .._engine.private import saved_by, transforming, viewed

_DEVICES = ("cpu", "cuda")
_SMALL = 1024  # elements: fewer are not worth a look
_HEAD = 256  # elements that tell most tensors which are not spikes


def packed_spikes() -> contextlib.AbstractContextManager:
    """Keep what is saved for the backward pass in as few bytes as are exact, while the block's forward runs.

    Linear and convolutional layers keep the spikes that they read. Here a tensor of zeros and one other value takes one
    bit an element, one of small integers or of values that bfloat16 holds one or two bytes, and integers such as a
    pooling's indices as many as the largest needs. Every element is looked at, so that the gradients are exactly those
    without; all other tensors are kept as they are, and so are those on devices other than the CPU and GPUs of CUDA or
    ROCm. On a GPU each look waits for the device, and nothing is packed while a CUDA graph is captured. Inside
    `torch.compile` and `torch.func` nothing changes; a compiled function may be called in the block.

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


def kept_by_others() -> bool:
    """Whether hooks of somebody else's keep what is saved for the backward pass, as those of a checkpoint do."""
    hooks = saved_by(True)
    return hooks is not None and hooks[0] is not _pack


class _Kept(NamedTuple):
    """A tensor as it is, or what makes it again."""

    tensor: Tensor
    version: int
    again: Callable[[Tensor], Tensor] | None = None


def _pack(tensor: Tensor) -> _Kept:
    version = 0 if tensor.is_inference() else tensor._version
    if tensor.numel() >= _SMALL and _is_plain(tensor):
        order = sorted(range(tensor.dim()), key=lambda d: (-tensor.stride(d), d))
        dense = tensor.permute(order)
        if dense.is_contiguous() and (smaller := _smaller(dense.flatten())):
            small, make = smaller
            shape, back = dense.shape, sorted(range(tensor.dim()), key=order.__getitem__)
            there = _while_it_lives(tensor, version)

            def again(small: Tensor) -> Tensor:
                found = there()
                return make(small).view(shape).permute(back) if found is None else found

            return _Kept(small, version, again)
    return _Kept(tensor, version)


def _while_it_lives(tensor: Tensor, version: int) -> Callable[[], Tensor | None]:
    """Makes the tensor again where somebody else still has it, as training loops have their input."""
    owner = weakref.ref(viewed(tensor))
    place = tensor.shape, tensor.stride(), tensor.storage_offset()

    def there() -> Tensor | None:
        found = owner()
        if found is None or found.is_inference() or found._version != version:
            return None
        return found.detach().as_strided(*place)

    return there


def _is_plain(tensor: Tensor) -> bool:
    """Whether its elements are real numbers that lie in memory as they are, and may be looked at."""
    if type(tensor) is not Tensor or tensor.device.type not in _DEVICES or tensor.layout is not torch.strided:
        return False
    if tensor.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    return not (tensor.is_neg() or tensor.is_complex() or tensor.is_quantized)


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


def _smaller(flat: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]] | None:
    """The same values in fewer bytes, and how to make them again; None where there is no such way."""
    dtype, count = flat.dtype, len(flat)
    words = flat.view(bits.WORDS[dtype.itemsize])
    head = words[:_HEAD].tolist()
    others = set(head) - {0}
    if not others:
        low, high = (int(end) for end in words.aminmax())
        if low == high:
            return words.new_empty(0), lambda empty: empty.new_zeros(count).view(dtype)
        others = {low, high} - {0}
    if len(others) == 1:
        (value,) = others
        packed = bits.to_bits(words, value)
        if packed is not None:
            return packed, lambda packed: bits.from_bits(packed, count, value).view(dtype)
    if dtype.is_floating_point:
        unit = int(2**-7 / torch.finfo(dtype).eps)  # of the words of what has bfloat16's digits
        candidates = () if any(word % unit for word in head) else (torch.int8, torch.bfloat16)
    else:
        candidates = (torch.int8, torch.int16, torch.int32)
    for smaller in candidates:
        if smaller.itemsize < dtype.itemsize and _holds(smaller, flat, words):
            return flat.to(smaller), lambda small: small.to(dtype)
    return None


def _holds(smaller: torch.dtype, flat: Tensor, words: Tensor) -> bool:
    """Whether all elements are the same to the last bit after a way through another dtype."""
    return all(
        torch.equal(flat[part].to(smaller).to(flat.dtype).view(words.dtype), words[part])
        for part in (slice(0, _HEAD), slice(_HEAD, None))
    )
