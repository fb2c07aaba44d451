"""The names by which a step asks for its parameters and settings."""

import inspect
from collections.abc import Callable
from typing import Any

from .._engine.private import constant

_KEYWORDS: dict[Any, tuple[str, ...]] = {}


@constant  # else torch.compile would guard on what is remembered, and compile twice
def keywords(step: Callable) -> tuple[str, ...]:
    """Names of a step's keyword-only arguments."""
    if step not in _KEYWORDS:
        kinds = inspect.signature(step).parameters.items()
        _KEYWORDS[step] = tuple(name for name, p in kinds if p.kind is p.KEYWORD_ONLY)
    return _KEYWORDS[step]
