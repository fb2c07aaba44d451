"""Classes made at run time from a module's class, whose instances copy and pickle."""

import functools
from collections.abc import Callable
from typing import Any


@functools.cache
def derived(cls: type, make: Callable[..., dict[str, Any]], *args: Any) -> Any:
    """The subclass with the attributes `make(cls, *args)`; the same one for the same arguments.

    Args:
        cls: a class, or one that this made.
        make: a function of a module.
        *args: hashable, and what pickles.
    """
    root, makes = getattr(cls, "made_of", (cls, ()))
    about = {"__module__": cls.__module__, "__doc__": cls.__doc__, "__reduce_ex__": _reduce,
             "made_of": (root, (*makes, (make, args)))}  # fmt: skip
    return type(cls)(cls.__name__, (cls,), make(cls, *args) | about)


def _reduce(self: Any, protocol: Any) -> str | tuple:
    if "made_of" not in vars(type(self)):  # a subclass that somebody wrote
        return object.__reduce_ex__(self, protocol)
    state = self.__getstate__() if hasattr(self, "__getstate__") else self.__dict__
    return _instance, self.made_of, state


def _instance(root: type, makes: tuple) -> Any:
    cls = functools.reduce(lambda cls, made: derived(cls, made[0], *made[1]), makes, root)
    return cls.__new__(cls)
