"""What the modules of a network hold beside parameters, and how a run leaves no trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from .._neurons.neurons import SpikingNeuron

# What PyTorch keeps in a module's attributes, beside those that a forward sets.
_OF_PYTORCH = set(vars(nn.Module()))


class Held:
    """What a network's modules hold beside parameters: attributes, states among them, buffers, and their modes.

    Args:
        module: the network.
        copies: whether buffers are copied, since layers write into them, and lists and dicts, which may grow.
    """

    def __init__(self, module: nn.Module, copies: bool) -> None:
        self.modes = [(m, m.training) for m in module.modules()]
        self.attributes = [(m, _attributes(m, copies)) for m in module.modules()]
        # those of neurons do not change, and are many; their submodules hold some of them too
        neurons = [m for m in module.modules() if isinstance(m, SpikingNeuron)]
        self.constant = {id(b) for m in neurons for b in m._buffers.values()}
        self.buffers = [(m, dict(m._buffers)) for m in module.modules() if not isinstance(m, SpikingNeuron)]
        if copies:
            self.buffers = self._copied()

    def restore(self, copies: bool) -> None:
        """Let the modules hold this again, or copies of it."""
        for module, attributes in self.attributes:
            kept = vars(module)
            for name in [n for n in kept if n not in _OF_PYTORCH and n not in attributes]:
                del kept[name]
            kept.update({name: _copy(value) for name, value in attributes.items()} if copies else attributes)
        for module, buffers in self._copied() if copies else self.buffers:
            for name, buffer in buffers.items():
                if name not in module._buffers or module._buffers[name] is not buffer:
                    module._buffers[name] = buffer
        for module, mode in self.modes:
            if module.training != mode:
                module.training = mode

    def _copied(self) -> list[tuple[nn.Module, dict[str, Any]]]:
        """The buffers with copies of what is written in place, one copy of what several modules hold.

        One with a history is a state, which is set anew.
        """
        copies: dict[int, Any] = {}
        for _, buffers in self.buffers:
            for b in buffers.values():
                if b is not None:
                    copies[id(b)] = b if b.requires_grad or id(b) in self.constant else b.detach().clone()
        return [(module, {n: copies.get(id(b)) for n, b in buffers.items()}) for module, buffers in self.buffers]


def _attributes(module: nn.Module, copies: bool) -> dict[str, Any]:
    return {n: _copy(v) if copies else v for n, v in vars(module).items() if n not in _OF_PYTORCH}


def _copy(value: Any) -> Any:
    return value.copy() if type(value) in (list, dict, set) else value


@contextmanager
def aside(module: nn.Module, start: Held | None = None) -> Iterator[None]:
    """Run modules from what they held, or hold, and leave in them what they hold now."""
    now = Held(module, copies=False)
    (start or Held(module, copies=True)).restore(copies=True)
    try:
        yield
    finally:
        now.restore(copies=False)
