"""Address-event representation: a spike train as a list of who fired when."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._checks import finite, given_steps, over_time, positive


class Events(NamedTuple):
    """E spikes in the order of time.

    Attributes:
        time: `[E]`.
        address: indices of the neurons, `[E, D]` for D dimensions.
        value: `[E]`, such as 1 and -1 for the polarity.

    Example:
        >>> to_events(torch.tensor([[0.0, 1.0], [0.0, 0.0], [-1.0, 0.0]])).time
        tensor([0, 2])
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

    Source: Boahen. Point-to-point connectivity between neuromorphic chips using address events. IEEE Transactions on
    Circuits and Systems II 47(5), 416-434, 2000.

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
    events: Any,
    shape: tuple[int, ...],
    num_steps: int | None = False,
    dt: float = 1,
    sparse: bool = False,
    offset: float = 0,
    drop: bool = False,
    closed: bool = False,
) -> Tensor:
    """The train that holds, in step ⌊(time - offset) / dt⌋, the sum of the values of each address.

    Args:
        events: `Events` in any order, of which `Events(time, address, torch.ones(len(time)))` counts those of an event
            camera; or a structured NumPy array with the fields t and x, or y and p as well, as Tonic gives it.
        shape: shape `[...]` of the address space. Of a structured array `(X,)` takes the field x, `(Y, X)` y and x, and
            `(P, Y, X)` the polarity p too; each of its events has the value 1.
        num_steps: length T of the train; up to the last event if not given.
        dt: duration of a step in the unit of the times. Integer times and steps divide without rounding.
        sparse: return a sparse COO tensor, coalesced.
        offset: time at which the train begins, such as that of the first event.
        drop: leave out events outside the train or `shape`.
        closed: count an event at the very end, `num_steps * dt`, to the last step, as histograms do.

    Returns:
        `[T, ...]` in the dtype of the values.

    Raises:
        TypeError: if events are neither.
        ValueError: if `dt` is not positive, the events' lengths differ, a field is missing, or an event lies outside
            the train or `shape` and is not to be dropped.

    Example:
        >>> events = Events(torch.tensor([0, 1200, 1900]), torch.tensor([[1], [0], [0]]), torch.ones(3))
        >>> from_events(events, shape=(2,), dt=1000)  # microseconds to milliseconds
        tensor([[0., 1.],
                [2., 0.]])
    """
    if not isinstance(events, Events):
        events = _of_fields(events, shape)
    time, address, value = events
    for name, part in zip(Events._fields, events, strict=True):
        finite(part, f"events.{name}")
    positive(dt=dt)
    if address.shape != (len(time), len(shape)) or value.shape != time.shape:
        raise ValueError(
            f"events must have time [E], address [E, {len(shape)}] and value [E], got "
            f"{list(time.shape)}, {list(address.shape)} and {list(value.shape)}"
        )
    clock = (time if isinstance(dt, int) and isinstance(offset, int) else time.double()) - offset
    step = clock.div(dt, rounding_mode="floor").long()
    steps = given_steps(num_steps)
    if steps and closed:
        step = torch.where(clock == steps * dt, steps - 1, step)
    index = torch.cat([step[None], address.long().T])
    bounds = torch.tensor([steps or torch.iinfo(torch.int64).max, *shape], device=index.device)
    inside = ((index >= 0) & (index < bounds[:, None])).all(0)
    if drop:
        index, value = index[:, inside], value[inside]
    elif not bool(inside.all()):
        raise ValueError(
            f"events must lie inside {steps or 'the'} steps of {dt} from {offset} on and addresses inside "
            f"{tuple(shape)}; drop=True leaves out others"
        )
    steps = steps or (int(index[0].max()) + 1 if index.shape[1] else 0)
    train = torch.sparse_coo_tensor(index, value, (steps, *shape), check_invariants=False).coalesce()
    return train if sparse else train.to_dense()


def _of_fields(events: Any, shape: tuple[int, ...]) -> Events:
    """Events of a structured array."""
    fields = getattr(getattr(events, "dtype", None), "names", None)
    if not fields:
        raise TypeError(f"events must be Events or a structured array, got {type(events).__name__}")
    wanted = ("p", "y", "x")[max(0, 3 - len(shape)) :]
    if len(shape) > 3 or not {"t", *wanted} <= set(fields):
        raise ValueError(
            f"events of shape {tuple(shape)} must have the fields t, {', '.join(reversed(wanted))}, "
            f"got {', '.join(fields)}; a structured array has three at most beside t"
        )
    kind = "float64" if events["t"].dtype.kind == "f" else "int64"  # PyTorch lacks most of the unsigned types
    address = [torch.from_numpy(events[name].astype("int64")) for name in wanted]
    time = torch.from_numpy(events["t"].astype(kind))
    return Events(time, torch.stack(address, 1), torch.ones(len(time)))
