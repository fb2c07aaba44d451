"""Whether a step can run as a kernel, or what is in the way."""

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import gpu
from .private import constant, forward_differentiating, recorded, transforming, watched
from .target import PACKAGES

Choice = tuple[object, str, str]  # who ran, the path, why not a better one
_log: list[Choice] | None = None


@contextlib.contextmanager
def choices() -> Iterator[list[Choice]]:
    """Collect what is chosen meanwhile."""
    global _log
    before, _log = _log, []
    try:
        yield _log
    finally:
        _log = before


def note(owner: object, path: str, reason: str = "") -> None:
    """Tell whoever collects choices."""
    if _log is not None:
        _log.append((owner, path, reason))


def listening() -> bool:
    """Whether someone collects choices."""
    return _log is not None


class Call(NamedTuple):
    """One call of a neuron's step: what `run` was given."""

    neuron: Any
    inputs: Sequence[Tensor]
    states: Sequence[Tensor]
    arguments: dict[str, Any]
    steps: int
    varies: tuple[bool, ...]

    @property
    def params(self) -> list[Tensor]:
        """Those arguments that are tensors."""
        return [value for value in self.arguments.values() if isinstance(value, Tensor)]

    @property
    def tensors(self) -> list[Tensor]:
        """All that came."""
        return [*self.inputs, *self.states, *self.params]


_COMPUTES = {torch.float32: torch.float32, torch.float64: torch.float64,
             torch.float16: torch.float32, torch.bfloat16: torch.float32}  # fmt: skip


def computes(dtype: torch.dtype) -> torch.dtype:
    """The dtype that a step with inputs of this dtype is computed in, which its states and parameters have."""
    return _COMPUTES.get(dtype, dtype)


_PLAIN = (Tensor, torch.nn.Parameter)

# Reasons that cost nothing, for which the backend "fused" does not raise.
NOTHING, COMPILED = "there is nothing to compute", "torch.compile fuses single steps itself"
ONE_EACH = "a kernel for each step"  # how one steps, where nothing tells why


def obstacle(call: Call, beside: Sequence[Tensor] = ()) -> str:
    """Why a call can't run as a kernel with the tensors `beside` it, whatever its step computes; or nothing."""
    states = call.states
    if not states:
        return "the step has no states"
    if torch.compiler.is_compiling():
        if not call.steps:
            return COMPILED
        return _of_place(call.inputs[0]) or of_devices(call.tensors) or _of_shapes(call)
    tensors = [*call.tensors, *beside]
    if reason := _of_place(tensors[0]):
        return reason
    if states[0].numel() == 0:
        return NOTHING
    return _of_recording() or _of_kinds(tensors) or of_devices(tensors) or _of_shapes(call)


def _of_place(x: Tensor) -> str:
    """No kernels for the device or the dtype."""
    device = x.device
    if device.type == "meta":
        return NOTHING
    if device.type not in PACKAGES:
        return f"there are no kernels for {device.type}"
    if x.dtype not in _COMPUTES:
        return f"there are no kernels for {x.dtype}"
    return lacking(device)


def _of_recording() -> str:
    """Someone follows each operation."""
    if recorded():
        return "torch.jit.trace, and the ONNX exporter built on it, record operations"
    if transforming():
        return "torch.func transforms take it operation by operation"
    if forward_differentiating():
        return "forward-mode differentiation takes it operation by operation"
    return ""


def _of_kinds(tensors: Sequence[Tensor]) -> str:
    """A tensor whose values are not what its memory holds."""
    try:
        for tensor in tensors:
            if type(tensor) not in _PLAIN:
                return f"{type(tensor).__name__} is a tensor subclass"
            if tensor.is_neg():
                return "one tensor is the negative of its memory"
            if not tensor.data_ptr():
                return "one tensor is zero without memory"
    except RuntimeError:  # of sparse and other layouts
        return "one tensor has no dense memory"
    return ""


def of_devices(tensors: Sequence[Tensor]) -> str:
    """A tensor that is elsewhere than the first."""
    device = tensors[0].device
    for tensor in tensors:
        if tensor.device != device:
            return f"one tensor is on {tensor.device}, the input on {device}"
    return ""


def _of_shapes(call: Call) -> str:
    """An input or parameter that is not one value, or one for each neuron."""
    shape, steps = call.states[0].shape, call.steps
    for x, varies in zip(call.inputs, call.varies, strict=True):
        if (x.shape[1:] if varies and steps else x.shape) != shape:
            return "an input has another shape than the states"
    return of_parameters(call.params, shape)


def of_parameters(params: Sequence[Tensor], shape: torch.Size) -> str:
    """A parameter that does not broadcast to the states."""
    for tensor in params:
        if tensor.numel() != 1 and not expands(tensor.shape, shape):
            return f"a parameter of shape {tuple(tensor.shape)} does not broadcast to the states' {tuple(shape)}"
    return ""


def expands(small: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a tensor of one shape can be expanded to the other."""
    sizes = zip(reversed(small), reversed(shape), strict=False)
    return len(small) <= len(shape) and all([size == 1 or size == full for size, full in sizes])


_lacks: dict[torch.device, str] = {}  # device -> what its kernels lack there, or nothing


@constant
def lacking(device: torch.device) -> str:
    """What kernels on a device lack, or nothing; warns the first time."""
    if device not in _lacks:
        package = PACKAGES[device.type]
        _lacks[device] = ""
        if importlib.util.find_spec(package) is None:
            _lacks[device] = f"{package} is not installed"
        elif device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) < (7, 0):
            _lacks[device] = "Triton needs a GPU of compute capability 7.0 or later"
        elif device.type == "cuda" and package == "triton":
            if watched() or torch.cuda.is_current_stream_capturing():
                del _lacks[device]  # not now, when nothing may be launched
                return ""
            _lacks[device] = gpu.failure(device)
        elif package == "numba" and os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
            _lacks[device] = "NUMBA_DISABLE_JIT is set"
            return _lacks[device]  # as the user asked: no warning
        if _lacks[device]:
            warnings.warn(f"{_lacks[device]}: neurons run step by step", RuntimeWarning, stacklevel=2)
    return _lacks[device]
