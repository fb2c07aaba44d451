"""What the package uses of PyTorch that has no public name: why, and since which version of PyTorch it is there.

Whatever older versions lack is looked up softly. What PyTorch's modules and tensors carry, such as `_buffers` and
`_version`, is used where it is looked at.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch._subclasses.fake_tensor import FakeTensorMode as FakeTensorMode  # tells what a call gives (1.12)
from torch.autograd import forward_ad, profiler
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode  # sees every operator (1.13)


def constant(function: Callable) -> Callable:
    """What `torch.compiler.assume_constant_result` does, which would import `torch._dynamo`, for seconds (2.1)."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def outside_graphs(function: Callable[..., Any]) -> Callable[..., Any]:
    """What `torch.compiler.disable` makes of a function, but without `torch._dynamo` until one is compiled (2.1)."""
    disabled = _disable_dynamo(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (disabled if torch.compiler.is_dynamo_compiling() else function)(*args, **kwargs)

    return call


transforming = torch._C._are_functorch_transforms_active  # `torch.func`: its tensors have no memory of their own (2.3)
recorded = torch._C._is_tracing  # `torch.jit.is_tracing`, in a tenth of its time (1.0)
saved_by = torch._C._autograd._top_saved_tensors_default_hooks  # type: ignore[attr-defined]  # the innermost hooks (2.5)
function_mode = torch.overrides._get_current_function_mode  # the innermost one, None where there is none (2.0)


def forward_differentiating() -> bool:
    """Whether forward-mode differentiation is running, whose tangents a kernel would drop (1.11)."""
    return forward_ad._current_level >= 0


@contextlib.contextmanager
def parametrised_anew() -> Iterator[None]:
    """Compute parametrised weights anew, as outside of `parametrize.cached`, which would keep what they are (1.9)."""
    before, parametrize._cache_enabled = parametrize._cache_enabled, 0
    try:
        yield
    finally:
        parametrize._cache_enabled = before


def watched() -> bool:
    """Whether a dispatch mode wants to see every operator, as fake tensors and `make_fx` do (1.12)."""
    return torch._C._len_torch_dispatch_stack() > 0


def globally_hooked() -> bool:
    """Whether hooks on all modules expect every call (1.8)."""
    return bool(nn.modules.module._global_forward_hooks or nn.modules.module._global_forward_pre_hooks)


def profiled() -> bool:
    """Whether a profiler is running (1.13)."""
    return getattr(profiler, "_is_profiler_enabled", False)


CALL = "_wrapped_call_impl"  # what `nn.Module.__call__` is (2.1)
UNCOMPILED = "_call_impl"  # what that calls where the module is not compiled (1.6)


class Draws(TorchDispatchMode):
    """Calls a function where random numbers are drawn (its tag: 1.13)."""

    def __init__(self, seen: Callable[[], object]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run the operator."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.seen()
        return func(*args, **(kwargs or {}))


# Whether autocast is on for any device; where it can't be told at once, it may be (2.1).
any_autocast: Callable[[], bool] = getattr(torch._C, "_is_any_autocast_enabled", lambda: True)


def recording_trace() -> object:
    """The recording that `torch.jit.trace` makes now, None where it makes none (1.0)."""
    return torch._C._get_tracing_state() if torch._C._is_tracing() else None


def followed() -> bool:
    """Whether anyone follows each operation in one of these ways; one question, as each single step asks it."""
    c = torch._C
    return (
        c._are_functorch_transforms_active() or c._len_torch_dispatch_stack() > 0 or forward_ad._current_level >= 0
        or c._is_tracing()
    )  # fmt: skip


def same_kinds(tensors: Sequence[Tensor], sequences: int = 0) -> Callable[..., bool]:
    """A test whether other tensors, as many, are of the very kinds of these; so many first ones over any time.

    It compares type, dtype, device, sizes, strides, whether autograd follows, and whatever else makes PyTorch dispatch
    otherwise, now and at the time of the test, as a transform or inference mode. The guards of `torch.compile` do that
    in a tenth of Python's time, unless one tensor comes twice (2.0).
    """
    expected = [_kind(t, k < sequences) for k, t in enumerate(tensors)]
    try:
        sizes: list[Any] = [[*t.shape] for t in tensors]
        for size in sizes[:sequences]:
            size[0] = None
        strides = [list(t.stride()) for t in tensors]
        guards = torch._C._dynamo.guards.TensorGuards  # type: ignore[attr-defined]
        quick = guards(*tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check
        if quick(*tensors):
            return quick
    except (AttributeError, TypeError, ValueError, RuntimeError):
        pass
    return lambda *others: [_kind(t, k < sequences) for k, t in enumerate(others)] == expected


def _kind(tensor: Any, sequence: bool) -> tuple:
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
        return ()
    follows = tensor.requires_grad and torch.is_grad_enabled()
    keys = torch._C._dispatch_keys(tensor)
    return (
        type(tensor), tensor.dtype, tensor.device, tensor.shape[sequence:], tensor.stride(), follows, keys.raw_repr(),
        torch.is_inference_mode_enabled(),
    )  # fmt: skip


def viewed(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor that this one is a view of, or itself (1.0)."""
    return tensor if tensor._base is None else tensor._base


def apply_plainly(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """Its `apply`, without the search for what `torch.func` transforms left among the arguments (2.0)."""
    return super(torch.autograd.Function, function).apply  # type: ignore[misc]


@contextlib.contextmanager
def enable_grad() -> Iterator[None]:
    """`torch.enable_grad`, which an export under way does not see: it would become part of its program (1.13)."""

    def switch(on: bool) -> None:
        with torch._C.DisableTorchFunction():
            torch._C._set_grad_enabled(on)

    before = torch.is_grad_enabled()
    switch(True)
    try:
        yield
    finally:
        switch(before)


def decomposes(operator: Any, **kwargs: Any) -> Callable:
    """Decorator for an operator's meaning in others, which exporters look up in a table (1.12)."""
    from torch._decomp import register_decomposition

    return register_decomposition(operator, **kwargs)


def surviving(tensor: Tensor) -> Tensor | None:
    """The tensor, out of the `torch.func` transforms that have returned; None where its values went with one (2.0)."""
    if torch.compiler.is_compiling() or _func.maybe_get_level(tensor) == -1:  # a plain tensor
        return tensor
    while _func.is_dead_tensor_wrapper(tensor):
        tensor = _func.unwrap_if_dead(tensor)
    return None if _func.maybe_get_level(tensor) > (_func.maybe_current_level() or 0) else tensor


@contextlib.contextmanager
def loops_in_vmap() -> Iterator[None]:
    """Without the warning of `torch.vmap` where it has to loop over what it can't map (2.0)."""
    switch = getattr(_func, "_set_vmap_fallback_warning_enabled", lambda on: None)
    switch(False)
    try:
        yield
    finally:
        switch(True)


def memory(tensor: Tensor) -> int:
    """A number for its memory, which tensors that share it share: fake ones, too, which have no address (2.0)."""
    return tensor.untyped_storage()._cdata


def transformed(tensor: Tensor) -> bool:
    """Whether it is a tensor of a `torch.func` transform (2.0)."""
    return _func.maybe_get_level(tensor) != -1


_func = torch._C._functorch  # type: ignore[attr-defined]  # what torch.func is made of (2.0)

# In a hook: the number of the backward pass (1.12), and whether it keeps the graph that it goes through (2.2).
backward_pass = torch._C._current_graph_task_id
keeps_graph = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)  # type: ignore[attr-defined]

# In a hook of a node: that node (2.1), and whether this backward pass goes through another one (1.13).
running_node = torch._C._current_autograd_node
goes_through = torch._C._will_engine_execute_node

# What `Tensor.__torch_function__` calls PyTorch's own functions in, so that they don't come back to it (2.0).
past_torch_function = torch._C.DisableTorchFunctionSubclass
set_grad_mode = torch._C._set_grad_enabled  # what function modes see of `torch.no_grad` (1.13)
unseen = torch._C.DisableTorchFunction  # by function modes too (1.7)
as_subclass = Tensor._make_subclass  # type: ignore[attr-defined]  # of a tensor; no constructor is as quick (1.0)


def hollow_tensor(
    kind: type[Tensor], shape: Sequence[int], stride: Sequence[int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """A tensor without memory, of any shape, dtype and device: no constructor makes one (1.11).

    PyTorch makes them of subclasses that see operators, such as `kind`; from this one others are made as quickly as can
    be.
    """
    wrapper = Tensor._make_wrapper_subclass(kind, shape, strides=stride, dtype=dtype, device=device)  # type: ignore[attr-defined]
    with torch._C._DisableTorchDispatch():
        return as_subclass(Tensor, wrapper)


# What all of a kind of PyTorch's layers are subclasses of (1.4, but for dropout's: 1.10).
NORMS = nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm
CONVOLUTION = nn.modules.conv._ConvNd
DROPOUT = nn.modules.dropout._DropoutNd
