"""What keeps a forward from being recorded."""

import inspect
from collections.abc import Callable

import torch

from .._engine.private import globally_hooked, recorded, transforming, watched
from .._neurons.recorder import recorder_now


def obstacle(function: Callable) -> str | None:
    """Why a forward runs as it is; empty where nothing is lost by that."""
    if torch.compiler.is_compiling() or recorded() or recorder_now() is not None:
        return ""
    if watched() or transforming():
        return "somebody else watches what is called"
    if globally_hooked():
        return "global hooks expect every call"
    if inspect.isgeneratorfunction(inspect.unwrap(function)):
        return "a generator's caller decides how far it runs"
    return None
