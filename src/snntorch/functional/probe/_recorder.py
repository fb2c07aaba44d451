"""Record the neurons of a network through time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ._monitors import Layers, classes_of, snapshot

if TYPE_CHECKING:
    from typing_extensions import Self


def _takes_sequence(module: nn.Module) -> bool:
    """Whether one call is a whole sequence `[T, B, ...]`, not one step."""
    return getattr(module, "takes_sequence", False) is True


def is_neuron(module: nn.Module) -> bool:
    """Whether a module has states, or takes a whole sequence and is no network of such, and no norm."""
    if hasattr(module, "reset_mem") or not _takes_sequence(module):
        return hasattr(module, "reset_mem")
    norms = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    return not any(isinstance(m, norms) or (m is not module and is_neuron(m)) for m in module.modules())


class Watch:
    """Calls `_called(name, layer, args, output)` after every forward of some layers while a `with` block runs."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._layers, self._hooks = layers, ExitStack()

    def __enter__(self) -> Self:
        for name, layer in self._layers.items():
            self._hooks.enter_context(layer.register_forward_hook(partial(self._called, name)))
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.close()

    def _called(self, name: str, layer: nn.Module, args: Any, output: Any) -> None:
        raise NotImplementedError


class Recorder(Watch):
    """Record every neuron of a network through time: spikes, states, and the spikes' gradients.

    It records while its `with` block runs, whether the network is called in a loop over time, by `snn.unroll`, or holds
    neurons that take a whole sequence in one call. What it recorded stays readable afterwards, detached, stacked over
    time and keyed by the neurons' names in `net.named_modules()`, in the order in which they are registered::

        splt.overview({"input": x, **recorder.spikes})

    Args:
        net: the network, or a single neuron. What a neuron returns first counts as its spikes, so of one that returns
            its membrane potential alone (`StateLeaky` with `output=False`) this is what is recorded.
        states: names of the states to record, of the neurons that have them, or return them for a whole sequence.
        gradients: whether to record the gradients with respect to the spikes, in each later backward pass.
        instance: which modules to record, as in `BaseMonitor`; `None` means all neurons: modules with a `reset_mem`, or
            with `takes_sequence = True` where one call is a whole sequence, but for networks that hold neurons.

    Raises:
        ValueError: the network has no such module.

    Example:
        >>> import snntorch as snn, torch
        >>> net = nn.Sequential(nn.Linear(3, 4), snn.Leaky(beta=0.9, init_hidden=True))
        >>> with Recorder(net, gradients=True) as recorder:
        ...     spikes = torch.stack([net(x) for x in torch.rand(10, 5, 3)])
        >>> spikes.sum().backward()
        >>> recorder.spikes["1"].shape, recorder.states["mem"]["1"].shape, recorder.gradients["1"].shape
        (torch.Size([10, 5, 4]), torch.Size([10, 5, 4]), torch.Size([10, 5, 4]))
    """

    def __init__(
        self, net: nn.Module, states: Iterable[str] = ("mem",), gradients: bool = False, instance: Layers | None = None
    ):
        classes = None if instance is None else classes_of(instance)
        named = net.named_modules()
        super().__init__({n: m for n, m in named if (is_neuron(m) if classes is None else isinstance(m, classes))})
        if not self._layers:
            raise ValueError(f"net has no neuron to record: {type(net).__name__}")
        self._state_names = tuple(states)
        self._with_gradients = gradients
        self.clear()

    def clear(self) -> None:
        """Forget what was recorded: call it between batches."""
        self._spikes: dict[str, list[Tensor]] = {name: [] for name in self._layers}
        self._gradients: dict[str, dict[int, Tensor]] = {name: {} for name in self._layers}  # by the number of the call
        self._states: dict[str, dict[str, list[Tensor]]] = {
            state: {name: [] for name in self._layers} for state in self._state_names
        }

    def _called(self, name: str, layer: nn.Module, args: Any, output: Any) -> None:
        spikes = output[0] if isinstance(output, tuple) else output
        self._spikes[name].append(spikes.detach())
        for state, layers in self._states.items():
            if hasattr(layer, state):
                layers[name].append(snapshot(getattr(layer, state)))
            elif state == "mem" and _takes_sequence(layer) and isinstance(output, tuple):
                layers[name].append(snapshot(output[-1]))  # it keeps no state, but returns its course
        if self._with_gradients and spikes.requires_grad:
            spikes.register_hook(partial(self._gradients[name].__setitem__, len(self._spikes[name]) - 1))

    def _join(self, layers: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
        return {
            name: (torch.cat if _takes_sequence(self._layers[name]) else torch.stack)(list(calls))
            for name, calls in layers.items()
            if calls
        }

    @property
    def spikes(self) -> dict[str, Tensor]:
        """Spikes `[T, B, ...]` of each neuron."""
        return self._join(self._spikes)

    @property
    def states(self) -> dict[str, dict[str, Tensor]]:
        """For each state's name, its values `[T, B, ...]` in each neuron, after every step."""
        return {state: self._join(layers) for state, layers in self._states.items()}

    @property
    def gradients(self) -> dict[str, Tensor]:
        """Gradients `[T, B, ...]` with respect to each neuron's spikes; zero where none came."""
        calls = self._spikes.items() if self._with_gradients else ()
        return self._join(
            {n: [self._gradients[n].get(i, torch.zeros_like(spk)) for i, spk in enumerate(spks)] for n, spks in calls}
        )
