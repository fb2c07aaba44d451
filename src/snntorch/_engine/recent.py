"""What was used last, so that nothing that is remembered grows without bound."""

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

KERNELS = 512  # that are kept in memory, each some hundred kilobytes of machine code
SMALL = 4096  # of what is small beside them

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """A dictionary that forgets, when it is full, what was not used for long: what was not since it was last looked at.

    Args:
        size: how many items it holds.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._items: dict[Hashable, list] = {}  # values, and whether each was used

    def get(self, key: Hashable) -> Value | None:
        """The item, or None."""
        found = self._items.get(key)
        if found is None:
            return None
        found[1] = True
        return found[0]

    def put(self, key: Hashable, value: Value) -> None:
        """Remember an item."""
        with _lock:
            while len(self._items) >= self.size:
                oldest = next(iter(self._items))
                item = self._items.pop(oldest)
                if item[1]:  # a second chance
                    item[1] = False
                    self._items[oldest] = item
            self._items[key] = [value, False]

    def __len__(self) -> int:
        return len(self._items)


_lock = threading.RLock()
