"""What every code asks of its arguments."""

import operator

import torch
from torch import Tensor


def floating(data: Tensor, name: str = "data") -> Tensor:
    """`data` in its own floating dtype, or in the default one if it holds integers or booleans."""
    if not isinstance(data, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(data).__name__}")
    return data if data.is_floating_point() else data.to(torch.get_default_dtype())


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


def whole(value: int, name: str, least: int) -> int:
    """`value` as an integer that is at least `least`."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value}")
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return value


def positive(value: float, name: str) -> None:
    """Raise unless `value` > 0."""
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def within_unit(data: Tensor, name: str = "data") -> None:
    """Raise unless every element lies in [0, 1]; NaN does not."""
    if not bool(((data >= 0) & (data <= 1)).all()):
        raise ValueError(f"{name} must lie in [0, 1], got values outside or NaN")
