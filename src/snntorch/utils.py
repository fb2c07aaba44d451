"""What training code keeps rewriting: states of a whole network, parts of data sets, seeds, firing rates.

A file longer than others, as programs look for all of it under this one name.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

if TYPE_CHECKING:  # PyTorch runs without NumPy, and so do nets
    import numpy as np

_D = TypeVar("_D")


def _neurons(net: nn.Module) -> Iterator[tuple[str, Any]]:
    # of the class, as PyTorch's modules take long to say what they lack
    return ((name, module) for name, module in net.named_modules() if hasattr(type(module), "reset_mem"))


def _states(net: nn.Module) -> list[tuple[str, Any, str]]:
    """Full name, neuron and attribute of each state: any tensor but parameters and buffers."""
    return [
        (f"{name}.{state}" if name else state, neuron, state)
        for name, neuron in _neurons(net)
        for state, value in vars(neuron).items()
        if isinstance(value, Tensor)
    ]


def reset(net: nn.Module) -> None:
    """Set the hidden states of every neuron in a network to what it starts from, most to zero, before a new sequence.

    Args:
        net: a network, or a single neuron. Its parameters do not change, nor does any other network.

    Example:
        >>> import snntorch as snn
        >>> lif = snn.Leaky(beta=0.9, init_hidden=True)
        >>> _ = lif(torch.ones(2))
        >>> reset(lif)
        >>> lif.mem
        tensor([0., 0.])
    """
    for _, neuron in _neurons(net):
        neuron.reset_mem()


def detach(net: nn.Module) -> None:
    """Cut the history of every hidden state in a network, for truncated backpropagation through time.

    Args:
        net: a network, or a single neuron. The values of its states do not change.

    Example:
        >>> import snntorch as snn
        >>> lif = snn.Leaky(beta=0.9, init_hidden=True)
        >>> _ = lif(torch.ones(2, requires_grad=True))
        >>> detach(lif)
        >>> lif.mem.requires_grad
        False
    """
    for _, neuron in _neurons(net):
        neuron.detach_mem()


def get_states(net: nn.Module) -> dict[str, Tensor]:
    """Copy the hidden states of every neuron in a network, to save them or to return to them later.

    Args:
        net: a network, or a single neuron.

    Returns:
        A detached copy of each state under its full name, as in a `state_dict`, such as `"1.mem"`.

    Example:
        >>> import snntorch as snn
        >>> net = nn.Sequential(nn.Linear(3, 2), snn.Leaky(beta=0.9, init_hidden=True))
        >>> before = get_states(net)
        >>> _ = net(torch.ones(1, 3))
        >>> set_states(net, before)
        >>> before.keys(), net[1].mem.shape
        (dict_keys(['1.mem']), torch.Size([0]))
    """
    return {key: getattr(neuron, state).detach().clone() for key, neuron, state in _states(net)}


def set_states(net: nn.Module, states: Mapping[str, Tensor]) -> None:
    """Give every neuron in a network the hidden states that `get_states` copied.

    Args:
        net: a network with the same neurons.
        states: the states, under their full names. They are copied.

    Raises:
        TypeError: a state is no floating-point tensor.
        ValueError: `states` lacks a state of the network, or has one that the network lacks, or states of one neuron
            have different shapes.

    Example:
        >>> import snntorch as snn
        >>> net = nn.Sequential(nn.Linear(3, 2), snn.Leaky(beta=0.9, init_hidden=True))
        >>> set_states(net, {"1.mem": torch.full((1, 2), 0.5)})
        >>> net[1].mem
        tensor([[0.5000, 0.5000]])
    """
    places = {key: (neuron, state) for key, neuron, state in _states(net)}
    if places.keys() != states.keys():
        raise ValueError(f"states must be those of the network, {sorted(places)}, got {sorted(states)}")
    shapes: dict[int, tuple[str, torch.Size]] = {}
    for key, (neuron, _) in places.items():
        value = states[key]
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise TypeError(f"states[{key!r}] must be a floating-point tensor, got {getattr(value, 'dtype', value)}")
        first, shape = shapes.setdefault(id(neuron), (key, value.shape))
        if value.shape != shape:
            raise ValueError(
                f"the states of a neuron must have one shape, got {tuple(shape)} for {first} and {tuple(value.shape)} "
                f"for {key}"
            )
    for key, (neuron, state) in places.items():
        setattr(neuron, state, states[key].detach().clone())


def seed(value: int) -> None:
    """Seed Python's, NumPy's and PyTorch's generators, on all devices.

    Args:
        value: the seed, from 0 to 2**32 - 1.

    Example:
        >>> import numpy as np
        >>> seed(0)
        >>> a = torch.rand(()), np.random.rand(), random.random()
        >>> seed(0)
        >>> a == (torch.rand(()), np.random.rand(), random.random())
        True
    """
    import numpy as np

    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


class FiringRate(NamedTuple):
    """How much a layer fires.

    Attributes:
        mean: spikes per neuron, step and sample.
        max: the same, of the neuron that fires most.
        silent: fraction of neurons that never fired.
        total: spikes per sample, of all neurons and steps.
        saturated: fraction of neurons that fired in every step of every sample.

    Example:
        >>> rates = firing_rates({"lif": torch.tensor([[[1.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]]])})
        >>> rates["lif"].mean, rates["lif"].silent == rates["lif"].saturated
        (0.5, True)
    """

    mean: float
    max: float
    silent: float
    total: float
    saturated: float

    @classmethod
    def of(cls, spikes: Tensor, steps: int, samples: int) -> FiringRate:
        """From the number of spikes of each neuron, `[...]`, over all steps of all samples.

        Example:
            >>> FiringRate.of(torch.tensor([2, 0]), steps=2, samples=1).silent
            0.5
        """
        rate = spikes.double() / (steps * samples)
        return cls(
            mean=rate.mean().item(),
            max=rate.max().item(),
            silent=(rate == 0).double().mean().item(),
            total=spikes.double().sum().item() / samples,
            saturated=(rate == 1).double().mean().item(),
        )


def firing_rates(spikes: Mapping[str, Tensor]) -> dict[str, FiringRate]:
    """Summarise how much each layer of a network fires.

    Args:
        spikes: spikes `[T, B, ...]` of each layer, such as `Recorder.spikes`.
            Any value but zero is one spike.

    Returns:
        A `FiringRate` for each layer.

    Raises:
        ValueError: spikes without time, batch or neurons.

    Example:
        >>> firing_rates({"hidden": torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])})
        {'hidden': FiringRate(mean=0.5, max=1.0, silent=0.5, total=2.0, saturated=0.5)}
    """
    summary = {}
    for name, x in spikes.items():
        if x.dim() < 2 or x.numel() == 0:
            raise ValueError(f"spikes[{name!r}] must be a filled [T, B, ...], got shape {list(x.shape)}")
        summary[name] = FiringRate.of((x != 0).sum((0, 1)), x.shape[0], x.shape[1])
    return summary


def _labels_name(dataset: Any) -> str:
    for name in ("targets", "labels"):
        if hasattr(dataset, name):
            return name
    raise ValueError(f"dataset must have .targets or .labels, and {type(dataset).__name__} has neither")


def _take(values: Any, indices: np.ndarray) -> Any:
    """The values at some indices, as the kind of container that they came in."""
    if isinstance(values, list | tuple):
        return type(values)(values[i] for i in indices)
    return values[torch.from_numpy(indices)] if isinstance(values, Tensor) else values[indices]


def _keep(dataset: _D, source: Any, indices: np.ndarray) -> _D:
    """Give a data set the samples of a source at some indices."""
    for name in ("data", _labels_name(source)):
        setattr(dataset, name, _take(getattr(source, name), indices))
    return dataset


def data_subset(dataset: _D, subset: int, idx: int = 0) -> _D:
    """Keep one of `subset` equal, contiguous parts of a data set, in place.

    Args:
        dataset: has `.data` and `.targets` (or `.labels`): tensors, arrays or lists.
        subset: number of parts; at most 1 keeps everything.
        idx: which part, from 0; `idx=subset` is what is left over. Where nothing lies, nothing is kept.

    Returns:
        The same data set.

    Raises:
        ValueError: `subset` is not an integer, or exceeds the number of samples.

    Example:
        >>> from types import SimpleNamespace
        >>> data_subset(SimpleNamespace(data=torch.arange(10), targets=list(range(10))), subset=3, idx=1)
        namespace(data=tensor([3, 4, 5]), targets=[3, 4, 5])
    """
    import numpy as np

    if not isinstance(subset, int):
        raise ValueError(f"subset must be an integer, got {subset!r}")
    if subset <= 1:
        return dataset
    n = len(dataset.data)  # pyright: ignore[reportAttributeAccessIssue]
    if subset > n:
        raise ValueError(f"subset must be at most the number of samples, {n}, got {subset}")
    return _keep(dataset, dataset, np.flatnonzero(np.arange(n) // (n // subset) == idx))


def valid_split(ds_train: _D, ds_val: Any, split: float, seed: int = 0) -> tuple[_D, Any]:
    """Divide the samples of `ds_train` at random between it and `ds_val`, in place.

    Args:
        ds_train: has `.data` and `.targets` (or `.labels`): tensors, arrays or lists.
        ds_val: another data set of the kind; its own samples are replaced.
        split: fraction of samples for `ds_val`.
        seed: seed of the division.

    Returns:
        `ds_train`, in random order, and `ds_val`, in the original order.

    Raises:
        ValueError: `split` lies outside [0, 1], or both data sets are the same object.

    Example:
        >>> from types import SimpleNamespace
        >>> train = SimpleNamespace(data=torch.arange(10), targets=list(range(10)))
        >>> valid_split(train, SimpleNamespace(), split=0.3)[1]
        namespace(data=tensor([6, 7, 8]), targets=[6, 7, 8])
    """
    import numpy as np

    if not 0 <= split <= 1:
        raise ValueError(f"split must lie in [0, 1], got {split}")
    if ds_train is ds_val:
        raise ValueError("ds_train and ds_val must be two objects: both are changed in place")
    n = len(ds_train.data)  # pyright: ignore[reportAttributeAccessIssue]
    train = np.random.default_rng(seed).choice(n, size=n - int(n * split), replace=False)
    _keep(ds_val, ds_train, np.setdiff1d(np.arange(n), train))
    return _keep(ds_train, ds_train, train), ds_val


def stratified_split(
    dataset: Dataset, fraction: float, labels: Any = None, generator: torch.Generator | None = None
) -> tuple[Subset, Subset]:
    """Divide any data set at random into two, with the same fraction of each class.

    Args:
        dataset: any map-style data set. It does not change.
        fraction: fraction of each class's samples, rounded, for the second part.
        labels: the class of each sample; `dataset.targets` (or `.labels`) unless given.
        generator: source of randomness.

    Returns:
        Both parts, each in the original order.

    Raises:
        ValueError: `fraction` lies outside [0, 1], or there is not one label a sample.

    Example:
        >>> data = torch.utils.data.TensorDataset(torch.rand(12, 3))
        >>> train, val = stratified_split(data, 0.25, labels=[0] * 8 + [1] * 4)
        >>> len(train), sum(i < 8 for i in val.indices), len(val)
        (9, 2, 3)
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must lie in [0, 1], got {fraction}")
    labels = torch.as_tensor(getattr(dataset, _labels_name(dataset)) if labels is None else labels)
    n = len(dataset)  # pyright: ignore[reportArgumentType]
    if labels.shape != (n,):
        raise ValueError(f"labels must have shape [{n}], one a sample, got {list(labels.shape)}")
    _, classes, counts = labels.cpu().unique(return_inverse=True, return_counts=True)
    shuffled = torch.randperm(n, generator=generator)
    by_class = shuffled[classes[shuffled].argsort(stable=True)]
    rank = torch.arange(n) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    second = rank < (fraction * counts).round().repeat_interleave(counts)
    first_part, second_part = by_class[~second].sort().values, by_class[second].sort().values
    return Subset(dataset, first_part.tolist()), Subset(dataset, second_part.tolist())
