"""Metrics of a network at rest: bytes and zero weights."""

from itertools import chain

from torch import nn

CONNECTIONS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def footprint(net: nn.Module) -> int:
    """Bytes of a network's parameters and buffers; the states of its neurons are neither.

    NeuroBench's definition (Yik et al., "The NeuroBench framework for benchmarking neuromorphic computing algorithms
    and systems", Nature Communications 16, 2025). A neuron's own numbers count, such as its threshold.

    Args:
        net: any module.

    Example:
        >>> import snntorch as snn
        >>> footprint(nn.Linear(3, 2)), footprint(snn.Leaky(beta=0.9))
        (32, 20)
    """
    return sum(x.numel() * x.element_size() for x in chain(net.parameters(), net.buffers()))


def connection_sparsity(net: nn.Module) -> float:
    """Share of zeros among the weights of all Linear and Conv layers, by NeuroBench's definition.

    NeuroBench itself rounds to four decimals, passes over a layer with a parametrization (such as one that is pruned or
    quantised in training), and fails where the network is a single layer. Weights count here as the forward sees them.

    Args:
        net: any module.

    Raises:
        ValueError: the network has no such layer.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = nn.init.eye_(layer.weight)
        >>> connection_sparsity(layer)
        0.5
    """
    weights = [module.weight for module in net.modules() if isinstance(module, CONNECTIONS)]
    if not weights:
        raise ValueError(f"net must have a Linear or Conv layer, and {type(net).__name__} has none")
    nonzero = sum(int(w.count_nonzero()) for w in weights)
    total = sum(w.numel() for w in weights)
    return (total - nonzero) / total
