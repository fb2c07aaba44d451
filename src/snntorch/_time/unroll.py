"""Whole modules over time: layers without a memory take all steps at once, the others step."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from .._engine import note
from .._neurons.neurons import SpikingNeuron, stack
from .recompute import unroll_in_segments

# Layers whose result for a sample depends on that sample alone, so that time folds into the batch. Exact types only: a
# subclass may do anything.
_ANY_SHAPE = {
    nn.Linear, nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus,
    nn.LayerNorm, nn.Dropout,
}  # fmt: skip
_BATCHED = {
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d,
    nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.GroupNorm,
    nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
}  # fmt: skip
_CONVOLUTIONS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
_BATCH_NORMS = {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}
_MEMORYLESS = _ANY_SHAPE | _BATCHED - _BATCH_NORMS
_DROPOUTS = {nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d}


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _reuses(net: nn.Sequential) -> bool:
    """Whether a layer with a memory is used twice: the second use needs the first one's state of the same step."""
    layers = [id(m) for _, m in net.named_modules(remove_duplicate=False) if type(m) not in _MEMORYLESS]
    return len(set(layers)) < len(layers)


def _folds(layer: nn.Module, x: Tensor) -> bool:
    """Whether the layer may take `[T, B, ...]` with time folded into the batch."""
    kind = type_before_parametrizations(layer)
    if _has_hooks(layer):  # a hook expects a call per step
        return False
    if kind in _BATCH_NORMS:
        return not layer.training and layer.running_mean is not None and x.dim() > 2  # type: ignore[union-attr]
    if kind is nn.Flatten:
        return bool(layer.start_dim == 1) and x.dim() > 2
    if kind in _CONVOLUTIONS:
        return x.dim() == _CONVOLUTIONS[kind] + 3
    return kind in _ANY_SHAPE or (kind in _BATCHED and x.dim() > 3)


def _fold(layer: nn.Module, x: Tensor) -> Tensor:
    if type_before_parametrizations(layer) in _ANY_SHAPE:
        return layer(x)
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _unroll_sequential(net: nn.Sequential, x: Tensor, num_steps: int | None) -> Any:
    """Layer by layer instead of step by step."""
    layers = list(net)
    static = num_steps is not None
    while layers and static and type(layers[0]) not in _DROPOUTS and _folds(layers[0], x[None]):
        note(layers[0], "folded", "runs once for all steps")
        x = layers.pop(0)(x)  # the input is the same at every step, so this result is too
    steps = num_steps if static else None
    for i, layer in enumerate(layers):
        if steps is None and _folds(layer, x):
            note(layer, "folded", "takes all steps as one batch")
            x = _fold(layer, x)
            continue
        x = unroll(layer, x, num_steps=steps)
        steps = None
        if not isinstance(x, Tensor) and i < len(layers) - 1:
            raise TypeError(
                f"layer {i} of the Sequential, {type(layer).__name__}, returns a tuple, which the next one cannot "
                "take; give the neuron init_hidden=True"
            )
    return x if steps is None else x.expand(steps, *x.shape)


def unroll(
    module: nn.Module, x: Tensor, *states: Any, num_steps: int | None = None, recompute: int | None = None
) -> Any:
    """Run a module over time.

    Returns exactly what this loop returns, output by output, each stacked over time, and leaves the module's stored
    states as the loop would::

        for t in range(T):
            out = module(x[t], *states)
            states = out's states

    Only the way it is computed differs: in an `nn.Sequential` (nested ones too), layers without a memory take all
    steps in one call, a static input passes the leading ones once, and neurons run a whole sequence. A module that
    carries hooks is stepped, so that they are called once per step. A neuron that takes whole sequences, such as
    `StateLeaky`, takes this one in one call.

    Args:
        module: a neuron, an `nn.Sequential`, or any module whose forward is one time step.
        x: `[T, B, ...]`; with `num_steps`, `[B, ...]`, the input of every step.
        *states: initial states, where the module takes them.
        num_steps: number of steps for a static input.
        recompute: keep for the backward pass only the states every so many steps, and run the steps between a second
            time: about `1 / recompute` of the memory for one and a half times the work. Chen et al., "Training deep
            nets with sublinear memory cost", 2016.

    Returns:
        A tensor `[T, B, ...]`, or a tuple of them where the module returns a tuple.

    Raises:
        TypeError: where x is no tensor.
        ValueError: for no steps at all, a `num_steps` or `recompute` that is not positive, or a `recompute` of batch
            normalisation in training.

    Example:
        >>> import snntorch as snn, torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=True))
        >>> snn.unroll(net, torch.rand(10, 2, 4)).shape
        torch.Size([10, 2, 3])
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor, got {type(x).__name__}")
    if num_steps is not None and (not isinstance(num_steps, int) or num_steps < 1):
        raise ValueError(f"num_steps must be a positive int, got {num_steps!r}")
    if recompute is not None and (not isinstance(recompute, int) or recompute < 1):
        raise ValueError(f"recompute must be a positive int, got {recompute!r}")
    if num_steps is None and (x.dim() == 0 or x.shape[0] == 0):
        raise ValueError(f"x must be [T, B, ...] with T > 0, got shape {tuple(x.shape)}")
    if recompute is not None and torch.is_grad_enabled():
        return unroll_in_segments(unroll, module, x, states, num_steps, recompute)
    if isinstance(module, SpikingNeuron) and module.takes_sequence:
        return module(x if num_steps is None else x.expand(num_steps, *x.shape), *states)
    if not _has_hooks(module):
        if isinstance(module, SpikingNeuron) and type(module).forward is SpikingNeuron.forward and not module.overrides:
            return module.sequence(x, states, num_steps)
        if type(module) is nn.Sequential and not states and not _reuses(module):
            return _unroll_sequential(module, x, num_steps)
    if not isinstance(module, SpikingNeuron):
        note(
            module, "stepped", "carries hooks" if _has_hooks(module) else f"{type(module).__name__} may depend on time"
        )
    outputs = []
    for now in x.unbind() if num_steps is None else (x,) * num_steps:
        out = module(now, *states)
        outputs.append(out)
        if states:
            states = _states_of(out, len(states))
    return stack(outputs)


def _states_of(out: Any, count: int) -> tuple:
    """The last `count` outputs are the next call's states."""
    if isinstance(out, torch.Tensor) or len(out) < count:
        raise TypeError(f"the module was given {count} states but returned {type(out).__name__}, which holds fewer")
    return tuple(out[-count:])
