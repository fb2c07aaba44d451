"""Where in the user's code a call is made."""

import functools
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

_end: CodeType | None = None  # what calls the code that is recorded
_boundary: CodeType | None = None  # what calls a module
_SKIPPED = ("/torch/", "/snntorch/_time/", "/snntorch/_neurons/", "/contextlib.py")


def ends(function: Callable[..., Any]) -> Any:
    """Mark the function that calls the code that is recorded."""
    global _end
    _end = function.__code__
    return function


def boundary(function: Callable[..., Any]) -> Any:
    """Mark the function that calls each module: what is outside of it is known by then."""
    global _boundary
    _boundary = function.__code__
    return function


def site() -> list[int]:
    """The places that are being run, from who called the recorder out to the call of a module: code and instruction."""
    frame = sys._getframe(3)
    if frame.f_code is _boundary:  # it is this module's call
        frame = frame.f_back
    places = []
    while frame is not None:
        code = frame.f_code
        if code is _boundary or code is _end:
            break
        places.append(id(code))
        places.append(frame.f_lasti)
        frame = frame.f_back
    return places


def line() -> str:
    """File and line of the user's code."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code is not _end:
        name = _of_user(frame.f_code.co_filename)
        if name:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@functools.lru_cache(1024)
def _of_user(path: str) -> str:
    """A file's name; empty where it is not the user's."""
    path = path.replace("\\", "/")
    return "" if any(part in path for part in _SKIPPED) else path.rsplit("/", 1)[-1]
