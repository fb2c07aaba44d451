"""Forwards of which little runs together: most of their calls are not recorded at all.

They look at a value before anything has run together, or most of what they call is small and waits for itself.
"""

import weakref
from typing import Any

from torch import nn

from .._engine import listening
from .modules import Recorder

_MOST = 32  # calls that pass by until one is recorded again


class InVain:
    """Which calls of a forward need no recording, as those before got nothing from it.

    After one in vain one passes by, then two, four and so on; one that was worth it, as where a net looks at its first
    batch only, ends that. The result is the same either way.
    """

    def __init__(self) -> None:
        self._left: weakref.WeakKeyDictionary[Any, dict[bool, list[int]]] = weakref.WeakKeyDictionary()

    def passes(self, owner: Any) -> bool:
        """Whether this call need not be recorded, of a module or function, whose training and evaluation may differ."""
        counts = self._counts(owner)
        if counts[0] == 0 or listening():
            return False
        counts[0] -= 1
        return True

    def tell(self, owner: Any, recorder: Recorder) -> None:
        """What came of recording a call."""
        counts = self._counts(owner)
        looked = recorder.stopped and not recorder.together
        in_vain = looked or recorder.alone > recorder.together
        counts[1] = min(2 * counts[1] or 1, _MOST) if in_vain else 0
        counts[0] = counts[1]

    def _counts(self, owner: Any) -> list[int]:
        """Calls that are still to pass by, and of how many."""
        training = owner.training if isinstance(owner, nn.Module) else True
        return self._left.setdefault(owner, {}).setdefault(training, [0, 0])
