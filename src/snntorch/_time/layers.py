"""What modules are to time: looked through, called as a whole for all steps at once, or step by step.

What folds is a property: a layer's result for a sample depends on that sample alone, and calling it changes nothing.
The layers of `torch.nn` have it, but for normalisation in training and the like; a module of the user's own says so by
an attribute, `memoryless = True`, and one that takes `[T, B, ...]` in one call by `takes_sequence = True`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from .._engine.private import CONVOLUTION, DROPOUT, NORMS, any_autocast
from .._layers.batchnorm import uses_batch
from .._neurons.neurons import SpikingNeuron
from .arguments import mapped
from .fold import over_steps
from .pooling import pooled_by

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_CELLS = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_OF_PACKAGES = ("torch.", "torchao.")  # whose subclasses of torch.nn's layers are what they are of

# Layers that take `[T, B, ...]` as they are, and such that take time folded into the batch. Exact types: a subclass may
# do anything.
_ANY_SHAPE = {
    nn.Linear, nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Softshrink, nn.Hardtanh, nn.Hardswish,
    nn.Hardsigmoid, nn.Hardshrink, nn.Tanhshrink, nn.Threshold, nn.LayerNorm, nn.Dropout, nn.AlphaDropout,
}  # fmt: skip
_KINDS = "Conv", "ConvTranspose", "MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "Dropout", "BatchNorm"
_RANKS: dict[Any, int] = {getattr(nn, f"{kind}{d}d"): d + 2 for kind in _KINDS for d in (1, 2, 3)}
_OF_A_SAMPLE = {kind for kind in _RANKS if not issubclass(kind, (*NORMS, DROPOUT))}  # that take one without a batch
_RANDOM = (DROPOUT, nn.RReLU)
# What PyTorch raises where vmap can't do something. By another error of its own checkpoint stops what it runs again.
_FAILS = RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError


def hooks(module: nn.Module) -> bool:
    """Whether a module carries hooks, which expect a call per step."""
    if module._forward_hooks or module._forward_pre_hooks:
        return backward_hooks(module) or forward_hooks(module)
    return bool(module._backward_hooks or module._backward_pre_hooks)  # asked of every layer of a small net


def backward_hooks(module: nn.Module) -> bool:
    """Whether a module carries hooks for the backward pass, which expect a call per step on values."""
    return bool(module._backward_hooks or module._backward_pre_hooks)


def forward_hooks(module: nn.Module) -> bool:
    """Whether a module carries hooks that run with its forward; `torch.nn.utils`' only make its weights."""
    return any(not _of(hook, "torch.nn.utils.") for hook in _forward_hooks(module))


def _forward_hooks(module: nn.Module) -> list[Any]:
    if not (module._forward_hooks or module._forward_pre_hooks):
        return []
    return [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]


def _of(hook: Any, package: str) -> bool:
    """Whether a package made a hook: a function, method, object or `functools.partial`."""
    return str(getattr(getattr(hook, "func", hook), "__module__", "")).startswith(package)


def declared(module: nn.Module, name: str) -> Any:
    """What a module says of itself; None where nothing, for which PyTorch's own lookup takes long."""
    return getattr(module, name) if name in vars(module) or hasattr(type(module), name) else None


def takes_sequence(module: nn.Module) -> bool:
    """Whether one call is a whole sequence `[T, B, ...]`."""
    return declared(module, "takes_sequence") is True


def refuse_a_step(layer: nn.Module, why: str) -> None:
    """Raise where a layer that takes whole sequences would get single steps, and take their samples for time.

    Raises:
        ValueError: unless it takes steps as well, as norms do in evaluation and `BatchNormTT` by its entries.
    """
    steps_too = isinstance(layer, nn.ModuleList) or (isinstance(layer, NORMS) and not uses_batch(layer))
    if takes_sequence(layer) and not steps_too:
        raise ValueError(
            f"{type(layer).__name__} takes whole sequences, but would get single steps here: {why}. Call it outside of "
            "the module that is unrolled, on [T, B, ...]"
        )


