"""The names by which a step asks for its parameters and settings."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from .._engine.private import constant

_OWN: dict[Any, tuple[tuple[str, ...], bool]] = {}


@constant  # else torch.compile would guard on what is remembered, and compile twice
def keywords(neuron: Any) -> tuple[str, ...]:
    """Names of the keyword-only arguments of a class's step, `**rest` being those of the step that it overrides."""
    names, rest = _OWN.get(neuron.step) or _own(neuron.step)
    if not rest:
        return names
    return tuple(dict.fromkeys([name for step in steps(neuron) for name in _own(step)[0]]))


def steps(neuron: type) -> Iterator[Callable]:
    """A class's step, and while one takes `**rest` the step that it overrides."""
    for cls in neuron.__mro__:
        if "step" in vars(cls):
            step = vars(cls)["step"]
            step = getattr(step, "__func__", step)
            yield step
            if not _own(step)[1]:
                return


def _own(step: Any) -> tuple[tuple[str, ...], bool]:
    """Names of a step's keyword-only arguments, and whether it takes others."""
    if step not in _OWN:
        kinds = inspect.signature(step).parameters.items()
        names = tuple([name for name, p in kinds if p.kind is p.KEYWORD_ONLY])
        _OWN[step] = names, any([p.kind is p.VAR_KEYWORD for _, p in kinds])
    return _OWN[step]
