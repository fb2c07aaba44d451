"""Convert a trained ReLU network into a network of integrate-and-fire neurons."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import utils
from ._neurons.leaky import Leaky
from ._time.unroll import unroll

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_AVERAGES = (
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.Flatten,
)  # fmt: skip
_NOTHING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)  # in evaluation
_MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


def _flat(net: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers of nested Sequentials, in order."""
    if type(net) is nn.Sequential:
        for child, module in net.named_children():
            yield from _flat(module, f"{name}.{child}" if name else child)
    else:
        yield name, net


def _fold(layer: Any, norm: Any) -> None:
    """Put a batch normalisation, as it is in evaluation, into the weights before it."""
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    bias = -norm.running_mean if layer.bias is None else layer.bias - norm.running_mean
    bias = bias * scale if norm.bias is None else bias * scale + norm.bias
    layer.weight.mul_(scale.view(-1, *(1,) * (layer.weight.dim() - 1)))
    layer.bias = nn.Parameter(bias)


def _copied(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """Copies of the layers that compute something in evaluation, batch normalisation folded into the weights."""
    layers: list[tuple[str, nn.Module]] = []
    for name, module in _flat(net):
        label = f"layer {name!r}, {type(module).__name__}," if name else f"{type(module).__name__}"
        if isinstance(module, _NOTHING):
            continue
        if isinstance(module, _MAXIMA):
            raise NotImplementedError(
                f"{label} cannot be converted: a maximum of spikes is no spike of the maximum; train with average "
                "pooling, or replace it by a convolution with a stride"
            )
        if isinstance(module, _BATCH_NORMS):
            if not layers or not isinstance(layers[-1][1], (nn.Linear, *_CONVOLUTIONS)):
                raise NotImplementedError(f"{label} cannot be folded: it must follow a Linear or Conv layer")
            if module.running_mean is None:
                raise NotImplementedError(f"{label} cannot be folded: it has no running statistics")
            _fold(layers[-1][1], module)
            continue
        if not isinstance(module, (nn.Linear, nn.ReLU, *_CONVOLUTIONS, *_AVERAGES)):
            raise NotImplementedError(
                f"{label} cannot be converted; a network may have Linear, Conv, BatchNorm, ReLU, average pooling, "
                "Flatten, Dropout and Identity layers in (nested) nn.Sequential"
            )
        layers.append((name, copy.deepcopy(module).eval()))
    return layers


@torch.no_grad()
def ann_to_snn(net: nn.Sequential, data: Tensor, percentile: float = 99.9) -> nn.Sequential:
    """Convert a trained ReLU network into integrate-and-fire neurons, by data-based threshold balancing.

    Every ReLU becomes `Leaky(beta=1, threshold=1)` that resets by subtraction, whose firing rate over T steps is the
    ReLU's activation to within about 1/T. For rates to stay below one spike a step, the weights between two ReLUs are
    scaled by the largest activations that `data` show::

        W <- W * lambda_in / lambda_out,     b <- b / lambda_out

    with lambda the `percentile` of a ReLU's positive activations; 1 for the input, and for an output without ReLU.
    Batch normalisation is folded into the weights first, dropout vanishes, average pooling averages spikes. The network
    takes the analog input at every step. Where it ends in a ReLU, its output spikes; where it ends in a Linear or Conv
    layer, that output stays real-valued, and its mean over time approaches the ANN's output itself.

    Source: Diehl et al., "Fast-classifying, high-accuracy spiking deep networks through weight and threshold
    balancing", IJCNN 2015, with the percentile of Rueckauer et al., "Conversion of continuous-valued deep networks to
    efficient event-driven networks for image classification", Frontiers in Neuroscience 11:682, 2017.

    Args:
        net: the trained network; it does not change. Linear, Conv, BatchNorm behind either, ReLU, average pooling,
            Flatten, Dropout and Identity, in (nested) `nn.Sequential`.
        data: inputs `[B, ...]` to balance with: training data, a few hundred of which are enough.
        percentile: which activation maps to one spike a step, in (0, 100]: 100 is the maximum; less makes
            neurons fire more, so that they are right earlier, and cuts off the highest activations.

    Returns:
        The spiking network, in evaluation mode, with hidden states: reset it before every input.

    Raises:
        NotImplementedError: a layer cannot be converted, named with its place.
        ValueError: `percentile` lies outside (0, 100], or a ReLU is never active on `data`.

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
    layers, activity = _copied(net), data
    weighted: nn.Module | None = None  # the layer whose scale the next ReLU settles
    scale_in, converted = 1.0, []
    for name, layer in layers:
        if isinstance(layer, nn.ReLU) and weighted is None:
            raise NotImplementedError(f"layer {name!r}, ReLU, has no Linear or Conv layer since the last ReLU")
        activity = layer(activity)
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            layer.weight.mul_(scale_in)
            weighted, scale_in = layer, 1.0
        elif isinstance(layer, nn.ReLU):
            assert weighted is not None
            positive = activity[activity > 0].double().cpu().numpy()
            if not positive.size:
                raise ValueError(f"layer {name!r}, ReLU, is never active on data, so it has no scale")
            scale_in = float(np.percentile(positive, percentile))
            for parameter in weighted.parameters():
                parameter.div_(scale_in)
            weighted, layer = None, Leaky(beta=1.0, threshold=1.0, init_hidden=True).to(activity)
        converted.append(layer)
    return nn.Sequential(*converted).eval()


@torch.no_grad()
def accuracy_by_steps(net: nn.Module, x: Tensor, targets: Tensor, num_steps: int) -> Tensor:
    """Accuracy of a spiking classifier as a function of how long it may look.

    Args:
        net: maps a static input to `[B, C]` at every step; its largest sum over time wins. Its states are reset.
        x: the input `[B, ...]` of every step.
        targets: classes `[B]`.
        num_steps: the longest time, T.

    Returns:
        Accuracies `[T]`; the one at `t` is that after `t + 1` steps.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), Leaky(beta=1.0, init_hidden=True))
        >>> _ = nn.init.eye_(net[0].weight)
        >>> accuracy_by_steps(net, torch.tensor([[0.1, 0.4]]), torch.tensor([1]), num_steps=4)
        tensor([0., 0., 1., 1.])
    """
    utils.reset(net)
    evidence = unroll(net, x, num_steps=num_steps).cumsum(0)
    return (evidence.argmax(-1) == targets).float().mean(-1)
