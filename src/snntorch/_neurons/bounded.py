"""A parameter that training can't lead out of its bounds."""

from typing import Any, TypeVar

from torch import Tensor, nn

from .derived import derived

Module = TypeVar("Module", bound=nn.Module)


def between(name: str, low: float = 0.0, high: float = 1.0) -> property:
    """An attribute of a module that is computed from its parameter `<name>_logit`."""

    def get(self: nn.Module) -> Tensor:
        return low + (high - low) * getattr(self, f"{name}_logit").sigmoid()

    def set(self: nn.Module, value: Tensor) -> None:
        weight = getattr(self, f"{name}_logit")
        weight.data = logit(name, value.detach().to(weight), low, high)

    return property(get, set)


def logit(name: str, value: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """What the sigmoid, stretched to the bounds, makes the value of.

    Raises:
        ValueError: for a value outside them, naming `name`.
    """
    if value.device.type != "meta" and not bool(((value > low) & (value < high)).all()):
        raise ValueError(f"{name} must lie between {low} and {high}, got {value}")
    return ((value - low) / (high - low)).logit()


def _bound(cls: type, name: str, low: float, high: float) -> dict[str, Any]:
    """The attributes of the class whose named parameter is computed."""
    return {name: between(name, low, high)}


def bounded(neuron: Module, name: str = "beta", low: float = 0.0, high: float = 1.0) -> Module:
    """Keep a learnt number between bounds: `value = low + (high - low) * sigmoid(w)`, of which w trains.

    A decay that is clamped has no gradient once it has left its bounds; this one never reaches them. The parameter w
    takes the place of the number in the `state_dict`, as `<name>_logit`; the attribute is computed from it, and setting
    the attribute sets w. Call this before the parameters are handed to an optimiser.

    Args:
        neuron: a neuron or another module; it is changed.
        name: of a parameter, such as `beta` of a neuron with `learn_beta=True`.
        low: lower bound.
        high: upper bound.

    Returns:
        The neuron.

    Raises:
        ValueError: for a name that is no parameter's, bounds that leave nothing between them, or a value outside them.

    Source: Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural
    networks", ICCV 2021.

    Example:
        >>> import snntorch as snn, torch
        >>> lif = snn.bounded(snn.Leaky(beta=0.9, learn_beta=True), "beta")
        >>> lif.beta
        tensor(0.9000, grad_fn=<...>)
    """
    value = neuron._parameters.get(name)
    if value is None:
        raise ValueError(f"name must be one of {type(neuron).__name__}'s parameters, got {name!r}; learn_{name}=True?")
    if not low < high:
        raise ValueError(f"low must be less than high, got {low} and {high}")
    weight = nn.Parameter(logit(name, value.detach(), low, high), requires_grad=value.requires_grad)
    del neuron._parameters[name]
    neuron.register_parameter(f"{name}_logit", weight)
    neuron.__class__ = derived(type(neuron), _bound, name, low, high)
    return neuron
