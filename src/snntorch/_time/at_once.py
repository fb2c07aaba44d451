"""A step that is called once for all steps: what it calls takes them all, as it would be folded by hand.

Nothing is recorded. So it is for steps of which a recording has told that one stands for all others, and whose calls
are functions, layers and neurons that take time as it comes. Where anything else comes up in the call, it is given up,
all is as it was before, and the step is recorded.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._engine import listening
from .every_step import FAILS, AllSteps, Unfit
from .packed import kept_by_others
from .start import Start

_fits: weakref.WeakKeyDictionary[nn.Module, dict[bool, bool]] = weakref.WeakKeyDictionary()


def tell(module: nn.Module, fits: bool) -> None:
    """What is known of a module, as in training or evaluation: whether it may fit, or was tried and does not."""
    known_of = _fits.setdefault(module, {})
    known_of[module.training] = fits and known_of.get(module.training, True)


def at_once(
    module: nn.Module, x: Tensor, num_steps: int | None, stacked: Callable[[Sequence, Callable], Any]
) -> tuple[Any] | None:
    """What `unroll` returns for a module whose forward is one time step, as the only item; None where it has to record.

    Args:
        module: the module.
        x: as in `unroll`.
        num_steps: likewise.
        stacked: makes outputs of it, given those of a step in a list, and what makes one of a tensor.
    """
    if not _fits.get(module, {}).get(module.training) or listening():
        return None
    if kept_by_others():  # a checkpoint's second run has to save what its first one did, which may have been recorded
        return None
    if x.is_cuda and torch.cuda.is_current_stream_capturing():  # when the state of its draws can't be kept
        return None
    start = Start(module)
    if not start.fixed():
        return None
    draws = torch.get_rng_state(), torch.cuda.get_rng_state(x.device) if x.is_cuda else None
    own = [(generator, generator.get_state()) for generator in start.generators()]
    calls = AllSteps(start, len(x) if num_steps is None else num_steps)
    try:
        out = stacked([calls.run(module, x, num_steps is not None)], calls.stacked)
        if calls.over() and start.same(calls.neurons):
            return (out,)
        raise Unfit
    except BaseException as error:
        start.restore()
        torch.set_rng_state(draws[0])
        if draws[1] is not None:
            torch.cuda.set_rng_state(draws[1], x.device)
        for generator, state in own:
            generator.set_state(state)
        if not isinstance(error, FAILS):
            raise
    tell(module, fits=False)
    return None