def uncut(net: nn.Module) -> list[nn.Module]:
    """Those of a network's modules that take whole sequences and keep no state from one to the next."""
    whole = [m for m in net.modules() if takes_sequence(m)]
    return [m for m in whole if not any(getattr(inner, "init_hidden", False) for inner in m.modules())]


def _parametrized(module: nn.Module) -> bool:
    """`is_parametrized`, without PyTorch's slow lookup of what is missing."""
    return "parametrizations" in module._modules and is_parametrized(module)


def _kind(module: nn.Module) -> type[nn.Module]:
    """Its class, or what that was before a parametrisation."""
    return type_before_parametrizations(module) if _parametrized(module) else type(module)


def _is_layer(module: nn.Module) -> bool:
    """Whether it is a layer of `torch.nn`, or of its packages for quantisation."""
    kind = _kind(module)
    if kind.__module__.startswith("torch.nn.modules."):
        return kind is not nn.Module and not issubclass(kind, _CONTAINERS)
    return kind.__module__.startswith(_OF_PACKAGES) and isinstance(module, nn.Linear | CONVOLUTION)


def memoryless(module: nn.Module) -> bool:
    """Whether the result for a sample depends on that sample alone, and the call changes nothing."""
    said = declared(module, "memoryless")
    if said is not None:
        return bool(said)
    if not _is_layer(module) or isinstance(module, torch.jit.ScriptModule):
        return False
    if isinstance(module, NORMS):
        return not module.training and module.running_mean is not None
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
        return False
    if module.training:  # what keeps something from call to call, such as a spectral norm's vectors
        makers = [hook for hook in module._forward_pre_hooks.values() if hasattr(hook, "n_power_iterations")]
        if _parametrized(module):
            makers += [b for p in module.parametrizations.children() for b in p.buffers()]  # type: ignore[union-attr]
        return not makers
    return True


def is_random(module: nn.Module) -> bool:
    """Whether it draws."""
    return isinstance(module, _RANDOM) and module.training


def way(module: nn.Module, sequences: int) -> str:
    """How a recorder takes a call of the module.

    Args:
        module: what is called.
        sequences: number of steps where the caller gives single ones to layers that take whole sequences.

    Returns:
        `"look through"` (hooks included), `"layer"` (look through a layer of PyTorch's), `"fold"`, `"step"`,
        `"whole sequence"`, `"neuron"`, `"whole neuron"` (one that is called as it is, at every step), or `"stop"` where
        nothing can be recorded any more.
    """
    if takes_sequence(module):
        return "whole sequence" if sequences else "step"
    watched = backward_hooks(module)
    if isinstance(module, nn.TransformerEncoderLayer) and not module.training and torch.is_autocast_enabled("cpu"):
        return "stop"  # its kernel gives half precision, and is called where nobody records
    if isinstance(module, SpikingNeuron):
        whole = module.overrides
        found = "whole neuron" if whole or watched else "neuron" if _begins_as_all(module) else "look through"
    else:
        layer = _is_layer(module)
        whole = declared(module, "memoryless") is not None or _is_compiled(module) or (layer and _is_whole(module))
        if whole or (layer and watched):
            found = "fold" if memoryless(module) and not watched else "step"
        else:
            found = "layer" if layer else "stop" if watched else "look through"
    if not forward_hooks(module):
        return found
    # what they do with a forward is recorded like the forward itself, where that is
    moves = any(_of(hook, "torch.distributed.") for hook in _forward_hooks(module))  # parameters
    return "stop" if whole or watched or moves else "look through"


def _is_whole(layer: nn.Module) -> bool:
    """Whether what a layer of PyTorch's calls must not be looked at."""
    made = _parametrized(layer) or any(_of(hook, "torch.nn.utils.") for hook in layer._forward_pre_hooks.values())
    return made or isinstance(layer, _CELLS) or not type(layer).__module__.startswith("torch.nn.modules.")


def _is_compiled(module: nn.Module) -> bool:
    """Whether it is scripted, or compiled by `torch.compile` or its own `compile`."""
    of_torch = isinstance(module, torch.jit.ScriptModule) or type(module).__name__ == "OptimizedModule"
    return of_torch or module._compiled_call_impl is not None


