"""Address-event representation: a spike train as a list of who fired when."""

from typing import NamedTuple

import torch
from torch import Tensor

from ._checks import finite, given_steps, over_time, positive


class Events(NamedTuple):
    """E spikes in the order of time.

    Attributes:
        time: `[E]`.
        address: indices of the neurons, `[E, D]` for D dimensions.
        value: `[E]`, such as 1 and -1 for the polarity.
    """

    time: Tensor
    address: Tensor
    value: Tensor


def to_events(spikes: Tensor) -> Events:
    """The nonzero elements of a train, as events at their time step.

    Args:
        spikes: `[T, ...]`, dense or sparse.

    Returns:
        Events with int64 times and addresses, and values in the dtype of the spikes.

    Raises:
        ValueError: if spikes have no time dimension.

    Source:
        Boahen. Point-to-point connectivity between neuromorphic chips using address events. IEEE Transactions
        on Circuits and Systems II 47(5), 416-434, 2000.

    Example:
        >>> to_events(torch.tensor([[0.0, 1.0], [0.0, 0.0], [-1.0, 0.0]]))
        Events(time=tensor([0, 2]), address=tensor([[1],
            [0]]), value=tensor([ 1., -1.]))
    """
    train = over_time(spikes, "spikes")
    train = (train if train.is_sparse else train.to_sparse()).coalesce()
    finite(train.values(), "spikes")
    index = train.indices()
    return Events(index[0], index[1:].T, train.values())


def from_events(
    events: Events,
    shape: tuple[int, ...],
    num_steps: int | None = False,
    dt: float = 1,
    sparse: bool = False,
) -> Tensor:
    """The train that holds, in step ⌊time / dt⌋, the sum of the values of each address.

    Args:
        events: events in any order; `Events(time, address, torch.ones(len(time)))` counts those of an event
            camera.
        shape: shape `[...]` of the address space.
        num_steps: length T of the train; up to the last event if not given.
        dt: duration of a step in the unit of the times. Integer times and steps divide without rounding.
        sparse: return a sparse COO tensor, coalesced.

    Returns:
        `[T, ...]` in the dtype of the values.

    Raises:
        ValueError: if `dt` is not positive, the events' lengths differ, or an event lies outside the train or
            `shape`.

    Example:
        >>> events = Events(torch.tensor([0, 1200, 1900]), torch.tensor([[1], [0], [0]]), torch.ones(3))
        >>> from_events(events, shape=(2,), dt=1000)  # microseconds to milliseconds
        tensor([[0., 1.],
                [2., 0.]])
    """
    time, address, value = events
    for name, part in zip(Events._fields, events, strict=True):
        finite(part, f"events.{name}")
    positive(dt, "dt")
    if address.shape != (len(time), len(shape)) or value.shape != time.shape:
        raise ValueError(
            f"events must have time [E], address [E, {len(shape)}] and value [E], got "
            f"{list(time.shape)}, {list(address.shape)} and {list(value.shape)}"
        )
    clock = time if isinstance(dt, int) else time.double()
    index = torch.cat([clock.div(dt, rounding_mode="floor").long()[None], address.long().T])
    steps = given_steps(num_steps) or (int(index[0].max()) + 1 if len(time) else 0)
    size = torch.tensor([steps, *shape], device=index.device)
    if not bool(((index >= 0) & (index < size[:, None])).all()):
        raise ValueError(f"events must lie inside {steps} steps of {dt} and addresses inside {tuple(shape)}")
    train = torch.sparse_coo_tensor(index, value, (steps, *shape), check_invariants=False).coalesce()
    return train if sparse else train.to_dense()
