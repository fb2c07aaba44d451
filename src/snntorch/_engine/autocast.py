"""Whether PyTorch's autocast is on, and computing without it."""

import contextlib

import torch

_DEVICES = ("cpu", "cuda", "mps", "xpu", "xla", "hpu")  # others raise where they are asked


def autocasting(device: str) -> bool:
    """Whether operations on a type of device choose their own dtypes."""
    return device in _DEVICES and torch.is_autocast_enabled(device)


def product_dtype(weight: torch.Tensor) -> torch.dtype:
    """The dtype in which a product with a weight is computed."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if autocasting(device) else weight.dtype


def without_autocast(device: str) -> contextlib.AbstractContextManager:
    """Computing on a type of device in the dtypes that are given."""
    return torch.autocast(device, enabled=False) if autocasting(device) else contextlib.nullcontext()
