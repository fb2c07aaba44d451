"""Where in the user's code a call is made."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

_end: CodeType | None = None  # what calls the code that is recorded
_SKIPPED = ("/torch/", "/snntorch/_time/", "/snntorch/_neurons/", "/contextlib.py")


def ends(function: Callable[..., Any]) -> Any:
    """Mark the function that calls the code that is recorded."""
    global _end
    _end = function.__code__
    return function


def site(depth: int) -> tuple[int, ...]:
    """The places that are being run, from the caller at a depth outwards: code and instruction of each."""
    frame = sys._getframe(depth)
    places = []
    while frame is not None:
        code = frame.f_code
        if code is _end:
            break
        places.append(id(code))
        places.append(frame.f_lasti)
        frame = frame.f_back
    return tuple(places)


def line() -> str:
    """File and line of the user's code."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code is not _end:
        name = frame.f_code.co_filename.replace("\\", "/")
        if not any(part in name for part in _SKIPPED):
            return f"{name.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
