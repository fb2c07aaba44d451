"""Warnings that point at whoever called the package."""

import sys
import warnings

from .._engine.private import constant


@constant  # else it would break a compiled graph
def warn(message: str) -> None:
    """Warn whoever called the neuron, or built it."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("snntorch", "torch"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
