"""The path that errors take back to hidden neurons, where it is not that of the weights."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._neurons.neurons import SpikingNeuron
from ._traces import WEIGHTED, gradients_of


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

    def __init__(self, feedback: RandomFeedback | None, net: nn.Module, layers: Sequence[nn.Module]) -> None:
        self.feedback = feedback
        weighted = [i for i, layer in enumerate(layers) if isinstance(layer, WEIGHTED)] if feedback else []
        self.readout = layers[weighted[-1]] if weighted else None
        below = layers[: weighted[-1]] if weighted else []
        neurons = {layer for layer in below if isinstance(layer, SpikingNeuron)}
        self.names = {layer: name for name, layer in net.named_modules() if layer in neurons}
        self.spikes: dict[str, Tensor] = {}
        self.y = torch.zeros(0)

    def watch(self) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Hooks that let hidden neurons pass on what they give, but no way back."""
        for layer in (*self.names, self.readout):
            if layer is not None:
                yield layer.register_forward_hook(self._cut)

    def _cut(self, layer: nn.Module, args: tuple, out: Any) -> Any:
        if layer is self.readout:
            self.y = out = out if out.requires_grad else out.requires_grad_()
            return out
        self.spikes[self.names[layer]] = out if isinstance(out, Tensor) else out[0]
        return out.detach() if isinstance(out, Tensor) else tuple([t.detach() for t in out])

    def objective(self, loss: Tensor) -> Tensor:
        """The loss, plus what has the learning signals for its derivatives by the spikes."""
        if self.feedback is None or not self.spikes:
            return loss
        (error,) = gradients_of(loss, [self.y])
        if error is None:
            return loss
        return loss + sum((self.feedback.signal(name, error, z) * z).sum() for name, z in self.spikes.items())
