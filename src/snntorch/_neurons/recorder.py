"""Who records what is called, instead of running it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

_active = threading.local()


def recorder_now() -> Any:
    """Who records in this thread."""
    return getattr(_active, "recorder", None)


@contextmanager
def recording(recorder: Any) -> Iterator[None]:
    """Let somebody record in this thread, or nobody."""
    before, _active.recorder = recorder_now(), recorder
    try:
        yield
    finally:
        _active.recorder = before


def recorder_of(*tensors: Tensor) -> Any:
    """Who records a call on these tensors: the recorder of one whose value is not there yet."""
    for tensor in tensors:
        if type(tensor) is not Tensor and (recorder := getattr(tensor, "recorder", None)) is not None:
            return recorder
    return None
