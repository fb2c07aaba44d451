"""What a call gives, before it runs: shapes, dtypes, what it writes in place, what shares memory.

The call runs once on PyTorch's fake tensors, which have no values, or on zeros where these do not count: the first fake
tensor imports sympy and more, for a second. What it gave is remembered by what it got.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .._engine import choices
from .._engine.private import FakeTensorMode, any_autocast, memory, parametrised_anew, unseen
from .._neurons.recorder import recorder_now
from . import dims
from .arguments import Slot, fill, hollow
from .fold import ELEMENTWISE, OF_LAST, PRODUCTS, RANKS
from .held import aside
from .known import finds
from .later import Later, Meta
from .layers import backward_hooks

Context = tuple  # whether gradients are recorded, and the dtype of autocast on the CPU and on GPUs, or None


class Inferred(NamedTuple):
    """What a call gives.

    Attributes:
        outputs: its outputs with a slot for each tensor.
        metas: of these tensors.
        aliases: for each whether it is (`same`) or shares the memory of one of the call's tensors: the number of it.
        same: for each whether it is one of the call's tensors itself: the number of it.
        written: the number of the tensor that the call writes in place, if any.
    """

    outputs: Any
    metas: tuple[Meta, ...]
    aliases: tuple[int | None, ...]
    same: tuple[int | None, ...]
    written: int | None


def meta_of(tensor: Any) -> Meta:
    """Of a tensor that is there."""
    with unseen():
        return Meta(tensor.shape, tensor.stride(), tensor.dtype, tensor.device)


def learns(tensors: Sequence[Any]) -> bool:
    """Whether one of the tensors that are there asks for a gradient."""
    with unseen():
        return any([type(t) is not Later and t.requires_grad for t in tensors])


@contextlib.contextmanager
def in_context(context: Context, caches: bool | None = None):
    """Run as the call was written: with or without gradients, under the same autocast.

    That `caches` weights in half precision for all that is called later, so that those of a trial are not to stay.
    """
    grad, *autocast = context
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(grad))
        for device, dtype in zip(("cpu", "cuda"), autocast, strict=True):
            if dtype is not None or (torch.is_autocast_enabled(device)):
                stack.enter_context(torch.autocast(device, dtype, dtype is not None, cache_enabled=caches))
        yield


_PLAIN: dict[bool, Context] = {grad: (grad, None, None) for grad in (False, True)}  # without autocast


def context_now() -> Context:
    """How a call would run now."""
    if not any_autocast():
        return _PLAIN[torch.is_grad_enabled()]
    return (
        torch.is_grad_enabled(),
        torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None,
        torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None,
    )


# PyTorch's own functions, what whose results are depends on no value
_NAMES = ELEMENTWISE | PRODUCTS | OF_LAST.keys() | RANKS.keys() | dims.NAMES
WITHOUT_VALUES = {
    getattr(where, form, None)
    for where in (torch, Tensor, functional)
    for name in _NAMES
    for form in (name, f"{name}_", f"__{name}__")
} - {None}
_SMALL = 1 << 22  # elements that are soon computed


def _counts_no_value(function: Any) -> bool:
    return isinstance(function, Hashable) and function in WITHOUT_VALUES


_known: OrderedDict[Any, Inferred | None] = OrderedDict()
_MOST = 4096  # calls remembered


def infer(
    function: Any, args: Any, kwargs: Any, metas: Sequence[Meta], context: Context, key: Any = None
) -> Inferred | None:
    """What a call gives; None where that depends on values, or is no tensor.

    Args:
        function: what is called.
        args: positional arguments, with tensors of any values or slots for them.
        kwargs: arguments by keyword, likewise.
        metas: of these tensors.
        context: how it runs.
        key: stands for all of it but the tensors; None where it must not be remembered.
    """
    if key is not None:
        key = (key, context, *metas)
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    found = None
    small = all([m.device.type == "cpu" for m in metas]) and sum([m.shape.numel() for m in metas]) < _SMALL
    if small and _counts_no_value(function) and not finds(function, args, kwargs):
        found = tried(function, args, kwargs, metas, context)  # elsewhere it might draw from the device's generator
    if found is None:
        found = _infer(function, args, kwargs, metas, context)
    if key is not None:
        _known[key] = found
        if len(_known) > _MOST:
            _known.popitem(last=False)
    return found


def tried(function: Any, args: Any, kwargs: Any, metas: Sequence[Meta], context: Context) -> Inferred | None:
    """What a call gives, found on zeros; None where they are not what it can take."""
    with torch.random.fork_rng(devices=()):
        return _infer(function, args, kwargs, metas, context, contextlib.nullcontext())


def _infer(
    function: Any, args: Any, kwargs: Any, metas: Sequence[Meta], context: Context, mode: Any = None
) -> Inferred | None:
    owner = function if isinstance(function, nn.Module) else getattr(function, "__self__", None)
    recorder = recorder_now()
    # what modules keep and call, and what neurons choose, meanwhile concerns nobody
    with (
        recorder.at_once() if recorder is not None and not recorder.stopped else contextlib.nullcontext(),
        aside(owner) if isinstance(owner, nn.Module) else contextlib.nullcontext(),
        parametrised_anew(),
        mode or FakeTensorMode(allow_non_fake_inputs=True),
        torch.inference_mode(False),  # in which nothing tells what is written
        in_context((False, *context[1:]), caches=False),
        choices(),
    ):
        fakes = [
            torch.empty_strided(meta.shape, meta.stride, dtype=meta.dtype, device=meta.device) for meta in metas
        ]  # fmt: skip
        if mode is not None:
            fakes = [fake.zero_() for fake in fakes]
        versions = [fake._version for fake in fakes]
        try:
            args, kwargs = fill(hollow((args, kwargs), []), fakes)
            returned = function(*args, **kwargs)
        except Exception:  # what the call can't do without values, it may yet do with them
            return None
        tensors: list[Tensor] = []
        outputs = hollow(returned, tensors)
        if not tensors or not _all_tensors(outputs):
            return None
        places = {id(fake): k for k, fake in enumerate(fakes)}
        memories = {memory(fake): k for k, fake in reversed(list(enumerate(fakes)))}
        if isinstance(function, nn.Module) and backward_hooks(function):  # with which it gives anew what it gives back
            places, memories = {}, {}
        return Inferred(
            outputs,
            tuple(meta_of(t) for t in tensors),
            tuple(memories.get(memory(t)) for t in tensors),
            tuple(places.get(id(t)) for t in tensors),
            next((k for k, (f, v) in enumerate(zip(fakes, versions, strict=True)) if f._version != v), None),
        )


def _all_tensors(outputs: Any) -> bool:
    """Whether nested outputs hold tensors, None and nothing else that a value could be read from."""
    if isinstance(outputs, Slot) or outputs is None:
        return True
    if isinstance(outputs, tuple | list):
        return all(map(_all_tensors, outputs))
    return isinstance(outputs, dict) and all(map(_all_tensors, outputs.values()))
