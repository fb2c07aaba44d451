"""What every code asks of its arguments."""

import math
import operator
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.compiler import is_compiling

T = TypeVar("T")


def floating(data: Tensor, name: str = "data") -> Tensor:
    """`data` in its own floating dtype, or in the default one if it holds integers or booleans; finite."""
    finite(data, name)
    return data if data.is_floating_point() else data.to(torch.get_default_dtype())


def finite(data: Tensor, name: str) -> Tensor:
    """`data`, a tensor without NaN, infinities or imaginary parts."""
    if not isinstance(data, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(data).__name__}")
    if data.is_complex():
        raise TypeError(f"{name} must hold real numbers, got {data.dtype}")
    if data.is_floating_point() and data.numel():
        if _looked_at(lambda: math.isfinite(data.detach().sum().item()), True):
            return data  # and where not, the sum of large ones may have overflowed
        lowest, highest = _range(data)
        if not (math.isfinite(lowest) and math.isfinite(highest)):  # NaN is both the lowest and the highest
            raise ValueError(f"{name} must be finite, got values from {lowest} to {highest}")
    return data


def not_saturated(data: Tensor, highest: float, how: str) -> None:
    """Raise where integers go beyond the range of a code, such as the pixels 0 … 255 of an image.

    Floating data may exceed it on purpose; integers were forgotten to be scaled.
    """
    if data.is_floating_point() or data.dtype == torch.bool or not data.numel():
        return
    most = _range(data)[1]
    if most > highest:
        raise ValueError(f"data holds integers up to {most:.0f}, and all above {highest:g} {how}")


def _range(data: Tensor) -> tuple[float, float]:
    """The lowest and the highest value."""
    lowest, highest = data.detach().aminmax()
    return _looked_at(lambda: (float(lowest), float(highest)), (0.0, 0.0))


def _looked_at(look: Callable[[], T], otherwise: T) -> T:
    """What a look at values shows, or else, where there are none: in a graph, under vmap, on the meta device."""
    if is_compiling() or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return otherwise
    try:
        return look()
    except RuntimeError:
        return otherwise


def at_least_float32(data: Tensor) -> Tensor:
    """`data` in a dtype where small numbers such as ε = 1e-7 survive next to a threshold."""
    return data.to(torch.promote_types(data.dtype, torch.float32))


def over_time(data: Tensor, name: str = "data") -> Tensor:
    """`data`, which must have a time dimension."""
    if not isinstance(data, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(data).__name__}")
    if data.dim() == 0:
        raise ValueError(f"{name} must have time as its first dimension [T, ...], got a scalar tensor")
    return data


def given_steps(num_steps: int | None) -> int:
    """`num_steps` as an integer; False, None and 0 mean "not given" and become 0."""
    if num_steps is None or num_steps is False:
        return 0
    return whole(num_steps, "num_steps", least=0)


def required_steps(num_steps: int | None) -> int:
    """`num_steps`, which must be given."""
    steps = given_steps(num_steps)
    if steps == 0:
        raise ValueError("num_steps must be given: a positive number of time steps")
    return steps


def whole(value: int, name: str, least: int, most: float = math.inf) -> int:
    """`value` as an integer from `least` to `most`."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value}")
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")
    return value


def positive(**settings: float | Tensor) -> None:
    """Raise unless each of the settings, and each element of one, is finite and above 0."""
    real(**settings)
    for name, value in settings.items():
        if isinstance(value, Tensor):
            if not bool((value > 0).all()):
                raise ValueError(f"{name} must be positive everywhere")
        elif not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")


def real(**settings: float | Tensor) -> None:
    """Raise unless each of the settings, and each element of one, is a finite real number."""
    for name, value in settings.items():
        if isinstance(value, Tensor):
            finite(value, name)
        elif isinstance(value, complex):
            raise TypeError(f"{name} must be a real number, got {value}")
        elif not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value}")


def within_unit(data: Tensor) -> Tensor:
    """`data`, every element of which lies in [0, 1]; NaN does not."""
    if not bool(((data >= 0) & (data <= 1)).all()):
        raise ValueError("data must lie in [0, 1], got values outside or NaN")
    return data
