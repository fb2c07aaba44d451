"""The live neurons, held weakly."""

import inspect
import weakref
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

Built = TypeVar("Built")


class Registry(type):
    """Registers an instance once its constructor has returned, and holds it weakly."""

    _live: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    def __call__(cls: type[Built], *args: Any, **kwargs: Any) -> Built:  # type: ignore[misc]
        neuron = super().__call__(*args, **kwargs)  # type: ignore[misc]
        Registry._live.add(neuron)
        return neuron

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's, which `__call__` would hide from `help`."""
        constructor = inspect.signature(cls.__init__)
        return constructor.replace(parameters=list(constructor.parameters.values())[1:])

    @property
    def instances(cls) -> list:
        """The live neurons of every class."""
        return list(Registry._live)

    @instances.setter
    def instances(cls, value: Sequence) -> None:
        Registry._live.clear()
        Registry._live.update(value)
