"""Gradient-based learning with spiking neural networks on PyTorch."""

import importlib
from types import ModuleType

from . import surrogate as surrogate
from ._version import __version__ as __version__

_LAZY = ("backprop", "export_nir", "functional", "import_nir", "spikegen", "spikeplot", "utils")


def __getattr__(name: str) -> ModuleType:
    """Import a submodule at its first use, so that `import snntorch` stays cheap."""
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
