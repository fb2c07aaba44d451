"""What a neuron was built with, for its `repr`."""

import inspect
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from ..surrogate import resolve


def described(neuron: nn.Module) -> str:
    """The constructor's arguments that differ from their defaults, `beta=0.9, threshold=Tensor[3]`."""
    found, defaults = {}, {}
    for name, default in _arguments(type(neuron)):
        defaults.setdefault(name, default)  # a subclass may have another one
    for name, default in defaults.items():
        value = _value(neuron, name, default)
        if not _same(value, resolve(None) if name == "spike_grad" else default):
            found[name] = _shown(value)
    if "surrogate_disable" in found:
        found.pop("spike_grad", None)
    return ", ".join(f"{name}={value}" for name, value in found.items())


def _arguments(cls: type) -> Iterator[tuple[str, Any]]:
    """Names and defaults of the constructor's arguments, of its bases' too where it hands others on."""
    for base in cls.__mro__:
        if base is nn.Module or "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        yield from ((p.name, p.default) for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return


def _value(neuron: nn.Module, name: str, default: Any) -> Any:
    """The argument as the neuron holds it now; its default where it holds none."""
    learnt = name.removeprefix("learn_")
    if learnt == name or hasattr(neuron, name):
        return getattr(neuron, name, default)
    return learnt in neuron._parameters if hasattr(neuron, learnt) else default


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, Tensor):
        return isinstance(default, float | int) and default is not False and _shown(value) == _shown(default)
    return value is None or value is default or (type(value) is type(default) and bool(value == default))


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        whole = value.numel() != 1 or value.device.type == "meta"
        return f"Tensor{list(value.shape)}" if whole else f"{value.item():.6g}"
    return f"{value:.6g}" if isinstance(value, float | int) and not isinstance(value, bool) else repr(value)
