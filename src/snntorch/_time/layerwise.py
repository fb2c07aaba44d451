"""A forward that holds the loop over time, run layer by layer."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn
from torch.nn.utils.rnn import PackedSequence

from .._engine import note
from .._neurons.derived import derived
from .lengths import layerwise_to_ends, takes_lengths
from .modules import Recorder
from .obstacle import obstacle
from .vain import InVain

Net = TypeVar("Net", bound=Callable[..., Any])


def layerwise(net: Net) -> Net:
    """Run a network whose forward holds the loop over time layer by layer instead of step by step.

    The results are those of calling `net`: values, gradients, states and running statistics. What its forward calls is
    recorded first and then run, each layer for all steps at once where that gives the same. Where the forward reads a
    value (`if spk.sum() > 0`, `.item()`, `print`), what is recorded runs, and the rest as it is called: right, only
    slower; `snntorch.explain` names the line.

    Args:
        net: a module or function, called with whole sequences or with static inputs; also as a decorator of a function,
            of a module's class or of its `forward`.

    A call takes `lengths=` as `snntorch.unroll` does, unless the forward has an argument of that name: the first
    tensor by position is the sequence `[T, B, ...]`, padded or packed, every layer is called once a step, and neurons
    whose sample has ended keep their states and are silent. What is returned as `[T, B, ...]` is zero after each
    sample's end.

    Returns:
        For a module one that shares everything with it, parameters, states, mode, hooks; its class is a subclass of
        the module's, and its `state_dict` the same. For a function a function, for a class the class.

    Raises:
        TypeError: for what can't be called.

    Example:
        >>> import snntorch as snn, torch
        >>> class Net(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc1, self.lif1 = torch.nn.Linear(4, 8), snn.Leaky(beta=0.9)
        ...         self.fc2, self.lif2 = torch.nn.Linear(8, 2), snn.Leaky(beta=0.9)
        ...
        ...     def forward(self, x):
        ...         mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        ...         recorded = []
        ...         for step in range(x.size(0)):
        ...             spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
        ...             spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        ...             recorded.append(spk2)
        ...         return torch.stack(recorded)
        >>> net = snn.layerwise(Net())
        >>> net(torch.rand(25, 3, 4)).shape
        torch.Size([25, 3, 2])
    """
    if isinstance(net, nn.Module):
        if is_layerwise(net):
            return net  # type: ignore[return-value]
        shared: Any = object.__new__(derived(type(net), _recorded))
        shared.__dict__ = net.__dict__
        return shared
    if isinstance(net, type) and issubclass(net, nn.Module):
        net.forward = layerwise(net.forward)
        return net  # type: ignore[return-value]
    if not callable(net):
        raise TypeError(f"net must be a module or a function, got {type(net).__name__}")

    own, in_vain = takes_lengths(net), InVain()

    @functools.wraps(net)
    def run(*args: Any, **kwargs: Any) -> Any:
        lengths = None if own else kwargs.pop("lengths", None)
        if not own and (lengths is not None or PackedSequence in map(type, args)):
            return layerwise_to_ends(net, args, kwargs, lengths)
        reason = obstacle(net)
        if reason is not None:
            if reason:
                note(args[0] if args and isinstance(args[0], nn.Module) else net, "stepped", reason)
            return net(*args, **kwargs)
        owner = args[0] if args and isinstance(args[0], nn.Module) else run
        if in_vain.passes(owner):
            return net(*args, **kwargs)
        recorder = Recorder()
        out = recorder.run(net, args, kwargs)
        in_vain.tell(owner, recorder)
        return out

    return run  # type: ignore[return-value]


def _recorded(kind: type) -> dict[str, Any]:
    """The attributes of the class whose forward is recorded."""
    return {"forward": layerwise(kind.forward)}  # type: ignore[attr-defined]


def is_layerwise(net: Any) -> bool:
    """Whether `layerwise` made it."""
    return any(make is _recorded for make, _ in getattr(type(net), "made_of", (None, ()))[1])