def _begins_as_all(neuron: SpikingNeuron) -> bool:
    """Whether a neuron's states before a step are found as those of most neurons."""
    kind, plain = type(neuron), SpikingNeuron
    same = kind.forward is plain.forward and kind._begin is plain._begin and kind.state_shape is plain.state_shape
    return same and hasattr(kind, "step")


def runs_as_a_whole(neuron: SpikingNeuron) -> bool:
    """Whether its sequence is what its steps are, one after the other."""
    return type(neuron).forward is SpikingNeuron.forward and not neuron.overrides


def by_layer(net: nn.Module) -> bool:
    """Whether a layer needs nothing of what a later one does at the same step."""
    modules: list[nn.Module] = [net]  # and those inside, as often as they are used
    for module in modules:
        modules += [m for m in module._modules.values() if m is not None]
    if len(modules) > len(set(modules)):
        used = [m for m in modules if not memoryless(m)]
        if len(set(used)) < len(used):  # the second use needs the first one's state of the same step
            return False
    hooked = [m for m in modules if m._forward_hooks or m._forward_pre_hooks]
    if any(map(forward_hooks, hooked)):  # which may tell each other
        return any(map(takes_sequence, modules))  # no step of which is a layer's before all of the one before it
    if not any([isinstance(m, SpikingNeuron) and m.states[:1] == ("spk",) for m in modules]):
        return True
    # what writes into the spikes that a recurrent neuron keeps changes what its next step reads
    ours = "torch.nn.", "snntorch."
    return not any([getattr(m, "inplace", False) or not type(m).__module__.startswith(ours) for m in modules[1:]])


def folds(layer: nn.Module) -> bool:
    """Whether a layer by itself may take all steps `[T, B, ...]` in one call."""
    return not hooks(layer) and memoryless(layer)


def folds_as_it_is(layer: nn.Module) -> bool:
    """Whether a layer that `folds` takes time as one more dimension, or in its batch."""
    kind = _kind(layer)
    return (kind in _ANY_SHAPE or kind in _RANKS or kind is nn.Flatten) and folds(layer)


def fold(layer: nn.Module, x: Tensor) -> Any:
    """A layer that `folds`, of `[T, B, ...]`.

    Raises:
        NotImplementedError: where PyTorch can't do that.
    """
    kind = _kind(layer)
    if getattr(layer, "inplace", False) and 0 in x.stride():  # one value for all steps, of which each has its own
        x = x.contiguous()
    if kind in _ANY_SHAPE:
        return layer(x)
    by_sample = kind in (nn.BatchNorm1d, nn.GroupNorm, nn.PReLU) or (kind is nn.Flatten and layer.start_dim == 1)
    if _RANKS.get(kind) == x.dim() - 1 or (by_sample and x.dim() > 2):
        x, steps = x.flatten(0, 1), x.shape[:2]
        pools = kind is nn.MaxPool2d and "forward" not in vars(layer)  # else the layer's own forward counts
        out = pooled_by(layer, x) if pools else layer(x)
        return mapped(lambda t: t.unflatten(0, steps), out)  # a pooling's indices too
    if kind in _OF_A_SAMPLE and _RANKS[kind] == x.dim():  # of a single one, so that steps are a batch
        return layer(x)
    if torch.compiler.is_compiling() or (any_autocast() and not _is_layer(layer)):  # vmap takes apart what that casts
        raise NotImplementedError
    try:
        return over_steps(layer, (x,), (0,))
    except _FAILS as error:  # what it is, the layer will say by itself
        raise NotImplementedError(str(error)) from error


def within(roots: Sequence[nn.Module]) -> list[nn.Module]:
    """Modules and all that they hold."""
    found = dict.fromkeys(roots)
    todo = list(found)
    while todo:
        inner = [m for m in todo.pop()._modules.values() if m is not None and m not in found]
        found.update(dict.fromkeys(inner))
        todo += inner
    return list(found)
