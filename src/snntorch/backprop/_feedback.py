"""The path that errors take back to hidden neurons, where it is not that of the weights."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .._neurons.neurons import SpikingNeuron
from .._time.arguments import mapped
from ._products import LAYERS
from ._traces import gradients_of


class RandomFeedback:
    r"""Fixed random matrices that broadcast the readout's error to every layer of hidden neurons.

    Neuron j of a layer with N neurons gets the learning signal

    .. math:: L_j^t = \sum_k B_{jk} \frac{∂E^t}{∂y_k^t}, \qquad B_{jk} \sim \mathcal{N}(0, 1/N)

    with the output y of the net's last linear layer or convolution, whatever layers are between: no neuron needs to
    know the weights of others.

    A layer's matrix is drawn when it is first needed, and kept here: use one object in all calls that train a net.
    It may learn as well: given the gradients of the readout's weight, and the same decay, it becomes that weight
    ("adaptive e-prop").

    Args:
        matrices: where they are not to be drawn, matrices `[K, *neurons]` by the name of their neurons in the net; K is
            the number of values that y has a sample.
        generator: source of randomness, on the net's device; the default one of the device if None.

    Attributes:
        matrices: a dict of all matrices so far.

    Source: Bellec et al., 2020, as for `eprop`; broadcast alignment: Samadi, Lillicrap and Tweed,
    "Deep learning with dynamic spiking neurons and fixed feedback weights", Neural Computation 29(3), 2017.

    Example:
        >>> import snntorch as snn, torch
        >>> from snntorch import backprop
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(4, 8), snn.Leaky(beta=0.9, init_hidden=True), nn.Linear(8, 2))
        >>> feedback = backprop.RandomFeedback(generator=torch.Generator().manual_seed(0))
        >>> x, y = torch.rand(100, 16, 4), torch.randint(2, (16,))
        >>> loss = backprop.eprop(net, x, y, nn.functional.cross_entropy, feedback=feedback)
        >>> feedback.matrices["1"].shape
        torch.Size([2, 8])
    """

    def __init__(
        self, matrices: Mapping[str, Tensor] | None = None, *, generator: torch.Generator | None = None
    ) -> None:
        self.matrices = dict(matrices or {})
        self.generator = generator

    def signal(self, name: str, error: Tensor, spk: Tensor) -> Tensor:
        """The learning signal `[B, *neurons]` of the neurons with this name and these spikes, for an error `[B, ...]`.

        Raises:
            ValueError: the matrix of these neurons has another shape.
        """
        error = error.flatten(1)
        shape = (error.shape[1], *spk.shape[1:])
        if name not in self.matrices:
            drawn = torch.randn(shape, generator=self.generator, device=error.device, dtype=error.dtype)
            self.matrices[name] = drawn / spk[0].numel() ** 0.5
        matrix = self.matrices[name].detach()
        if matrix.shape != shape:
            raise ValueError(f"feedback.matrices[{name!r}] must have shape {shape}, got {tuple(matrix.shape)}")
        return (error @ matrix.flatten(1)).view_as(spk)


class Broadcast:
    """A step of a net whose hidden neurons get their credit by `feedback` alone; without it, of a net as it is."""

    def __init__(self, feedback: RandomFeedback | None, net: nn.Module) -> None:
        self.feedback = feedback
        self.names = {m: n for n, m in net.named_modules() if isinstance(m, (SpikingNeuron, *LAYERS))}
        self.calls: list[tuple[str | None, Tensor, _Way]] = []  # of neurons by name, of layers without

    @contextmanager
    def watched(self, layers: Iterable[nn.Module]) -> Iterator[None]:
        """Let neurons and layers tell what they give, and neurons pass it on by a way back that can be closed."""
        watched = [*layers, *[m for m in self.names if isinstance(m, SpikingNeuron)]] if self.feedback else []
        with ExitStack() as hooks:
            for layer in watched:
                hooks.enter_context(layer.register_forward_hook(self._note))
            yield

    def _note(self, layer: nn.Module, args: tuple, out: Any) -> Any:
        way = _Way()
        if not isinstance(layer, SpikingNeuron):
            self.calls.append((None, out if out.requires_grad else out.requires_grad_(), way))
            return None
        self.calls.append((self.names[layer], out if isinstance(out, Tensor) else out[0], way))
        return mapped(lambda t: Gate.apply(t, way), out)

    def objective(self, loss: Tensor) -> Tensor:
        """The loss, plus what has the learning signals for its derivatives by the spikes."""
        calls, self.calls = self.calls, []
        readout = max((i for i, (name, *_) in enumerate(calls) if name is None), default=0)
        hidden = [call for call in calls[:readout] if call[0] is not None]
        if self.feedback is None or not hidden:
            return loss
        (error,) = gradients_of(loss, [calls[readout][1]])
        for *_, way in hidden:
            way.open = False
        if error is None:
            return loss
        return loss + sum((self.feedback.signal(str(name), error, z) * z).sum() for name, z, _ in hidden)


class _Way:
    """Whether gradients may pass."""

    open = True


class Gate(torch.autograd.Function):
    """The same tensor, whose gradient passes as long as the way is open."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, way: _Way) -> Tensor:
        ctx.way = way
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:  # type: ignore[override]
        return gradient if ctx.way.open else None, None
