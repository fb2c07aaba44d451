"""The neurons, one file each. `from snntorch._neurons import Leaky`, as public code writes, finds every one."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """A neuron that the package exports."""
    found = vars(importlib.import_module(__name__.rpartition(".")[0])).get(name)
    if isinstance(found, type) and found.__module__.startswith(f"{__name__}."):
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
