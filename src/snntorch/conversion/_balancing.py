"""Data-based threshold balancing."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from .._time.read import Call, read
from ._graph import Conversion, is_relu


@torch.no_grad()
def ann_to_snn(
    net: nn.Module, data: Tensor, percentile: float = 99.9, threshold: Literal["layer", "channel"] = "layer"
) -> nn.Module:
    """Convert a trained ReLU network into integrate-and-fire neurons, by data-based threshold balancing.

    Every ReLU becomes `Leaky(beta=1, threshold=1)` that resets by subtraction, whose firing rate over T steps is the
    ReLU's activation to within about 1/T. For rates to stay below one spike a step, the weights between two ReLUs are
    scaled by the largest activations that `data` show::

        W <- W * lambda_in / lambda_out,     b <- b / lambda_out

    with lambda the `percentile` of a ReLU's positive activations; 1 for the input, and for an output without ReLU.
    Batch normalisation, as it is in evaluation, goes into the weights before it, dropout vanishes, average pooling
    averages spikes. Max pooling is a gate that passes the spikes of the neuron that has fired most
    (Rueckauer et al., 2017). Where spikes of two scales meet, as behind the shortcut of a residual block, the shortcut
    gets the weight lambda_in / lambda_out (Hu et al., 2018).

    The network takes the analog input at every step. Where it ends in a ReLU, its output spikes; where it ends in a
    Linear or Conv layer, that output stays real-valued, and its mean over time approaches the ANN's output itself.

    Source: Diehl et al., "Fast-classifying, high-accuracy spiking deep networks through weight and threshold
    balancing", IJCNN 2015; Rueckauer et al., "Conversion of continuous-valued deep networks to efficient event-driven
    networks for image classification", Frontiers in Neuroscience 11:682, 2017; Hu et al., "Spiking deep residual
    networks", arXiv:1805.01352, 2018.

    Args:
        net: the trained network, which does not change: any module whose forward takes one tensor and calls linear and
            convolutional layers, BatchNorm, ReLU, max and average pooling, dropout, sums, concatenations, constant
            factors, and what changes shapes; as modules or as functions.
        data: inputs `[B, ...]` to balance with: training data, a few hundred of which are enough.
        percentile: which activation maps to one spike a step, in (0, 100]: 100 is the maximum; less makes
            neurons fire more, so that they are right earlier, and cuts off the highest activations.
        threshold: whether lambda is one number a `"layer"`, or one a `"channel"`, with which channels of small
            activations are right earlier (Rueckauer et al.).

    Returns:
        The spiking network, in evaluation mode, with hidden states; reset it before every input. An `nn.Sequential`
        where one layer follows another, else an `fx.GraphModule`; its layers are named after those of `net`.

    Raises:
        NotImplementedError: a layer or function cannot be converted, named with its place, or the forward depends on
            a value.
        TypeError: `data` is no tensor.
        ValueError: `percentile` lies outside (0, 100], a `threshold` is unknown, or a ReLU is never active on `data`.

    Example:
        >>> import snntorch as snn
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        >>> x = torch.rand(100, 4)
        >>> spiking = ann_to_snn(net, x)
        >>> rate_based = snn.unroll(spiking, x, num_steps=1000).mean(0)
        >>> bool((rate_based - net(x)).abs().max() < 0.01)
        True
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must lie in (0, 100], got {percentile}")
    if threshold not in ("layer", "channel"):
        raise ValueError(f"threshold must be 'layer' or 'channel', got {threshold!r}")
    if not isinstance(data, Tensor):
        raise TypeError(f"data must be a tensor of inputs, got {type(data).__name__}")
    found: list[tuple[Call, Tensor]] = []

    def watch(call: Call, outputs: Sequence[Tensor]) -> None:
        if is_relu(call):
            found.append((call, _scale(outputs[0], percentile, threshold == "channel")))

    reading = read(net, data, watch=watch)
    conversion = Conversion(reading, {id(call): scale for call, scale in found}, torch.ones_like(data[:1].flatten()[0]))
    return conversion.network()


def _scale(activation: Tensor, percentile: float, by_channel: bool) -> Tensor:
    """The percentile of the positive activations, of each channel `[C, 1, ...]` or of all; 0 where there are none."""
    positive = activation[activation > 0].double().cpu().numpy()
    whole = float(np.percentile(positive, percentile)) if positive.size else 0.0
    if not by_channel:
        return activation.new_tensor(whole, dtype=torch.float64)
    channels = [c[c > 0].cpu().numpy() for c in activation.double().transpose(0, 1).flatten(1)]
    scales = [float(np.percentile(c, percentile)) if c.size else whole for c in channels]
    return activation.new_tensor(scales, dtype=torch.float64).reshape(-1, *[1] * (activation.dim() - 2))
