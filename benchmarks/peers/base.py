"""What a library must offer to take part, and what several of them share."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

BETA, ALPHA = 0.9, 0.8  # decay of the membrane and of the synaptic current
Run = Callable[[Tensor], Any]


class Peer:
    """A library and a way to use it. It imports the library where it uses it: each environment has only its own.

    A net is written once, from `layers`, `norm`, `lif`, `readout` and `recurrent`; what these return takes either one
    step or all of them, and `run` calls the net accordingly.
    """

    environment = "ours"
    package = ""  # pip's name for it; empty for ours
    needs: tuple[str, ...] = ()
    batch_first = False

    def alone(self, neuron: str, n: int, steps: int, indexed: bool) -> tuple[nn.Module, Run]:
        """A neuron for so many steps, and the function from `[T, B, ...]` to spikes, or spikes and membranes."""
        raise NotImplementedError

    def layers(self, *stateless: nn.Module) -> nn.Module:
        """Layers without a state, as one."""
        raise NotImplementedError

    def norm(self, norm: nn.Module) -> nn.Module:
        """A batch normalisation that trains."""
        return self.layers(norm)

    def norm_over_time(self, kind: str, features: int, steps: int) -> nn.Module:
        """A batch normalisation made for sequences, by what the field calls it."""
        raise NotImplementedError

    def lif(self, last: bool = False, membranes: bool = False) -> nn.Module:
        """A leaky neuron; the last one of a net returns its membranes too, if they cost nothing or are asked for."""
        raise NotImplementedError

    def readout(self) -> nn.Module:
        """A leaky neuron that never spikes."""
        raise NotImplementedError

    def imported(self, weights: Sequence[Tensor]) -> nn.Module:
        """Linear layers without bias, each before a leaky neuron that resets to zero at once: from NIR where it can."""
        raise NotImplementedError

    def converted(self, net: nn.Module, data: Tensor) -> nn.Module:
        """A net of ReLUs as integrate-and-fire neurons, balanced with these data."""
        raise NotImplementedError

    def recurrent(self, n: int) -> nn.Module:
        """A leaky neuron that gets `W out[t-1]` beside its input."""
        raise NotImplementedError

    def loop(self, forward: Any) -> Any:
        """A module or function with the loop over time in it, as this library's users write it."""
        return forward

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """Spikes and, where they are recorded, membranes of the last layer; with `T` every step sees the same `x`."""
        raise NotImplementedError


class OverTime(nn.Sequential):
    """Stateless layers on `[T, B, ...]`: time folds into the batch."""

    def forward(self, x: Tensor) -> Tensor:
        """All steps as one batch."""
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def linear(weight: Tensor) -> nn.Linear:
    """A layer with this weight and no bias."""
    layer = nn.Linear(*reversed(weight.shape), bias=False)
    layer.weight.data = weight.clone()
    return layer


class Recurrent(nn.Module):
    """`node(x[t] + W out[t-1])`, the recurrence that RLeaky computes, around a single-step node."""

    def __init__(self, n: int, node: nn.Module) -> None:
        super().__init__()
        self.recurrent, self.node = nn.Linear(n, n), node

    def forward(self, x: Tensor) -> Tensor:
        """Step by step."""
        outs = [torch.zeros_like(x[0])]
        for x_t in x.unbind():
            outs.append(self.node(x_t + self.recurrent(outs[-1])))
        return torch.stack(outs[1:])


class Multistep(Peer):
    """What takes whole sequences layer by layer."""

    def layers(self, *stateless: nn.Module) -> nn.Module:
        """Time in the batch."""
        return OverTime(*stateless)

    def reset(self, net: nn.Module) -> None:
        """Forget the states."""

    def run(self, net: nn.Module, x: Tensor, T: int | None = None) -> tuple:
        """One call; the first block of a static input runs once, the faster of these libraries' idioms."""
        self.reset(net)
        if T is None:
            out = net(x)
        else:
            first, *rest = net.children()
            out = first(x[None]).expand(T, *[-1] * x.dim())
            for module in rest:
                out = module(out)
        return out if isinstance(out, tuple) else (out,)


def stacked(outs: Iterable[Any]) -> tuple[Tensor, list[Any]]:
    """Spikes over time, and what else the steps returned last."""
    outs = [out if isinstance(out, tuple) else (out,) for out in outs]
    return torch.stack([out[0] for out in outs]), [out[-1] for out in outs]
