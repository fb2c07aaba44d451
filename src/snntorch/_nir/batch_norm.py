"""BatchNorm in eval mode is a linear map: it goes into the one before it, or becomes one."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from .._layers.batchnorm import scale_and_shift
from .trace import Call, Signal, is_batch_norm

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d)


def fold_batch_norms(calls: Sequence[Call], output: tuple[Signal, ...]) -> tuple[list[Call], tuple[Signal, ...]]:
    """Calls and output with each BatchNorm inside the linear map before it, or as a linear map of its own."""
    folded: dict[str, Call] = {}
    renamed: dict[Signal, Signal] = {}
    uses = [signal for call in calls for signal in call.sources] + list(output)
    for call in calls:
        now = replace(call, sources=tuple(renamed.get(signal, signal) for signal in call.sources))
        if is_batch_norm(call.layer):
            before = folded.get(now.sources[0][0]) if len(now.sources) == 1 else None
            if before is not None and isinstance(before.layer, _LINEAR) and uses.count(call.sources[0]) == 1:
                folded[before.name] = replace(before, layer=_normalised(before.layer, call.layer, call.name))
                renamed[call.name, "out"] = (before.name, "out")
                continue
            now = replace(now, layer=_normalised(_identity(call), call.layer, call.name))
        folded[call.name] = now
    return list(folded.values()), tuple(renamed.get(signal, signal) for signal in output)


def _identity(call: Call) -> nn.Module:
    """The linear map that leaves a BatchNorm's input as it is."""
    features, dims = call.in_shape[1], len(call.in_shape) - 2
    weight = torch.eye(features, dtype=torch.float64).reshape(features, features, *[1] * dims)
    layer = _LINEAR[dims](features, features, *[1] * bool(dims), bias=False, device="meta")
    layer.weight = nn.Parameter(weight)
    return layer


def _normalised(linear: nn.Module, norm: Any, name: str) -> nn.Module:
    """A copy of the linear map with an eval-mode BatchNorm inside."""
    if norm.running_mean is None:
        raise NotImplementedError(f"layer {name!r}: a BatchNorm without running statistics is no fixed linear map")
    result: Any = copy.deepcopy(linear).double()
    scale, shift = scale_and_shift(norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)
    bias = 0 if result.bias is None else result.bias
    with torch.no_grad():
        result.weight = nn.Parameter(result.weight * scale.reshape(-1, *[1] * (result.weight.dim() - 1)))
        result.bias = nn.Parameter(scale * bias + shift)
    return result.to(norm.running_mean.dtype)
