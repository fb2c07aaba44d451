"""What the package uses of PyTorch that has no public name: why, and since which version it is there.

Whatever older versions lack is looked up softly.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.autograd import forward_ad, profiler


def constant(function: Callable) -> Callable:
    """What `torch.compiler.assume_constant_result` does, which would import `torch._dynamo`, for seconds (2.1)."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def transforming() -> bool:
    """Whether a `torch.func` transform is running: its tensors have no memory of their own (2.3)."""
    return torch._C._are_functorch_transforms_active()


def forward_differentiating() -> bool:
    """Whether forward-mode differentiation is running, whose tangents a kernel would drop (1.11)."""
    return forward_ad._current_level >= 0


def watched() -> bool:
    """Whether a dispatch mode wants to see every operator, as fake tensors and `make_fx` do (1.12)."""
    return torch._C._len_torch_dispatch_stack() > 0


def profiled() -> bool:
    """Whether a profiler is running (1.13)."""
    return getattr(profiler, "_is_profiler_enabled", False)


def recorded() -> bool:
    """`torch.jit.is_tracing`, in a tenth of its time (1.0)."""
    return torch._C._is_tracing()


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


# In a hook: the number of the backward pass (1.12), and whether it keeps the graph that it goes through (2.2).
backward_pass = torch._C._current_graph_task_id
keeps_graph = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)  # type: ignore[attr-defined]
